/// Where the run stands when rewards are called.
public struct RewardContext: Sendable {
  /// Why rewards are called.
  public enum Phase: Int32, Sendable {
    case train, eval, replay, test
  }

  public var phase: Phase = .train
  public var step: Int = 0
  /// 0 if unknown.
  public var totalSteps: Int = 0
  public var epoch: Double = 0
  /// How many optimizer steps the sampling policy had seen.
  public var policyVersion: UInt64 = 0
  /// The run's seed. A sample's randomness is a function of it, the step and the sample's place in its group.
  public var seed: UInt64 = 0
  public var recipe: String = ""
  public var runID: String = ""
  /// What plugins may call on while they score.
  public var services: (any RewardServices)?

  public init() {}
}

/// What a host offers to plugins beside samples. Called from the thread that scores.
public protocol RewardServices: Sendable {
  /// A line about a plugin; `level` is 0 (debug) to 3 (error).
  func log(reward: String, level: Int, text: String)
  /// A number for the step's plots.
  func metric(reward: String, name: String, value: Double)
  /// Text of ids by the policy's tokenizer, or nil.
  func decode(_ ids: [Int32]) -> String?
  /// Ids of a text by the policy's tokenizer, or nil.
  func encode(_ text: String) -> [Int32]?
}

extension RewardServices {
  public func log(reward: String, level: Int, text: String) {}
  public func metric(reward: String, name: String, value: Double) {}
  public func decode(_ ids: [Int32]) -> String? { nil }
  public func encode(_ text: String) -> [Int32]? { nil }
}
