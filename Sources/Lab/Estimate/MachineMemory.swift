import Foundation

/// What the machine has for this process.
public struct MachineMemory: Sendable, Equatable {
  /// Bytes of memory: the machine's, or those of the group of processes that it is confined to.
  public var memory: Int
  /// Bytes of swap.
  public var swap: Int

  public var total: Int { memory + swap }

  public init(memory: Int, swap: Int) {
    self.memory = memory
    self.swap = swap
  }

  /// This machine's.
  public static var here: MachineMemory {
    var found = MachineMemory(memory: Int(clamping: ProcessInfo.processInfo.physicalMemory), swap: 0)
    #if os(Linux)
      found.swap = swapBytes(text("/proc/meminfo"))
      let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
      if let limit = limits.compactMap({ number(text($0)) }).first { found.memory = min(found.memory, limit) }
      if let limit = number(text("/sys/fs/cgroup/memory.swap.max")) { found.swap = min(found.swap, limit) }
    #endif
    return found
  }

  /// `SwapTotal` of /proc/meminfo, bytes.
  static func swapBytes(_ text: String) -> Int {
    for line in text.split(separator: "\n") where line.hasPrefix("SwapTotal:") {
      let words = line.split(separator: " ")
      return words.count > 1 ? (Int(words[1]) ?? 0) << 10 : 0
    }
    return 0
  }

  /// A control group's limit; nil for `max`, or a file that is not there.
  static func number(_ text: String) -> Int? { Int(text.trimmingCharacters(in: .whitespacesAndNewlines)) }

  private static func text(_ path: String) -> String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }
}
