import Core
import Foundation
import Synchronization

/// A word per sample that the worker writes and the host reads while a call is under way, also after a crash.
///
/// Safety: the words are atomic and live in memory that both processes share; the pages stay mapped while this lives.
final class ProgressPage: @unchecked Sendable {
  static let capacity = 1 << 16
  private static let bytes = capacity * MemoryLayout<UInt64>.stride

  enum Word: Equatable {
    case untouched
    /// Begun at this time of `MonotonicClock`.
    case begun(UInt64)
    case ended
  }

  let file: Int32
  private let words: UnsafeMutablePointer<Atomic<UInt64>>

  /// A fresh page, for the host.
  convenience init() throws {
    var name = Array((NSTemporaryDirectory() + "/attune-progress-XXXXXX").utf8CString)
    let file = mkstemp(&name)
    guard file >= 0 else {
      throw AttuneError.work("no file can be made in \(NSTemporaryDirectory()): \(String(cString: strerror(errno)))")
    }
    unlink(name)
    _ = fcntl(file, F_SETFD, FD_CLOEXEC)
    guard ftruncate(file, off_t(Self.bytes)) == 0 else {
      close(file)
      throw AttuneError.work("no room in \(NSTemporaryDirectory()): \(String(cString: strerror(errno)))")
    }
    try self.init(file: file)
  }

  /// The page of an open file, for the worker.
  init(file: Int32) throws {
    guard let memory = mmap(nil, Self.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0),
      memory != UnsafeMutableRawPointer(bitPattern: -1)
    else {
      close(file)
      throw AttuneError.work("a reward's progress page cannot be mapped: \(String(cString: strerror(errno)))")
    }
    self.file = file
    words = memory.bindMemory(to: Atomic<UInt64>.self, capacity: Self.capacity)
  }

  deinit {
    munmap(words, Self.bytes)
    close(file)
  }

  func clear(_ count: Int) {
    for i in 0..<min(count, Self.capacity) { words[i].store(0, ordering: .relaxed) }
  }

  func begin(_ index: Int) {
    guard index >= 0, index < Self.capacity else { return }
    words[index].store(MonotonicClock.now << 1, ordering: .releasing)
  }

  func end(_ index: Int) {
    guard index >= 0, index < Self.capacity else { return }
    words[index].store(1, ordering: .releasing)
  }

  subscript(index: Int) -> Word {
    let word = words[index].load(ordering: .acquiring)
    return word == 0 ? .untouched : word & 1 == 1 ? .ended : .begun(word >> 1)
  }
}
