import Core
import Foundation

/// Running something on a thread with as much stack as it needs.
enum DeepStack {
  /// Runs `body` to its end on a thread of its own.
  ///
  /// Safety: the caller waits, so that nothing is used by two threads at once.
  static func run(bytes: Int, _ body: () throws -> Void) throws {
    try withoutActuallyEscaping(body) { body in
      let task = Task(body)
      let thread = Thread {
        task.result = Result { try task.body() }
        task.finished.signal()
      }
      let page = 1 << 14
      thread.stackSize = (bytes + page - 1) / page * page
      thread.start()
      task.finished.wait()
      defer { withExtendedLifetime(thread) {} }
      try task.result.get()
    }
  }

  private final class Task: @unchecked Sendable {
    let body: () throws -> Void
    let finished = DispatchSemaphore(value: 0)
    var result: Result<Void, any Error> = .success(())
    init(_ body: @escaping () throws -> Void) { self.body = body }
  }
}
