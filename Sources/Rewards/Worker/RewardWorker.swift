import CConfinement
import CRewardABI
import Core
import Foundation

/// The program's other life: a process that holds one reward's library, and nothing that could be lost.
public enum RewardWorker {
  /// Serves the reward on descriptors 3 (socket), 4 (results) and 5 (requests) until the host goes away.
  public static func main(_ arguments: [String]) -> Int32 {
    // Whatever is started here, also by what is started here, stays this process's to look after.
    attune_adopt_orphans()
    // The host decides when a run ends; a worker ends with its host.
    signal(SIGINT, SIG_IGN)
    signal(SIGPIPE, SIG_IGN)
    var kind = stat()
    guard fstat(3, &kind) == 0, kind.st_mode & S_IFMT == S_IFSOCK,
      let memory = try? WorkerMemory(results: 4, request: 5)
    else {
      StandardStream.remark("this command is started by attune itself, to hold a reward plugin\n")
      return 2
    }
    // Files that the host had open are none of a plugin's business.
    attune_close_from(4)
    _ = fcntl(3, F_SETFD, FD_CLOEXEC)
    WorkerLoop(FrameChannel(socket: 3), memory).run()
    return 0
  }

  /// Ends this process when its host does.
  fileprivate static func watchHost() {
    let begun = DispatchSemaphore(value: 0)
    let watcher = Thread {
      begun.signal()
      // A plugin that hangs never looks at the socket: this thread does, and takes the plugin's children along.
      var entry = pollfd(fd: 3, events: 0, revents: 0)
      while poll(&entry, 1, -1) < 0, errno == EINTR {}
      kill(0, SIGKILL)
      _exit(0)
    }
    watcher.stackSize = 1 << 18
    watcher.start()
    // What a second thread makes the C library set aside is not the plugin's to pay for.
    begun.wait()
  }
}

/// The worker's side of the conversation.
private final class WorkerLoop: PluginServices {
  private let channel: FrameChannel
  private let memory: WorkerMemory
  private var progress: ProgressPage { memory.progress }
  private var instance: (any RewardInstance)?
  private var confined: (confinement: WorkerConfinement, taken: UInt64)?
  private var begun: UInt64?

  init(_ channel: FrameChannel, _ memory: WorkerMemory) {
    self.channel = channel
    self.memory = memory
  }

  func run() {
    while let frame = try? channel.receive() {
      do {
        try answer(frame)
      } catch is FrameChannel.Interruption {
        break
      } catch let violation as RewardViolation {
        guard (try? channel.send(.violated, text: violation.place)) != nil else { break }
      } catch {
        let known = error as? AttuneError ?? .work("\(error)")
        let object: JSON = [
          "kind": .string(known.kind == .request ? "request" : "work"), "message": .string(known.message),
          "hint": known.hint.map(JSON.string) ?? .null,
          "file": known.location.map { .string($0.file) } ?? .null,
          "line": known.location?.line.map { .int($0) } ?? .null,
          "column": known.location?.column.map { .int($0) } ?? .null,
        ]
        guard (try? channel.send(.error, text: object.text())) != nil else { break }
      }
    }
    // The host closes its end only when it ends this process: if the descriptor is gone, it was the plugin.
    if fcntl(3, F_GETFD) < 0 { memory.fault.pointee.kind = UInt64(ATTUNE_FAULT_DESCRIPTORS) }
  }

  private func answer(_ frame: FrameChannel.Frame) throws {
    try frame.read { reader, _ in try answer(frame.kind, &reader) }
  }

  /// Before any code of a plugin runs: constructors run while a library is loaded.
  private func confine(_ limits: WorkerLimits) throws -> (confinement: WorkerConfinement, taken: UInt64) {
    if let confined { return confined }
    let made = try WorkerConfinement.confine(limits) { RewardWorker.watchHost() }
    confined = made
    _ = attune_watch_faults(memory.fault, memory.request.baseAddress, memory.request.count)
    return made
  }

  private func answer(_ kind: FrameKind, _ reader: inout ByteReader) throws {
    switch kind {
    case .describe:
      _ = try confine(try WorkerLimits(&reader))
      let all = try RewardSource(&reader).descriptors()
      try channel.send(.described, text: JSON.array(all.map(\.json)).text())
    case .load:
      let request = try LoadRequest(&reader)
      let (confinement, taken) = try confine(request.limits)
      let made = try request.instance(services: self)
      instance = made
      let answer: JSON = [
        "reward": made.descriptor.json, "confinement": confinement.json,
        "request": .string("\(UInt(bitPattern: memory.request.baseAddress))"), "taken": .string("\(taken)"),
      ]
      try channel.send(.loaded, text: answer.text())
    case .score:
      guard let instance, let start = memory.request.baseAddress else {
        throw AttuneError.work("a reward's worker was asked to score before it had loaded")
      }
      let variant = PluginInstance.Variant(rawValue: try reader.integer(atMost: 8)) ?? .normal
      // Made by the program alone, and not to be written here.
      let view = BatchView(batch: start.assumingMemoryBound(to: attune_batch.self))
      let reply = ByteBuffer(into: memory.reply)
      begun = nil
      try instance.score(view, variant: variant, into: reply)
      guard !reply.isOwner else { throw AttuneError.work("the outcomes of a batch take more than 1 GiB") }
      let answer = ByteBuffer(capacity: 64)
      answer.append(reply.count)
      answer.append(ChildProcess.hasChildren() ? 1 : 0)
      try channel.send(.scored, answer)
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
