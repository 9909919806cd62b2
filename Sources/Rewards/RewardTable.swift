import Core
import Foundation
import Synchronization

/// A reward with its weight and what happens when it fails.
public struct WeightedReward: Sendable {
  public let reward: any Reward
  /// 0 means: log only.
  public let weight: Double
  public let failure: RewardFailurePolicy

  public init(_ reward: any Reward, weight: Double = 1, failure: RewardFailurePolicy = .skip) {
    self.reward = reward
    self.weight = weight
    self.failure = failure
  }
}

/// What every reward said about every sample of a batch.
public struct RewardTable: Sendable {
  public let names: [String]
  public let weights: [Double]
  /// `[functions][samples]`.
  public let outcomes: [[RewardOutcome]]
  /// `[samples][functions]`; NaN where a reward has no opinion, or failed and its policy says skip.
  public let scores: [[Double]]
  /// Wall time per function in seconds.
  public let seconds: [Double]

  /// Asks every reward about every sample; rewards with processes of their own work at the same time.
  ///
  /// - Throws: `AttuneError` if a reward fails on a sample and its policy is `abort`, or is unusable as a whole.
  public static func score(
    _ rewards: [WeightedReward], _ samples: [RewardSample], context: RewardContext
  ) throws -> RewardTable {
    typealias Answer = (outcomes: Result<[RewardOutcome], any Error>, seconds: Double)
    // Plugins in this process may share state with each other behind our back: one after the other.
    let apart = rewards.indices.filter { rewards[$0].reward is WorkerReward }
    let together = rewards.indices.filter { !(rewards[$0].reward is WorkerReward) }
    let lanes = apart.map { [$0] } + (together.isEmpty ? [] : [together])
    let answers = Mutex<[Int: Answer]>([:])
    DispatchQueue.concurrentPerform(iterations: lanes.count) { lane in
      for i in lanes[lane] {
        let start = MonotonicClock.now
        let result = Result { try rewards[i].reward.score(samples, context: context) }
        let seconds = Double(MonotonicClock.now - start) * 1e-9
        answers.withLock { $0[i] = (result, seconds) }
      }
    }
    let found = answers.withLock { $0 }
    var outcomes: [[RewardOutcome]] = []
    var seconds: [Double] = []
    for i in rewards.indices {
      guard let answer = found[i] else { preconditionFailure("every lane ran to its end") }
      outcomes.append(try answer.outcomes.get())
      seconds.append(answer.seconds)
    }
    return try RewardTable(rewards, outcomes: outcomes, seconds: seconds)
  }

  /// A table of outcomes that are known, as when a run is resumed or rescored.
  public init(_ rewards: [WeightedReward], outcomes: [[RewardOutcome]], seconds: [Double]) throws {
    names = rewards.map(\.reward.name)
    weights = rewards.map(\.weight)
    self.outcomes = outcomes
    self.seconds = seconds
    var columns: [[Double]] = []
    for (weighted, outcomes) in zip(rewards, outcomes) {
      columns.append(
        try outcomes.enumerated().map { i, outcome in
          switch outcome.status {
          case .ok: return outcome.score ?? .nan
          case .notApplicable: return .nan
          case .failed, .timedOut, .invalid:
            switch weighted.failure {
            case .skip: return .nan
            case .value(let value): return value
            case .abort:
              throw AttuneError.work(
                "the reward \(weighted.reward.name) has no score for sample \(i) (\(outcome.status.rawValue)): \(outcome.log)",
                hint: "its failure policy is abort; skip and a fixed value let the run go on")
            }
          }
        })
    }
    scores = (outcomes.first?.indices ?? 0..<0).map { sample in columns.map { $0[sample] } }
  }

  /// The weighted sum over the rewards that have a score for this sample; nil if none with a weight has.
  public func total(_ sample: Int) -> Double? {
    var sum = 0.0
    var any = false
    for (score, weight) in zip(scores[sample], weights) where weight != 0 && !score.isNaN {
      sum += weight * score
      any = true
    }
    return any ? sum : nil
  }
}
