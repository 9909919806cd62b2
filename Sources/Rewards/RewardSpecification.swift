import Core

/// One entry of a recipe's list of rewards.
public struct RewardSpecification: Sendable {
  /// Where the plugin's code runs.
  public enum Isolation: String, Sendable {
    /// In a process of its own, where a crash or a hang costs the sample being scored.
    case worker
    /// In this process: for rewards that are trusted like the program itself.
    case inline
  }

  /// The name of its column in logs and tables, unique in the recipe.
  public var name: String
  /// `path.so`, `path.so:reward`, a `.c` or `.swift` file, the name of a reward that comes with the program, or a C
  /// function: `library: declaration`.
  public var source: String
  public var parameters: JSON.Object
  /// 0 means: log only.
  public var weight: Double
  public var isolation: Isolation
  /// Per sample; in worker isolation only.
  public var timeoutSeconds: Double
  /// What stands in for the score of a sample that failed, timed out or was invalid.
  public var failure: RewardFailurePolicy
  /// What the worker may take and touch; in worker isolation only.
  public var limits: WorkerLimits
  /// The recipe, for errors about parameters.
  public var file: String?

  public init(
    name: String, source: String, parameters: JSON.Object = .init(), weight: Double = 1, isolation: Isolation = .worker,
    timeoutSeconds: Double = 10, failure: RewardFailurePolicy = .skip, limits: WorkerLimits = .init(),
    file: String? = nil
  ) {
    self.name = name
    self.source = source
    self.parameters = parameters
    self.weight = weight
    self.isolation = isolation
    self.timeoutSeconds = timeoutSeconds
    self.failure = failure
    self.limits = limits
    self.file = file
  }
}

/// What a sample without a score counts as, when something went wrong. No opinion is never a failure.
public enum RewardFailurePolicy: Sendable, Equatable {
  /// As if the reward had no opinion.
  case skip
  case value(Double)
  /// The run stops.
  case abort
}
