import Core
import Foundation

/// One run of a program in the sandbox, from its start to its end.
struct SandboxedRun {
  enum End: Equatable {
    case exit(Int32)
    case signal(Int32)
    /// It used up its processor time, or the clock's.
    case timeLimit
    /// The sample's own time was up.
    case cancelled
    /// The sandbox could not do its work.
    case failed(String)
  }

  var end: End
  /// What it wrote to its outputs, to the limit of a file's size.
  var output: [UInt8]
  var errors: [UInt8]

  /// Runs a command in `folder` and waits for it.
  ///
  /// - Parameters:
  ///   - program: this program's file.
  ///   - input: standard input.
  ///   - seconds: of processor time; on the clock it may take twice as long.
  static func run(
    _ command: [String], program: String, folder: String, input: [UInt8], seconds: Double, limits: CodeSandbox.Limits,
    isCancelled: () -> Bool
  ) -> SandboxedRun {
    func failed(_ words: String) -> SandboxedRun { SandboxedRun(end: .failed(words), output: [], errors: []) }
    // Beside the folder, where the program cannot change them but through its descriptors.
    let paths = ["input", "output", "errors"].map { (folder as NSString).deletingLastPathComponent + "/" + $0 }
    defer { for path in paths { unlink(path) } }
    guard FileManager.default.createFile(atPath: paths[0], contents: Data(input)) else {
      return failed("the input cannot be written to \(paths[0])")
    }
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { return failed("no pipe can be made: \(String(cString: strerror(errno)))") }
    for file in ends { _ = fcntl(file, F_SETFD, FD_CLOEXEC) }
    defer { close(ends[0]) }
    let words = [program, CodeSandbox.verb, folder, "\(getpid())"] + limits.words + command
    let (status, process) = spawn(words, folder: folder, paths: paths, report: ends[1])
    close(ends[1])
    guard status == 0 else { return failed("\(program) cannot be started: \(String(cString: strerror(status)))") }

    let start = MonotonicClock.now
    var reason: End?
    var pause: UInt32 = 500
    var info = siginfo_t()
    while true {
      // The process stays until its group is ended, so that the group's number is nobody else's.
      info.si_signo = 0
      if waitid(P_PID, id_t(process), &info, WEXITED | WNOWAIT | WNOHANG) != 0, errno != EINTR { break }
      if info.si_signo == SIGCHLD { break }
      let passed = Double(MonotonicClock.now - start) * 1e-9
      if isCancelled() { reason = .cancelled } else if passed >= 2 * seconds { reason = .timeLimit }
      if reason != nil { break }
      usleep(pause)
      pause = min(pause * 2, 8000)
    }
    kill(-process, SIGKILL)
    var code: Int32 = 0
    var usage = rusage()
    while wait4(process, &code, 0, &usage) < 0, errno == EINTR {}
    let report = FileHandle(fileDescriptor: ends[0], closeOnDealloc: false).readDataToEndOfFile()
    if !report.isEmpty { return failed("the sandbox failed: " + String(decoding: report, as: UTF8.self)) }
    func read(_ path: String) -> [UInt8] { FileManager.default.contents(atPath: path).map { [UInt8]($0) } ?? [] }
    func time(_ value: timeval) -> Double { Double(value.tv_sec) + Double(value.tv_usec) * 1e-6 }
    let used = time(usage.ru_utime) + time(usage.ru_stime)
    let end: End
    switch ChildProcess.End(waitStatus: code) {
    case _ where reason != nil: end = reason ?? .cancelled
    case .signal(SIGXCPU): end = .timeLimit
    case _ where used > seconds: end = .timeLimit
    case .exit(let status): end = .exit(status)
    case .signal(let number): end = .signal(number)
    }
    return SandboxedRun(end: end, output: read(paths[1]), errors: read(paths[2]))
  }

  /// Nothing of this program's environment: it may hold what is nobody's business.
  private static func environment(_ folder: String) -> [String] {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
    return [
      "PATH=\(path)", "HOME=\(folder)", "TMPDIR=\(folder)", "LANG=C.UTF-8", "PYTHONHASHSEED=0",
      "PYTHONDONTWRITEBYTECODE=1", "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1",
    ]
  }

  private static func spawn(
    _ words: [String], folder: String, paths: [String], report: Int32
  ) -> (status: Int32, process: pid_t) {
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
    // The number 3 may be the report's own, and then would keep its mark.
    let high = fcntl(report, F_DUPFD_CLOEXEC, 100)
    defer { if high >= 0 { close(high) } }
    posix_spawn_file_actions_addopen(&actions, 0, paths[0], O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, paths[1], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0o600)
    posix_spawn_file_actions_addopen(&actions, 2, paths[2], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0o600)
    posix_spawn_file_actions_adddup2(&actions, high, 3)
    // Signals that this program ignores or blocks are none of the child's business.
    var none = sigset_t()
    var all = sigset_t()
    sigemptyset(&none)
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    let arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    let variables: [UnsafeMutablePointer<CChar>?] = environment(folder).map { strdup($0) } + [nil]
    defer { for pointer in arguments + variables { free(pointer) } }
    var process: pid_t = 0
    let status = posix_spawn(&process, words[0], &actions, &attributes, arguments, variables)
    return (status, process)
  }
}
