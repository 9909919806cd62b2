import Core
import Synchronization

/// A word per sample that the worker writes and the host reads while a call is under way, also after a crash.
///
/// Safety: the words are atomic and live in memory that both processes share; `WorkerMemory` keeps it mapped.
struct ProgressPage: @unchecked Sendable {
  static let capacity = 1 << 16
  static let bytes = capacity * MemoryLayout<UInt64>.stride

  enum Word: Equatable {
    case untouched
    /// Begun at this time of `MonotonicClock`.
    case begun(UInt64)
    case ended
  }

  private let words: UnsafeMutablePointer<Atomic<UInt64>>

  /// The words at the beginning of this memory.
  init(_ memory: UnsafeMutableRawPointer) {
    words = memory.bindMemory(to: Atomic<UInt64>.self, capacity: Self.capacity)
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
