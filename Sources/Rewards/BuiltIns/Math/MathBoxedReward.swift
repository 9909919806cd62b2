import Core

/// Is the last box the reference, as a normalised text?
///
/// Definition: verl, `verl/utils/reward_score/math_reward.py`. Departures: a reference that has a box itself is reduced to
/// it, and several references are allowed.
struct MathBoxedReward: BuiltInReward {
  static let name = "math_boxed"
  static let summary = "1 if the last \\boxed{} equals the reference as a normalised text"

  init(_ parameters: JSON.Object) throws {}

  func score(_ sample: RewardSample, _ call: BuiltInCall) throws -> RewardOutcome {
    let references = sample.references.map { BoxedAnswer.last(in: $0) ?? $0 }.filter { !$0.trimmedSpace.isEmpty }
    guard !references.isEmpty else { return .none(.notApplicable, "the sample has no reference") }
    guard let answer = BoxedAnswer.last(in: sample.completion) else {
      return RewardOutcome(score: 0, status: .ok, log: "no box, expected \(references[0].quoted())")
    }
    let found = HendrycksText.normalized(answer)
    let match = references.first { HendrycksText.normalized($0) == found }
    var outcome = RewardOutcome(
      score: match == nil ? 0 : 1, status: .ok,
      log: "\(answer.quoted()) is \(match == nil ? "not " : "")\((match ?? references[0]).quoted())")
    outcome.notes = [("answer", answer), ("normalized", found)]
    return outcome
  }
}
