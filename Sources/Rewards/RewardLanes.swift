import Core
import Foundation

/// Scores groups of completions while others are still being sampled.
///
/// Every reward sees every group in one call, in the order in which groups were added, whatever the clock does. A reward
/// with a process of its own has a thread of its own; plugins in this process, which may share state with each other
/// behind the host's back, are called one after the other on one thread.
///
/// Safety: everything that changes is only touched under `condition`.
public final class RewardLanes: @unchecked Sendable {
  /// Scores one group: the reward's index, the group's number, and its samples.
  public typealias Score = @Sendable (Int, Int, [RewardSample]) throws -> [RewardOutcome]

  /// What all rewards said about all groups.
  public struct Results: Sendable {
    /// `[reward][sample]`, groups one after another.
    public var outcomes: [[RewardOutcome]]
    /// Seconds that each reward took.
    public var seconds: [Double]
  }

  private let condition = NSCondition()
  private let score: Score
  private var groups: [[RewardSample]] = []
  private var isComplete = false
  private var isAbandoned = false
  private var running: Int
  private var outcomes: [[RewardOutcome]]
  private var seconds: [Double]
  private var failure: (group: Int, reward: Int, error: any Error)?

  /// Starts the threads; `finish` or `abandon` ends them.
  public init(_ rewards: [any Reward], score: @escaping Score) {
    self.score = score
    let alone = rewards.indices.filter { !(rewards[$0] is InlineReward) }
    let together = rewards.indices.filter { rewards[$0] is InlineReward }
    let lanes = alone.map { [$0] } + (together.isEmpty ? [] : [together])
    running = lanes.count
    outcomes = rewards.map { _ in [] }
    seconds = rewards.map { _ in 0 }
    for lane in lanes {
      let thread = Thread { [self] in run(lane) }
      // As much as the main thread has: plugins in this process know no other.
      thread.stackSize = 8 << 20
      thread.start()
    }
  }

  /// Hands over a group; returns at once.
  public func add(_ group: [RewardSample]) {
    condition.lock()
    groups.append(group)
    condition.broadcast()
    condition.unlock()
  }

  /// Waits for what is left.
  ///
  /// - Throws: what made a reward unusable: of several the one of the earliest group, then of the first reward.
  public func finish() throws -> Results {
    condition.lock()
    defer { condition.unlock() }
    isComplete = true
    condition.broadcast()
    while running > 0 { condition.wait() }
    if let failure { throw failure.error }
    return Results(outcomes: outcomes, seconds: seconds)
  }

  /// Drops what was not begun, and waits for the calls that were.
  public func abandon() {
    condition.lock()
    defer { condition.unlock() }
    isAbandoned = true
    condition.broadcast()
    while running > 0 { condition.wait() }
  }

  private func run(_ lane: [Int]) {
    var number = 0
    while let group = next(number) {
      for reward in lane {
        let start = MonotonicClock.now
        let result = Result { try score(reward, number, group) }
        guard record(result, reward, number, Double(MonotonicClock.now - start) * 1e-9) else { return end() }
      }
      number += 1
    }
    end()
  }

  /// The group of that number when it is there; nil if none will come, or is wanted.
  private func next(_ number: Int) -> [RewardSample]? {
    condition.lock()
    defer { condition.unlock() }
    while number >= groups.count, !isComplete, !isAbandoned { condition.wait() }
    return isAbandoned || number >= groups.count ? nil : groups[number]
  }

  /// False if the lane has nothing more to do.
  private func record(
    _ result: Result<[RewardOutcome], any Error>, _ reward: Int, _ group: Int, _ duration: Double
  ) -> Bool {
    condition.lock()
    defer { condition.unlock() }
    seconds[reward] += duration
    switch result {
    case .success(let answer):
      outcomes[reward] += answer
      return true
    case .failure(let error):
      if failure.map({ (group, reward) < ($0.group, $0.reward) }) ?? true { failure = (group, reward, error) }
      return false
    }
  }

  private func end() {
    condition.lock()
    running -= 1
    condition.broadcast()
    condition.unlock()
  }
}
