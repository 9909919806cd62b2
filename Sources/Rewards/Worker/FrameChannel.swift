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
  case log
  case metric
  case decode
  case encode
  case judge
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
  private static let magic: UInt32 = 0x5246_5441
  static let largest = 1 << 30

  init(socket: Int32) { self.socket = socket }

  func send(_ kind: FrameKind, _ payload: ByteBuffer) throws(Interruption) {
    let header = ByteBuffer(capacity: 64)
    header.append(UInt64(kind.rawValue) << 32 | UInt64(Self.magic))
    header.append(payload.count)
    defer { withExtendedLifetime((header, payload)) {} }
    try send(header.bytes)
    try send(payload.bytes)
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
    var done = 0
    while done < bytes.count {
      let sent = Foundation.send(socket, bytes.baseAddress! + done, bytes.count - done, flags)
      if sent > 0 {
        done += sent
      } else if sent < 0, errno == EINTR {
        continue
      } else {
        throw .closed
      }
    }
  }

  /// The next message. `deadline` gives the nanoseconds that may still pass, asked again whenever they are over; nil
  /// means forever, 0 means now.
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
    while done < target.count {
      try waitUntilReadable(deadline)
      let got = recv(socket, target.baseAddress! + done, target.count - done, 0)
      if got > 0 {
        done += got
      } else if got < 0, errno == EINTR || errno == EAGAIN {
        continue
      } else {
        throw .closed
      }
    }
  }

  private func waitUntilReadable(_ deadline: () -> UInt64?) throws(Interruption) {
    while true {
      let left = deadline()
      if left == 0 { throw .deadline }
      // Rounded up: a poll that ends a little early would spin.
      let milliseconds = left.map { Int32(clamping: min($0 / 1_000_000 + 1, 3_600_000)) } ?? -1
      var entry = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
      let ready = poll(&entry, 1, milliseconds)
      if ready > 0 { return }
      if ready < 0, errno != EINTR { throw .closed }
    }
  }
}
