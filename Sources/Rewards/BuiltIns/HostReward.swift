import Core
import Foundation
import Synchronization

/// A built-in reward in the program itself, several samples at once: for rewards that wait for processes of their own or
/// for the network.
final class HostReward: PluginReward {
  let name: String
  let descriptor: RewardDescriptor
  private let reward: any BuiltInReward
  private let concurrency: Int
  private let timeLimit: Double
  private let program: String

  /// - Parameter program: this program's file.
  init(
    _ request: LoadRequest, _ type: any BuiltInReward.Type, concurrency: Int, name: String, timeLimit: Double,
    program: String
  ) throws {
    self.name = name
    self.concurrency = concurrency
    self.timeLimit = timeLimit
    self.program = program
    descriptor = type.descriptor
    reward = try request.make(type)
  }

  func score(_ samples: [RewardSample], context: RewardContext) throws -> [RewardOutcome] {
    let outcomes = Mutex<[RewardOutcome?]>(Array(repeating: nil, count: samples.count))
    let next = Atomic<Int>(0)
    let limit = timeLimit
    let program = program
    DispatchQueue.concurrentPerform(iterations: min(concurrency, max(1, samples.count))) { _ in
      while true {
        let i = next.wrappingAdd(1, ordering: .relaxed).oldValue
        guard i < samples.count else { return }
        let start = MonotonicClock.now
        let call = BuiltInCall(
          context: context, timeLimit: limit,
          isCancelled: { limit > 0 && Double(MonotonicClock.now - start) * 1e-9 >= limit },
          program: program)
        let outcome = reward.outcome(samples[i], call)
        outcomes.withLock { $0[i] = outcome }
      }
    }
    return outcomes.withLock { $0.map { $0 ?? .none(.failed, "not scored") } }
  }
}
