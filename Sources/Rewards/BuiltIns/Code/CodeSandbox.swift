import CConfinement
import Core
import Foundation

/// The program's third life: it limits and confines itself, and then becomes a program that a policy wrote, or a compiler.
///
/// What is started this way writes beneath one folder only, has no network, and cannot use more processor time, memory,
/// file size and descriptors than it was given. A confinement that fails is reported on descriptor 3, which the program never
/// sees.
public enum CodeSandbox {
  /// The hidden verb.
  public static let verb = "__sandbox"

  /// What a program may use.
  struct Limits {
    /// Whole seconds of processor time.
    var cpuSeconds: Int
    /// Address space in bytes.
    var memory: Int
    /// Bytes of every file that it writes, its output among them.
    var fileSize: Int
    /// Threads, but no processes.
    var isSingleProcess: Bool
    /// False: only limits are set, since the system cannot confine.
    var isConfined: Bool

    /// The arguments that hand the limits over.
    var words: [String] {
      [cpuSeconds, memory, fileSize, isSingleProcess ? 1 : 0, isConfined ? 1 : 0].map(String.init)
    }

    init(cpuSeconds: Int, memory: Int, fileSize: Int, isSingleProcess: Bool, isConfined: Bool) {
      self.cpuSeconds = cpuSeconds
      self.memory = memory
      self.fileSize = fileSize
      self.isSingleProcess = isSingleProcess
      self.isConfined = isConfined
    }

    init?(_ words: ArraySlice<String>) {
      let numbers = words.compactMap { Int($0) }
      guard numbers.count == 5, numbers.allSatisfy({ $0 >= 0 }) else { return nil }
      self.init(
        cpuSeconds: numbers[0], memory: numbers[1], fileSize: numbers[2], isSingleProcess: numbers[3] == 1,
        isConfined: numbers[4] == 1)
    }
  }

  /// What this system lacks, in words, or nil if programs can be confined.
  static var gap: String? {
    if attune_landlock_version() < 1 { return "has no Landlock (Linux 5.13 and newer), so that it could write files" }
    return attune_seccomp_available() == 0 ? "filters no system calls, so that it could use the network" : nil
  }

  /// `FOLDER PARENT` five limits `PROGRAM ARGUMENT ..`: comes back only with what went wrong.
  public static func main(_ arguments: [String]) -> Int32 {
    guard fcntl(3, F_SETFD, FD_CLOEXEC) == 0, arguments.count >= 8, let parent = Int32(arguments[1]),
      let limits = Limits(arguments[2..<7])
    else {
      StandardStream.remark("this command is started by attune itself, to run a policy's code\n")
      return 2
    }
    attune_close_from(4)
    do { try become(Array(arguments[7...]), in: arguments[0], parent, limits) } catch {
      let words = [UInt8]((error as? AttuneError)?.message ?? "\(error)")
      _ = write(3, words, words.count)
    }
    return 125
  }

  private static func become(_ command: [String], in folder: String, _ parent: pid_t, _ limits: Limits) throws {
    func check(_ status: Int32, _ what: String) throws {
      guard status == 0 else { throw AttuneError.work("\(what): \(String(cString: strerror(abs(status))))") }
    }
    try check(chdir(folder) == 0 ? 0 : errno, "the folder \(folder)")
    try check(attune_end_with_parent(parent), "an end with the program")
    // Made while there is memory for it.
    var pointers: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
    defer { for pointer in pointers { free(pointer) } }
    try check(attune_set_limit(CInt(ATTUNE_LIMIT_CORE), 0), "the limit of core files")
    try check(
      attune_set_limit(CInt(ATTUNE_LIMIT_FILE_SIZE), UInt64(limits.fileSize)), "the limit of file sizes")
    try check(attune_set_limit(CInt(ATTUNE_LIMIT_OPEN_FILES), 64), "the limit of open files")
    // The signal comes at the soft limit; whoever catches it is killed a second later.
    var time = rlimit(rlim_cur: rlim_t(limits.cpuSeconds), rlim_max: rlim_t(limits.cpuSeconds + 1))
    #if os(Linux)
      try check(
        setrlimit(__rlimit_resource_t(RLIMIT_CPU.rawValue), &time) == 0 ? 0 : errno, "the limit of processor time")
    #else
      try check(setrlimit(RLIMIT_CPU, &time) == 0 ? 0 : errno, "the limit of processor time")
    #endif
    try check(
      attune_set_limit(CInt(ATTUNE_LIMIT_ADDRESS_SPACE), UInt64(limits.memory)), "the limit of memory")
    if limits.isConfined {
      try check(attune_no_new_privileges(), "no new privileges")
      var failed: Int32 = -1
      let status = folder.withCString { path in
        withUnsafePointer(to: Optional(path)) { attune_landlock_restrict($0, 1, 0, &failed) }
      }
      try check(status, "Landlock")
      // Compilers start processes in groups of their own, and mark what they wrote as a program.
      if limits.isSingleProcess {
        // Where Landlock does not look after signals, the filter does.
        let signals: Int32 = attune_landlock_version() >= 6 ? 1 : 0
        try check(attune_filter_system_calls(0, signals), "the filter of system calls")
        try check(attune_refuse_processes(), "the filter of new processes")
      }
    }
    let code = pointers.withUnsafeMutableBufferPointer { list -> Int32 in
      guard let start = list.baseAddress, let program = start[0] else { return EINVAL }
      execv(program, start)
      return errno
    }
    throw AttuneError.work("\(command.first ?? "") cannot be started: \(String(cString: strerror(code)))")
  }
}
