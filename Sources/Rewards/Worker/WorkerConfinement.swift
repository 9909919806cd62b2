import CConfinement
import Core
import Foundation

/// What the system keeps a reward's worker from, and what it does not.
public struct WorkerConfinement: Sendable, Equatable {
  /// The version of Landlock that looks after files and signals; 0: none.
  public var landlock: Int
  /// True if system calls are filtered.
  public var filtersSystemCalls: Bool

  init(landlock: Int, filtersSystemCalls: Bool) {
    self.landlock = landlock
    self.filtersSystemCalls = filtersSystemCalls
  }

  /// What this system offers.
  public static var ofThisSystem: WorkerConfinement {
    WorkerConfinement(
      landlock: Int(attune_landlock_version()), filtersSystemCalls: attune_seccomp_available() != 0)
  }

  /// What a plugin can do here although it should not, for people; empty if nothing.
  public var gaps: [String] {
    guard landlock > 0 || filtersSystemCalls else {
      return [
        "this system has neither Landlock nor seccomp: plugins run in processes of their own, and may write files, use the "
          + "network and signal other processes as you may"
      ]
    }
    var gaps: [String] = []
    switch landlock {
    case 0: gaps.append("this system has no Landlock (Linux 5.13 and newer): plugins may write files as you may")
    case 1, 2: gaps.append("this system's Landlock is version \(landlock), before Linux 6.2: plugins may empty files")
    default: break
    }
    if !filtersSystemCalls {
      gaps.append(
        "this system filters no system calls: plugins may "
          + (landlock >= 4 ? "use the network beside TCP" : "use the network")
          + (landlock >= 6 ? "" : ", and signal other processes as you may"))
    }
    return gaps
  }

  public var json: JSON {
    [
      "landlock": .int(landlock), "seccomp": .bool(filtersSystemCalls), "gaps": .array(gaps.map(JSON.string)),
    ]
  }

  init(_ json: JSON?) {
    landlock = json?["landlock"]?.int ?? 0
    filtersSystemCalls = json?["seccomp"]?.bool ?? false
  }

  // MARK: In the worker

  /// Confines this process for good. Landlock binds the calling thread and what it starts: nothing else may run yet.
  ///
  /// - Parameter startThreads: starts what runs beside the scoring thread, after Landlock and before limits on memory.
  /// - Throws: `AttuneError` if a folder that may be written cannot be opened, or the system refuses what it offers.
  /// - Returns: also the bytes of address space that the process took before; 0 where that is not known.
  static func confine(
    _ limits: WorkerLimits, startThreads: () -> Void
  ) throws -> (confinement: WorkerConfinement, taken: UInt64) {
    let made = ofThisSystem
    // What would write past its limit gets an error.
    signal(SIGXFSZ, SIG_IGN)
    let memory = UInt64(limits.memoryMiB) << 20
    _ = attune_set_limit(CInt(ATTUNE_LIMIT_CORE), 0)
    _ = attune_set_limit(CInt(ATTUNE_LIMIT_FILE_SIZE), limits.writableFolders.isEmpty ? 0 : memory)
    _ = attune_set_limit(CInt(ATTUNE_LIMIT_OPEN_FILES), 256)
    if made.landlock > 0 || made.filtersSystemCalls { try check(attune_no_new_privileges(), "no new privileges") }
    if made.landlock > 0 {
      var failed: Int32 = -1
      let status = withCStrings(limits.writableFolders) {
        attune_landlock_restrict($0, Int32(limits.writableFolders.count), limits.allowsNetwork ? 1 : 0, &failed)
      }
      if limits.writableFolders.indices.contains(Int(failed)) {
        throw AttuneError.request(
          "the folder \(limits.writableFolders[Int(failed)]), which a reward may write to, cannot be opened: "
            + String(cString: strerror(-status)))
      }
      try check(status, "Landlock")
    }
    startThreads()
    let taken = attune_address_space() * UInt64(sysconf(Int32(_SC_PAGESIZE)))
    #if os(Linux)
      _ = attune_set_limit(CInt(ATTUNE_LIMIT_ADDRESS_SPACE), taken + memory)
    #endif
    if made.filtersSystemCalls {
      try check(
        attune_filter_system_calls(limits.allowsNetwork ? 1 : 0, made.landlock >= 6 ? 1 : 0),
        "the filter of system calls")
    }
    return (made, taken)
  }

  private static func check(_ status: Int32, _ what: String) throws {
    guard status == 0 else {
      throw AttuneError.work("a reward's worker cannot be confined: \(what): \(String(cString: strerror(-status)))")
    }
  }

  private static func withCStrings(_ texts: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> Int32) -> Int32
  {
    let copies = texts.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    return copies.map { UnsafePointer($0) }.withUnsafeBufferPointer { body($0.baseAddress) }
  }
}
