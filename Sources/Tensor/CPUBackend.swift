import CKernels
import Core
import Synchronization

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// The backend of this machine's processor: the C kernels of one instruction set on a pool of threads.
public final class CPUBackend: Backend, @unchecked Sendable {
  // Safety: the pool runs one job at a time and `lock` lets one primitive in at a time; the tables are constants.
  private let isa: atk_isa
  private let pool: OpaquePointer
  private let memory = MemoryPool()
  private let lock = Mutex(())
  public let threads: Int

  /// The names of the instruction sets that this machine can run, best first.
  public static var instructionSets: [String] {
    var count = 0
    let all = atk_isas(&count)
    return (0..<count).map { String(cString: all[$0].name) }
  }

  /// - Parameters:
  ///   - threads: 0 for as many as the machine has cores.
  ///   - isa: the instruction set's name; nil takes `ATTUNE_ISA` from the environment, or the best.
  /// - Throws: if there is no such instruction set here, or threads cannot be started.
  public init(threads: Int = 0, isa wanted: String? = nil) throws {
    var count = 0
    let all = atk_isas(&count)
    let name = wanted ?? getenv("ATTUNE_ISA").map { String(cString: $0) }
    var chosen = all[0]
    if let name, !name.isEmpty {
      guard let index = (0..<count).first(where: { String(cString: all[$0].name) == name }) else {
        throw AttuneError.request(
          "the instruction set '\(name)' is not one this machine runs",
          hint: "choose among: \(CPUBackend.instructionSets.joined(separator: ", "))")
      }
      chosen = all[index]
    }
    isa = chosen
    self.threads = threads > 0 ? threads : max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    guard let pool = atk_pool_create(self.threads) else {
      throw AttuneError.work("could not start \(self.threads) threads", hint: "ask for fewer with --threads")
    }
    self.pool = pool
  }

  deinit { atk_pool_destroy(pool) }

  public var name: String { "cpu (\(String(cString: isa.name)), \(threads) threads)" }
  public var instructionSet: String { String(cString: isa.name) }
  public var peakBytes: Int { memory.peakBytes }

  // MARK: Reaching the kernels

  /// The kernels for a dtype.
  ///
  /// Safety: the double table has the float table's layout, and no kernel takes a REAL by value: with pointers to doubles
  /// behind `Float` pointers its functions can be called through the float table's types.
  private func table(_ dtype: DType) -> UnsafePointer<atk_table_f32> {
    switch dtype {
    case .f32: isa.f32
    case .f64: UnsafeRawPointer(atk_f64()).assumingMemoryBound(to: atk_table_f32.self)
    default: preconditionFailure("no kernels compute in \(dtype)")
    }
  }

  private func raw(_ t: Tensor) -> UnsafeMutableRawPointer {
    guard let storage = t.storage as? HostStorage else { preconditionFailure("a tensor of another backend") }
    return storage.pointer + t.offset * t.dtype.size
  }
  fileprivate func p(_ t: Tensor) -> UnsafeMutablePointer<Float> { raw(t).assumingMemoryBound(to: Float.self) }
  private func p(_ t: Tensor?) -> UnsafeMutablePointer<Float>? { t.map { p($0) } }

  fileprivate func run(_ dtype: DType, _ body: (atk_table_f32, OpaquePointer) -> Void) {
    let table = table(dtype)
    lock.withLock { _ in body(table.pointee, pool) }
  }

  fileprivate func pairs(_ body: (atk_table_bf16, OpaquePointer) -> Void) {
    lock.withLock { _ in body(isa.bf16.pointee, pool) }
  }

  // MARK: Memory

  public func empty(_ shape: [Int], _ dtype: DType) -> Tensor {
    Tensor(storage: memory.allocate(byteCount: shape.reduce(1, *) * dtype.size), dtype: dtype, shape: shape)
  }

  public func zeros(_ shape: [Int], _ dtype: DType) -> Tensor {
    let tensor = empty(shape, dtype)
    fillZero(tensor)
    return tensor
  }

  public func upload(_ bytes: UnsafeRawBufferPointer, _ shape: [Int], _ dtype: DType) -> Tensor {
    let tensor = empty(shape, dtype)
    precondition(bytes.count == tensor.count * dtype.size, "\(bytes.count) bytes for \(shape) of \(dtype)")
    if let base = bytes.baseAddress { memcpy(raw(tensor), base, bytes.count) }
    return tensor
  }

  public func borrow(_ bytes: UnsafeRawBufferPointer, _ shape: [Int], _ dtype: DType, owner: AnyObject) -> Tensor {
    precondition(bytes.count == shape.reduce(1, *) * dtype.size, "\(bytes.count) bytes for \(shape) of \(dtype)")
    guard !bytes.isEmpty else { return empty(shape, dtype) }
    let storage = HostStorage(
      pointer: UnsafeMutableRawPointer(mutating: bytes.baseAddress!), byteCount: bytes.count, owner: owner)
    return Tensor(storage: storage, dtype: dtype, shape: shape)
  }

  public func withHostBytes<R>(_ tensor: Tensor, _ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    try body(UnsafeRawBufferPointer(start: raw(tensor), count: tensor.count * tensor.dtype.size))
  }

  public func copy(_ y: Tensor, _ x: Tensor) {
    precondition(y.count == x.count && y.dtype == x.dtype, "copy of \(x.shape) \(x.dtype) to \(y.shape) \(y.dtype)")
    memcpy(raw(y), raw(x), x.count * x.dtype.size)
  }

  public func fillZero(_ y: Tensor) { memset(raw(y), 0, y.count * y.dtype.size) }

  public func convert(_ y: Tensor, _ x: Tensor) {
    precondition(y.count == x.count, "conversion of \(x.shape) to \(y.shape)")
    switch (x.dtype, y.dtype) {
    case (.f32, .bf16):
      pairs { $0.narrow($1, raw(y).assumingMemoryBound(to: UInt16.self), p(x), x.count) }
    case (.bf16, .f32):
      pairs { $0.widen($1, p(y), raw(x).assumingMemoryBound(to: UInt16.self), x.count) }
    default: copy(y, x)
    }
  }

  // MARK: Products

  public func pack(_ w: Tensor, transposed: Bool, for precision: Precision) -> PackedMatrix {
    let n = w.rows
    let k = w.width
    let (summed, columns) = transposed ? (n, k) : (k, n)
    let blocks = (columns + 15) / 16
    switch precision {
    case .full:
      var source = w
      if w.dtype == .bf16 {
        source = empty(w.shape, .f32)
        convert(source, w)
      }
      let storage = memory.allocate(byteCount: blocks * summed * 16 * source.dtype.size)
      let panels = storage.pointer.assumingMemoryBound(to: Float.self)
      run(source.dtype) {
        transposed ? $0.pack_columns($1, panels, p(source), n, k) : $0.pack_rows($1, panels, p(source), n, k)
      }
      return PackedMatrix(storage: storage, k: summed, n: columns, dtype: source.dtype, precision: .full)
    case .bf16:
      var source = w
      if w.dtype != .bf16 {
        source = empty(w.shape, .bf16)
        convert(source, w)
      }
      let storage = memory.allocate(byteCount: blocks * ((summed + 1) / 2) * 16 * 4)
      let panels = storage.pointer.assumingMemoryBound(to: UInt32.self)
      let from = raw(source).assumingMemoryBound(to: UInt16.self)
      pairs { transposed ? $0.pack_columns($1, panels, from, n, k) : $0.pack_rows($1, panels, from, n, k) }
      return PackedMatrix(storage: storage, k: summed, n: columns, dtype: .f32, precision: .bf16)
    }
  }

  public func matmul(_ y: Tensor, _ x: Tensor, _ packed: PackedMatrix, accumulate: Bool) {
    let m = x.rows
    precondition(
      x.width == packed.k && y.width == packed.n && y.rows == m,
      "product of \(x.shape) with [\(packed.k), \(packed.n)] into \(y.shape)")
    let base = (packed.storage as! HostStorage).pointer
    switch packed.precision {
    case .full:
      run(packed.dtype) {
        $0.matmul(
          $1, p(y), packed.n, p(x), packed.k, 1, base.assumingMemoryBound(to: Float.self), 16, packed.k * 16, m,
          packed.n,
          packed.k, accumulate)
      }
    case .bf16:
      let half = (packed.k + 1) / 2
      let operand = memory.allocate(byteCount: m * half * 4)
      let a = operand.pointer.assumingMemoryBound(to: UInt32.self)
      pairs {
        $0.pair_rows($1, a, p(x), m, packed.k)
        $0.matmul(
          $1, p(y), packed.n, a, half, 1, base.assumingMemoryBound(to: UInt32.self), 16, half * 16, m, packed.n, half,
          accumulate)
      }
      withExtendedLifetime(operand) {}
    }
  }

  public func matmulWeightGradient(_ dw: Tensor, _ dy: Tensor, _ x: Tensor, _ precision: Precision) {
    let m = x.rows
    let k = x.width
    let n = dy.width
    precondition(dy.rows == m && dw.rows == n && dw.width == k, "gradient \(dw.shape) from \(dy.shape) and \(x.shape)")
    switch precision {
    case .full:
      run(x.dtype) { $0.matmul($1, p(dw), k, p(dy), 1, n, p(x), k, 16, n, k, m, true) }
    case .bf16:
      let half = (m + 1) / 2
      let left = memory.allocate(byteCount: half * n * 4)
      let right = memory.allocate(byteCount: half * k * 4)
      let a = left.pointer.assumingMemoryBound(to: UInt32.self)
      let b = right.pointer.assumingMemoryBound(to: UInt32.self)
      pairs {
        $0.pair_columns($1, a, p(dy), m, n)
        $0.pair_columns($1, b, p(x), m, k)
        $0.matmul($1, p(dw), k, a, 1, n, b, k, 16, n, k, half, true)
      }
      withExtendedLifetime((left, right)) {}
    }
  }

  // MARK: Element by element

  public func add(_ y: Tensor, _ a: Tensor, _ b: Tensor) {
    precondition(y.count == a.count && a.count == b.count, "sum of \(a.shape) and \(b.shape) into \(y.shape)")
    run(y.dtype) { $0.add($1, p(y), p(a), p(b), y.count) }
  }
  public func addScaled(_ y: Tensor, _ x: Tensor, _ s: Double) {
    precondition(y.count == x.count, "\(x.shape) added to \(y.shape)")
    run(y.dtype) { $0.add_scaled($1, p(y), p(x), y.count, s) }
  }
  public func scale(_ y: Tensor, _ x: Tensor, _ s: Double) {
    precondition(y.count == x.count, "\(x.shape) scaled into \(y.shape)")
    run(y.dtype) { $0.scale($1, p(y), p(x), y.count, s) }
  }
  public func addBias(_ y: Tensor, _ bias: Tensor) {
    precondition(y.width == bias.count, "bias \(bias.shape) for rows of \(y.width)")
    run(y.dtype) { $0.bias($1, p(y), p(bias), y.rows, y.width) }
  }
  public func biasGradient(_ db: Tensor, _ dy: Tensor) {
    precondition(dy.width == db.count, "bias \(db.shape) for rows of \(dy.width)")
    run(dy.dtype) { $0.bias_backward($1, p(db), p(dy), dy.rows, dy.width) }
  }
  public func swiGLU(_ y: Tensor, _ gate: Tensor, _ up: Tensor) {
    run(y.dtype) { $0.swiglu($1, p(y), p(gate), p(up), y.count) }
  }
  public func swiGLUBackward(_ dGate: Tensor, _ dUp: Tensor, _ dy: Tensor, _ gate: Tensor, _ up: Tensor) {
    run(dy.dtype) { $0.swiglu_backward($1, p(dGate), p(dUp), p(dy), p(gate), p(up), dy.count) }
  }
  public func gelu(_ y: Tensor, _ x: Tensor, _ form: GELUForm) {
    run(y.dtype) { $0.gelu($1, p(y), p(x), y.count, form == .tanh) }
  }
  public func geluBackward(_ dx: Tensor, _ dy: Tensor, _ x: Tensor, _ form: GELUForm) {
    run(dy.dtype) { $0.gelu_backward($1, p(dx), p(dy), p(x), dy.count, form == .tanh) }
  }

  // MARK: Rows

  private func check(_ index: [Int32], below limit: Int) {
    for i in index where i < 0 || Int(i) >= limit { preconditionFailure("row \(i) of \(limit)") }
  }

  public func gather(_ y: Tensor, _ x: Tensor, _ index: [Int32]) {
    precondition(y.rows == index.count && y.width == x.width, "\(index.count) rows of \(x.shape) into \(y.shape)")
    check(index, below: x.rows)
    if x.dtype == .bf16 {
      let narrow = empty(y.shape, .bf16)
      for (r, i) in index.enumerated() {
        memcpy(raw(narrow) + r * x.width * 2, raw(x) + Int(i) * x.width * 2, x.width * 2)
      }
      convert(y, narrow)
      return
    }
    run(y.dtype) { $0.gather($1, p(y), p(x), index, index.count, y.width) }
  }
  public func scatter(_ x: Tensor, _ y: Tensor, _ index: [Int32]) {
    precondition(y.rows == index.count && y.width == x.width, "\(index.count) rows of \(x.shape) from \(y.shape)")
    check(index, below: x.rows)
    run(y.dtype) { $0.scatter($1, p(x), p(y), index, index.count, y.width) }
  }
  public func scatterAdd(_ x: Tensor, _ y: Tensor, _ index: [Int32]) {
    precondition(y.rows == index.count && y.width == x.width, "\(index.count) rows of \(x.shape) from \(y.shape)")
    check(index, below: x.rows)
    run(y.dtype) { $0.scatter_add($1, p(x), p(y), index, index.count, y.width, x.rows) }
  }
  public func columns(_ y: Tensor, _ x: Tensor, from: Int) {
    precondition(y.rows == x.rows && from >= 0 && from + y.width <= x.width, "columns \(from)+\(y.width) of \(x.shape)")
    run(y.dtype) { $0.columns($1, p(y), p(x), y.rows, y.width, x.width, from) }
  }
  public func putColumns(_ x: Tensor, _ y: Tensor, from: Int) {
    precondition(y.rows == x.rows && from >= 0 && from + y.width <= x.width, "columns \(from)+\(y.width) of \(x.shape)")
    run(y.dtype) { $0.put_columns($1, p(x), p(y), y.rows, y.width, x.width, from) }
  }

  /// Rows of a norm: as wide as its weight.
  private func normRows(_ x: Tensor, _ w: Tensor) -> Int {
    precondition(x.count % w.count == 0, "norm of \(x.shape) by \(w.shape)")
    return x.count / w.count
  }
  public func rmsNorm(_ y: Tensor, _ x: Tensor, _ w: Tensor, _ epsilon: Double) {
    let rows = normRows(x, w)
    run(y.dtype) { $0.rmsnorm($1, p(y), p(x), p(w), rows, w.count, epsilon) }
  }
  public func rmsNormBackward(_ dx: Tensor, _ dw: Tensor?, _ dy: Tensor, _ x: Tensor, _ w: Tensor, _ epsilon: Double) {
    let rows = normRows(x, w)
    let scratch = empty([rows], dy.dtype)
    run(dy.dtype) { $0.rmsnorm_backward($1, p(dx), p(dw), p(scratch), p(dy), p(x), p(w), rows, w.count, epsilon) }
  }
  public func layerNorm(_ y: Tensor, _ x: Tensor, _ w: Tensor, _ b: Tensor, _ epsilon: Double) {
    let rows = normRows(x, w)
    run(y.dtype) { $0.layernorm($1, p(y), p(x), p(w), p(b), rows, w.count, epsilon) }
  }
  public func layerNormBackward(
    _ dx: Tensor, _ dw: Tensor?, _ db: Tensor?, _ dy: Tensor, _ x: Tensor, _ w: Tensor, _ epsilon: Double
  ) {
    let rows = normRows(x, w)
    let scratch = empty([2 * rows], dy.dtype)
    run(dy.dtype) {
      $0.layernorm_backward($1, p(dx), p(dw), p(db), p(scratch), p(dy), p(x), p(w), rows, w.count, epsilon)
    }
  }
  public func rotary(_ y: Tensor, _ x: Tensor, _ cosine: Tensor, _ sine: Tensor, size: Int, backwards: Bool) {
    precondition(cosine.rows == x.rows && cosine.width * 2 == size, "angles \(cosine.shape) for heads of \(size)")
    run(y.dtype) { $0.rotary($1, p(y), p(x), p(cosine), p(sine), x.rows, x.width / size, size, backwards ? -1 : 1) }
  }

  // MARK: Attention

  private func withPlan(
    _ plan: AttentionPlan, _ heads: AttentionHeads,
    _ body: (UnsafePointer<atk_forest>, UnsafePointer<atk_attention_shape>) -> Void
  ) {
    plan.treeRuns.withUnsafeBufferPointer { treeRuns in
      plan.treeSpans.withUnsafeBufferPointer { treeSpans in
        plan.runQuery.withUnsafeBufferPointer { runQuery in
          plan.runRows.withUnsafeBufferPointer { runRows in
            plan.runOffset.withUnsafeBufferPointer { runOffset in
              plan.runPath.withUnsafeBufferPointer { runPath in
                plan.path.withUnsafeBufferPointer { path in
                  plan.spanRow.withUnsafeBufferPointer { spanRow in
                    plan.spanRows.withUnsafeBufferPointer { spanRows in
                      var forest = atk_forest(
                        tree_count: plan.treeCount, tree_runs: treeRuns.baseAddress!,
                        tree_spans: treeSpans.baseAddress!,
                        run_query: runQuery.baseAddress!, run_rows: runRows.baseAddress!,
                        run_offset: runOffset.baseAddress!, run_path: runPath.baseAddress!, path: path.baseAddress!,
                        span_row: spanRow.baseAddress!, span_rows: spanRows.baseAddress!, causal: plan.causal)
                      var shape = atk_attention_shape(
                        heads: heads.heads, kv_heads: heads.kvHeads, size: heads.size, longest_path: plan.longestPath,
                        largest_tree: plan.largestTree, scale: heads.scale)
                      body(&forest, &shape)
                    }
                  }
                }
              }
            }
          }
        }
      }
    }
  }

  public func attention(
    _ output: Tensor, _ lse: Tensor?, _ q: Tensor, _ k: Tensor, _ v: Tensor, _ plan: AttentionPlan,
    _ heads: AttentionHeads
  ) {
    precondition(q.width == heads.heads * heads.size && k.width == heads.kvHeads * heads.size, "heads of \(q.shape)")
    withPlan(plan, heads) { forest, shape in
      run(q.dtype) { table, pool in
        let scratch = memory.allocate(byteCount: table.attention_scratch(shape) * threads * q.dtype.size)
        table.attention(
          pool, p(output), p(lse), scratch.pointer.assumingMemoryBound(to: Float.self), p(q), p(k), p(v), forest, shape)
        withExtendedLifetime(scratch) {}
      }
    }
  }

  public func attentionBackward(
    _ dq: Tensor, _ dk: Tensor, _ dv: Tensor, _ dOutput: Tensor, _ output: Tensor, _ lse: Tensor, _ q: Tensor,
    _ k: Tensor,
    _ v: Tensor, _ plan: AttentionPlan, _ heads: AttentionHeads
  ) {
    withPlan(plan, heads) { forest, shape in
      run(q.dtype) { table, pool in
        let scratch = memory.allocate(byteCount: table.attention_backward_scratch(shape) * threads * q.dtype.size)
        table.attention_backward(
          pool, p(dq), p(dk), p(dv), scratch.pointer.assumingMemoryBound(to: Float.self), p(dOutput), p(output), p(lse),
          p(q), p(k), p(v), forest, shape)
        withExtendedLifetime(scratch) {}
      }
    }
  }

  // MARK: Language-model head

  private func streams(_ t: Tensor, _ firstRow: Int, _ wanted: Set<HeadStream>) -> atk_head_streams_f32 {
    func at(_ stream: HeadStream) -> UnsafeMutablePointer<Float>? {
      guard wanted.contains(stream) else { return nil }
      return (raw(t) + (stream.rawValue * t.width + firstRow) * t.dtype.size).assumingMemoryBound(to: Float.self)
    }
    return atk_head_streams_f32(
      logprob: at(.logprob), entropy: at(.entropy), lse: at(.logSumExp), mean: at(.meanLogit),
      log_square: at(.logSumSquares), top1: at(.top1))
  }

  public func head(
    _ streams: Tensor, firstRow: Int, _ logits: Tensor, _ targets: ArraySlice<Int32>, _ temperature: Double,
    _ wanted: Set<HeadStream>
  ) {
    precondition(targets.count == logits.rows, "\(targets.count) targets for \(logits.rows) rows")
    check(Array(targets), below: logits.width)
    var out = self.streams(streams, firstRow, wanted)
    targets.withUnsafeBufferPointer { targets in
      run(logits.dtype) {
        $0.head($1, &out, p(logits), logits.width, targets.baseAddress!, logits.rows, logits.width, temperature)
      }
    }
  }

  public func headBackward(
    _ logits: Tensor, _ dStreams: Tensor, firstRow: Int, _ targets: ArraySlice<Int32>, _ temperature: Double,
    _ wanted: Set<HeadStream>
  ) {
    var d = streams(dStreams, firstRow, wanted.subtracting([.top1]))
    targets.withUnsafeBufferPointer { targets in
      run(logits.dtype) {
        $0.head_backward($1, p(logits), logits.width, &d, targets.baseAddress!, logits.rows, logits.width, temperature)
      }
    }
  }

  public func exponentials(_ y: Tensor, _ x: Tensor, _ temperature: Double) {
    run(x.dtype) { $0.exponentials($1, p(y), p(x), x.rows, x.width, temperature) }
  }

  // MARK: Optimizer

  public func sumOfSquares(_ x: Tensor) -> Double {
    let scratch = memory.allocate(byteCount: (x.count / 4096 + 1) * 8)
    let blocks = scratch.pointer.assumingMemoryBound(to: Double.self)
    let table = table(x.dtype)
    return lock.withLock { _ in table.pointee.sum_squares(pool, blocks, p(x), x.count) }
  }

  public func adamW(_ parameter: Tensor, _ m: Tensor, _ v: Tensor, _ g: Tensor, _ step: AdamWStep) {
    precondition(
      parameter.count == m.count && m.count == v.count && v.count == g.count,
      "moments of another shape than the parameter")
    // The powers by repeated multiplication: the C library's pow differs by machine.
    let rest1 = 1 - integerPower(step.beta1, step.step)
    let rest2 = 1 - integerPower(step.beta2, step.step)
    run(parameter.dtype) {
      $0.adamw(
        $1, p(parameter), p(m), p(v), p(g), parameter.count, step.gradientScale,
        1 - step.learningRate * step.weightDecay,
        step.beta1, step.beta2, step.learningRate / rest1, rest2.squareRoot(), step.epsilon)
    }
  }
}

extension CPUBackend {
  /// Multiply-adds that the threads made of registers alone; time it to learn the machine's limit.
  public func spin(_ precision: Precision, iterations: Int) -> Int {
    let sink = empty([threads], .f32)
    switch precision {
    case .full: run(.f32) { $0.peak($1, p(sink), iterations) }
    case .bf16: pairs { $0.peak($1, p(sink), iterations) }
    }
    return iterations * 12 * 16 * threads * (precision == .bf16 ? 2 : 1)
  }
}

/// x to the power n by squaring: the same bits on every machine.
public func integerPower(_ x: Double, _ n: Int) -> Double {
  var result = 1.0
  var base = x
  var left = n
  while left > 0 {
    if left & 1 == 1 { result *= base }
    base *= base
    left >>= 1
  }
  return result
}
