import Core
import Foundation

/// Another program: found on the PATH, started without a shell, read through a pipe, and never waited for longer than
/// allowed.
struct ExternalProgram {
  let path: String

  /// The first executable file of this name in the folders of `searchPath` (absolute ones; the current folder never
  /// counts).
  init?(_ name: String, searchPath: String?) {
    let folders = (searchPath ?? "").split(separator: ":").filter { $0.hasPrefix("/") }
    let candidates = folders.map { "\($0)/\(name)" }
    guard
      let found = candidates.first(where: {
        var status = stat()
        return stat($0, &status) == 0 && status.st_mode & S_IFMT == S_IFREG && access($0, X_OK) == 0
      })
    else { return nil }
    path = found
  }

  /// How a run ended.
  enum End: Equatable {
    case exit(Int32)
    case signal(Int32)
    /// The reader had enough; the program was stopped.
    case stopped
    case timedOut
  }

  /// Runs the program to its end.
  ///
  /// - Parameters:
  ///   - seconds: after so long it is killed.
  ///   - read: gets standard output piece by piece; false stops the program.
  /// - Returns: how it ended, and the last 4 KiB of standard error.
  /// - Throws: `AttuneError` (`.work`) if it cannot be started, and what `read` throws (the program is killed first).
  func run(
    _ arguments: [String], seconds: Double, read reader: (UnsafeBufferPointer<UInt8>) throws -> Bool
  ) throws -> (end: End, errors: String) {
    let output = try Pipe()
    let errors = try Pipe()
    let process = try start([path] + arguments, output: output.writing, errors: errors.writing)
    output.closeWriting()
    errors.closeWriting()
    var end: End?
    defer {
      if end == nil {
        kill(process, SIGKILL)
        _ = wait(process)
      }
    }
    let deadline = ContinuousClock.now + .seconds(seconds)
    var told: [UInt8] = []
    var sources = [output, errors].map { pollfd(fd: $0.reading, events: Int16(POLLIN), revents: 0) }
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    // A pipe's end is not waited for: another child of this process may have inherited it. What the program wrote before
    // it ended is ready at once, so the output is over when the program is and nothing is ready.
    while true {
      if ContinuousClock.now >= deadline { return (.timedOut, String(decoding: told, as: UTF8.self)) }
      if end == nil { end = wait(process, options: WNOHANG) }
      let isOpen = sources.contains { $0.fd >= 0 }
      if !isOpen, let end { return (end, String(decoding: told, as: UTF8.self)) }
      let ready = poll(&sources, nfds_t(sources.count), end != nil ? 0 : isOpen ? 50 : 1)
      if ready < 0, errno != EINTR { throw Self.failure("waiting for \(path)") }
      if ready == 0, let end { return (end, String(decoding: told, as: UTF8.self)) }
      if ready <= 0 { continue }
      for i in sources.indices where sources[i].fd >= 0 && sources[i].revents != 0 {
        let got = read(sources[i].fd, &buffer, buffer.count)
        if got < 0, errno == EINTR { continue }
        if got <= 0 {
          sources[i].fd = -1
        } else if i == 0 {
          let goesOn = try buffer.withUnsafeBufferPointer { try reader(UnsafeBufferPointer(rebasing: $0[..<got])) }
          if !goesOn { return (.stopped, String(decoding: told, as: UTF8.self)) }
        } else {
          told = (told + buffer[..<got]).suffix(4096)
        }
      }
    }
  }

  private func start(_ words: [String], output: Int32, errors: Int32) throws -> pid_t {
    #if os(Linux)
      var actions = posix_spawn_file_actions_t()
      var attributes = posix_spawnattr_t()
    #else
      var actions: posix_spawn_file_actions_t?
      var attributes: posix_spawnattr_t?
    #endif
    posix_spawn_file_actions_init(&actions)
    posix_spawnattr_init(&attributes)
    defer {
      posix_spawn_file_actions_destroy(&actions)
      posix_spawnattr_destroy(&attributes)
    }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    posix_spawn_file_actions_adddup2(&actions, errors, 2)
    #if !os(Linux)
      posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_CLOEXEC_DEFAULT))
    #endif
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var process: pid_t = 0
    let status = posix_spawn(&process, path, &actions, &attributes, &arguments, environ)
    guard status == 0 else {
      throw AttuneError.work("\(path) cannot be started: \(String(cString: strerror(status)))")
    }
    return process
  }

  private func wait(_ process: pid_t, options: Int32 = 0) -> End? {
    var status: Int32 = 0
    while true {
      let found = waitpid(process, &status, options)
      if found == process { break }
      if found == 0 { return nil }
      if errno != EINTR { return .exit(127) }
    }
    return status & 0x7F == 0 ? .exit((status >> 8) & 0xFF) : .signal(status & 0x7F)
  }

  private static func failure(_ what: String) -> AttuneError {
    .work("\(what) failed: \(String(cString: strerror(errno)))")
  }

  /// Two descriptors, closed where other programs start.
  private final class Pipe {
    let reading: Int32
    private(set) var writing: Int32

    init() throws {
      var ends: [Int32] = [-1, -1]
      guard pipe(&ends) == 0 else { throw ExternalProgram.failure("making a pipe") }
      for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
      (reading, writing) = (ends[0], ends[1])
    }

    func closeWriting() {
      if writing >= 0 { close(writing) }
      writing = -1
    }

    deinit {
      closeWriting()
      close(reading)
    }
  }
}
