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
  let memory: Arena
  /// What a rehearsal would have cost; nil where values are computed.
  let ledger: RehearsalLedger?
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
  ///   - rehearsal: how fast the machine is: the backend then takes and gives back the very memory that computing would,
  ///     and computes nothing. Values are zero, tokens are equally likely, experts are chosen in turn.
  /// - Throws: if there is no such instruction set here, or threads cannot be started.
  public init(threads: Int = 0, isa wanted: String? = nil, rehearsal: MachineRates? = nil) throws {
    memory = Arena(isRehearsal: rehearsal != nil)
    ledger = rehearsal.map { RehearsalLedger($0) }
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
    // A rehearsal has no work for threads.
    guard let pool = atk_pool_create(rehearsal == nil ? self.threads : 1) else {
      throw AttuneError.work("could not start \(self.threads) threads", hint: "ask for fewer with --threads")
    }
    self.pool = pool
  }

  deinit { atk_pool_destroy(pool) }

  public var name: String { "cpu (\(String(cString: isa.name)), \(threads) threads)" }
  public var instructionSet: String { String(cString: isa.name) }
  public var peakBytes: Int { memory.report.peak }
  public var phasePeakBytes: Int { memory.report.phasePeak }
  public var highWaterBytes: Int { memory.report.highWater }
  public var phaseParts: [MemoryPart: Int] {
    let parts = memory.report.phaseParts
    return Dictionary(uniqueKeysWithValues: MemoryPart.allCases.map { ($0, parts[$0.rawValue]) }).filter {
      $0.value > 0
    }
  }
  public func beginPhase() { memory.beginPhase() }
  public var part: MemoryPart {
    get { memory.part }
    set { memory.part = newValue }
  }
  public var computes: Bool { ledger == nil }
  public var seconds: Double {
    if let ledger { return ledger.seconds }
    var t = timespec()
    clock_gettime(CLOCK_MONOTONIC, &t)
    return Double(t.tv_sec) + Double(t.tv_nsec) * 1e-9
  }

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

  func raw(_ t: Tensor) -> UnsafeMutableRawPointer {
    guard let storage = t.storage as? HostStorage else { preconditionFailure("a tensor of another backend") }
    return storage.pointer + t.offset * t.dtype.size
  }
  func p(_ t: Tensor) -> UnsafeMutablePointer<Float> { raw(t).assumingMemoryBound(to: Float.self) }
  func p(_ t: Tensor?) -> UnsafeMutablePointer<Float>? { t.map { p($0) } }
  /// Where a result goes: to f32 (or f64), or rounded to bf16.
  func outputs(_ y: Tensor) -> (UnsafeMutablePointer<Float>?, UnsafeMutablePointer<UInt16>?) {
    y.dtype == .bf16 ? (nil, raw(y).assumingMemoryBound(to: UInt16.self)) : (p(y), nil)
  }

  func run(_ dtype: DType, _ body: (atk_table_f32, OpaquePointer) -> Void) {
    if let ledger { return ledger.call() }
    let table = table(dtype)
    lock.withLock { _ in body(table.pointee, pool) }
  }

  func pairs(_ body: (atk_table_bf16, OpaquePointer) -> Void) {
    if let ledger { return ledger.call() }
    lock.withLock { _ in body(isa.bf16.pointee, pool) }
  }

  private func codes(_ body: (atk_table_codes, OpaquePointer) -> Void) {
    if let ledger { return ledger.call() }
    lock.withLock { _ in body(isa.codes.pointee, pool) }
  }

  /// Memory of one operation, of so many elements for each thread.
  func scratch(_ each: Int, _ size: Int) -> HostStorage {
    memory.allocate(byteCount: threads * each * size, for: .scratch)
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
    if computes, let base = bytes.baseAddress { memcpy(raw(tensor), base, bytes.count) }
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
    charge(y, x)
    if computes { memcpy(raw(y), raw(x), x.count * x.dtype.size) }
  }

  public func fillZero(_ y: Tensor) {
    charge(y)
    if computes { memset(raw(y), 0, y.count * y.dtype.size) }
  }

  public func convert(_ y: Tensor, _ x: Tensor) {
    precondition(y.count == x.count, "conversion of \(x.shape) to \(y.shape)")
    charge(y, x)
    switch (x.dtype, y.dtype) {
    case (.f32, .bf16):
      pairs { $0.narrow($1, raw(y).assumingMemoryBound(to: UInt16.self), p(x), x.count) }
    case (.bf16, .f32):
      pairs { $0.widen($1, p(y), raw(x).assumingMemoryBound(to: UInt16.self), x.count) }
    case (.f16, .f32):
      pairs { $0.widen_half($1, p(y), raw(x).assumingMemoryBound(to: UInt16.self), x.count) }
    case (.f16, .bf16):
      let wide = empty(x.shape, .f32)
      convert(wide, x)
      convert(y, wide)
    case (.f32, .f64):
      guard computes else { return }
      let (from, to) = (p(x), raw(y).assumingMemoryBound(to: Double.self))
      for i in 0..<x.count { to[i] = Double(from[i]) }
    case (.bf16, .f64), (.f16, .f64):
      let wide = empty(x.shape, .f32)
      convert(wide, x)
      convert(y, wide)
    case (.f64, .f32):
      guard computes else { return }
      let (from, to) = (raw(x).assumingMemoryBound(to: Double.self), p(y))
      for i in 0..<x.count { to[i] = Float(from[i]) }
    default: copy(y, x)
    }
  }

  public func forget(_ tensor: Tensor) {
    guard let storage = tensor.storage as? HostStorage else { return }
    storage.forgetMapped(tensor.offset * tensor.dtype.size, tensor.count * tensor.dtype.size)
  }

  // MARK: Products

  public func pack(_ weights: [Tensor], for precision: Precision, as format: WeightFormat) -> PackedMatrix {
    let k = weights[0].width
    let n = weights.reduce(0) { $0 + $1.rows }
    precondition(weights.allSatisfy { $0.width == k }, "matrices of \(weights.map(\.shape)) read different inputs")
    if let bits = format.bits {
      precondition(precision == .bf16, "codes of \(bits) bits for products of \(precision) precision")
      return packCodes(weights, format, bits, n, k)
    }
    let wide: DType = weights[0].dtype == .f64 ? .f64 : .f32
    let unit = precision == .bf16 ? 4 : wide.size
    let summed = precision == .bf16 ? (k + 1) / 2 : k
    let storage = memory.allocate(byteCount: (n + 15) / 16 * 16 * summed * unit)
    if computes, n % 16 != 0 {
      let last = n / 16 * 16 * summed * unit
      memset(storage.pointer + last, 0, storage.byteCount - last)
    }
    let wanted: DType = precision == .bf16 ? .bf16 : wide
    slabs(of: weights) { slab, first in
      var source = slab
      if slab.dtype != wanted {
        source = empty(slab.shape, wanted)
        convert(source, slab)
      }
      switch precision {
      case .full:
        let panels = storage.pointer.assumingMemoryBound(to: Float.self)
        run(wide) { $0.pack_rows($1, panels, p(source), slab.rows, k, first) }
      case .bf16:
        let panels = storage.pointer.assumingMemoryBound(to: UInt32.self)
        pairs { $0.pack_rows($1, panels, raw(source).assumingMemoryBound(to: UInt16.self), slab.rows, k, first) }
      }
    }
    return PackedMatrix(storage: storage, k: k, n: n, dtype: wide, precision: precision, format: .plain)
  }

  public func packTurned(_ w: Tensor, for precision: Precision, as format: WeightFormat) -> PackedMatrix {
    // Codes depend on whole rows.
    guard format == .plain else { return pack([turned(w)], for: precision, as: format) }
    let (k, n) = (w.rows, w.width)
    let wide: DType = w.dtype == .f64 ? .f64 : .f32
    var source = w
    if w.dtype != wide, precision == .full || w.dtype != .bf16 {
      source = empty(w.shape, wide)
      convert(source, w)
    }
    let summed = precision == .bf16 ? (k + 1) / 2 : k
    let storage = memory.allocate(byteCount: (n + 15) / 16 * 16 * summed * (precision == .bf16 ? 4 : wide.size))
    switch precision {
    case .full:
      run(wide) { $0.pack_columns($1, storage.pointer.assumingMemoryBound(to: Float.self), p(source), n, k, n, 16) }
    case .bf16:
      let isNarrow = source.dtype == .bf16
      pairs {
        $0.pair_columns(
          $1, storage.pointer.assumingMemoryBound(to: UInt32.self), isNarrow ? nil : p(source),
          isNarrow ? raw(source).assumingMemoryBound(to: UInt16.self) : nil, n, k, n, 16)
      }
    }
    return PackedMatrix(storage: storage, k: k, n: n, dtype: wide, precision: precision, format: .plain)
  }

  private func packCodes(_ weights: [Tensor], _ format: WeightFormat, _ bits: Int32, _ n: Int, _ k: Int) -> PackedMatrix
  {
    let panel = isa.codes.pointee.panel_bytes(bits, k)
    let storage = memory.allocate(byteCount: (n + 15) / 16 * panel)
    if computes, n % 16 != 0 { memset(storage.pointer + n / 16 * panel, 0, panel) }
    let panels = storage.pointer.assumingMemoryBound(to: UInt8.self)
    slabs(of: weights) { slab, first in
      var source = slab
      if slab.dtype == .f16 {
        source = empty(slab.shape, .f32)
        convert(source, slab)
      }
      let isNarrow = source.dtype == .bf16
      precondition(isNarrow || source.dtype == .f32, "codes of \(source.dtype) weights")
      codes {
        $0.pack(
          $1, panels, isNarrow ? nil : p(source), isNarrow ? raw(source).assumingMemoryBound(to: UInt16.self) : nil,
          bits, slab.rows, k, first)
      }
    }
    return PackedMatrix(storage: storage, k: k, n: n, dtype: .f32, precision: .bf16, format: format)
  }

  /// Bytes of a matrix that are converted and packed at once.
  static let slabBytes = 2 << 20

  /// Calls `body` with a few rows of the matrices at a time, and the number of the first. What is mapped from a file is
  /// forgotten once it is packed: file and panels are never in memory side by side.
  private func slabs(of weights: [Tensor], _ body: (_ slab: Tensor, _ first: Int) -> Void) {
    var first = 0
    for w in weights {
      let storage = w.storage as? HostStorage
      let rows = max(1, CPUBackend.slabBytes / max(1, w.width * w.dtype.size * 16)) * 16
      for from in stride(from: 0, to: w.rows, by: rows) {
        let slab = w.rowRange(from..<min(from + rows, w.rows))
        charge(slab, slab)
        body(slab, first + from)
        if computes, w.rows > rows { storage?.forgetMapped(slab.offset * w.dtype.size, slab.count * w.dtype.size) }
      }
      first += w.rows
    }
  }

  /// The panels' bytes, and scratch for products of codes with so many inputs.
  private func withCodes(
    _ packed: PackedMatrix, _ body: (UnsafePointer<UInt8>, UnsafeMutablePointer<UInt32>) -> Void
  ) {
    let scratch = scratch(isa.codes.pointee.scratch(packed.k), 4)
    let base = (packed.storage as! HostStorage).pointer
    body(base.assumingMemoryBound(to: UInt8.self), scratch.pointer.assumingMemoryBound(to: UInt32.self))
    withExtendedLifetime(scratch) {}
  }

  public func unpack(_ w: Tensor, _ packed: PackedMatrix) {
    guard let bits = packed.format.bits else { preconditionFailure("plain panels are not codes") }
    precondition(w.rows == packed.n && w.width == packed.k && w.dtype == .f32, "\(w.shape) of \(packed.n), \(packed.k)")
    withCodes(packed) { panels, _ in codes { $0.unpack($1, p(w), panels, bits, packed.n, packed.k) } }
  }

  /// A view's first element.
  func p(_ view: ColumnView) -> UnsafeMutablePointer<Float> {
    (raw(view.tensor) + view.from * view.tensor.dtype.size).assumingMemoryBound(to: Float.self)
  }

  /// Calls `body` with rows of bf16 pairs and the number of pairs between rows; what is not bf16 yet is rounded first.
  func withPairRows(_ x: ColumnView, _ body: (UnsafePointer<UInt32>, Int) -> Void) {
    if x.tensor.dtype == .bf16, x.stride % 2 == 0, x.from % 2 == 0, x.width % 2 == 0, x.tensor.offset % 2 == 0 {
      body(UnsafeRawPointer(p(x)).assumingMemoryBound(to: UInt32.self), x.stride / 2)
      return
    }
    var source = x
    if x.tensor.dtype == .bf16 {
      let wide = empty(x.tensor.shape, .f32)
      convert(wide, x.tensor)
      source = ColumnView(tensor: wide, from: x.from, width: x.width)
    }
    let half = (x.width + 1) / 2
    let rounded = memory.allocate(byteCount: max(1, x.rows * half * 4), for: .scratch)
    let pointer = rounded.pointer.assumingMemoryBound(to: UInt32.self)
    pairs { $0.pair_rows($1, pointer, p(source), x.stride, x.rows, x.width) }
    body(pointer, half)
    withExtendedLifetime(rounded) {}
  }

  public func matmul(_ y: ColumnView, _ x: ColumnView, _ packed: PackedMatrix, accumulate: Bool) {
    let m = x.rows
    precondition(
      x.width == packed.k && y.width == packed.n && y.rows == m,
      "product of [\(m), \(x.width)] with [\(packed.n), \(packed.k)] transposed into [\(y.rows), \(y.width)]")
    charge(product: m, packed)
    if let bits = packed.format.bits {
      precondition(!accumulate, "products with codes are not added")
      withPairRows(x) { a, stride in
        withCodes(packed) { panels, scratch in
          codes { $0.matmul($1, p(y), y.stride, a, stride, panels, scratch, bits, m, packed.n, packed.k) }
        }
      }
      return
    }
    let base = (packed.storage as! HostStorage).pointer
    switch packed.precision {
    case .full:
      precondition(x.tensor.dtype == packed.dtype, "product of \(x.tensor.dtype) with \(packed.dtype) panels")
      run(packed.dtype) {
        $0.matmul(
          $1, p(y), y.stride, p(x), x.stride, 1, 0, base.assumingMemoryBound(to: Float.self), 16, packed.k * 16, m,
          packed.n, packed.k, accumulate)
      }
    case .bf16:
      let half = (packed.k + 1) / 2
      withPairRows(x) { a, stride in
        pairs {
          $0.matmul(
            $1, p(y), y.stride, a, stride, 1, 0, base.assumingMemoryBound(to: UInt32.self), 16, half * 16, m, packed.n,
            half, accumulate)
        }
      }
    }
  }

  public func matmulTurned(_ dx: Tensor, _ dy: ColumnView, _ packed: PackedMatrix, accumulate: Bool) {
    let m = dy.rows
    precondition(
      dy.width == packed.n && dx.width == packed.k && dx.rows == m,
      "product of [\(m), \(dy.width)] with [\(packed.n), \(packed.k)] into \(dx.shape)")
    charge(product: m, packed)
    if let bits = packed.format.bits {
      precondition(!accumulate, "products with codes are not added")
      var source = dy
      if dy.tensor.dtype == .bf16 {
        let wide = empty(dy.tensor.shape, .f32)
        convert(wide, dy.tensor)
        source = ColumnView(tensor: wide, from: dy.from, width: dy.width)
      }
      withCodes(packed) { panels, scratch in
        codes {
          $0.matmul_turned($1, p(dx), packed.k, p(source), source.stride, panels, scratch, bits, m, packed.n, packed.k)
        }
      }
      return
    }
    let base = (packed.storage as! HostStorage).pointer
    switch packed.precision {
    case .full:
      let scratch = turnedScratch(packed)
      run(packed.dtype) { table, pool in
        table.matmul_turned(
          pool, p(dx), packed.k, p(dy), dy.stride, base.assumingMemoryBound(to: Float.self), packed.k,
          scratch.pointer.assumingMemoryBound(to: Float.self), m, packed.k, packed.n, accumulate)
      }
      withExtendedLifetime(scratch) {}
    case .bf16:
      withPairRows(dy) { a, stride in
        let scratch = turnedScratch(packed)
        pairs { table, pool in
          table.matmul_turned(
            pool, p(dx), packed.k, a, stride, base.assumingMemoryBound(to: UInt32.self), (packed.k + 1) / 2,
            scratch.pointer.assumingMemoryBound(to: UInt32.self), m, packed.k, (packed.n + 1) / 2, accumulate)
        }
        withExtendedLifetime(scratch) {}
      }
    }
  }

  /// What products with panels turned need for each thread.
  func turnedScratch(_ packed: PackedMatrix) -> HostStorage {
    switch packed.precision {
    case .full: scratch(table(packed.dtype).pointee.matmul_turned_scratch(), packed.dtype.size)
    case .bf16: scratch(isa.bf16.pointee.matmul_turned_scratch(), 4)
    }
  }

  /// What attention needs for each thread.
  func attentionScratch(_ dtype: DType, _ shape: inout atk_attention_shape, backward: Bool) -> HostStorage {
    let table = table(dtype).pointee
    return scratch(
      backward ? table.attention_backward_scratch(&shape) : table.attention_scratch(&shape), dtype.size)
  }

  public func matmulWeightGradient(_ dw: Tensor, _ dy: ColumnView, _ x: ColumnView, _ precision: Precision) {
    let m = x.rows
    let k = x.width
    let n = dy.width
    precondition(dy.rows == m && dw.rows == n && dw.width == k, "gradient \(dw.shape) from \(dy) and \(x)")
    ledger?.work(2 * Double(m) * Double(k) * Double(n), precision, bytes: dw.count * 2 * dw.dtype.size)
    switch precision {
    case .full:
      // Both as panels (of 12 and 16 columns): columns of a wide matrix lie too far apart for the caches.
      let size = dw.dtype.size
      let left = memory.allocate(byteCount: (n + 11) / 12 * 12 * m * size, for: .scratch)
      let right = memory.allocate(byteCount: (k + 15) / 16 * 16 * m * size, for: .scratch)
      let a = left.pointer.assumingMemoryBound(to: Float.self)
      let b = right.pointer.assumingMemoryBound(to: Float.self)
      run(dw.dtype) {
        $0.pack_columns($1, a, p(dy), dy.stride, m, n, 12)
        $0.pack_columns($1, b, p(x), x.stride, m, k, 16)
        $0.matmul($1, p(dw), k, a, 1, 12, m * 12, b, 16, m * 16, n, k, m, true)
      }
      withExtendedLifetime((left, right)) {}
    case .bf16:
      let half = (m + 1) / 2
      let left = memory.allocate(byteCount: (n + 11) / 12 * 12 * half * 4, for: .scratch)
      let right = memory.allocate(byteCount: (k + 15) / 16 * 16 * half * 4, for: .scratch)
      let a = left.pointer.assumingMemoryBound(to: UInt32.self)
      let b = right.pointer.assumingMemoryBound(to: UInt32.self)
      pairs {
        for (panels, view, width) in [(a, dy, 12), (b, x, 16)] {
          let narrow = view.tensor.dtype == .bf16
          $0.pair_columns(
            $1, panels, narrow ? nil : p(view),
            narrow ? UnsafeRawPointer(p(view)).assumingMemoryBound(to: UInt16.self) : nil,
            view.stride, m, view.width, width)
        }
        $0.matmul($1, p(dw), k, a, 1, 12, half * 12, b, 16, half * 16, n, k, half, true)
      }
      withExtendedLifetime((left, right)) {}
    }
  }

  // MARK: Element by element

  public func add(_ y: Tensor, _ a: Tensor, _ b: Tensor) {
    precondition(y.count == a.count && a.count == b.count, "sum of \(a.shape) and \(b.shape) into \(y.shape)")
    charge(y, a, b)
    run(y.dtype) { $0.add($1, p(y), p(a), p(b), y.count) }
  }
  public func addScaled(_ y: Tensor, _ x: Tensor, _ s: Double) {
    precondition(y.count == x.count, "\(x.shape) added to \(y.shape)")
    charge(y, y, x)
    run(y.dtype) { $0.add_scaled($1, p(y), p(x), y.count, s) }
  }
  public func scale(_ y: Tensor, _ x: Tensor, _ s: Double) {
    precondition(y.count == x.count, "\(x.shape) scaled into \(y.shape)")
    run(y.dtype) { $0.scale($1, p(y), p(x), y.count, s) }
  }
  public func scaleColumns(_ y: Tensor, _ x: Tensor, _ columns: Range<Int>, _ s: Double) {
    precondition(
      y.shape == x.shape && columns.upperBound <= x.width, "columns \(columns) of \(x.shape) into \(y.shape)")
    let (wide, narrow) = outputs(y)
    run(x.dtype) {
      $0.scale_columns($1, wide, narrow, p(x), x.rows, columns.count, x.width, columns.lowerBound, s)
    }
  }
  public func addBias(_ y: ColumnView, _ bias: Tensor) {
    precondition(y.width == bias.count, "bias \(bias.shape) for rows of \(y.width)")
    run(y.tensor.dtype) { $0.bias($1, p(y), y.stride, p(bias), y.rows, y.width) }
  }
  public func biasGradient(_ db: Tensor, _ dy: ColumnView) {
    precondition(dy.width == db.count, "bias \(db.shape) for rows of \(dy.width)")
    run(db.dtype) { $0.bias_backward($1, p(db), p(dy), dy.stride, dy.rows, dy.width) }
  }
  public func swiGLU(_ y: Tensor, _ gateUp: Tensor) {
    precondition(gateUp.width == 2 * y.width && y.rows == gateUp.rows, "\(gateUp.shape) into \(y.shape)")
    let (wide, narrow) = outputs(y)
    charge(y, gateUp)
    run(gateUp.dtype) { $0.swiglu($1, wide, narrow, p(gateUp), y.rows, y.width) }
  }
  public func swiGLUBackward(_ d: Tensor, _ dy: Tensor, _ gateUp: Tensor) {
    charge(d, dy, gateUp)
    let (wide, narrow) = outputs(d)
    run(gateUp.dtype) { $0.swiglu_backward($1, wide, narrow, p(dy), p(gateUp), gateUp.rows, gateUp.width / 2) }
  }
  public func gelu(_ y: Tensor, _ x: Tensor, _ form: GELUForm) {
    let (wide, narrow) = outputs(y)
    charge(y, x)
    run(x.dtype) { $0.gelu($1, wide, narrow, p(x), y.count, form == .tanh) }
  }
  public func geluBackward(_ dx: Tensor, _ dy: Tensor, _ x: Tensor, _ form: GELUForm) {
    charge(dx, dy, x)
    run(dy.dtype) { $0.gelu_backward($1, p(dx), p(dy), p(x), dy.count, form == .tanh) }
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
    return iterations * 20 * 16 * threads * (precision == .bf16 ? 2 : 1)
  }

  /// Reads every value of an f32 tensor once; time it to learn the machine's bandwidth.
  public func readThrough(_ x: Tensor) {
    let sink = zeros([threads], .f32)
    run(.f32) { $0.read($1, p(sink), p(x), x.count) }
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
