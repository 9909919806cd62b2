/// A score with what explains it.
public struct Score: ExpressibleByFloatLiteral, ExpressibleByIntegerLiteral {
  /// nil: the reward has no opinion on this sample.
  public var value: Double?
  /// Named parts, shown and logged; trained on only where the recipe gives one a weight.
  public var components: [(name: String, value: Double)]
  /// Named texts, shown and logged.
  public var notes: [(name: String, text: String)]
  /// One line for people: what was extracted, which rule matched.
  public var log: String
  /// One reward per token of the completion, or nil.
  public var tokenRewards: [Float]?
  public var stepRewards: [StepReward]

  public init(
    _ value: Double?, components: KeyValuePairs<String, Double> = [:], log: String = "",
    notes: KeyValuePairs<String, String> = [:], tokenRewards: [Float]? = nil, stepRewards: [StepReward] = []
  ) {
    self.value = value
    self.notes = notes.map { (name: $0.key, text: $0.value) }
    self.components = components.map { (name: $0.key, value: $0.value) }
    self.log = log
    self.tokenRewards = tokenRewards
    self.stepRewards = stepRewards
  }

  public init(floatLiteral value: Double) { self.init(value) }
  public init(integerLiteral value: Int) { self.init(Double(value)) }
}

/// A reward for a range of the completion's tokens.
public struct StepReward: Sendable {
  public var tokens: Range<Int>
  public var value: Double
  public var label: String

  public init(tokens: Range<Int>, value: Double, label: String = "") {
    self.tokens = tokens
    self.value = value
    self.label = label
  }
}

/// What `score` may return.
public protocol RewardValue {
  var score: Score { get }
}

extension Score: RewardValue {
  public var score: Score { self }
}

extension Double: RewardValue {
  public var score: Score { Score(self) }
}

extension Optional: RewardValue where Wrapped: RewardValue {
  public var score: Score { self?.score ?? Score(nil) }
}
