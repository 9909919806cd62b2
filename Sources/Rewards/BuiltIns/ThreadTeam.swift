import Foundation
import Synchronization

/// Threads for work that waits: for the network, for other processes. Dispatch would start as many as there are cores.
enum ThreadTeam {
  /// A local judge computes on them.
  private static let stackSize = 8 << 20

  /// Calls `body` once for every index below `count`, on up to `threads` threads, and waits for all.
  static func perform(_ count: Int, threads: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let members = min(max(1, threads), count)
    guard members > 1 else {
      for i in 0..<count { body(i) }
      return
    }
    let next = Counter()
    let done = DispatchSemaphore(value: 0)
    for _ in 0..<members {
      let thread = Thread {
        while let i = next.take(below: count) { body(i) }
        done.signal()
      }
      thread.stackSize = stackSize
      thread.start()
    }
    for _ in 0..<members { done.wait() }
  }

  private final class Counter: Sendable {
    private let value = Atomic<Int>(0)
    func take(below limit: Int) -> Int? {
      let i = value.wrappingAdd(1, ordering: .relaxed).oldValue
      return i < limit ? i : nil
    }
  }
}
