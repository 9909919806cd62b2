import Core
import Foundation

/// A running worker: its process, its socket, its progress page.
///
/// Safety: used under the lock of the `WorkerReward` that owns it.
final class WorkerProcess {
  /// Why a worker ended before it answered.
  enum Death: Error {
    case ended(ChildProcess.End)
    /// It was killed: no answer within these seconds.
    case timedOut(Double)
    /// It was killed: what it sent was no message.
    case garbled
    /// After it had died it could not be started again.
    case notRestarted(String)

    /// What happened, to be followed by " while ...".
    var words: String {
      switch self {
      case .ended(.signal(let number)): "the plugin was stopped by \(ChildProcess.End.signal(number).words)"
      case .ended(.exit(let status)): "the plugin ended its process with exit status \(status)"
      case .timedOut(let seconds): "the plugin was stopped after \(JSON.double(seconds).text()) s, its time limit,"
      case .notRestarted(let why): "the plugin could not be started again (\(why))"
      case .garbled: "the plugin damaged its worker's messages and was stopped"
      }
    }
  }

  private let process: pid_t
  private let channel: FrameChannel
  let progress: ProgressPage
  private var isOver = false

  init(command: [String]) throws {
    precondition(!command.isEmpty, "a worker needs a command")
    let page = try ProgressPage()
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
      // A crash is reported here in words; the runtime's own report of it takes longer than starting again.
      process = try ChildProcess.start(
        command, environment: ["SWIFT_BACKTRACE": "enable=no"], descriptors: [ends[1], page.file])
    } catch {
      close(ends[0])
      close(ends[1])
      throw error
    }
    close(ends[1])
    channel = FrameChannel(socket: ends[0])
    progress = page
  }

  deinit { end() }

  /// Sends a message and waits for the answer; what the plugin asks for in between goes to `services`.
  ///
  /// - Parameter deadline: nanoseconds that may still pass, asked again whenever they are over.
  /// - Throws: `Death`, or the `AttuneError` that the worker reports.
  func ask(
    _ kind: FrameKind, _ payload: ByteBuffer, reward: String, services: (any RewardServices)?, limit: Double,
    deadline: () -> UInt64?
  ) throws -> FrameChannel.Frame {
    do {
      try channel.send(kind, payload)
      while true {
        let frame = try channel.receive(deadline: deadline)
        if try !serve(frame, reward: reward, services: services) { return frame }
      }
    } catch FrameChannel.Interruption.closed {
      throw Death.ended(reap())
    } catch FrameChannel.Interruption.deadline {
      end()
      throw Death.timedOut(limit)
    } catch FrameChannel.Interruption.garbled {
      end()
      throw Death.garbled
    }
  }

  /// Does what the plugin asks for while it scores; false if the message is the answer.
  private func serve(
    _ frame: FrameChannel.Frame, reward: String, services: (any RewardServices)?
  ) throws -> Bool {
    try frame.read { reader, _ in
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
      case .error:
        throw Self.error(try JSON.parse(try reader.string()))
      default: return false
      }
      return true
    }
  }

  private static func error(_ json: JSON) -> AttuneError {
    let location = json["file"]?.string.map {
      AttuneError.Location(file: $0, line: json["line"]?.int, column: json["column"]?.int)
    }
    return AttuneError(
      json["kind"]?.string == "request" ? .request : .work, json["message"]?.string ?? "a worker failed",
      at: location, hint: json["hint"]?.string)
  }

  /// The end of a worker that closed its socket. One that lives on without it is stopped.
  private func reap() -> ChildProcess.End {
    guard !isOver else { return .exit(0) }
    isOver = true
    close(channel.socket)
    var tries = 0
    while tries < 1000 {
      if let end = ChildProcess.poll(process) {
        kill(-process, SIGKILL)
        return end
      }
      usleep(1000)
      tries += 1
    }
    kill(-process, SIGKILL)
    return ChildProcess.wait(for: process)
  }

  /// Stops the worker and whatever it started.
  func end() {
    guard !isOver else { return }
    isOver = true
    kill(-process, SIGKILL)
    kill(process, SIGKILL)
    close(channel.socket)
    _ = ChildProcess.wait(for: process)
  }
}
