import Core

extension Recipe {
  /// One reward: how it is run, and how its outcomes enter the total.
  public struct Reward: Sendable, Equatable {
    public enum Isolation: String, Sendable, CaseIterable { case worker, inline }
    public enum FailurePolicy: String, Sendable, CaseIterable { case skip, abort, value }
    /// What a completion counts that hit the length limit.
    public enum Truncated: String, Sendable, CaseIterable {
      case score
      case notApplicable = "not_applicable"
      case value
    }

    public var name: String
    /// An absolute path (with `:name` or `: signature` behind it), a shipped reward's name, or a C signature.
    public var source: String
    public var weight: Double
    /// A mapping.
    public var parameters: JSON
    /// Weights by the names of components, in the recipe's order.
    public var components: [Component]
    /// Factor of token and step rewards.
    public var tokenWeight: Double
    /// Least and greatest score that counts.
    public var clip: ClosedRange<Double>?
    public var truncated: Truncated
    /// Set exactly with `truncated: value`.
    public var truncatedValue: Double?
    public var onFailure: FailurePolicy
    /// Set exactly with the policy `value`.
    public var failureValue: Double?
    public var isolation: Isolation
    /// Seconds for one sample.
    public var timeout: Double
    /// MiB that a worker may take.
    public var memoryMiB: Int
    public var allowsNetwork: Bool
    /// Absolute folders.
    public var writableFolders: [String]

    /// A component that is trained on.
    public struct Component: Sendable, Equatable {
      public var name: String
      public var weight: Double
    }

    init(_ values: RecipeValues) {
      name = values.string("name")
      source = values.string("source")
      weight = values.number("weight")
      parameters = values.json("parameters")
      components =
        values.json("components").object?.entries.map { Component(name: $0, weight: $1.double ?? 0) } ?? []
      tokenWeight = values.number("token_weight")
      clip = values.object["clip"]?.array == nil ? nil : { $0.0...$0.1 }(values.numbers("clip"))
      truncated = values.choice("truncated")
      truncatedValue = values.optionalNumber("truncated_value")
      onFailure = values.choice("on_failure")
      failureValue = values.optionalNumber("failure_value")
      isolation = values.choice("isolation")
      timeout = values.number("timeout")
      memoryMiB = values.int("memory_mib")
      allowsNetwork = values.bool("network")
      writableFolders = values.json("writable").array?.compactMap(\.string) ?? []
    }
  }

  /// When rewards go so wrong that the run stops.
  public struct RewardLimits: Sendable, Equatable {
    /// Largest share of a step's samples on which a reward may fail.
    public var maxFailed: Double
    /// Largest share of a step's samples that no reward with a weight may score.
    public var maxUnscored: Double

    init(_ values: RecipeValues) {
      maxFailed = values.number("max_failed")
      maxUnscored = values.number("max_unscored")
    }
  }
}
