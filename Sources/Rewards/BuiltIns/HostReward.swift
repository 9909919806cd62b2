import Core
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
    let outcomes = Outcomes(count: samples.count)
    let (limit, reward, program) = (timeLimit, reward, program)
    ThreadTeam.perform(samples.count, threads: min(concurrency, reward.concurrency(in: context))) { i in
      let start = MonotonicClock.now
      let call = BuiltInCall(
        context: context, timeLimit: limit,
        isCancelled: { limit > 0 && Double(MonotonicClock.now - start) * 1e-9 >= limit }, program: program)
      outcomes.put(reward.outcome(samples[i], call), at: i)
    }
    return outcomes.all
  }

  /// Filled in by several threads.
  private final class Outcomes: Sendable {
    private let list: Mutex<[RewardOutcome?]>
    init(count: Int) { list = Mutex(Array(repeating: nil, count: count)) }
    func put(_ outcome: RewardOutcome, at i: Int) { list.withLock { $0[i] = outcome } }
    var all: [RewardOutcome] { list.withLock { $0.map { $0 ?? .none(.failed, "not scored") } } }
  }
}
