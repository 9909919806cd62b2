import CRewardABI
import Core

/// Is the completion's answer mathematically the reference?
struct MathReward: BuiltInReward {
  static let name = "math"
  static let summary = "1 if the completion's answer equals the reference as mathematics"
  static let parameters: [RewardParameter] = [.answerSpan]

  private let verifier: MathVerifier

  init(_ parameters: JSON.Object) throws {
    verifier = MathVerifier(
      answerSpan: try ParameterReader(Self.name, parameters).choice("answer_span", MathVerifier.AnswerSpan.self))
  }

  func score(_ sample: RewardSample, _ call: BuiltInCall) throws -> RewardOutcome {
    guard let verdict = try verifier.verdict(of: sample) else { return .notMathematics(sample) }
    var outcome = RewardOutcome(score: verdict.isRight ? 1 : 0, status: .ok, log: verdict.log)
    outcome.notes = verdict.notes
    return outcome
  }
}

extension RewardParameter {
  static let answerSpan = RewardParameter.string(
    "answer_span", default: "last",
    "which <answer> span is read if there is one: last, first, or none (the text is read as if it had no tags)")
}

extension MathVerifier {
  /// Of a sample's completion and its references; nil if none of them is mathematics.
  func verdict(of sample: RewardSample) throws -> Verdict? {
    try verdict(completion: sample.completion, prefix: sample.generationPrefix, references: sample.references)
  }
}

extension MathVerifier.Verdict {
  /// What was compared, for logs and tables.
  var notes: [(name: String, text: String)] {
    (answer.map { [("answer", $0.text)] } ?? []) + [("reference", reference.text)]
      + (rule.map { [("rule", $0.rawValue)] } ?? [])
  }
}

extension RewardOutcome {
  static func notMathematics(_ sample: RewardSample) -> RewardOutcome {
    guard let reference = sample.reference else { return .none(.notApplicable, "the sample has no reference") }
    return .none(.notApplicable, "the reference \(reference.quoted()) is no mathematics")
  }
}
