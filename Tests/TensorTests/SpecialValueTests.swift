import AttuneTensor
import Core
import TestSupport
import Testing

/// Inputs of one run: rows of ordinary numbers, of tiny ones, of huge ones, of those where exponentials are cut off, and
/// rows that hold an infinity or a NaN.
private final class SpecialInputs {
  private static let tiny: [Float] = [
    0, -0.0, .leastNonzeroMagnitude, -.leastNonzeroMagnitude, Float(bitPattern: 0x11233),
    Float(bitPattern: 0x8000_4321),
    Float(bitPattern: 0x7F_FFFF), Float(bitPattern: 0x807F_FFFF), .leastNormalMagnitude, -.leastNormalMagnitude,
    0x1.000002p-126, -0x1.8p-126, 1e-30, -1e-30, 1e-20, -1e-20, 0x1p-75, -0x1.6p-76,
  ]
  private static let exponents: [Float] = [
    87, -87, 87.3, -87.3, Float(87.3).nextUp, -Float(87.3).nextUp, 87.33654, -87.33654, 88, -88, 88.5, -88.5, 88.72283,
    -88.72283, Float(88.72283).nextUp, 88.73, 89, -89, 89.5, -89.5, 104, -104, 0, -0.0, 1, -1,
  ]
  private static let huge: [Float] = [
    .greatestFiniteMagnitude, -.greatestFiniteMagnitude, 1e38, -1e38, 0x1.fep127, 0x1.ffp127, 1e30, -1e30, 1e20, -1e20,
    0x1p64, -0x1p63, 1, -1, 1e-20, 0,
  ]
  private static let all = tiny + exponents + huge + [.infinity, -.infinity, .nan]
  static let kinds = 7

  /// Moves the kinds along the rows, so that every operand meets every kind; nil for ordinary numbers alone.
  private let shift: Int?
  private let random = Randomness(seed: 31, for: .testing)
  private var made: [[Int]: [Float]] = [:]

  init(shift: Int?) { self.shift = shift }

  func values(_ rows: Int, _ width: Int, _ seed: Int) -> [Float] {
    if let found = made[[rows, width, seed]] { return found }
    var x: [Float] = []
    x.reserveCapacity(rows * width)
    for row in 0..<rows {
      let kind = shift.map { ($0 + row + 3 * seed) % Self.kinds } ?? 0
      let place = Int(random.block(seed, row, width, 1).0) % max(1, width)
      for i in 0..<width {
        let words = random.block(seed, row, i, 0)
        func pick(_ list: [Float]) -> Float { list[Int(words.0) % list.count] }
        let ordinary = Float(Int32(bitPattern: words.1)) * 0x1p-30
        switch kind {
        case 1: x.append(pick(Self.tiny))
        case 2: x.append(words.2 % 4 == 0 ? pick(Self.exponents) + ordinary * 0x1p-10 : pick(Self.exponents))
        case 3: x.append(pick(Self.huge))
        case 4: x.append(i == place ? (words.2 % 2 == 0 ? .infinity : -.infinity) : ordinary)
        case 5: x.append(i == place ? .nan : ordinary)
        case 6: x.append(pick(Self.all))
        default: x.append(ordinary)
        }
      }
    }
    made[[rows, width, seed]] = x
    return x
  }

  /// These values as a tensor; two calls with one seed give the same.
  func callAsFunction(
    _ backend: CPUBackend, _ rows: Int, _ width: Int, _ seed: Int = 0, _ dtype: DType = .f32
  ) -> Tensor {
    let wide = backend.upload(values(rows, width, seed), [rows, width])
    guard dtype == .bf16 else { return wide }
    // The upper halves as they are, subnormals too.
    let halves = values(rows, width, seed).map { UInt16($0.bitPattern >> 16) }
    return halves.withUnsafeBytes { backend.upload($0, [rows, width], .bf16) }
  }
}

/// One way to run a primitive.
private struct Primitive: Sendable, CustomTestStringConvertible {
  /// The primitive's name in `Backend`, then what is particular after a comma.
  let name: String
  let run: @Sendable (CPUBackend, SpecialInputs) -> [Float]

  init(_ name: String, _ run: @escaping @Sendable (CPUBackend, SpecialInputs) -> [Float]) {
    self.name = name
    self.run = run
  }

  var primitive: String { String(name.prefix { $0 != "," }) }
  var testDescription: String { name }
}

/// Every primitive on numbers of every kind: each instruction set and number of threads gives the bits of the portable one.
@Suite struct SpecialValueTests {
  /// Primitives of `Backend` that no instruction set computes.
  private static let exempt = [
    "beginPhase": "bookkeeping of memory",
    "empty": "contents are undefined",
    "zeros": "empty and fillZero",
    "upload": "bytes as they are, under every other case",
    "borrow": "somebody else's bytes as they are",
    "withHostBytes": "reads bytes as they are, under every other case",
    "forget": "advice to the system",
  ]

  /// Weights for codes, which are made of ordinary numbers alone.
  private static func finite(_ b: CPUBackend, _ rows: Int, _ width: Int) -> Tensor {
    b.upload((0..<rows * width).map { Float(($0 * 37) % 101 - 50) / 64 }, [rows, width])
  }

  private static func integers(_ x: [Int32]) -> [Float] { x.map { Float($0) } }

  /// A double in pieces that f32 holds.
  private static func pieces(_ x: Double) -> [Float] {
    x.isNaN ? [.nan] : (0..<4).map { Float(x.bitPattern >> (16 * $0) & 0xFFFF) }
  }

  /// All bytes of panels.
  private static func contents(_ b: CPUBackend, _ packed: PackedMatrix) -> [Float] {
    let panels = (packed.n + 15) / 16 * 16
    return packed.precision == .bf16
      ? b.floats(Tensor(storage: packed.storage, dtype: .bf16, shape: [panels * (packed.k + packed.k % 2)]))
      : b.floats(Tensor(storage: packed.storage, dtype: .f32, shape: [panels * packed.k]))
  }

  /// What `run` writes to an output of a shape, f32 or bf16.
  private static func output(
    _ b: CPUBackend, _ rows: Int, _ width: Int, _ dtype: DType = .f32, _ run: (Tensor) -> Void
  ) -> [Float] {
    let y = b.empty([rows, width], dtype)
    run(y)
    return b.floats(y)
  }

  /// The same bits, read as halves.
  private static func halves(_ x: Tensor) -> Tensor {
    Tensor(storage: x.storage, dtype: .f16, shape: x.shape, offset: x.offset)
  }

  // Sums of products are short, or all of them would be NaN.
  private static let products: [Primitive] = [
    Primitive("copy") { b, x in output(b, 7, 37) { b.copy($0, x(b, 7, 37)) } },
    Primitive("fillZero") { b, x in
      let y = x(b, 7, 37)
      b.fillZero(y)
      return b.floats(y)
    },
    Primitive("convert, to bf16") { b, x in output(b, 300, 61, .bf16) { b.convert($0, x(b, 300, 61)) } },
    Primitive("convert, to f32") { b, x in output(b, 300, 61) { b.convert($0, x(b, 300, 61, 0, .bf16)) } },
    Primitive("convert, f16 to f32") { b, x in output(b, 300, 61) { b.convert($0, halves(x(b, 300, 61, 0, .bf16))) } },
    Primitive("convert, f16 to bf16") { b, x in
      output(b, 300, 61, .bf16) { b.convert($0, halves(x(b, 300, 61, 0, .bf16))) }
    },
    Primitive("pack, bf16 of f16") { b, x in contents(b, b.pack([halves(x(b, 33, 70, 0, .bf16))], for: .bf16)) },
    Primitive("packTurned, f32") { b, x in contents(b, b.packTurned(x(b, 21, 37), for: .full, as: .plain)) },
    Primitive("packTurned, bf16") { b, x in contents(b, b.packTurned(x(b, 21, 37), for: .bf16, as: .plain)) },
    Primitive("packTurned, bf16 of bf16") { b, x in
      contents(b, b.packTurned(x(b, 33, 70, 0, .bf16), for: .bf16, as: .plain))
    },
    Primitive("pack, f32") { b, x in contents(b, b.pack([x(b, 21, 37), x(b, 16, 37, 1)], for: .full)) },
    Primitive("pack, bf16") { b, x in contents(b, b.pack([x(b, 21, 37), x(b, 16, 37, 1)], for: .bf16)) },
    Primitive("pack, bf16 of bf16") { b, x in contents(b, b.pack([x(b, 33, 70, 0, .bf16)], for: .bf16)) },
    Primitive("matmul, f32") { b, x in
      output(b, 29, 50) {
        b.matmul($0.allColumns, x(b, 29, 4).allColumns, b.pack([x(b, 50, 4, 1)], for: .full), accumulate: false)
      }
    },
    Primitive("matmul, bf16") { b, x in
      output(b, 29, 50) {
        b.matmul($0.allColumns, x(b, 29, 4).allColumns, b.pack([x(b, 50, 4, 1)], for: .bf16), accumulate: false)
      }
    },
    Primitive("matmul, bf16 operands") { b, x in
      output(b, 29, 50) {
        b.matmul(
          $0.allColumns, x(b, 29, 4, 0, .bf16).allColumns, b.pack([x(b, 50, 4, 1, .bf16)], for: .bf16),
          accumulate: false)
      }
    },
    Primitive("matmul, f32 added") { b, x in
      let y = x(b, 70, 50, 2)
      b.matmul(y.allColumns, x(b, 70, 3).allColumns, b.pack([x(b, 50, 3, 1)], for: .full), accumulate: true)
      return b.floats(y)
    },
    Primitive("matmul, bf16 added") { b, x in
      let y = x(b, 70, 50, 2)
      b.matmul(y.allColumns, x(b, 70, 2).allColumns, b.pack([x(b, 50, 2, 1)], for: .bf16), accumulate: true)
      return b.floats(y)
    },
    Primitive("matmulTurned, f32") { b, x in
      output(b, 29, 50) {
        b.matmulTurned($0, x(b, 29, 3).allColumns, b.pack([x(b, 3, 50, 1)], for: .full), accumulate: false)
      }
    },
    Primitive("matmulTurned, bf16") { b, x in
      output(b, 29, 50) {
        b.matmulTurned($0, x(b, 29, 3).allColumns, b.pack([x(b, 3, 50, 1)], for: .bf16), accumulate: false)
      }
    },
    Primitive("matmulTurned, bf16 operands, added") { b, x in
      let y = x(b, 70, 50, 2)
      b.matmulTurned(y, x(b, 70, 2, 0, .bf16).allColumns, b.pack([x(b, 2, 50, 1)], for: .bf16), accumulate: true)
      return b.floats(y)
    },
    Primitive("matmul, codes of 8 bits") { b, x in
      output(b, 29, 50) {
        b.matmul(
          $0.allColumns, x(b, 29, 4).allColumns, b.pack([finite(b, 50, 4)], for: .bf16, as: .int8), accumulate: false)
      }
    },
    Primitive("matmul, codes of 4 bits") { b, x in
      output(b, 3, 50) {
        b.matmul(
          $0.allColumns, x(b, 3, 4).allColumns, b.pack([finite(b, 50, 4)], for: .bf16, as: .int4), accumulate: false)
      }
    },
    Primitive("matmulTurned, codes of 8 bits") { b, x in
      output(b, 29, 50) {
        b.matmulTurned($0, x(b, 29, 3).allColumns, b.pack([finite(b, 3, 50)], for: .bf16, as: .int8), accumulate: false)
      }
    },
    Primitive("matmulTurned, codes of 4 bits") { b, x in
      output(b, 29, 50) {
        b.matmulTurned($0, x(b, 29, 3).allColumns, b.pack([finite(b, 3, 50)], for: .bf16, as: .int4), accumulate: false)
      }
    },
    Primitive("unpack") { b, _ in
      output(b, 50, 7) { b.unpack($0, b.pack([finite(b, 50, 7)], for: .bf16, as: .int4)) }
    },
    Primitive("matmulWeightGradient, f32") { b, x in
      let dw = x(b, 21, 50, 2)
      b.matmulWeightGradient(dw, x(b, 3, 21).allColumns, x(b, 3, 50, 1).allColumns, .full)
      return b.floats(dw)
    },
    Primitive("matmulWeightGradient, bf16") { b, x in
      let dw = x(b, 21, 50, 2)
      b.matmulWeightGradient(dw, x(b, 3, 21).allColumns, x(b, 3, 50, 1).allColumns, .bf16)
      return b.floats(dw)
    },
    Primitive("matmulWeightGradient, bf16 operands") { b, x in
      let dw = x(b, 21, 50, 2)
      b.matmulWeightGradient(dw, x(b, 3, 21, 0, .bf16).allColumns, x(b, 3, 50, 1, .bf16).allColumns, .bf16)
      return b.floats(dw)
    },
  ]

  private static let mask = DropoutMask(
    key: (7, 9), probability: 0.4, rows: (0..<15).map { RowPlace(tree: $0 / 4, row: $0 % 4) })

  private static let elementwise: [Primitive] = [
    Primitive("add") { b, x in output(b, 300, 61) { b.add($0, x(b, 300, 61), x(b, 300, 61, 1)) } },
    Primitive("addScaled") { b, x in
      [0.3, -0.0, 1e-40, 1e38, .infinity].flatMap { s in
        let y = x(b, 15, 61, 1)
        b.addScaled(y, x(b, 15, 61), s)
        return b.floats(y)
      }
    },
    Primitive("scale") { b, x in
      [0.3, -0.0, 1e-40, 1e38, .infinity].flatMap { s in output(b, 15, 61) { b.scale($0, x(b, 15, 61), s) } }
    },
    Primitive("scaleColumns, f32") { b, x in
      let y = x(b, 15, 61, 1)
      b.scaleColumns(y, x(b, 15, 61), 2..<50, 0.3)
      return b.floats(y)
    },
    Primitive("scaleColumns, bf16") { b, x in
      output(b, 15, 61, .bf16) { b.scaleColumns($0, x(b, 15, 61), 0..<61, 0.3) }
    },
    Primitive("addBias") { b, x in
      let y = x(b, 15, 61)
      b.addBias(y.columns(3..<40), x(b, 1, 37, 1))
      return b.floats(y)
    },
    Primitive("biasGradient") { b, x in
      let db = x(b, 1, 37, 1)
      b.biasGradient(db, x(b, 3, 61).columns(3..<40))
      return b.floats(db)
    },
    Primitive("scaleByColumn") { b, x in
      let y = x(b, 15, 61, 1)
      b.scaleByColumn(y.columns(3..<40), x(b, 15, 50).columns(7..<44), x(b, 1, 37, 2))
      return b.floats(y)
    },
    Primitive("divide") { b, x in output(b, 15, 61) { b.divide($0, x(b, 15, 61), x(b, 15, 61, 1)) } },
    Primitive("columnProducts") { b, x in
      let dw = x(b, 1, 37, 1)
      b.columnProducts(dw, x(b, 3, 61).columns(3..<40), x(b, 3, 50, 2).columns(1..<38), x(b, 1, 37, 3))
      return b.floats(dw)
    },
    Primitive("rowNorms") { b, x in output(b, 1, 40) { b.rowNorms($0, x(b, 40, 3)) } },
    Primitive("dropout, f32") { b, x in output(b, 15, 161) { b.dropout($0, x(b, 15, 161), mask) } },
    Primitive("dropout, bf16") { b, x in
      output(b, 15, 161, .bf16) { b.dropout($0, x(b, 15, 161, 0, .bf16), mask) }
    },
    Primitive("swiGLU, f32") { b, x in output(b, 300, 61) { b.swiGLU($0, x(b, 300, 122)) } },
    Primitive("swiGLU, bf16") { b, x in output(b, 15, 61, .bf16) { b.swiGLU($0, x(b, 15, 122)) } },
    Primitive("swiGLUBackward, f32") { b, x in
      output(b, 15, 122) { b.swiGLUBackward($0, x(b, 15, 61, 1), x(b, 15, 122)) }
    },
    Primitive("swiGLUBackward, bf16") { b, x in
      output(b, 15, 122, .bf16) { b.swiGLUBackward($0, x(b, 15, 61, 1), x(b, 15, 122)) }
    },
    Primitive("gelu, exact") { b, x in output(b, 300, 61) { b.gelu($0, x(b, 300, 61), .exact) } },
    Primitive("gelu, tanh") { b, x in output(b, 300, 61) { b.gelu($0, x(b, 300, 61), .tanh) } },
    Primitive("gelu, exact bf16") { b, x in output(b, 15, 61, .bf16) { b.gelu($0, x(b, 15, 61), .exact) } },
    Primitive("gelu, tanh bf16") { b, x in output(b, 15, 61, .bf16) { b.gelu($0, x(b, 15, 61), .tanh) } },
    Primitive("geluBackward, exact") { b, x in
      output(b, 15, 61) { b.geluBackward($0, x(b, 15, 61, 1), x(b, 15, 61), .exact) }
    },
    Primitive("geluBackward, tanh") { b, x in
      output(b, 15, 61) { b.geluBackward($0, x(b, 15, 61, 1), x(b, 15, 61), .tanh) }
    },
  ]

  private static let rows: [Primitive] = [
    Primitive("gather, f32") { b, x in output(b, 5, 37) { b.gather($0, x(b, 14, 37), [13, 0, 7, 7, 2]) } },
    Primitive("gather, bf16") { b, x in output(b, 5, 37) { b.gather($0, x(b, 14, 37, 0, .bf16), [13, 0, 7, 7, 2]) } },
    Primitive("scatter") { b, x in
      let y = x(b, 14, 37)
      b.scatter(y, x(b, 5, 40, 1).columns(2..<39), [13, 0, 7, 6, 2])
      return b.floats(y)
    },
    Primitive("scatterAdd") { b, x in
      let y = x(b, 14, 37)
      b.scatterAdd(y, x(b, 5, 37, 1), [13, 0, 7, 7, 2])
      return b.floats(y)
    },
    Primitive("copyColumns") { b, x in
      let y = x(b, 14, 37)
      b.copyColumns(y.columns(3..<23), x(b, 14, 30, 1).columns(7..<27))
      return b.floats(y)
    },
    Primitive("groupRows") { b, x in
      output(b, 4, 37 * 4) { b.groupRows($0, x(b, 14, 37), groups, group: 4) }
    },
    Primitive("groupRowsBackward") { b, x in
      output(b, 14, 37) { b.groupRowsBackward($0, x(b, 4, 37 * 4), groups, group: 4) }
    },
    Primitive("latentHeads") { b, x in
      let (k, v) = (b.empty([14, 60], .f32), b.empty([14, 33], .f32))
      return output(b, 14, 60) {
        b.latentHeads(
          $0, k, v, x(b, 14, 60), x(b, 14, 3 * 25, 1), x(b, 14, 9, 2).columns(2..<8),
          RotaryAngles(cosine: x(b, 14, 3, 3), sine: x(b, 14, 3, 4)), latent)
      } + b.floats(k) + b.floats(v)
    },
    Primitive("latentHeadsBackward") { b, x in
      let (dKeyValue, dKey) = (b.empty([14, 75], .f32), x(b, 14, 9, 5))
      return output(b, 14, 60) {
        b.latentHeadsBackward(
          $0, dKeyValue, dKey.columns(2..<8), x(b, 14, 60), x(b, 14, 60, 1), x(b, 14, 33, 2),
          RotaryAngles(cosine: x(b, 14, 3, 3), sine: x(b, 14, 3, 4)), latent)
      } + b.floats(dKeyValue) + b.floats(dKey)
    },
    Primitive("rmsNorm, f32") { b, x in output(b, 14, 37) { b.rmsNorm($0, x(b, 14, 37), x(b, 1, 37, 1), 1e-6) } },
    Primitive("rmsNorm, no epsilon") { b, x in output(b, 14, 37) { b.rmsNorm($0, x(b, 14, 37), x(b, 1, 37, 1), 0) } },
    Primitive("rmsNorm, bf16") { b, x in
      output(b, 14, 37, .bf16) { b.rmsNorm($0, x(b, 14, 37), x(b, 1, 37, 1), 1e-6) }
    },
    Primitive("rmsNormBackward") { b, x in
      let dw = x(b, 1, 37, 3)
      return output(b, 14, 37) { b.rmsNormBackward($0, dw, x(b, 14, 37, 2), x(b, 14, 37), x(b, 1, 37, 1), 1e-6) }
        + b.floats(dw)
    },
    Primitive("layerNorm, f32") { b, x in
      output(b, 14, 37) { b.layerNorm($0, x(b, 14, 37), x(b, 1, 37, 1), x(b, 1, 37, 2), 1e-6) }
    },
    Primitive("layerNorm, bf16") { b, x in
      output(b, 14, 37, .bf16) { b.layerNorm($0, x(b, 14, 37), x(b, 1, 37, 1), x(b, 1, 37, 2), 1e-6) }
    },
    Primitive("layerNormBackward") { b, x in
      let (dw, db) = (x(b, 1, 37, 3), x(b, 1, 37, 4))
      return output(b, 14, 37) {
        b.layerNormBackward($0, dw, db, x(b, 14, 37, 2), x(b, 14, 37), x(b, 1, 37, 1), 1e-6)
      } + b.floats(dw) + b.floats(db)
    },
    Primitive("transformHeads, normed") { b, x in transformed(b, x, norm: x(b, 1, 38, 3), backwards: false) },
    Primitive("transformHeads, backwards") { b, x in transformed(b, x, norm: nil, backwards: true) },
    Primitive("headNormBackward") { b, x in
      let dw = x(b, 1, 38, 3)
      return output(b, 14, 76) {
        b.headNormBackward(
          $0.allColumns, dw, x(b, 14, 76, 2), x(b, 14, 80).columns(4..<80), x(b, 1, 38, 1), 1e-6)
      } + b.floats(dw)
    },
  ]

  private static func transformed(_ b: CPUBackend, _ x: SpecialInputs, norm: Tensor?, backwards: Bool) -> [Float] {
    let angles = RotaryAngles(cosine: x(b, 14, 19, 1), sine: x(b, 14, 19, 2))
    return output(b, 14, 76) {
      b.transformHeads(
        $0.allColumns, x(b, 14, 80).columns(4..<80), norm, 1e-6, angles, size: 38, backwards: backwards)
    }
  }

  private static let groups: [Int32] = [3, -1, 0, 7, 13, 12, -1, -1, 1, 2, 4, 5, 6, 8, 9, 10]
  private static let latent = LatentHeads(heads: 3, plain: 14, turned: 6, value: 11, scale: 1)

  private static let heads = AttentionHeads(heads: 4, kvHeads: 2, size: 6, scale: 0.4)
  private static let plan: AttentionPlan = {
    var forest = Forest()
    let root = forest.append(count: 9)
    forest.append(count: 4, parent: root)
    forest.append(count: 20, parent: root)
    for _ in 0..<3 { forest.append(count: 2) }
    return forest.attentionPlan
  }()

  /// Transposed rows; unwritten keys are zero.
  private static func paged(_ b: CPUBackend, _ rows: Tensor) -> Tensor {
    let pages = b.zeros([1, 2, 6, 64], .f32)
    b.toPages(pages, rows.allColumns, nil)
    return pages
  }

  private static let attention: [Primitive] = [
    Primitive("toPages") { b, x in
      let pages = b.zeros([2, 2, 6, 64], .f32)
      b.toPages(pages, x(b, 39, 12).allColumns, (0..<39).map { $0 < 30 ? $0 + 3 : $0 * 3 })
      return b.floats(pages)
    },
    Primitive("attention, f32") { b, x in
      let lse = b.empty([39, 4], .f32)
      return output(b, 39, 24) {
        b.attention($0, lse, x(b, 39, 24), paged(b, x(b, 39, 12, 1)), x(b, 39, 12, 2).allColumns, plan, heads)
      } + b.floats(lse)
    },
    Primitive("attention, window") { b, x in
      let heads = AttentionHeads(heads: 4, kvHeads: 2, size: 6, scale: 0.4, window: 5)
      return output(b, 39, 24) {
        b.attention($0, nil, x(b, 39, 24), paged(b, x(b, 39, 12, 1)), x(b, 39, 12, 2).allColumns, plan, heads)
      }
    },
    Primitive("attention, bf16") { b, x in
      output(b, 39, 24, .bf16) {
        b.attention($0, nil, x(b, 39, 24), paged(b, x(b, 39, 12, 1)), x(b, 39, 12, 2).allColumns, plan, heads)
      }
    },
    Primitive("attentionBackward") { b, x in
      let (k, v) = (x(b, 39, 12, 1), x(b, 39, 12, 2))
      let (dk, dv) = (b.empty([39, 12], .f32), b.empty([39, 12], .f32))
      return output(b, 39, 24) {
        b.attentionBackward(
          $0, dk, dv.allColumns, x(b, 39, 24, 3), x(b, 39, 4, 4), x(b, 39, 24), k, paged(b, k), paged(b, v), plan, heads
        )
      } + b.floats(dk) + b.floats(dv)
    },
  ]

  private static let targets: [Int32] = (0..<14).map { $0 * 21 }
  private static let temperatures = [1, 0.7]

  private static let head: [Primitive] = [
    Primitive("head") { b, x in
      temperatures.flatMap { t in
        output(b, 6, 14) {
          b.head($0, firstRow: 0, x(b, 14, 300), targets[...], t, Set(HeadStream.allCases))
        }
      }
    },
    Primitive("headBackward") { b, x in
      temperatures.flatMap { t in
        let logits = x(b, 14, 300)
        b.headBackward(logits, x(b, 6, 14, 1), firstRow: 0, targets[...], t, Set(HeadStream.allCases))
        return b.floats(logits)
      }
    },
    Primitive("sample") { b, x in
      temperatures.flatMap { t in
        let drawn = b.sample(x(b, 14, 300), (0..<14).map { $0 == 13 ? 1 - 0x1p-53 : Double($0) / 13 }, t)
        return integers(drawn.ids) + drawn.logprobs
      }
    },
    Primitive("likeliest") { b, x in integers(b.likeliest(x(b, 14, 300))) },
    Primitive("exponentials") { b, x in
      temperatures.flatMap { t in output(b, 14, 300) { b.exponentials($0, x(b, 14, 300), t) } }
    },
  ]

  /// Fourteen tokens with two of four experts each; one expert has none.
  private static let experts = ExpertPlan(
    chosen: (0..<14).flatMap { $0 % 3 == 0 ? [0, 1] : [1, 3] }, choices: 2, experts: 4, evenWithin: [0, 5])

  private static func panels(_ b: CPUBackend, _ x: SpecialInputs, _ precision: Precision, _ n: Int, _ k: Int)
    -> [PackedMatrix?]
  {
    (0..<4).map { expert in expert == 2 ? nil : b.pack([x(b, n, k, 10 + expert)], for: precision) }
  }

  private static let mixtures: [Primitive] = [
    Primitive("route, over the chosen") { b, x in
      let weights = b.empty([14, 3], .f32)
      let rule = RoutingRule(choices: 3, normalized: true)
      return integers(b.route(weights, x(b, 14, 21), bias: nil, rule)) + b.floats(weights)
    },
    Primitive("route, over all") { b, x in
      let weights = b.empty([14, 3], .f32)
      let rule = RoutingRule(choices: 3, normalized: false)
      return integers(b.route(weights, x(b, 14, 21), bias: nil, rule)) + b.floats(weights)
    },
    Primitive("route, groups") { b, x in
      let weights = b.empty([14, 3], .f32)
      let rule = RoutingRule(choices: 3, normalized: false, scale: 2.5, groups: 3, keptGroups: 2)
      return integers(b.route(weights, x(b, 14, 21), bias: nil, rule)) + b.floats(weights)
    },
    Primitive("route, sigmoid") { b, x in
      [true, false].flatMap { normalized in
        let weights = b.empty([14, 3], .f32)
        let rule = RoutingRule(
          choices: 3, gate: .sigmoid, normalized: normalized, scale: 2.5, groups: 3, keptGroups: 2, groupBest: 2)
        return integers(b.route(weights, x(b, 14, 21), bias: x(b, 1, 21, 1).reshaped([21]), rule)) + b.floats(weights)
      }
    },
    Primitive("routeBackward") { b, x in
      [(RoutingRule.Gate.softmax, true), (.softmax, false), (.sigmoid, true), (.sigmoid, false)].flatMap {
        gate, normalized in
        output(b, 14, 21) {
          b.routeBackward(
            $0, x(b, 14, 3, 1), x(b, 14, 3, 2), x(b, 14, 21), (0..<14).flatMap { [$0, $0 + 1, 20] },
            RoutingRule(choices: 3, gate: gate, normalized: normalized, scale: 1.5))
        }
      }
    },
    Primitive("gatherExpertRows") { b, x in
      output(b, experts.rowCount, 37) { b.gatherExpertRows($0, x(b, 14, 37), experts) }
    },
    Primitive("combineExperts") { b, x in
      [x(b, 14, 2, 1), nil].flatMap { weights in
        output(b, 14, 37) { b.combineExperts($0, x(b, experts.rowCount, 37), weights, experts) }
      }
    },
    Primitive("combineExpertsBackward") { b, x in
      let dWeights = b.empty([14, 2], .f32)
      return output(b, experts.rowCount, 37) {
        b.combineExpertsBackward($0, dWeights, x(b, 14, 37, 1), x(b, experts.rowCount, 37), x(b, 14, 2, 2), experts)
      } + b.floats(dWeights)
    },
    Primitive("matmulExperts, f32") { b, x in
      output(b, experts.rowCount, 50) {
        b.matmulExperts($0, x(b, experts.rowCount, 3), panels(b, x, .full, 50, 3), experts)
      }
    },
    Primitive("matmulExperts, bf16") { b, x in
      output(b, experts.rowCount, 50) {
        b.matmulExperts($0, x(b, experts.rowCount, 4, 0, .bf16), panels(b, x, .bf16, 50, 4), experts)
      }
    },
    Primitive("matmulExpertsTurned, f32") { b, x in
      output(b, experts.rowCount, 50) {
        b.matmulExpertsTurned($0, x(b, experts.rowCount, 3), panels(b, x, .full, 3, 50), experts)
      }
    },
    Primitive("matmulExpertsTurned, bf16") { b, x in
      output(b, experts.rowCount, 50) {
        b.matmulExpertsTurned($0, x(b, experts.rowCount, 4, 0, .bf16), panels(b, x, .bf16, 4, 50), experts)
      }
    },
  ]

  private static let optimizer: [Primitive] = [
    Primitive("sumOfSquares") { b, x in
      (0..<14).flatMap { pieces(b.sumOfSquares(x(b, 14, 61).rowRange($0..<$0 + 1))) }
        + pieces(b.sumOfSquares(x(b, 300, 61)))
    },
    Primitive("adamW") { b, x in
      let (p, m, v) = (x(b, 300, 61), x(b, 300, 61, 1), x(b, 300, 61, 2))
      let settings = AdamWStep(gradientScale: 0.9, learningRate: 1e-3, weightDecay: 0.1, step: 3)
      b.adamW(p, m, v, x(b, 300, 61, 3), settings)
      return b.floats(p) + b.floats(m) + b.floats(v)
    },
    Primitive("adamWQuantized") { b, x in
      let (p, scales, roots) = (x(b, 300, 61), x(b, 1, 72, 1), x(b, 1, 72, 2))
      let codes = (0..<300 * 61).map { UInt8($0 * 37 % 256) }
      let moments = codes.withUnsafeBytes { bytes in
        QuantizedMoments(
          first: b.upload(bytes, [300, 61], .u8), firstScales: scales, second: b.upload(bytes, [300, 61], .u8),
          secondScales: roots)
      }
      b.adamWQuantized(
        p, moments, x(b, 300, 61, 3), AdamWStep(gradientScale: 0.9, learningRate: 1e-3, weightDecay: 0.1, step: 3))
      func bytes(_ x: Tensor) -> [Float] { b.withHostBytes(x) { $0.map { Float($0) } } }
      return b.floats(p) + bytes(moments.first) + b.floats(scales) + bytes(moments.second) + b.floats(roots)
    },
    Primitive("sgd, coupled decay") { b, x in
      let (p, m) = (x(b, 300, 61), x(b, 300, 61, 1))
      b.sgd(
        p, m, x(b, 300, 61, 3),
        SGDStep(gradientScale: 0.9, learningRate: 1e-3, momentum: 0.8, nesterov: true, weightDecay: 0.1))
      return b.floats(p) + b.floats(m)
    },
    Primitive("sgd, no momentum") { b, x in
      let p = x(b, 300, 61)
      b.sgd(p, nil, x(b, 300, 61, 3), SGDStep(learningRate: 1e-3, weightDecay: 0.1, couplesDecay: false))
      return b.floats(p)
    },
    Primitive("orthonormalizeRows") { b, x in
      let y = x(b, 14, 61)
      b.orthonormalizeRows(y)
      return b.floats(y)
    },
  ]

  private static let primitives: [Primitive] =
    products + elementwise + rows + attention + head + mixtures + optimizer

  /// Portable with one thread first.
  private static let backends: [CPUBackend] = CPUBackend.instructionSets.reversed().flatMap { isa in
    [1, 2, 3].map { try! CPUBackend(threads: $0, isa: isa) }
  }

  @Test(arguments: primitives) private func everyVariantGivesTheSameBits(primitive: Primitive) {
    for shift in [nil] + (0..<SpecialInputs.kinds).map({ Optional($0) }) {
      let inputs = SpecialInputs(shift: shift)
      let reference = primitive.run(Self.backends[0], inputs)
      if shift == nil { #expect(reference.contains { $0.isFinite }, "ordinary numbers give ordinary results") }
      for backend in Self.backends.dropFirst() {
        let found = primitive.run(backend, inputs)
        #expect(found.count == reference.count)
        if found.withUnsafeBytes({ a in reference.withUnsafeBytes { a.elementsEqual($0) } }) { continue }
        let wrong = found.indices.first { i in
          found[i].bitPattern != reference[i].bitPattern && !(found[i].isNaN && reference[i].isNaN)
        }
        guard let wrong else { continue }
        Issue.record(
          "\(primitive.name), inputs \(shift ?? -1), \(backend.name): value \(wrong) is \(found[wrong]), portable has \(reference[wrong])"
        )
      }
    }
  }

  /// A new primitive needs a row in the tables above, or a reason not to have one.
  @Test func noPrimitiveIsMissing() throws {
    let file = String(decoding: try Fixtures.bytes("../../Sources/Tensor/Backend.swift"), as: UTF8.self)
    let lines = file.split(separator: "\n", omittingEmptySubsequences: false)
    let first = try #require(lines.firstIndex { $0.hasPrefix("public protocol Backend") })
    let last = try #require(lines[first...].firstIndex { $0 == "}" })
    let declared = lines[first..<last].compactMap { line -> String? in
      let words = line.drop { $0 == " " }
      guard words.hasPrefix("func ") else { return nil }
      return String(words.dropFirst(5).prefix { $0.isLetter || $0.isNumber })
    }
    #expect(declared.count > 40)
    let covered = Set(Self.primitives.map(\.primitive))
    let missing = Set(declared).subtracting(covered).subtracting(Self.exempt.keys)
    #expect(missing.isEmpty, "no case for \(missing.sorted())")
    let unknown = covered.union(Self.exempt.keys).subtracting(declared)
    #expect(unknown.isEmpty, "\(unknown.sorted()) are not primitives")
    #expect(covered.isDisjoint(with: Self.exempt.keys))
  }
}
