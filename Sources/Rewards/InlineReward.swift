import Core
import Synchronization

/// A plugin in this process. What it breaks is broken; there is no time limit but the one that it polls itself.
///
/// Safety: `state` is only touched by the holder of its lock.
final class InlineReward: PluginReward, @unchecked Sendable {
  let name: String
  let descriptor: RewardDescriptor
  private let timeLimit: Double
  private let services: InlineServices
  private let lock = Mutex<Void>(())
  private var instance: (any RewardInstance)?

  init(_ request: LoadRequest, name: String, timeLimit: Double) throws {
    self.name = name
    self.timeLimit = timeLimit
    services = InlineServices(reward: name)
    let services = services
    let made = try InlineExitGuard.calling(name) { try request.instance(services: services) }
    instance = made
    descriptor = made.descriptor
    InlineExitGuard.hasLoaded(name)
  }

  deinit {
    close()
    InlineExitGuard.hasClosed(name)
  }

  func score(_ samples: [RewardSample], context: RewardContext) throws -> [RewardOutcome] {
    let reply = ByteBuffer()
    defer { withExtendedLifetime(reply) {} }
    try lock.withLock { _ in
      guard let instance else { throw AttuneError.work("the reward \(name) was closed") }
      services.begun = nil
      services.services = context.services
      defer { services.services = nil }
      do {
        try BatchView.with(samples, context, needs: descriptor.needs, timeLimit: timeLimit, larger: false) { view in
          try InlineExitGuard.calling(name) { try instance.score(view, variant: .normal, into: reply) }
        }
      } catch let violation as RewardViolation {
        // It touched memory of the program.
        throw violation.error(descriptor)
      }
    }
    return try OutcomeCoding.read(reply.bytes, for: samples, requiring: descriptor.columns)
  }

  func saveState() throws -> [UInt8]? {
    try lock.withLock { _ in try InlineExitGuard.calling(name) { try instance?.saveState() } }
  }

  func loadState(_ state: [UInt8]) throws {
    try lock.withLock { _ in
      try state.withUnsafeBytes { bytes in try InlineExitGuard.calling(name) { try instance?.loadState(bytes) } }
    }
  }

  func close() { lock.withLock { _ in InlineExitGuard.calling(name) { instance = nil } } }
}

private final class InlineServices: PluginServices {
  private let reward: String
  var services: (any RewardServices)?
  var begun: UInt64?

  init(reward: String) { self.reward = reward }

  func begin(_ index: Int) { begun = MonotonicClock.now }
  func end(_ index: Int) { begun = nil }
  var elapsed: Double? { begun.map { Double(MonotonicClock.now - $0) * 1e-9 } }
  func log(_ level: Int, _ text: String) { services?.log(reward: reward, level: level, text: text) }
  func metric(_ name: String, _ value: Double) { services?.metric(reward: reward, name: name, value: value) }
  func decode(_ ids: [Int32]) -> String? { services?.decode(ids) }
  func encode(_ text: String) -> [Int32]? { services?.encode(text) }
  func judge(_ request: JudgeRequest) -> JudgeReply {
    services?.judge(request, reward: reward) ?? JudgeReply(status: .notApplicable, message: "this host has no judges")
  }
}
