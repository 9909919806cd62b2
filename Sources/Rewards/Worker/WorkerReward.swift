import Core
import Foundation
import Synchronization

/// A plugin in a process of its own. A crash or a hang costs the sample being scored; the others are scored again one
/// by one in a fresh worker. What was scored before a sample may have damaged the worker: a sample pays only for a worker
/// that ended while it was the first in it.
///
/// Safety: everything that changes is only touched by the holder of `lock`.
final class WorkerReward: PluginReward, @unchecked Sendable {
  let name: String
  let descriptor: RewardDescriptor
  let confinement: WorkerConfinement?
  private let command: [String]
  private let request: LoadRequest
  /// Seconds per sample; 0: none.
  private let timeLimit: Double
  private let lock = Mutex<Void>(())
  private var worker: WorkerProcess?
  private var isClosed = false
  private var lastState: [UInt8]?
  private var deathCount = 0
  /// How often the plugin was stopped so far.
  var deaths: Int { lock.withLock { _ in deathCount } }
  /// Deaths since a sample was last scored.
  private var deathsInARow = 0
  /// After so many the rest of a call is not tried any more.
  private static let patience = 64
  private static let loadLimit = 60.0

  init(_ request: LoadRequest, name: String, timeLimit: Double, command: [String]) throws {
    self.name = name
    self.command = command
    self.request = request
    self.timeLimit = timeLimit.isFinite && timeLimit > 0 ? timeLimit : 0
    let (worker, descriptor) = try Self.start(request, name: name, command: command)
    self.worker = worker
    self.descriptor = descriptor
    confinement = worker.confinement
  }

  private static func start(
    _ request: LoadRequest, name: String, command: [String]
  ) throws -> (WorkerProcess, RewardDescriptor) {
    let worker = try WorkerProcess(command: command, limits: request.limits)
    let payload = ByteBuffer()
    request.write(into: payload)
    do {
      let descriptor = try worker.load(payload, reward: name, limit: loadLimit, deadline: countdown(loadLimit))
      return (worker, descriptor)
    } catch let death as WorkerDeath {
      throw AttuneError.request(
        death.words(while: "the library \(request.source.words) was loaded for the reward \(name)"),
        hint: "constructors and create run at that time")
    }
  }

  private static func countdown(_ seconds: Double) -> () -> UInt64? {
    let end = MonotonicClock.now + UInt64(seconds * 1e9)
    return {
      let now = MonotonicClock.now
      return now >= end ? 0 : end - now
    }
  }

  // MARK: Scoring

  func score(_ samples: [RewardSample], context: RewardContext) throws -> [RewardOutcome] {
    try score(samples, context: context, variant: .normal)
  }

  func score(
    _ samples: [RewardSample], context: RewardContext, variant: PluginInstance.Variant
  ) throws -> [RewardOutcome] {
    try lock.withLock { _ in
      guard !isClosed else { throw AttuneError.work("the reward \(name) was closed") }
      var call = Call(samples: samples, context: context, variant: variant)
      let units = call.units(groups: descriptor.needsGroup)
      // As many units at a time as the progress page has words.
      var chunk: [[Int]] = []
      var chunkCount = 0
      for unit in units {
        if chunkCount + unit.count > ProgressPage.capacity, !chunk.isEmpty {
          try score(chunk, &call)
          chunk = []
          chunkCount = 0
        }
        chunk.append(unit)
        chunkCount += unit.count
      }
      if !chunk.isEmpty || units.isEmpty { try score(chunk, &call) }
      return call.outcomes.map { $0 ?? .none(.failed, "not scored") }
    }
  }

  /// The samples of one call and what is known about them so far.
  private struct Call {
    let samples: [RewardSample]
    let context: RewardContext
    let variant: PluginInstance.Variant
    var outcomes: [RewardOutcome?]

    init(samples: [RewardSample], context: RewardContext, variant: PluginInstance.Variant) {
      self.samples = samples
      self.context = context
      self.variant = variant
      outcomes = Array(repeating: nil, count: samples.count)
    }

    /// What is scored together whatever happens: a sample, or a whole group.
    func units(groups: Bool) -> [[Int]] {
      guard groups else { return samples.indices.map { [$0] } }
      var places: [UInt64: Int] = [:]
      var units: [[Int]] = []
      for (i, sample) in samples.enumerated() {
        if let place = places[sample.groupID] {
          units[place].append(i)
        } else {
          places[sample.groupID] = units.count
          units.append([i])
        }
      }
      return units
    }
  }

  private func score(_ units: [[Int]], _ call: inout Call) throws {
    let indices = units.flatMap { $0 }
    guard let (death, begun, hasEnded) = try attempt(indices, &call) else { return }
    var rest = units
    // The sample that was begun and not ended is the culprit. Without marks, or with several at once, everyone is tried.
    let suspects = units.indices.filter { !begun.isDisjoint(with: units[$0]) }
    if units.count == 1 {
      blame(units[0], death, begun, &call)
      return
    }
    if suspects.count == 1 {
      let suspect = rest.remove(at: suspects[0])
      if hasEnded {
        // The first in the fresh worker.
        rest.insert(suspect, at: 0)
      } else {
        blame(suspect, death, begun, &call)
      }
    }
    for unit in rest {
      if deathsInARow >= Self.patience {
        for i in unit {
          call.outcomes[i] = .none(
            .failed, "not scored: the plugin was stopped \(deathsInARow) times in a row (last: \(death.words))")
        }
      } else {
        let isFresh = worker == nil
        guard var (death, begun, _) = try attempt(unit, &call) else { continue }
        if !isFresh, deathsInARow < Self.patience {
          guard let again = try attempt(unit, &call) else { continue }
          (death, begun, _) = again
        }
        blame(unit, death, begun, &call)
      }
    }
    // The next call tries again, a little.
    deathsInARow = min(deathsInARow, Self.patience - 1)
  }

  private func blame(_ unit: [Int], _ death: WorkerDeath, _ begun: Set<Int>, _ call: inout Call) {
    let culprits = begun.intersection(unit).sorted()
    let status: RewardStatus = if case .timedOut = death.cause { .timedOut } else { .failed }
    for i in unit {
      let what: String
      if unit.count == 1 {
        what = "sample \(i)"
      } else if let first = culprits.first, culprits.count == 1 {
        what = "sample \(first) of its group"
      } else {
        what = "the group of samples \(unit[0]) to \(unit[unit.count - 1])"
      }
      call.outcomes[i] = .none(status, death.words(while: "scoring \(what)"))
    }
  }

  /// Scores samples in one call. Returns nil if outcomes were written, otherwise how the worker died, which samples it had
  /// begun, and whether it had ended one.
  private func attempt(
    _ indices: [Int], _ call: inout Call
  ) throws -> (WorkerDeath, begun: Set<Int>, hasEnded: Bool)? {
    let samples = indices.count == call.samples.count ? call.samples : indices.map { call.samples[$0] }
    let worker: WorkerProcess
    do { worker = try running() } catch {
      self.worker = nil
      deathsInARow += 1
      deathCount += 1
      let why = (error as? WorkerDeath)?.words ?? (error as? AttuneError)?.message ?? "\(error)"
      return (WorkerDeath(.notRestarted(why)), [], false)
    }
    let room = SharedRoom(worker.memory.request, seenAt: worker.requestAddress)
    _ = try BatchBuilder.build(
      samples, call.context, needs: descriptor.needs, timeLimit: timeLimit, larger: call.variant == .laterHost, in: room
    )
    let payload = ByteBuffer(capacity: 64)
    payload.append(call.variant.rawValue)
    payload.append(room.used)
    worker.memory.progress.clear(samples.count)
    worker.grantTime(forCallOf: timeLimit * Double(samples.count))
    do {
      let frame = try worker.ask(
        .score, payload, reward: name, services: call.context.services, limit: timeLimit,
        deadline: deadline(worker.memory.progress, samples.count))
      for (i, outcome) in zip(indices, try outcomes(frame, worker, samples, call.context.services)) {
        call.outcomes[i] = outcome
      }
      deathsInARow = 0
      return nil
    } catch {
      // Nobody knows what state such a worker is in.
      worker.end()
      self.worker = nil
      deathsInARow += 1
      deathCount += 1
      let death =
        error as? WorkerDeath ?? WorkerDeath(.reported((error as? AttuneError)?.message ?? "\(error)"))
      var begun: Set<Int> = []
      var hasEnded = false
      for (i, index) in indices.enumerated() where i < ProgressPage.capacity && death.leavesMarks {
        switch worker.memory.progress[i] {
        case .begun: begun.insert(index)
        case .ended: hasEnded = true
        case .untouched: break
        }
      }
      return (death, begun, hasEnded)
    }
  }

  /// The outcomes that the worker wrote, which may be anything.
  private func outcomes(
    _ frame: FrameChannel.Frame, _ worker: WorkerProcess, _ samples: [RewardSample], _ services: (any RewardServices)?
  ) throws -> [RewardOutcome] {
    guard frame.kind == .scored,
      let (count, children) = try? frame.read({ reader, _ in (try reader.integer(), try reader.integer()) }),
      let reply = worker.memory.copyOfReply(count)
    else { throw WorkerDeath(.garbled) }
    defer { withExtendedLifetime(reply) {} }
    if children > 0 { reportLeftBehind(worker.endStrays(), services) }
    guard let outcomes = try? OutcomeCoding.read(reply.bytes, for: samples, requiring: descriptor.columns) else {
      throw WorkerDeath(.garbled)
    }
    return outcomes
  }

  private func reportLeftBehind(_ count: Int, _ services: (any RewardServices)?) {
    guard count > 0 else { return }
    let words =
      "\(count) process\(count == 1 ? "" : "es") that the plugin had started and left behind \(count == 1 ? "was" : "were") "
      + "stopped when the call had ended"
    if let services {
      services.log(reward: name, level: 2, text: words)
    } else {
      StandardStream.remark("attune: the reward \(name): \(words)\n")
    }
  }

  /// The worker, started again if it died.
  private func running() throws -> WorkerProcess {
    if let worker { return worker }
    let (started, _) = try Self.start(request, name: name, command: command)
    worker = started
    if let lastState { try load(lastState, into: started) }
    return started
  }

  /// Per sample from the moment it is begun; a plugin that marks nothing has the time of all samples together.
  private func deadline(_ progress: ProgressPage, _ count: Int) -> () -> UInt64? {
    guard timeLimit > 0 else { return { nil } }
    let limit = UInt64(min(timeLimit, 1e8) * 1e9)
    let start = MonotonicClock.now
    let all = limit.multipliedReportingOverflow(by: UInt64(max(1, count)))
    let last = all.overflow ? UInt64.max / 2 : all.partialValue
    var next = start + limit
    return {
      let now = MonotonicClock.now
      // Looking at the words of a large batch costs something: only when the time that was granted is over.
      if now < next { return next - now }
      var earliest: UInt64?
      var touched = false
      for i in 0..<min(count, ProgressPage.capacity) {
        switch progress[i] {
        // A plugin can write there too, and must not win time by it.
        case .begun(let time): earliest = min(earliest ?? now, min(time, now))
        case .ended: touched = true
        case .untouched: break
        }
      }
      let end: UInt64
      if let earliest {
        end = min(earliest + limit, start + last + limit)
      } else if touched {
        // Between two samples, or after the last: a moment, and then another look.
        end = min(now + limit, start + last + limit)
      } else {
        end = start + last
      }
      guard end > now else { return 0 }
      next = min(end, now + limit)
      return next - now
    }
  }

  // MARK: State

  func saveState() throws -> [UInt8]? {
    try lock.withLock { _ in
      try explainingDeath("its state was saved") {
        let frame = try running().ask(
          .saveState, ByteBuffer(), reward: name, services: nil, limit: Self.loadLimit,
          deadline: Self.countdown(Self.loadLimit))
        lastState = try frame.read { reader, _ in try reader.optionalBytes().map { Array($0) } }
        return lastState
      }
    }
  }

  func loadState(_ state: [UInt8]) throws {
    try lock.withLock { _ in
      lastState = nil
      try explainingDeath("its state was loaded") { try load(state, into: try running()) }
      lastState = state
    }
  }

  private func explainingDeath<R>(_ occasion: String, _ body: () throws -> R) throws -> R {
    do { return try body() } catch let death as WorkerDeath {
      worker = nil
      throw AttuneError.work("\(name): \(death.words(while: occasion))")
    }
  }

  private func load(_ state: [UInt8], into worker: WorkerProcess) throws {
    let payload = ByteBuffer()
    state.withUnsafeBytes { payload.append(bytes: $0) }
    _ = try worker.ask(
      .loadState, payload, reward: name, services: nil, limit: Self.loadLimit,
      deadline: Self.countdown(Self.loadLimit))
  }

  func close() {
    lock.withLock { _ in
      isClosed = true
      // A second for the plugin's own destroy.
      _ = try? worker?.ask(
        .close, ByteBuffer(), reward: name, services: nil, limit: 1, deadline: Self.countdown(1))
      worker?.end()
      worker = nil
    }
  }

  // MARK: Looking into a library

  /// What a library offers, without loading it into this process.
  static func describe(_ source: RewardSource, command: [String]) throws -> [RewardDescriptor] {
    let worker = try WorkerProcess(command: command, limits: WorkerLimits())
    defer { worker.end() }
    let payload = ByteBuffer()
    WorkerLimits().write(into: payload)
    source.write(into: payload)
    do {
      let frame = try worker.ask(
        .describe, payload, reward: source.words, services: nil, limit: loadLimit, deadline: countdown(loadLimit))
      return try (JSON.parse(try frame.text()).array ?? []).map(RewardDescriptor.init)
    } catch let death as WorkerDeath {
      throw AttuneError.request(death.words(while: "the library \(source.words) was loaded"))
    }
  }
}
