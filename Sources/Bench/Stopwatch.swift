import AttuneTensor

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Seconds of a clock that only goes forward.
func secondsNow() -> Double {
  var t = timespec()
  clock_gettime(CLOCK_MONOTONIC, &t)
  return Double(t.tv_sec) + Double(t.tv_nsec) * 1e-9
}

/// Seconds of one call: the median of several samples, each long enough for the clock.
func medianSeconds(samples: Int = 9, atLeast shortest: Double = 0.004, _ body: () -> Void) -> Double {
  body()
  var repeats = 1
  while true {
    let start = secondsNow()
    for _ in 0..<repeats { body() }
    if secondsNow() - start > shortest || repeats > 1 << 20 { break }
    repeats *= 2
  }
  let times = (0..<samples).map { _ in
    let start = secondsNow()
    for _ in 0..<repeats { body() }
    return (secondsNow() - start) / Double(repeats)
  }
  return times.sorted()[samples / 2]
}

/// The machine's limits, measured in this process.
public struct MachineLimits: Sendable {
  /// Multiply-add rate of registers alone, both operations counted, over all threads.
  public static func gflops(_ backend: CPUBackend, _ precision: Precision) -> Double {
    let iterations = 200_000
    let seconds = medianSeconds { _ = backend.spin(precision, iterations: iterations) }
    return 2 * Double(backend.spin(precision, iterations: iterations)) / seconds / 1e9
  }

  /// Bytes read per second from memory, in GB/s over all threads: the best of several passes over 512 MiB.
  public static func readGBps(_ backend: CPUBackend) -> Double {
    let count = 128 << 20
    let x = backend.zeros([count], .f32)
    backend.readThrough(x)
    let best = (0..<7).map { _ -> Double in
      let start = secondsNow()
      backend.readThrough(x)
      return secondsNow() - start
    }.min()!
    return Double(count * 4) / best / 1e9
  }
}
