import CConfinement
import Core
import Foundation

/// A running worker: its process, its socket, what it shares and what it prints.
///
/// Safety: used under the lock of the `WorkerReward` that owns it.
final class WorkerProcess: ChannelCompanion {
  private let process: pid_t
  private let channel: FrameChannel
  private let output: WorkerOutput
  let memory: WorkerMemory
  private let limits: WorkerLimits
  /// Where the worker sees requests, and what it took when it began; known when it has loaded.
  private(set) var requestAddress: UInt = 0
  private var taken: UInt64 = 0
  private(set) var confinement = WorkerConfinement(landlock: 0, filtersSystemCalls: false)
  private var isEnded = false
  private var grantedAt: UInt64 = 0

  init(command: [String], limits: WorkerLimits) throws {
    precondition(!command.isEmpty, "a worker needs a command")
    self.limits = limits
    memory = try WorkerMemory()
    output = try WorkerOutput()
    var ends: [Int32] = [0, 0]
    #if os(Linux)
      let kind = Int32(SOCK_STREAM.rawValue)
    #else
      let kind = SOCK_STREAM
    #endif
    guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else {
      throw AttuneError.work("no socket can be made: \(String(cString: strerror(errno)))")
    }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    #if !os(Linux)
      var on: Int32 = 1
      setsockopt(ends[0], SOL_SOCKET, SO_NOSIGPIPE, &on, socklen_t(MemoryLayout<Int32>.size))
    #endif
    do {
      // A crash is reported here in words; the runtime's own report of it takes longer than starting again. The C
      // library's last words go where the others go, not to the terminal.
      process = try ChildProcess.start(
        command, environment: ["SWIFT_BACKTRACE": "enable=no", "LIBC_FATAL_STDERR_": "1"],
        descriptors: [ends[1]] + memory.descriptors, errors: output.writer)
    } catch {
      close(ends[0])
      close(ends[1])
      throw error
    }
    close(ends[1])
    memory.workerHasStarted()
    output.workerHasStarted()
    channel = FrameChannel(socket: ends[0])
    channel.companion = self
  }

  deinit { end() }

  // MARK: While the channel waits

  var reader: Int32 { output.reader }
  func drain() { output.drain() }
  func isOver() -> Bool { ChildProcess.isOver(process) }

  // MARK: Asking

  /// Has the worker load what `payload` asks for; returns what it says about it.
  ///
  /// - Throws: `WorkerDeath`, or the `AttuneError` that the worker reports.
  func load(_ payload: ByteBuffer, reward: String, limit: Double, deadline: () -> UInt64?) throws -> RewardDescriptor {
    let frame = try ask(.load, payload, reward: reward, services: nil, limit: limit, deadline: deadline)
    guard frame.kind == .loaded else { throw AttuneError.work("the worker of \(reward) answered out of turn") }
    let answer = try JSON.parse(try frame.text())
    confinement = WorkerConfinement(answer["confinement"])
    requestAddress = answer["request"]?.string.flatMap { UInt($0) } ?? 0
    taken = answer["taken"]?.string.flatMap { UInt64($0) } ?? 0
    return try RewardDescriptor(answer["reward"] ?? .null)
  }

  /// Sends a message and waits for the answer; what the plugin asks for in between goes to `services`.
  ///
  /// - Parameter deadline: nanoseconds that may still pass, asked again from time to time.
  /// - Throws: `WorkerDeath`, or the `AttuneError` that the worker reports.
  func ask(
    _ kind: FrameKind, _ payload: ByteBuffer, reward: String, services: (any RewardServices)?, limit: Double,
    deadline: () -> UInt64?
  ) throws -> FrameChannel.Frame {
    output.beginCall()
    defer { output.endCall(reward: reward) }
    do {
      try channel.send(kind, payload)
      while true {
        let frame = try channel.receive(deadline: deadline)
        if try !serve(frame, reward: reward, services: services) {
          output.drain()
          return frame
        }
      }
    } catch FrameChannel.Interruption.closed {
      let end = reap()
      throw WorkerDeath(
        .ended(end),
        reason: WorkerDeath.reason(
          end, memory.fault.pointee, limits: limits, taken: taken, printed: output.lastLine))
    } catch FrameChannel.Interruption.deadline {
      end()
      throw WorkerDeath(.timedOut(limit), reason: output.lastLine.map { "the last that it printed: \($0)" })
    } catch FrameChannel.Interruption.garbled {
      end()
      throw WorkerDeath(.garbled)
    } catch let death as WorkerDeath {
      end()
      throw death
    }
  }

  /// Does what the plugin asks for while it scores; false if the message is the answer.
  private func serve(
    _ frame: FrameChannel.Frame, reward: String, services: (any RewardServices)?
  ) throws -> Bool {
    do {
      return try frame.read { reader, _ in
        switch frame.kind {
        case .log:
          let level = try reader.integer(atMost: 3)
          services?.log(reward: reward, level: level, text: try reader.string())
        case .metric:
          let name = try reader.string()
          services?.metric(reward: reward, name: name, value: try reader.double())
        case .decode:
          let ids = try reader.array(of: Int32.self).map { Array($0) } ?? []
          let reply = ByteBuffer()
          reply.append(optional: services?.decode(ids))
          try channel.send(.serviceReply, reply)
        case .encode:
          let reply = ByteBuffer()
          reply.append(array: services?.encode(try reader.string()))
          try channel.send(.serviceReply, reply)
        case .judge:
          let request = JudgeRequest(try JSON.parse(try reader.string()))
          let answer =
            services?.judge(request, reward: reward)
            ?? JudgeReply(status: .notApplicable, message: "this host has no judges")
          try channel.send(.serviceReply, text: answer.json.text())
        case .violated: throw WorkerDeath(.violated(try reader.string()))
        case .error: throw Report(error: Self.error(try JSON.parse(try reader.string())))
        default: return false
        }
        return true
      }
    } catch let report as Report {
      throw report.error
    } catch is AttuneError {
      // A message of the right form with nonsense in it.
      throw FrameChannel.Interruption.garbled
    }
  }

  /// What the worker itself says is wrong, as opposed to what is wrong with its message.
  private struct Report: Error {
    var error: AttuneError
  }

  private static func error(_ json: JSON) -> AttuneError {
    let location = json["file"]?.string.map {
      AttuneError.Location(file: $0, line: json["line"]?.int, column: json["column"]?.int)
    }
    return AttuneError(
      json["kind"]?.string == "request" ? .request : .work, json["message"]?.string ?? "a worker failed",
      at: location, hint: json["hint"]?.string)
  }

  /// Lets the worker use processor time again, now and then. A backstop for when nobody is there to look at the clock.
  func grantTime(forCallOf seconds: Double) {
    let now = MonotonicClock.now
    guard grantedAt == 0 || now - grantedAt > 60_000_000_000 || seconds > 1800 else { return }
    grantedAt = now
    let wall = max(3600, 2 * min(seconds, 1e8))
    _ = attune_grant_cpu_time(process, UInt64(wall) * UInt64(max(1, ProcessInfo.processInfo.activeProcessorCount)))
  }

  // MARK: Ends

  /// Stops what the plugin started and did not stop; returns how many processes that were. By this process, because not
  /// every confinement lets the worker signal its children.
  func endStrays() -> Int { isEnded ? 0 : ChildProcess.killFollowers(ofGroup: process) }

  /// The end of a worker that closed its socket. One that lives on without it is stopped.
  private func reap() -> ChildProcess.End {
    guard !isEnded else { return .exit(0) }
    isEnded = true
    close(channel.socket)
    var tries = 0
    while tries < 1000, !isOver() {
      usleep(1000)
      tries += 1
    }
    // What the plugin started goes with it, while the group's number is still taken.
    kill(-process, SIGKILL)
    let end = ChildProcess.wait(for: process)
    output.drain()
    return end
  }

  /// Stops the worker and whatever it started.
  func end() {
    guard !isEnded else { return }
    isEnded = true
    kill(-process, SIGKILL)
    kill(process, SIGKILL)
    close(channel.socket)
    _ = ChildProcess.wait(for: process)
    output.drain()
  }
}
