import Core
import Foundation

/// Starting other programs and learning how they ended.
enum ChildProcess {
  /// How a process ended.
  enum End: Equatable {
    case exit(Int32)
    case signal(Int32)

    init(waitStatus: Int32) {
      let signal = waitStatus & 0x7F
      self = signal == 0 ? .exit((waitStatus >> 8) & 0xFF) : .signal(signal)
    }

    /// `signal 11 (SIGSEGV)` or `exit status 3`.
    var words: String {
      switch self {
      case .exit(let status): return "exit status \(status)"
      case .signal(let number):
        let names: [Int32: String] = [
          SIGABRT: "SIGABRT", SIGBUS: "SIGBUS", SIGFPE: "SIGFPE", SIGILL: "SIGILL", SIGKILL: "SIGKILL",
          SIGSEGV: "SIGSEGV", SIGTERM: "SIGTERM", SIGTRAP: "SIGTRAP", SIGHUP: "SIGHUP", SIGINT: "SIGINT",
          SIGPIPE: "SIGPIPE", SIGXCPU: "SIGXCPU", SIGSYS: "SIGSYS",
        ]
        return "signal \(number)" + (names[number].map { " (\($0))" } ?? "")
      }
    }
  }

  /// Starts a program in a process group of its own. `descriptors[i]` becomes descriptor 3 + i; standard
  /// input is empty, and standard output goes to standard error.
  ///
  /// - Parameter errors: becomes standard error; nil: this process's own.
  static func start(
    _ command: [String], environment: [String: String] = [:], descriptors: [Int32], errors: Int32? = nil
  ) throws -> pid_t {
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
    // Copies with high numbers: a target number may be one of the sources.
    let high = (descriptors + (errors.map { [$0] } ?? [])).map { fcntl($0, F_DUPFD_CLOEXEC, 100) }
    defer { for file in high where file >= 0 { close(file) } }
    guard high.allSatisfy({ $0 >= 0 }) else {
      throw AttuneError.work("no more files can be opened: \(String(cString: strerror(errno)))")
    }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    if errors != nil, let last = high.last { posix_spawn_file_actions_adddup2(&actions, last, 2) }
    posix_spawn_file_actions_adddup2(&actions, 2, 1)
    for (i, file) in high.prefix(descriptors.count).enumerated() {
      posix_spawn_file_actions_adddup2(&actions, file, Int32(3 + i))
    }
    #if os(Linux)
      let flags = Int16(POSIX_SPAWN_SETPGROUP)
    #else
      let flags = Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_CLOEXEC_DEFAULT)
      posix_spawn_file_actions_addinherit_np(&actions, 2)
    #endif
    posix_spawnattr_setflags(&attributes, flags)
    posix_spawnattr_setpgroup(&attributes, 0)

    var variables = ProcessInfo.processInfo.environment
    variables.merge(environment) { $1 }
    let (status, process) = withCStrings(command) { arguments in
      withCStrings(variables.map { "\($0.key)=\($0.value)" }) { environment in
        var process: pid_t = 0
        let status = posix_spawnp(&process, command[0], &actions, &attributes, arguments, environment)
        return (status, process)
      }
    }
    guard status == 0 else {
      throw AttuneError.work("\(command[0]) cannot be started: \(String(cString: strerror(status)))")
    }
    return process
  }

  /// Waits for the end of a process that was started here.
  static func wait(for process: pid_t) -> End {
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0 {
      if errno != EINTR { return .exit(127) }
    }
    return End(waitStatus: status)
  }

  /// True if a process that was started here is over. It can still be asked how.
  static func isOver(_ process: pid_t) -> Bool {
    var information = siginfo_t()
    #if os(Linux)
      // WNOWAIT of linux/wait.h, which Swift does not see.
      let leavesItWaitable: Int32 = 0x0100_0000
    #else
      let leavesItWaitable = WNOWAIT
    #endif
    return waitid(P_PID, id_t(process), &information, WEXITED | WNOHANG | leavesItWaitable) == 0
      && information.si_signo != 0
  }

  /// True if a child of this process is running. Those that are over are forgotten.
  static func hasChildren() -> Bool {
    while true {
      var status: Int32 = 0
      let process = waitpid(-1, &status, WNOHANG)
      if process == 0 { return true }
      if process < 0, errno != EINTR { return false }
    }
  }

  /// Kills the processes of a group other than the one that it is named after, also those that appear meanwhile.
  ///
  /// - Returns: how many there were; 0 where the system does not list its processes in `/proc`.
  static func killFollowers(ofGroup leader: pid_t) -> Int {
    var killed: Set<pid_t> = []
    // What starts processes faster than they can be killed is left to the end of the group.
    for _ in 0..<1000 {
      let running = followers(ofGroup: leader)
      if running.isEmpty { break }
      for process in running where kill(process, SIGKILL) == 0 { killed.insert(process) }
      usleep(500)
    }
    return killed.count
  }

  private static func followers(ofGroup leader: pid_t) -> [pid_t] {
    guard let folder = opendir("/proc") else { return [] }
    defer { closedir(folder) }
    var found: [pid_t] = []
    while let entry = readdir(folder) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      guard let process = pid_t(name), process != leader, getpgid(process) == leader, !isZombie(process) else {
        continue
      }
      found.append(process)
    }
    return found
  }

  private static func isZombie(_ process: pid_t) -> Bool {
    guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
      let end = text.lastIndex(of: ")")
    else { return true }
    return "ZX".contains(text[text.index(after: end)...].first { $0 != " " } ?? "X")
  }

  /// Runs a command to its end; returns how it ended and what it printed.
  static func run(_ command: [String], environment: [String: String] = [:]) throws -> (end: End, output: String) {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { throw AttuneError.work("no pipe can be made: \(String(cString: strerror(errno)))") }
    _ = fcntl(ends[0], F_SETFD, FD_CLOEXEC)
    _ = fcntl(ends[1], F_SETFD, FD_CLOEXEC)
    defer { close(ends[0]) }
    // The shell joins both outputs into the pipe; "$@" hands the words over untouched.
    let wrapped = ["/bin/sh", "-c", "exec \"$@\" >&3 2>&1 3>&-", "sh"] + command
    let process: pid_t
    do {
      process = try start(wrapped, environment: environment, descriptors: [ends[1]])
    } catch {
      close(ends[1])
      throw error
    }
    close(ends[1])
    var output: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 14)
    while true {
      let got = read(ends[0], &buffer, buffer.count)
      if got > 0 {
        if output.count < 1 << 20 { output.append(contentsOf: buffer[0..<got]) }
      } else if got == 0 || errno != EINTR {
        break
      }
    }
    return (wait(for: process), String(decoding: output, as: UTF8.self))
  }

  private static func withCStrings<R>(
    _ texts: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> R
  ) -> R {
    var pointers: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) } + [nil]
    defer { for pointer in pointers { free(pointer) } }
    return pointers.withUnsafeMutableBufferPointer { list in
      guard let start = list.baseAddress else { preconditionFailure("the list holds at least its end") }
      return body(start)
    }
  }
}
