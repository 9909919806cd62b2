import Core

/// Mostly whether the last box is right, a little whether the completion thinks first.
///
/// Definition: verl, `verl/utils/reward_score/geo3k.py`; EasyR1, `examples/reward_function/math.py`. Departure: the box is
/// compared by the rules of the reward `math`.
struct Geometry3KReward: BuiltInReward {
  static let name = "geometry3k"
  static let summary = "0.9 for a right \\boxed{} answer and 0.1 for <think>...</think> before it"
  static let parameters: [RewardParameter] = [
    .number("format_weight", default: 0.1, in: 0...1, "the share of the format; the answer has the rest"),
    .string("prefix", default: "include", "include or exclude what the template opened the completion with"),
  ]

  private let formatWeight: Double
  private let prefix: PrefixUse
  private let verifier = MathVerifier(answerSpan: .none)

  init(_ parameters: JSON.Object) throws {
    let reader = ParameterReader(Self.name, parameters)
    formatWeight = reader.number("format_weight")
    prefix = try reader.choice("prefix", PrefixUse.self)
  }

  func score(_ sample: RewardSample, _ call: BuiltInCall) throws -> RewardOutcome {
    let references = sample.references.compactMap(verifier.reference)
    guard let first = references.first else { return .notMathematics(sample) }
    let answer = BoxedAnswer.last(in: sample.completion).flatMap { MathAnswers.anywhere("\\boxed{\($0)}") }
    var verdict = MathVerifier.Verdict(rule: nil, answer: answer, reference: first)
    if let answer {
      for reference in references where verdict.rule == nil {
        verdict.rule = try verifier.rule(reference, answer)
        if verdict.isRight { verdict.reference = reference }
      }
    }
    let accuracy = verdict.isRight ? 1.0 : 0
    let format = Self.hasFormat([UInt8](prefix.text(of: sample))) ? 1.0 : 0
    var outcome = RewardOutcome(
      score: (1 - formatWeight) * accuracy + formatWeight * format, status: .ok,
      components: [("accuracy", accuracy), ("format", format)],
      log: verdict.log + (format == 1 ? "" : "; not <think>...</think> and then a box"))
    outcome.notes = verdict.notes
    return outcome
  }

  /// The whole text is `<think>`, anything, `</think>`, anything, `\boxed{`, anything, `}`, anything.
  static func hasFormat(_ bytes: [UInt8]) -> Bool {
    guard bytes.begins(with: "<think>"), let end = bytes.position(of: "</think>", from: 7),
      let box = bytes.position(of: "\\boxed{", from: end + 8)
    else { return false }
    return bytes.position(of: "}", from: box + 7) != nil
  }
}
