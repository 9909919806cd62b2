import AttuneTensor
import Core

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Figures of single kernels beside the limit measured in the same process.
public struct KernelBench {
  /// One kernel on one shape.
  public struct Figure {
    public let kernel: String
    /// `[M, N, K]`.
    public let shape: [Int]
    public let dtype: String
    public let isa: String
    /// True for the variant that runs on this machine unless another is asked for.
    public let chosen: Bool
    public let gflops: Double
    /// Share of the multiply-add rate that registers alone reach.
    public let ofLimit: Double

    public var json: JSON {
      [
        "kernel": .string(kernel), "shape": .array(shape.map { .int($0) }), "dtype": .string(dtype),
        "isa": .string(isa),
        "chosen": .bool(chosen), "gflops": .double(gflops), "of_limit": .double(ofLimit),
      ]
    }
  }

  /// Matmul shapes `[M, N, K]`: those of the quickstart's decoder and vision tower, and one of a large model.
  public static let shapes = [
    [1, 512, 192], [8, 512, 192], [256, 512, 192], [1024, 512, 192], [1024, 192, 512], [1024, 384, 128],
    [512, 4864, 896],
  ]

  public init() {}

  private func now() -> Double {
    var t = timespec()
    clock_gettime(CLOCK_MONOTONIC, &t)
    return Double(t.tv_sec) + Double(t.tv_nsec) * 1e-9
  }

  /// Median seconds of one call.
  private func median(_ body: () -> Void) -> Double {
    body()
    var repeats = 1
    while true {
      let start = now()
      for _ in 0..<repeats { body() }
      if now() - start > 0.004 || repeats > 1 << 20 { break }
      repeats *= 2
    }
    let samples = (0..<9).map { _ in
      let start = now()
      for _ in 0..<repeats { body() }
      return (now() - start) / Double(repeats)
    }
    return samples.sorted()[4]
  }

  /// Multiply-add rate of registers alone, in GFLOP/s over all threads.
  public func limit(_ backend: CPUBackend, _ precision: Precision) -> Double {
    let iterations = 200_000
    let seconds = median { _ = backend.spin(precision, iterations: iterations) }
    return 2 * Double(backend.spin(precision, iterations: iterations)) / seconds / 1e9
  }

  /// Forward and both backward products of every shape, for every instruction set or the chosen one alone.
  public func run(threads: Int, everySet: Bool) throws -> [Figure] {
    var figures: [Figure] = []
    for (place, isa) in CPUBackend.instructionSets.enumerated() where everySet || place == 0 {
      // Without fused multiply-add in hardware a figure says nothing about speed.
      if isa == "portable", place > 0 { continue }
      let backend = try CPUBackend(threads: threads, isa: isa)
      for precision in [Precision.full, .bf16] {
        let limit = limit(backend, precision)
        for shape in Self.shapes {
          let (m, n, k) = (shape[0], shape[1], shape[2])
          let x = backend.zeros([m, k], .f32)
          let y = backend.zeros([m, n], .f32)
          let w = backend.zeros([n, k], .f32)
          let forward = backend.pack(w, transposed: false, for: precision)
          let backward = backend.pack(w, transposed: true, for: precision)
          let kernels: [(String, () -> Void)] = [
            ("matmul", { backend.matmul(y, x, forward, accumulate: false) }),
            ("matmul_backward_input", { backend.matmul(x, y, backward, accumulate: false) }),
            ("matmul_backward_weight", { backend.matmulWeightGradient(w, y, x, precision) }),
          ]
          for (name, body) in kernels {
            let gflops = 2 * Double(m * n * k) / median(body) / 1e9
            figures.append(
              Figure(
                kernel: name, shape: shape, dtype: precision == .full ? "f32" : "bf16", isa: isa, chosen: place == 0,
                gflops: gflops, ofLimit: gflops / limit))
          }
        }
      }
    }
    return figures
  }
}
