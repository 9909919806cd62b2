#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Memory of this process.
public enum ProcessMemory {
  /// Highest resident set so far, bytes.
  public static var peakBytes: Int {
    var usage = rusage()
    #if canImport(Glibc)
      getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
      return Int(usage.ru_maxrss) << 10
    #else
      getrusage(RUSAGE_SELF, &usage)
      return Int(usage.ru_maxrss)
    #endif
  }

  /// The same in MiB.
  public static var peakMiB: Double { Double(peakBytes) / 1_048_576 }

  /// Bytes in memory now; where the system does not tell, the highest so far.
  public static var residentBytes: Int {
    #if canImport(Glibc)
      guard let file = fopen("/proc/self/statm", "r") else { return peakBytes }
      defer { fclose(file) }
      var bytes = [UInt8](repeating: 0, count: 256)
      bytes.removeLast(bytes.count - fread(&bytes, 1, bytes.count, file))
      let words = String(decoding: bytes, as: UTF8.self).split(separator: " ")
      guard words.count > 1, let pages = Int(words[1]) else { return peakBytes }
      return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
    #else
      return peakBytes
    #endif
  }
}
