import Core
import Rewards

/// How one reward's outcomes become numbers: what counts when a sample failed or was cut off, and with which weights.
package struct ScoringRule: Sendable, Equatable {
  /// What a completion counts that hit the length limit.
  package enum Truncation: Sendable, Equatable {
    /// Its score, as if it had ended by itself.
    case score
    case notApplicable
    case value(Double)
  }

  package var name: String
  /// Factor of the score in the total; 0 only logs.
  package var weight: Double
  package var failure: RewardFailurePolicy
  package var truncation: Truncation
  /// Least and greatest score that counts.
  package var clip: ClosedRange<Double>?
  /// Components that are columns of their own, with factors of their own.
  package var components: [(name: String, weight: Double)]
  /// Factor of token and step rewards.
  package var tokenWeight: Double

  package init(
    name: String, weight: Double = 1, failure: RewardFailurePolicy = .skip, truncation: Truncation = .score,
    clip: ClosedRange<Double>? = nil, components: [(name: String, weight: Double)] = [], tokenWeight: Double? = nil
  ) {
    self.name = name
    self.weight = weight
    self.failure = failure
    self.truncation = truncation
    self.clip = clip
    self.components = components
    self.tokenWeight = tokenWeight ?? weight
  }

  package init(_ settings: Recipe.Reward) {
    self.init(
      name: settings.name, weight: settings.weight, failure: settings.failure,
      truncation: settings.truncation, clip: settings.clip,
      components: settings.components.map { ($0.name, $0.weight) }, tokenWeight: settings.tokenWeight)
  }

  package static func == (a: Self, b: Self) -> Bool {
    a.name == b.name && a.weight == b.weight && a.failure == b.failure && a.truncation == b.truncation
      && a.clip == b.clip && a.tokenWeight == b.tokenWeight
      && a.components.elementsEqual(b.components) { $0.name == $1.name && $0.weight == $1.weight }
  }
}

extension Recipe.Reward {
  /// What stands in for the score of a sample that failed.
  package var failure: RewardFailurePolicy {
    switch onFailure {
    case .skip: .skip
    case .abort: .abort
    case .value: failureValue.map { .value($0) } ?? .skip
    }
  }

  fileprivate var truncation: ScoringRule.Truncation {
    switch truncated {
    case .score: .score
    case .notApplicable: .notApplicable
    case .value: truncatedValue.map { .value($0) } ?? .score
    }
  }
}

extension RewardStatus {
  /// The reward should have had a score and has none. No opinion is no failure.
  package var isFailure: Bool { self == .failed || self == .timedOut || self == .invalid }
}

extension RewardOutcome {
  /// The reward should have had a score and has none.
  package var isFailure: Bool { status.isFailure }
}
