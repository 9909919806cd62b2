import Core

/// What became of a sample.
public enum RewardStatus: String, Sendable {
  case ok
  /// The reward has no opinion on this sample.
  case notApplicable = "not_applicable"
  /// The reward could not do its work, or crashed.
  case failed
  case timedOut = "timed_out"
  /// The sample's data cannot be scored, or the reward answered with something that is no score.
  case invalid
}

/// One reward's answer about one sample.
public struct RewardOutcome: Sendable {
  /// Finite, and there if and only if the status is `ok`.
  public var score: Double?
  public var status: RewardStatus
  /// Named parts of the score; trained on only where the recipe gives one a weight.
  public var components: [(name: String, value: Double)]
  /// Named texts, for people and logs.
  public var notes: [(name: String, text: String)] = []
  /// What was compared, which rule matched, why it failed.
  public var log: String
  /// One reward per token of the completion, 0 outside the policy's own tokens.
  public var tokenRewards: [Float]?
  public var stepRewards: [RewardStep]

  public init(
    score: Double?, status: RewardStatus, components: [(name: String, value: Double)] = [], log: String = "",
    tokenRewards: [Float]? = nil, stepRewards: [RewardStep] = []
  ) {
    self.score = score
    self.status = status
    self.components = components
    self.log = log
    self.tokenRewards = tokenRewards
    self.stepRewards = stepRewards
  }

  /// An outcome without a score.
  public static func none(_ status: RewardStatus, _ log: String) -> RewardOutcome {
    RewardOutcome(score: nil, status: status, log: log)
  }

  /// The shape of `attune reward try`: reward, status, components, log, and token rewards if there are any.
  public var json: JSON {
    var object = JSON.Object([
      ("reward", score.map(JSON.double) ?? .null), ("status", .string(status.rawValue)),
      ("components", .object(components.map { ($0.name, .double($0.value)) })), ("log", .string(log)),
    ])
    if !notes.isEmpty { object["notes"] = .object(notes.map { ($0.name, .string($0.text)) }) }
    if let tokenRewards { object["token_rewards"] = .array(tokenRewards.map { .double(Double($0)) }) }
    if !stepRewards.isEmpty {
      object["step_rewards"] = .array(
        stepRewards.map {
          [
            "tokens": [.int($0.tokens.lowerBound), .int($0.tokens.upperBound)], "value": .double($0.value),
            "label": .string($0.label),
          ]
        })
    }
    return JSON(.object(object))
  }
}

/// A reward for a range of the completion's tokens.
public struct RewardStep: Sendable, Equatable {
  public var tokens: Range<Int>
  public var value: Double
  public var label: String

  public init(tokens: Range<Int>, value: Double, label: String) {
    self.tokens = tokens
    self.value = value
    self.label = label
  }
}
