import Foundation
import Synchronization

/// Notices that a plugin in this process ended the program: its `exit(0)` would look like success.
public enum InlineExitGuard {
  private struct State {
    /// The process that has a guard: one that a plugin forks may end as it likes.
    var process: pid_t = 0
    var programEnds = false
    var loaded: [String] = []
    var calling: [String] = []

    /// The reward that likely ended the program, or nil if it ended itself.
    var culprit: String? {
      guard process == getpid(), !programEnds else { return nil }
      return calling.last ?? loaded.last
    }
  }

  private static let state = Mutex(State())

  /// Once, when the program begins.
  public static func arm() {
    state.withLock { $0.process = getpid() }
    atexit { InlineExitGuard.check() }
  }

  /// The program is about to exit by itself.
  public static func programEnds() { state.withLock { $0.programEnds = true } }

  static func hasLoaded(_ reward: String) { state.withLock { $0.loaded.append(reward) } }
  static func hasClosed(_ reward: String) {
    state.withLock { state in
      if let place = state.loaded.lastIndex(of: reward) { state.loaded.remove(at: place) }
    }
  }

  /// Runs code of the reward.
  static func calling<R>(_ reward: String, _ body: () throws -> R) rethrows -> R {
    state.withLock { $0.calling.append(reward) }
    defer {
      state.withLock { state in
        if let place = state.calling.lastIndex(of: reward) { state.calling.remove(at: place) }
      }
    }
    return try body()
  }

  private static func check() {
    guard let reward = state.withLock({ $0.culprit }) else { return }
    // What was printed so far is not lost, as with any other exit.
    fflush(nil)
    StandardStream.remark("attune: the reward \(reward) ended the program (isolation: inline)\n")
    _exit(1)
  }
}
