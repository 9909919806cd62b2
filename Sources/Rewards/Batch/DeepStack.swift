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
        task.run()
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
    private var body: (() throws -> Void)?
    let finished = DispatchSemaphore(value: 0)
    private(set) var result: Result<Void, any Error> = .success(())
    init(_ body: @escaping () throws -> Void) { self.body = body }

    /// Lets go of the function before it returns: the thread may outlive the caller's scope by a moment, the function must not.
    func run() {
      guard let body else { return }
      self.body = nil
      result = Result { try body() }
    }
  }
}
