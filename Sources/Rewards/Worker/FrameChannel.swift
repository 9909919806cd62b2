import Core
import Foundation

/// What a message between the program and a worker is about.
enum FrameKind: UInt32 {
  // To the worker.
  case load = 1
  case describe
  case score
  case saveState
  case loadState
  case close
  /// The answer to `decode`, `encode` and `judge`.
  case serviceReply
  // From the worker.
  case loaded = 32
  case described
  case scored
  case state
  case error
  /// The plugin wrote where it must not; the text says where.
  case violated
  case log
  case metric
  case decode
  case encode
  case judge
}

/// What a channel looks after while it waits.
protocol ChannelCompanion: AnyObject {
  /// A descriptor that is read beside the socket, or -1.
  var reader: Int32 { get }
  func drain()
  /// True if the other end will not answer any more, although its socket may still be open somewhere.
  func isOver() -> Bool
}

/// Messages of bounded size over a socket: a header of 16 bytes (magic, kind, length), then the payload.
///
/// Safety: one thread reads and writes at a time.
final class FrameChannel {
  struct Frame {
    var kind: FrameKind
    var payload: ByteBuffer

    /// The payload, which stays in memory while `body` looks at it.
    func read<R>(_ body: (inout ByteReader, UnsafeRawBufferPointer) throws -> R) rethrows -> R {
      try withExtendedLifetime(payload) {
        var reader = ByteReader(payload.bytes)
        return try body(&reader, payload.bytes)
      }
    }

    /// A payload that is one text.
    func text() throws -> String { try read { reader, _ in try reader.string() } }
  }

  /// Why no frame came.
  enum Interruption: Error {
    /// The other end is gone.
    case closed
    case deadline
    /// Bytes that are no frame.
    case garbled
  }

  let socket: Int32
  weak var companion: (any ChannelCompanion)?
  private static let magic: UInt32 = 0x5246_5441
  static let largest = 1 << 30
  /// What came with a frame and belongs to the next.
  private let inbox = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 12, alignment: 16)
  private var inboxStart = 0
  private var inboxEnd = 0
  private let outbox = ByteBuffer(capacity: 1 << 12)

  init(socket: Int32) { self.socket = socket }
  deinit { inbox.deallocate() }

  func send(_ kind: FrameKind, _ payload: ByteBuffer) throws(Interruption) {
    defer { withExtendedLifetime(payload) {} }
    outbox.clear()
    outbox.append(UInt64(kind.rawValue) << 32 | UInt64(Self.magic))
    outbox.append(payload.count)
    // One call for both, unless that would copy much.
    guard payload.count <= 1 << 12 else {
      try send(outbox.bytes)
      return try send(payload.bytes)
    }
    if payload.count > 0 { outbox.reserve(payload.count).copyMemory(from: payload.bytes) }
    try send(outbox.bytes)
  }

  func send(_ kind: FrameKind, text: String) throws(Interruption) {
    let payload = ByteBuffer(capacity: text.utf8.count + 32)
    payload.append(text)
    try send(kind, payload)
  }

  private func send(_ bytes: UnsafeRawBufferPointer) throws(Interruption) {
    #if os(Linux)
      let flags = Int32(MSG_NOSIGNAL)
    #else
      let flags: Int32 = 0
    #endif
    guard let start = bytes.baseAddress else { return }
    var done = 0
    while done < bytes.count {
      let sent = Foundation.send(socket, start + done, bytes.count - done, flags)
      if sent > 0 {
        done += sent
      } else if sent < 0, errno == EINTR {
        continue
      } else {
        throw .closed
      }
    }
  }

  /// The next message. `deadline` gives the nanoseconds that may still pass, asked again from time to time; nil means
  /// forever, 0 means now.
  func receive(deadline: () -> UInt64? = { nil }) throws(Interruption) -> Frame {
    let header = ByteBuffer(capacity: 64)
    defer { withExtendedLifetime(header) {} }
    try fill(header.reserve(16), deadline)
    let head = header.bytes
    guard head.loadUnaligned(as: UInt32.self) == Self.magic,
      let kind = FrameKind(rawValue: head.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
    else { throw .garbled }
    let length = head.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
    guard length <= UInt64(Self.largest) else { throw .garbled }
    let payload = ByteBuffer(capacity: Int(length))
    defer { withExtendedLifetime(payload) {} }
    try fill(payload.reserve(Int(length)), deadline)
    return Frame(kind: kind, payload: payload)
  }

  private func fill(_ target: UnsafeMutableRawBufferPointer, _ deadline: () -> UInt64?) throws(Interruption) {
    var done = 0
    var spinEnd: UInt64?
    while done < target.count {
      if inboxStart < inboxEnd {
        let count = min(inboxEnd - inboxStart, target.count - done)
        UnsafeMutableRawBufferPointer(rebasing: target[done..<(done + count)]).copyMemory(
          from: UnsafeRawBufferPointer(rebasing: inbox[inboxStart..<(inboxStart + count)]))
        inboxStart += count
        done += count
        continue
      }
      // Much goes straight to where it belongs.
      let isMuch = target.count - done >= inbox.count
      let place = isMuch ? UnsafeMutableRawBufferPointer(rebasing: target[done...]) : inbox
      let got = recv(socket, place.baseAddress, place.count, Int32(MSG_DONTWAIT))
      if got > 0, isMuch {
        done += got
      } else if got > 0 {
        (inboxStart, inboxEnd) = (0, got)
      } else if got < 0, errno == EAGAIN || errno == EWOULDBLOCK {
        if !isWorthWaiting(for: &spinEnd) { try waitUntilReadable(deadline) }
      } else if got < 0, errno == EINTR {
        continue
      } else {
        throw .closed
      }
    }
  }

  /// True for the first moment of waiting, in which the processor is offered to others and the socket looked at again. Waking
  /// a process that sleeps takes longer than a plugin takes for a small batch.
  private func isWorthWaiting(for end: inout UInt64?) -> Bool {
    let now = MonotonicClock.now
    let limit = end ?? now + Self.moment
    end = limit
    guard now < limit else { return false }
    sched_yield()
    return true
  }

  /// In nanoseconds: longer than a small batch takes, and a few times what waking costs on a virtual machine.
  private static let moment: UInt64 = 300_000

  /// How often a companion is looked after.
  private static let patience: UInt64 = 50_000_000

  private func waitUntilReadable(_ deadline: () -> UInt64?) throws(Interruption) {
    while true {
      let left = deadline()
      if left == 0 { throw .deadline }
      let companion = self.companion
      var wait = left
      if companion != nil { wait = min(left ?? Self.patience, Self.patience) }
      // Rounded up: a poll that ends a little early would spin.
      let milliseconds = wait.map { Int32(clamping: min($0 / 1_000_000 + 1, 3_600_000)) } ?? -1
      var entries = (
        pollfd(fd: socket, events: Int16(POLLIN), revents: 0),
        pollfd(fd: companion?.reader ?? -1, events: Int16(POLLIN), revents: 0)
      )
      let ready = withUnsafeMutableBytes(of: &entries) {
        poll($0.bindMemory(to: pollfd.self).baseAddress, 2, milliseconds)
      }
      if ready < 0, errno != EINTR { throw .closed }
      if entries.1.revents != 0 { companion?.drain() }
      if entries.0.revents != 0 { return }
      if ready == 0, let companion, companion.isOver() { throw .closed }
    }
  }
}
