#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Seconds of a clock that only runs forward; for reports, never for decisions.
func monotonicSeconds() -> Double {
  var now = timespec()
  clock_gettime(CLOCK_MONOTONIC, &now)
  return Double(now.tv_sec) + Double(now.tv_nsec) * 1e-9
}
