import Core

/// Which of the prompt's verifiable instructions does the completion follow?
///
/// Instructions and their arguments come in IFEval's own columns. Where IFEval's program asks a language model or a tokenizer
/// (language, sentences, words in capitals) a written rule stands here instead; keywords are texts, not patterns.
struct IFEvalReward: BuiltInReward {
  static let name = "ifeval"
  static let summary = "the share of IFEval's verifiable instructions that the completion follows"
  static let parameters: [RewardParameter] = [
    .string("score", default: "share", "share of the instructions, or all (1 if every one is followed, else 0)"),
    .string(
      "mode", default: "strict", "strict, or loose: also without the first or the last line, or without asterisks"),
    .string("instructions", default: "instruction_id_list", "the column with the list of instructions"),
    .string("arguments", default: "kwargs", "the column with one mapping for each instruction"),
  ]

  enum Scoring: String, CaseIterable { case share, all }
  enum Mode: String, CaseIterable { case strict, loose }

  private let scoring: Scoring
  private let mode: Mode
  private let instructionColumn: String
  private let argumentColumn: String

  init(_ parameters: JSON.Object) throws {
    let reader = ParameterReader(Self.name, parameters)
    scoring = try reader.choice("score", Scoring.self)
    mode = try reader.choice("mode", Mode.self)
    instructionColumn = reader.text("instructions")
    argumentColumn = reader.text("arguments")
  }

  func score(_ sample: RewardSample, _ call: BuiltInCall) throws -> RewardOutcome {
    guard let column = sample.columns[instructionColumn], !column.isNull else {
      return .none(.notApplicable, "there is no column '\(instructionColumn)'")
    }
    guard let ids = Self.list(column)?.map({ $0.string ?? $0.text() }), !ids.isEmpty else {
      return .none(.invalid, "the column '\(instructionColumn)' is no list of instructions")
    }
    let arguments = sample.columns[argumentColumn].flatMap(Self.list) ?? []
    guard arguments.isEmpty || arguments.count == ids.count else {
      return .none(.invalid, "there are \(ids.count) instructions and \(arguments.count) mappings of arguments")
    }
    let plain = (try? CompletionPart.completion.text(of: sample.completion).get()) ?? sample.completion
    let texts = mode == .strict ? [plain] : Self.variants(plain)
    var components: [(name: String, value: Double)] = []
    var log: [String] = []
    for (i, id) in ids.enumerated() {
      guard let instruction = Instruction.with(id: id) else {
        let near = nearestName(to: id, among: Instruction.all.map(\.id))
        return .none(.invalid, "there is no instruction '\(id)'" + (near.map { ", perhaps '\($0)' is meant" } ?? ""))
      }
      let given = InstructionArguments(values: arguments.isEmpty ? .init() : arguments[i].object ?? .init())
      do {
        var finding = try instruction.check(texts[0], given)
        for text in texts.dropFirst() where !finding.follows && !text.isEmpty {
          let other = try instruction.check(text, given)
          if other.follows { finding = other }
        }
        // A text of nothing follows nothing.
        let follows = finding.follows && !plain.isEmpty
        let before = ids[..<i].filter { $0 == id }.count
        components.append((before == 0 ? id : "\(id)#\(before + 1)", follows ? 1 : 0))
        log.append("\(follows ? "yes" : "no") \(id) (\(plain.isEmpty ? "the completion is empty" : finding.words))")
      } catch let error as InstructionArguments.Missing {
        return .none(.invalid, "the arguments of \(id): \(error.words)")
      }
    }
    let followed = components.reduce(0) { $0 + $1.value }
    let all = Double(components.count)
    return RewardOutcome(
      score: scoring == .share ? followed / all : (followed == all ? 1 : 0), status: .ok, components: components,
      log: log.joined(separator: "; "))
  }

  /// A list, or JSON text of one.
  private static func list(_ value: JSON) -> [JSON]? {
    value.array ?? value.string.flatMap { try? JSON.parse($0) }?.array
  }

  /// IFEval's loose reading: the text, without its first line, its last, both, and each of these without asterisks.
  private static func variants(_ text: String) -> [String] {
    let lines = [UInt8](text).parts(separatedBy: "\n")
    let cuts = [lines[...], lines.dropFirst(), lines.dropLast(), lines.dropFirst().dropLast()]
    let plain = cuts.map { $0.joined(separator: "\n").trimmedSpace }
    return plain + plain.map { String(String.UnicodeScalarView($0.unicodeScalars.filter { $0 != "*" })) }
  }
}
