import Core

/// Is the number at the end of the completion the reference?
///
/// Definition: verl, `verl/utils/reward_score/gsm8k.py`. Departures: a reference that is a worked solution of the data set
/// is reduced to what follows its `####`; a full stop behind the last number ends the sentence rather than the number.
struct GSM8KReward: BuiltInReward {
  static let name = "gsm8k"
  static let summary = "1 if the completion ends with the reference's number, behind #### or anywhere"
  static let parameters: [RewardParameter] = [
    .string("mode", default: "strict", "strict (the last '#### number') or flexible (the last number)"),
    .number("format_credit", default: 0, in: 0...1, "the score of a number that is wrong"),
  ]

  enum Mode: String, CaseIterable { case strict, flexible }
  /// Characters at the end of the completion that are read.
  static let tail = 300

  private let mode: Mode
  private let formatCredit: Double

  init(_ parameters: JSON.Object) throws {
    let reader = ParameterReader(Self.name, parameters)
    mode = try reader.choice("mode", Mode.self)
    formatCredit = reader.number("format_credit")
  }

  func score(_ sample: RewardSample, _ call: BuiltInCall) throws -> RewardOutcome {
    let references = sample.references.map(Self.reference).filter { !$0.isEmpty }
    guard !references.isEmpty else { return .none(.notApplicable, "the sample has no reference") }
    let bytes = [UInt8](String(sample.completion.suffix(Self.tail)))
    guard let answer = mode == .strict ? Self.marked(bytes) : Self.lastNumber(bytes) else {
      return RewardOutcome(
        score: 0, status: .ok, log: mode == .strict ? "no '#### number'" : "no number at the end of the completion")
    }
    let isRight = references.contains(answer)
    var outcome = RewardOutcome(
      score: isRight ? 1 : formatCredit, status: .ok,
      log: "\(answer.quoted()) is \(isRight ? "" : "not ")\((isRight ? answer : references[0]).quoted())")
    outcome.notes = [("answer", answer)]
    return outcome
  }

  private static func reference(_ text: String) -> String {
    let bytes = [UInt8](text)
    let start = bytes.lastPosition(of: "####").map { $0 + 4 } ?? 0
    return bytes.text(start..<bytes.count).filter { $0 != "," && $0 != "$" }.trimmedSpace
  }

  /// The number behind the last `#### ` that has one.
  private static func marked(_ bytes: [UInt8]) -> String? {
    var end = bytes.count
    while let mark = bytes.lastPosition(of: "#### ", before: end) {
      var at = mark + 5
      if at < bytes.count, bytes[at] == 0x24 { at += 1 }
      if let number = number(bytes, at) { return number.text }
      end = mark + 4
    }
    return nil
  }

  /// The last number; full stops and commas alone are none.
  private static func lastNumber(_ bytes: [UInt8]) -> String? {
    var last: String?
    var at = 0
    while at < bytes.count {
      guard let number = number(bytes, at) else {
        at += 1
        continue
      }
      let text = number.text.hasSuffix(".") ? String(number.text.dropLast()) : number.text
      if text.utf8.contains(where: { (0x30...0x39).contains($0) }) { last = text }
      at = number.end
    }
    return last
  }

  /// A sign and digits, points and commas from `start` on; without the commas.
  private static func number(_ bytes: [UInt8], _ start: Int) -> (text: String, end: Int)? {
    var at = start
    if at < bytes.count, bytes[at] == 0x2D { at += 1 }
    let first = at
    while at < bytes.count, (0x30...0x39).contains(bytes[at]) || bytes[at] == 0x2E || bytes[at] == 0x2C { at += 1 }
    guard at > first else { return nil }
    return (bytes.text(start..<at).filter { $0 != "," }, at)
  }
}
