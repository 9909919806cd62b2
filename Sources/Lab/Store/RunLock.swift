import Core
import Foundation

/// Says whether a run is being written: the writer holds a lock on a file in the run's folder, which the system
/// releases when the process ends, however it ends.
final class RunLock: Sendable {
  private let descriptor: Int32

  /// Takes the lock.
  ///
  /// - Throws: `AttuneError` (work) if another process, or another writer in this one, holds it.
  init(_ path: String) throws {
    // Not inherited: a reward worker that outlives the run must not keep it locked.
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw AttuneError.work(
        "could not create the run's lock: \(String(cString: strerror(errno)))", at: .init(file: path))
    }
    // A reader's glance (`isHeld`) holds the lock for an instant; a writer holds it for long.
    for attempt in 0..<20 {
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return }
      if attempt < 19 { usleep(5_000) }
    }
    close(descriptor)
    throw AttuneError.work(
      "this run is being written by another process", at: .init(file: path), hint: "wait for it, or stop it")
  }

  deinit { close(descriptor) }

  /// True while someone holds the lock at `path`.
  static func isHeld(_ path: String) -> Bool {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    return flock(descriptor, LOCK_SH | LOCK_NB) != 0
  }
}
