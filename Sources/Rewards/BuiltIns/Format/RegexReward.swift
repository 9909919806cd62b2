import Core

/// Does a regular expression match the completion, how often, and is what it captures the true answer?
struct RegexReward: BuiltInReward {
  static let name = "regex"
  static let summary = "1 if a regular expression matches the completion, or captures the reference"
  static let parameters: [RewardParameter] = [
    .string("pattern", default: nil, "a regular expression in PCRE2's dialect, such as (?s)\\\\boxed\\{(.*?)\\}"),
    .string("match", default: "search", "search (anywhere) or whole (the text from its first to its last character)"),
    .string("compare", default: "none", "none, or reference: the last match's first group must be a reference"),
    .number("count", default: 1, in: 1...1e6, "how many matches that do not overlap are asked for"),
    .bool("graded", default: false, "fewer matches than count score their share"),
    .bool("negate", default: false, "the score is 1 less what it would be"),
    .bool("ignore_case", default: false, "upper and lower case are the same, in the match and in the comparison"),
    .string("prefix", default: "include", "include or exclude what the template opened the completion with"),
  ]

  enum Extent: String, CaseIterable { case search, whole }
  enum Comparison: String, CaseIterable { case none, reference }

  private let pattern: Pattern
  private let extent: Extent
  private let comparison: Comparison
  private let count: Int
  private let graded: Bool
  private let negate: Bool
  private let ignoresCase: Bool
  private let prefix: PrefixUse

  init(_ parameters: JSON.Object) throws {
    let reader = ParameterReader(Self.name, parameters)
    ignoresCase = reader.flag("ignore_case")
    do { pattern = try Pattern(reader.text("pattern"), caseless: ignoresCase) } catch let error as Pattern.Malformed {
      throw reader.wrong(
        "pattern",
        "is no regular expression: \(error.words), at character \(error.place) of \(reader.text("pattern").quoted(200))"
      )
    }
    extent = try reader.choice("match", Extent.self)
    comparison = try reader.choice("compare", Comparison.self)
    count = try reader.integer("count")
    graded = reader.flag("graded")
    negate = reader.flag("negate")
    prefix = try reader.choice("prefix", PrefixUse.self)
    if count > 1, extent == .whole {
      throw reader.wrong("count", "is \(count), but the whole text matches once at most")
    }
    if count > 1, comparison == .reference {
      throw reader.wrong("count", "is \(count), but only the last match is compared with the reference")
    }
  }

  func score(_ sample: RewardSample, _ call: BuiltInCall) throws -> RewardOutcome {
    if comparison == .reference, sample.references.isEmpty {
      return .none(.notApplicable, "the sample has no reference")
    }
    let text = [UInt8](prefix.text(of: sample))
    var found = 0
    var last: Pattern.Match?
    do {
      try pattern.search(text, whole: extent == .whole, isCancelled: call.isCancelled) { match in
        found += 1
        last = match
        return comparison == .reference || found < count
      }
    } catch let error as Pattern.Exhausted { return .none(.failed, error.words) }
    var score = min(1, Double(found) / Double(count))
    if !graded { score = score.rounded(.down) }
    var log: String
    if let last {
      log =
        "\(found >= count && comparison == .none ? "at least " : "")\(found) of \(count): the last is \(text.text(last.range).quoted())"
    } else {
      log = "no match"
    }
    if comparison == .reference, let last {
      let range = pattern.groupCount > 0 ? last.groups[0] : last.range
      (score, log) = compare(range.map { text.text($0).trimmedSpace }, sample.references)
    }
    if negate { score = 1 - score }
    return RewardOutcome(
      score: score, status: .ok, components: [("matches", Double(found))], log: log + (negate ? " (negated)" : ""))
  }

  private func compare(_ captured: String?, _ references: [String]) -> (Double, String) {
    guard let captured else { return (0, "the first group took no part in the last match") }
    let own = ignoresCase ? captured.lowercased() : captured
    for reference in references {
      let other = reference.trimmedSpace
      // Code points, not canonical equivalence.
      if own.utf8.elementsEqual((ignoresCase ? other.lowercased() : other).utf8) {
        return (1, "\(captured.quoted()) is the reference")
      }
    }
    return (0, "\(captured.quoted()) is not the reference \(references[0].quoted())")
  }
}
