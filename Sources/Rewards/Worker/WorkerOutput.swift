import Core
import Foundation

/// What a worker prints: shown on standard error as far as it is not too much, and remembered for when it dies.
///
/// Safety: used under the lock of the `WorkerReward` that owns the worker.
final class WorkerOutput {
  /// Shown of each call.
  private static let shown = 1 << 16
  private static let remembered = 1 << 10

  /// To be given to the worker; closed when it has started.
  private(set) var writer: Int32
  private(set) var reader: Int32
  private var left = shown
  private var dropped = 0
  private var tail: [UInt8] = []

  init() throws {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { throw AttuneError.work("no pipe can be made: \(String(cString: strerror(errno)))") }
    (reader, writer) = (ends[0], ends[1])
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    _ = fcntl(reader, F_SETFL, O_NONBLOCK)
  }

  deinit {
    if reader >= 0 { close(reader) }
    if writer >= 0 { close(writer) }
  }

  func workerHasStarted() {
    close(writer)
    writer = -1
  }

  func beginCall() {
    left = Self.shown
    dropped = 0
    tail = []
  }

  /// Takes what was printed since.
  func drain() {
    guard reader >= 0 else { return }
    withUnsafeTemporaryAllocation(byteCount: 1 << 14, alignment: 16) { buffer in
      while true {
        let got = read(reader, buffer.baseAddress, buffer.count)
        if got > 0 {
          take(UnsafeRawBufferPointer(rebasing: buffer[0..<got]))
        } else if got < 0, errno == EINTR {
          continue
        } else {
          if got == 0 {
            // Nobody can print any more.
            close(reader)
            reader = -1
          }
          return
        }
      }
    }
  }

  private func take(_ bytes: UnsafeRawBufferPointer) {
    let part = UnsafeRawBufferPointer(rebasing: bytes.prefix(left))
    StandardStream.remark(part)
    left -= part.count
    dropped += bytes.count - part.count
    tail.append(contentsOf: bytes.suffix(Self.remembered))
    if tail.count > Self.remembered { tail.removeFirst(tail.count - Self.remembered) }
  }

  /// Says what was not shown.
  func endCall(reward: String) {
    guard dropped > 0 else { return }
    StandardStream.remark(
      "\nattune: the reward \(reward) printed \(dropped) more bytes in one call, which are not shown\n")
    dropped = 0
  }

  /// The last line of this call that says something, or nil.
  var lastLine: String? {
    let lines = String(decoding: tail, as: UTF8.self).split(whereSeparator: \.isNewline)
    guard let line = lines.last(where: { $0.contains { !$0.isWhitespace } }) else { return nil }
    return String(line.filter { !$0.unicodeScalars.contains { $0.properties.generalCategory == .control } }.suffix(300))
  }
}
