import CRewardABI
import Core

/// Asks a judge about each completion and takes a number out of its reply.
///
/// A reply without a number is a failure with the reply's text, never a score: a judge that broke off would otherwise punish
/// or reward whatever it was shown.
struct JudgeReward: BuiltInReward {
  static let name = "judge"
  static let summary = "a number from the reply of a judge model, which the recipe's section `judges` describes"
  static let range: ClosedRange<Double>? = nil
  static let isDeterministic = false
  /// The judge's own limit is lower.
  static let hostConcurrency: Int? = 256

  private static let defaultPrompt = """
    You judge how well a response follows from its prompt.

    Prompt:
    {prompt}

    Response:
    {completion}

    Judge whether the response is correct, complete and to the point. Think it over in a few sentences, then end with one line \
    of the form

    Reward: <number between 0 and 1>
    """
  private static let defaultPattern = #"Reward:\s*\**\s*([-+]?(?:\d+\.?\d*|\.\d+))"#

  static let parameters: [RewardParameter] = [
    .string("judge", default: "", "the judge's name in the recipe; empty: the only one"),
    .string(
      "prompt", default: defaultPrompt,
      "what the judge is asked; {prompt}, {completion}, {reference} and {column.NAME} are filled in"),
    .string("system", default: "", "text of a system message; empty: the judge's own"),
    .string(
      "pattern", default: defaultPattern,
      "regular expression (PCRE2) whose one group is the number; the last match in the reply counts"),
    .list(
      "scale", default: [], "[lowest, highest] number that the judge may give; mapped to 0 and 1, others are failures"),
    .number("max_tokens", default: 0, in: 0...1e6, "longest reply, tokens; 0: the judge's own"),
    .number("temperature", default: -1, in: -1...100, "sampling temperature; -1: the judge's own"),
  ]

  private let judge: String?
  private let prompt: JudgePrompt
  private let system: String?
  private let pattern: Pattern
  private let scale: ClosedRange<Double>?
  private let maxTokens: Int?
  private let temperature: Double?

  init(_ parameters: JSON.Object) throws {
    let reader = ParameterReader(Self.name, parameters)
    prompt = try Self.prompt(reader)
    pattern = try Self.pattern(reader)
    scale = try Self.scale(reader)
    judge = reader.text("judge").isEmpty ? nil : reader.text("judge")
    system = reader.text("system").isEmpty ? nil : reader.text("system")
    let tokens = reader.number("max_tokens")
    maxTokens = tokens >= 1 ? Int(tokens) : nil
    temperature = reader.number("temperature") >= 0 ? reader.number("temperature") : nil
  }

  private static func prompt(_ reader: ParameterReader) throws -> JudgePrompt {
    do { return try JudgePrompt(reader.text("prompt"), parameter: "prompt") } catch let error as AttuneError {
      let place = reader.values["prompt"].flatMap { $0.position == .none ? nil : $0.location(in: "") }
      throw AttuneError(error.kind, error.message, at: place ?? error.location, hint: error.hint)
    }
  }

  private static func pattern(_ reader: ParameterReader) throws -> Pattern {
    let pattern: Pattern
    do { pattern = try Pattern(reader.text("pattern")) } catch let error as Pattern.Malformed {
      throw reader.wrong("pattern", "is no regular expression: \(error.words), at character \(error.place)")
    }
    guard pattern.groupCount == 1 else {
      throw reader.wrong(
        "pattern", "has \(pattern.groupCount) groups, one was expected: the number",
        hint: "write other parentheses as (?:…)")
    }
    return pattern
  }

  private static func scale(_ reader: ParameterReader) throws -> ClosedRange<Double>? {
    let ends = reader.values["scale"]?.array ?? []
    if ends.isEmpty { return nil }
    guard ends.count == 2, let low = ends[0].double, let high = ends[1].double, low < high else {
      throw reader.wrong(
        "scale", "is \(JSON.array(ends).text()), [lowest, highest] was expected, such as [1, 10]")
    }
    return low...high
  }

  func concurrency(in context: RewardContext) -> Int {
    context.services?.concurrency(ofJudge: judge) ?? 1
  }

  func score(_ sample: RewardSample, _ call: BuiltInCall) throws -> RewardOutcome {
    guard let services = call.context.services else {
      return .none(.notApplicable, "there are no judges here: a recipe's section `judges`, or --judge, describes them")
    }
    let question: String
    do throws(JudgePrompt.Missing) { question = try prompt.text(for: sample) } catch {
      return .none(error.isReference ? .notApplicable : .invalid, error.words)
    }
    var messages: [JSON] = system.map { [["role": "system", "content": .string($0)]] } ?? []
    messages.append(["role": "user", "content": .string(question)])
    let reply = services.judge(
      JudgeRequest(judge: judge, messages: .array(messages), maxTokens: maxTokens, temperature: temperature),
      reward: Self.name)
    guard reply.status == .ok, let text = reply.text else { return .none(reply.status, reply.message) }
    var outcome = self.outcome(text)
    outcome.components += [
      ("prompt_tokens", Double(reply.promptTokens)), ("completion_tokens", Double(reply.completionTokens)),
    ]
    outcome.notes.append(("reply", text))
    return outcome
  }

  /// What a reply comes to.
  func outcome(_ reply: String) -> RewardOutcome {
    let bytes = [UInt8](reply.utf8)
    var last: Range<Int>?
    do {
      try pattern.search(bytes) {
        last = $0.groups[0] ?? last
        return true
      }
    } catch { return .none(.failed, "\(pattern.source) cannot be matched with the judge's reply: \(error)") }
    guard let last else {
      return .none(.failed, "the judge's reply has no number where one was expected: \(Self.quoted(reply))")
    }
    let word = String(decoding: bytes[last], as: UTF8.self)
    guard let number = Double(word), number.isFinite else {
      return .none(
        .failed, "the judge's reply has '\(shortened(word, to: 40))' in the place of a number: \(Self.quoted(reply))")
    }
    guard let scale else {
      return RewardOutcome(score: number, status: .ok, log: "the judge gave \(word)")
    }
    guard scale.contains(number) else {
      return .none(
        .failed,
        "the judge gave \(word), which is outside \(scale.lowerBound) to \(scale.upperBound): \(Self.quoted(reply))")
    }
    return RewardOutcome(
      score: (number - scale.lowerBound) / (scale.upperBound - scale.lowerBound), status: .ok,
      components: [("number", number)], log: "the judge gave \(word)")
  }

  /// A reply's end is where its number should be.
  private static func quoted(_ reply: String) -> String {
    reply.count <= 300 ? "\"\(shortened(reply))\"" : "\"…\(shortened(String(reply.suffix(300))))\""
  }
}
