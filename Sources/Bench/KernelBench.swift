import AttuneTensor
import Core

/// Figures of single kernels beside the limit measured in the same process.
public struct KernelBench {
  /// One kernel on one shape.
  public struct Figure: Sendable {
    public let kernel: String
    /// `[M, N, K]` of products; what the kernel's own page says for others.
    public let shape: [Int]
    public let dtype: String
    public let isa: String
    /// True for the variant that runs on this machine unless another is asked for.
    public let chosen: Bool
    /// GFLOP/s, or GB/s where memory is the limit.
    public let rate: Double
    public let isBandwidth: Bool
    /// Share of the multiply-add rate that registers alone reach, or of the measured read bandwidth.
    public let ofLimit: Double

    public var json: JSON {
      .object([
        ("kernel", .string(kernel)), ("shape", .array(shape.map { .int($0) })), ("dtype", .string(dtype)),
        ("isa", .string(isa)), ("chosen", .bool(chosen)), (isBandwidth ? "gbps" : "gflops", .double(rate)),
        ("of_limit", .double(ofLimit)),
      ])
    }
  }

  /// A model's products `[N, K]`: queries, keys and values side by side, gates and ups likewise.
  private static let models: [(name: String, products: [(n: Int, k: Int)])] = [
    ("mini", [(640, 384), (384, 384), (2048, 384), (384, 1024), (8192, 384)]),
    ("half", [(1152, 896), (896, 896), (9728, 896), (896, 4864)]),
  ]
  private static let rows = [1, 8, 64, 512]

  public init() {}

  /// Products and attention of two models for every instruction set, or for the chosen one alone.
  public func run(threads: Int, everySet: Bool) throws -> [Figure] {
    var figures: [Figure] = []
    for (place, isa) in CPUBackend.instructionSets.enumerated() where everySet || place == 0 {
      // Without fused multiply-add in hardware a figure says nothing about speed.
      if isa == "portable", place > 0 { continue }
      let backend = try CPUBackend(threads: threads, isa: isa)
      for precision in [Precision.full, .bf16] {
        let limit = MachineLimits.gflops(backend, precision)
        func figure(_ kernel: String, _ shape: [Int], _ flops: Double, _ body: () -> Void) {
          let rate = flops / medianSeconds(body) / 1e9
          figures.append(
            Figure(
              kernel: kernel, shape: shape, dtype: precision == .full ? "f32" : "bf16", isa: isa, chosen: place == 0,
              rate: rate, isBandwidth: false, ofLimit: rate / limit))
        }
        for model in Self.models {
          for (n, k) in model.products {
            for m in Self.rows { products(m, n, k, precision, backend, figure) }
          }
        }
        if precision == .full { attention(backend, figure) }
        if precision == .bf16 { figures += decode(backend, isa, place == 0) }
      }
    }
    return figures
  }

  private func products(
    _ m: Int, _ n: Int, _ k: Int, _ precision: Precision, _ backend: CPUBackend,
    _ figure: (String, [Int], Double, () -> Void) -> Void
  ) {
    let x = backend.operand(backend.zeros([m, k], .f32), for: precision)
    let dy = backend.operand(backend.zeros([m, n], .f32), for: precision)
    let y = backend.zeros([m, n], .f32)
    let dx = backend.zeros([m, k], .f32)
    let w = backend.zeros([n, k], .f32)
    let panels = backend.pack([w], for: precision)
    let flops = 2 * Double(m * n * k)
    figure("matmul", [m, n, k], flops) {
      backend.matmul(y.allColumns, x.allColumns, panels, accumulate: false)
    }
    guard m >= 64 else { return }
    figure("matmul_backward_input", [m, n, k], flops) {
      backend.matmulTurned(dx, dy.allColumns, panels, accumulate: false)
    }
    figure("matmul_backward_weight", [m, n, k], flops) {
      backend.matmulWeightGradient(w, dy.allColumns, x.allColumns, precision)
    }
  }

  /// Six query and two key heads of 64, as the mini model has them; shape: sequences, tokens of each, 64.
  private func attention(_ backend: CPUBackend, _ figure: (String, [Int], Double, () -> Void) -> Void) {
    let heads = AttentionHeads(heads: 6, kvHeads: 2, size: 64, scale: 0.125)
    for (count, length) in [(8, 256), (1, 2048)] {
      let tokens = count * length
      var forest = Forest()
      for _ in 0..<count { forest.append(count: length) }
      let plan = forest.attentionPlan
      let q = backend.zeros([tokens, 384], .f32)
      let k = backend.zeros([tokens, 128], .f32)
      let y = backend.zeros([tokens, 384], .f32)
      let lse = backend.zeros([tokens, 6], .f32)
      let pages = backend.zeros([(tokens + 63) / 64, 2, 64, 64], .f32)
      // Two products of head size over half the square of the length.
      let flops = Double(count * 6 * 64 * 2 * 2) * Double(length * (length + 1) / 2)
      figure("attention", [count, length, 64], flops) {
        backend.toPages(pages, k.allColumns, nil)
        backend.attention(y, lse, q, pages, k.allColumns, plan, heads)
      }
      let dq = backend.zeros([tokens, 384], .f32)
      let dk = backend.zeros([tokens, 128], .f32)
      let dv = backend.zeros([tokens, 128], .f32)
      figure("attention_backward", [count, length, 64], 2.5 * flops) {
        backend.attentionBackward(dq, dk, dv.allColumns, y, lse, q, k, pages, pages, plan, heads)
      }
    }
    var plan = AttentionPlan(causal: true)
    let sequences = 64
    let length = 192
    for s in 0..<sequences {
      plan.addRun(query: s, rows: 1, seen: length, path: KeyPiece.pieces(s * 192..<s * 192 + length))
    }
    let q = backend.zeros([sequences, 384], .f32)
    let y = backend.zeros([sequences, 384], .f32)
    let pages = backend.zeros([sequences * 3, 2, 64, 64], .f32)
    let values = backend.zeros([sequences * 192, 128], .f32)
    figure("attention_decode", [sequences, length, 64], Double(sequences * 6 * 64 * 2 * 2 * length)) {
      backend.attention(y, nil, q, pages, values.allColumns, plan, heads)
    }
  }

  /// One row against 136 million weights that no cache holds, in each format; the rate counts stored bytes, scales included.
  private func decode(_ backend: CPUBackend, _ isa: String, _ chosen: Bool) -> [Figure] {
    let (n, k) = (151_936, 896)
    let x = backend.zeros([1, k], .bf16)
    let y = backend.zeros([1, n], .f32)
    return WeightFormat.allCases.map { format in
      let panels = backend.pack([backend.zeros([n, k], .bf16)], for: .bf16, as: format)
      let seconds = medianSeconds { backend.matmul(y.allColumns, x.allColumns, panels, accumulate: false) }
      let rate = Double(panels.storage.byteCount) / seconds / 1e9
      return Figure(
        kernel: "matmul_decode", shape: [1, n, k], dtype: format == .plain ? "bf16" : format.rawValue, isa: isa,
        chosen: chosen, rate: rate, isBandwidth: true,
        // Beside each figure, because a shared machine's bandwidth moves.
        ofLimit: rate / MachineLimits.readGBps(backend))
    }
  }
}
