import Core
import Foundation
import Synchronization

/// The program's other life: a process that holds one reward's library, and nothing that could be lost.
public enum RewardWorker {
  /// Serves the reward on descriptors 3 (socket) and 4 (progress page) until the host goes away.
  public static func main(_ arguments: [String]) -> Int32 {
    // The host decides when a run ends; a worker ends with its host.
    signal(SIGINT, SIG_IGN)
    signal(SIGPIPE, SIG_IGN)
    var none = rlimit(rlim_cur: 0, rlim_max: 0)
    #if os(Linux)
      setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
    #else
      setrlimit(RLIMIT_CORE, &none)
    #endif
    var kind = stat()
    guard fstat(3, &kind) == 0, kind.st_mode & S_IFMT == S_IFSOCK, let progress = try? ProgressPage(file: 4) else {
      FileHandle.standardError.write(Data("this command is started by attune itself, to hold a reward plugin\n".utf8))
      return 2
    }
    // Files that the host had open are none of a plugin's business.
    for file in Int32(5)..<256 { close(file) }
    _ = fcntl(3, F_SETFD, FD_CLOEXEC)
    _ = fcntl(4, F_SETFD, FD_CLOEXEC)
    let watcher = Thread {
      // A plugin that hangs never looks at the socket: this thread does, and takes the plugin's children along.
      var entry = pollfd(fd: 3, events: 0, revents: 0)
      while poll(&entry, 1, -1) < 0, errno == EINTR {}
      kill(0, SIGKILL)
      _exit(0)
    }
    watcher.start()
    WorkerLoop(FrameChannel(socket: 3), progress).run()
    return 0
  }
}

/// The worker's side of the conversation.
private final class WorkerLoop: PluginServices {
  private let channel: FrameChannel
  private let progress: ProgressPage
  private var instance: (any RewardInstance)?
  private var begun: UInt64?

  init(_ channel: FrameChannel, _ progress: ProgressPage) {
    self.channel = channel
    self.progress = progress
  }

  func run() {
    while let frame = try? channel.receive() {
      do {
        try answer(frame)
      } catch is FrameChannel.Interruption {
        return
      } catch {
        let known = error as? AttuneError ?? .work("\(error)")
        let object: JSON = [
          "kind": .string(known.kind == .request ? "request" : "work"), "message": .string(known.message),
          "hint": known.hint.map(JSON.string) ?? .null,
          "file": known.location.map { .string($0.file) } ?? .null,
          "line": known.location?.line.map { .int($0) } ?? .null,
          "column": known.location?.column.map { .int($0) } ?? .null,
        ]
        guard (try? channel.send(.error, text: object.text())) != nil else { return }
      }
    }
  }

  private func answer(_ frame: FrameChannel.Frame) throws {
    try frame.read { reader, bytes in try answer(frame.kind, &reader, bytes) }
  }

  private func answer(_ kind: FrameKind, _ reader: inout ByteReader, _ bytes: UnsafeRawBufferPointer) throws {
    switch kind {
    case .describe:
      let all = try RewardSource(&reader).descriptors()
      try channel.send(.described, text: JSON.array(all.map(\.json)).text())
    case .load:
      let request = try LoadRequest(&reader)
      let made = try request.instance(services: self)
      instance = made
      try channel.send(.loaded, text: made.descriptor.json.text())
    case .score:
      guard let instance else { throw AttuneError.work("a reward's worker was asked to score before it had loaded") }
      let variant = PluginInstance.Variant(rawValue: try reader.integer(atMost: 8)) ?? .normal
      let verify = try reader.integer(atMost: 1) == 1
      let rest = UnsafeRawBufferPointer(rebasing: bytes[16...])
      let reply = ByteBuffer()
      begun = nil
      try instance.score(bytes: rest, variant: variant, verifyInputs: verify, into: reply)
      try channel.send(.scored, reply)
    case .saveState:
      let reply = ByteBuffer()
      if let state = try instance?.saveState() {
        state.withUnsafeBytes { reply.append(bytes: $0) }
      } else {
        reply.append(UInt64.max)
      }
      try channel.send(.state, reply)
    case .loadState:
      if let state = try reader.optionalBytes() { try instance?.loadState(state) }
      let reply = ByteBuffer()
      reply.append(UInt64.max)
      try channel.send(.state, reply)
    case .close:
      instance = nil
      try channel.send(.state, ByteBuffer())
    default: throw AttuneError.work("a reward's worker got the message \(kind), which is not for it")
    }
  }

  // MARK: Services

  func begin(_ index: Int) {
    begun = MonotonicClock.now
    progress.begin(index)
  }

  func end(_ index: Int) {
    begun = nil
    progress.end(index)
  }

  var elapsed: Double? { begun.map { Double(MonotonicClock.now - $0) * 1e-9 } }

  func log(_ level: Int, _ text: String) {
    let payload = ByteBuffer()
    payload.append(level)
    payload.append(text)
    try? channel.send(.log, payload)
  }

  func metric(_ name: String, _ value: Double) {
    let payload = ByteBuffer()
    payload.append(name)
    payload.append(value)
    try? channel.send(.metric, payload)
  }

  func decode(_ ids: [Int32]) -> String? {
    let payload = ByteBuffer()
    payload.append(array: ids)
    guard (try? channel.send(.decode, payload)) != nil, let frame = try? channel.receive(), frame.kind == .serviceReply
    else { return nil }
    return try? frame.read { reader, _ in try reader.optionalString() }
  }

  func encode(_ text: String) -> [Int32]? {
    guard (try? channel.send(.encode, text: text)) != nil, let frame = try? channel.receive(),
      frame.kind == .serviceReply
    else { return nil }
    return try? frame.read { reader, _ in try reader.array(of: Int32.self).map { Array($0) } }
  }

  func judge(_ request: JudgeRequest) -> JudgeReply {
    guard (try? channel.send(.judge, text: request.json.text())) != nil, let frame = try? channel.receive(),
      frame.kind == .serviceReply, let reply = try? JudgeReply(JSON.parse(frame.text()))
    else { return JudgeReply(status: .failed, message: "the host did not answer") }
    return reply
  }
}
