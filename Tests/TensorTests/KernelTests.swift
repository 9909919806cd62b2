import AttuneTensor
import CKernels
import Core
import TestSupport
import Testing

@Suite struct KernelTests {
  func values(_ count: Int, _ seed: Int) -> [Float] {
    var random = Randomness(seed: 3, for: .testing).stream(seed)
    return (0..<count).map { _ in Float(random.normal()) }
  }

  func bits(_ x: [Float]) -> [UInt32] { x.map(\.bitPattern) }

  /// What bf16 holds of x.
  func rounded(_ x: Float) -> Float {
    let u = x.bitPattern
    return Float(bitPattern: (u &+ 0x7FFF &+ (u >> 16 & 1)) & 0xFFFF_0000)
  }

  /// y = x wᵀ by the definition: one accumulator, k ascending, fused.
  func naive(_ x: [Float], _ w: [Float], _ m: Int, _ n: Int, _ k: Int) -> [Float] {
    var y = [Float](repeating: 0, count: m * n)
    for i in 0..<m {
      for j in 0..<n {
        var sum: Float = 0
        for l in 0..<k { sum.addProduct(x[i * k + l], w[j * k + l]) }
        y[i * n + j] = sum
      }
    }
    return y
  }

  /// The bf16 dot by its definition: for each pair odd then even, product and sum rounded to f32.
  func naivePairs(_ x: [Float], _ w: [Float], _ m: Int, _ n: Int, _ k: Int) -> [Float] {
    var y = [Float](repeating: 0, count: m * n)
    for i in 0..<m {
      for j in 0..<n {
        var sum: Float = 0
        for l in stride(from: 0, to: k, by: 2) {
          if l + 1 < k { sum += rounded(x[i * k + l + 1]) * rounded(w[j * k + l + 1]) }
          sum += rounded(x[i * k + l]) * rounded(w[j * k + l])
        }
        y[i * n + j] = sum
      }
    }
    return y
  }

  @Test(arguments: CPUBackend.instructionSets, [1, 2, 3])
  func matmulEqualsItsDefinitionBitForBit(isa: String, threads: Int) throws {
    let backend = try CPUBackend(threads: threads, isa: isa)
    for (m, n, k) in [(1, 16, 8), (1, 200, 37), (5, 33, 64), (13, 70, 129), (64, 48, 96), (3, 17, 1100)] {
      let x = values(m * k, 1)
      let w = values(n * k, 2)
      let xt = backend.upload(x, [m, k])
      let wt = backend.upload(w, [n, k])
      let y = backend.empty([m, n], .f32)
      let full = backend.pack([wt], for: .full)
      let narrow = backend.pack([wt], for: .bf16)
      backend.matmul(y.allColumns, xt.allColumns, full, accumulate: false)
      #expect(bits(backend.floats(y)) == bits(naive(x, w, m, n, k)), "f32 \(m) \(n) \(k)")
      backend.matmul(y.allColumns, xt.allColumns, narrow, accumulate: false)
      #expect(bits(backend.floats(y)) == bits(naivePairs(x, w, m, n, k)), "bf16 \(m) \(n) \(k)")
      // Operands that were rounded before are read as they are.
      let rounded = backend.empty([m, k], .bf16)
      backend.convert(rounded, xt)
      backend.fillZero(y)
      backend.matmul(y.allColumns, rounded.allColumns, narrow, accumulate: false)
      #expect(bits(backend.floats(y)) == bits(naivePairs(x, w, m, n, k)), "bf16 operand \(m) \(n) \(k)")

      // dx = dy w, and dw = dyᵀ x: the same definition on transposed operands.
      let dy = values(m * n, 3)
      let dyt = backend.upload(dy, [m, n])
      let transposed = (0..<k).flatMap { l in (0..<n).map { w[$0 * k + l] } }
      let dx = backend.empty([m, k], .f32)
      backend.matmulTurned(dx, dyt.allColumns, full, accumulate: false)
      #expect(bits(backend.floats(dx)) == bits(naive(dy, transposed, m, k, n)), "f32 dx")
      backend.matmulTurned(dx, dyt.allColumns, narrow, accumulate: false)
      #expect(bits(backend.floats(dx)) == bits(naivePairs(dy, transposed, m, k, n)), "bf16 dx")
      let dyColumns = (0..<n).flatMap { j in (0..<m).map { dy[$0 * n + j] } }
      let xColumns = (0..<k).flatMap { l in (0..<m).map { x[$0 * k + l] } }
      let dw = backend.zeros([n, k], .f32)
      backend.matmulWeightGradient(dw, dyt.allColumns, xt.allColumns, .full)
      #expect(bits(backend.floats(dw)) == bits(naive(dyColumns, xColumns, n, k, m)), "f32 dw")
      backend.fillZero(dw)
      backend.matmulWeightGradient(dw, dyt.allColumns, xt.allColumns, .bf16)
      #expect(bits(backend.floats(dw)) == bits(naivePairs(dyColumns, xColumns, n, k, m)), "bf16 dw")
      backend.fillZero(dw)
      backend.matmulWeightGradient(dw, dyt.allColumns, rounded.allColumns, .bf16)
      #expect(bits(backend.floats(dw)) == bits(naivePairs(dyColumns, xColumns, n, k, m)), "bf16 dw of a bf16 operand")
    }
  }

  /// A product and a sum are rounded once, also where two roundings would differ: halfway between floats, among the
  /// subnormals, beside infinities.
  @Test(arguments: CPUBackend.instructionSets)
  func fusedProductsRoundOnce(isa: String) throws {
    let backend = try CPUBackend(threads: 1, isa: isa)
    var random = Randomness(seed: 3, for: .testing).stream(named: "fused")
    /// Floats of few digits, so that sums fall halfway, with exponents from `exponents`.
    func floats(_ count: Int, _ digits: UInt32, _ exponents: ClosedRange<Int>) -> [Float] {
      (0..<count).map { _ in
        let fraction = UInt32(truncatingIfNeeded: random.next()) & (0x7F_FFFF << (23 - digits)) & 0x7F_FFFF
        let exponent = UInt32(exponents.lowerBound + random.integer(below: exponents.count))
        return Float(bitPattern: UInt32(random.integer(below: 2)) << 31 | exponent << 23 | fraction)
      }
    }
    let special: [Float] = [0, -0.0, .infinity, -.infinity, .greatestFiniteMagnitude, .leastNonzeroMagnitude, 1, -1]
    for round in 0..<60 {
      let (m, n) = (10, 48)
      var (x, w, y): ([Float], [Float], [Float])
      switch round % 4 {
      // Half of the sum's last digit, and so little less or more that a double does not see it.
      case 0:
        let small = (0..<max(m, n)).map { Float(sign: .plus, exponent: -13 - $0 % 10, significand: 1) }
        (x, w) = (small[..<m].map { (1 + $0) * 0x1p-12 }, small[..<n].map { (1 - $0) * 0x1p-12 })
        y = floats(m * n, 23, 127...127)
      case 1: (x, w, y) = (floats(m, 23, 100...128), floats(n, 23, 100...128), floats(m * n, 23, 90...130))
      case 2: (x, w, y) = (floats(m, 23, 50...70), floats(n, 23, 50...70), floats(m * n, 23, 0...3))
      default:
        (x, w, y) = (floats(m, 12, 127...128), floats(n, 12, 127...128), floats(m * n, 12, 102...105))
        for i in 0..<m where i < 3 { x[i] = special[random.integer(below: special.count)] }
        for i in stride(from: 0, to: m * n, by: 5) { y[i] = special[random.integer(below: special.count)] }
      }
      let sum = backend.upload(y, [m, n])
      let packed = backend.pack([backend.upload(w, [n, 1])], for: .full)
      backend.matmul(sum.allColumns, backend.upload(x, [m, 1]).allColumns, packed, accumulate: true)
      let made = backend.floats(sum)
      for i in 0..<m * n {
        let expected = y[i].addingProduct(x[i / n], w[i % n])
        #expect(
          made[i].bitPattern == expected.bitPattern || (made[i].isNaN && expected.isNaN),
          "\(x[i / n]) * \(w[i % n]) + \(y[i])")
      }
    }
  }

  /// Matrices side by side, wherever their borders fall among the panels, are those matrices one by one.
  @Test(arguments: [Precision.full, .bf16])
  func productsSideBySideEqualSingleOnes(precision: Precision) throws {
    let backend = try CPUBackend(threads: 2)
    let (m, k) = (11, 50)
    let x = backend.upload(values(m * k, 1), [m, k])
    let weights = [21, 16, 40, 3].enumerated().map { backend.upload(values($1 * k, 2 + $0), [$1, k]) }
    let y = backend.empty([m, 80], .f32)
    backend.matmul(y.allColumns, x.allColumns, backend.pack(weights, for: precision), accumulate: false)
    let together = backend.floats(y)
    var from = 0
    for w in weights {
      let single = backend.empty([m, w.rows], .f32)
      backend.matmul(single.allColumns, x.allColumns, backend.pack([w], for: precision), accumulate: false)
      let expected = backend.floats(single)
      for i in 0..<m {
        #expect(
          bits(Array(together[i * 80 + from..<i * 80 + from + w.rows]))
            == bits(Array(expected[i * w.rows..<(i + 1) * w.rows])))
      }
      from += w.rows
    }
  }

  /// Every kernel gives the same bits on every instruction set and thread count.
  @Test func instructionSetsAgreeBitForBit() throws {
    func run(_ isa: String, _ threads: Int) throws -> [[UInt32]] {
      let backend = try CPUBackend(threads: threads, isa: isa)
      var out: [[UInt32]] = []
      for precision in [Precision.full, .bf16] {
        let tape = Tape(backend, recording: true)
        func parameter(_ shape: [Int], _ seed: Int) -> Parameter {
          Parameter(
            name: "p", value: backend.upload(values(shape.reduce(1, *), seed), shape), precision: precision,
            trainable: true,
            backend: backend)
        }
        let x = backend.upload(values(20 * 40, 1), [20, 40])
        tape.watch(x)
        var forest = Forest()
        let root = forest.append(count: 9)
        forest.append(count: 4, parent: root)
        forest.append(count: 7, parent: root)
        let parameters = [
          parameter([40], 2), parameter([48, 40], 3), parameter([24, 40], 4), parameter([24, 40], 5),
          parameter([40, 48], 6), parameter([40], 7), parameter([40], 8), parameter([100, 40], 9),
          parameter([12], 10), parameter([12], 11), parameter([80, 40], 12),
        ]
        let qkv = tape.linear(
          tape.rmsNorm(x, parameters[0], epsilon: 1e-6, for: precision), WeightGroup(Array(parameters[1...3])))
        let half = (0..<20 * 6).map { PortableMath.sineAndCosine(Double($0)) }
        let angles = RotaryAngles(
          cosine: backend.upload(half.map(\.cosine), [20, 6], as: .f32),
          sine: backend.upload(half.map(\.sine), [20, 6], as: .f32))
        let o = tape.attention(
          qkv, HeadTransform(queryNorm: parameters[8], keyNorm: parameters[9], epsilon: 1e-6, angles: angles),
          forest.attentionPlan, AttentionHeads(heads: 4, kvHeads: 2, size: 12, scale: 0.3), for: precision)
        var y = tape.add(x, tape.linear(o, parameters[4]))
        y = tape.swiGLU(tape.linear(tape.gelu(y, .exact, for: precision), parameters[10]))
        y = tape.layerNorm(y, parameters[5], parameters[6], epsilon: 1e-5)
        y = tape.gelu(y, .tanh)
        let streams = tape.head(
          y, WeightGroup([parameters[7]]), targets: (0..<20).map { Int32($0 * 5) }, temperature: 0.9,
          wanted: Set(HeadStream.allCases))
        out.append(bits(backend.floats(streams)))
        tape.backward(from: streams, seed: backend.upload(values(120, 10), [6, 20]))
        out.append(bits(backend.floats(tape.gradient(of: x)!)))
        let drawn = backend.sample(y, (0..<20).map { Double($0) / 20 }, 0.7)
        out.append(drawn.ids.map { UInt32(bitPattern: $0) } + bits(drawn.logprobs))
        out.append(backend.likeliest(y).map { UInt32(bitPattern: $0) })
        for p in parameters {
          let m = backend.zeros(p.shape, .f32)
          let moment = backend.zeros(p.shape, .f32)
          out.append(bits(backend.floats(p.gradient!)))
          backend.adamW(p.value, m, moment, p.gradient!, AdamWStep(learningRate: 1e-2, weightDecay: 0.1, step: 3))
          out.append(bits(backend.floats(p.value)))
          out.append([UInt32(truncatingIfNeeded: backend.sumOfSquares(p.value).bitPattern)])
        }
      }
      return out
    }
    let reference = try run("portable", 1)
    for isa in CPUBackend.instructionSets {
      for threads in [1, 2, 3] {
        let found = try run(isa, threads)
        for (i, (a, b)) in zip(found, reference).enumerated() {
          #expect(a == b, "\(isa), \(threads) threads, result \(i)")
        }
      }
    }
  }

  /// The bf16 products on special values: signed zeros, subnormals, infinities. NaN payloads are exempt.
  @Test func bf16SpecialValuesAgree() throws {
    let special: [Float] = [
      0, -0.0, Float(bitPattern: 0x11233), Float(bitPattern: 0x8000_4321), .leastNormalMagnitude,
      -.leastNormalMagnitude, 1e-20, -1e-20, 1e-30, .infinity, -.infinity, 1, -1,
      3e38, .nan, Float(bitPattern: 0x7FFFFF), 5e-20, -5e-20,
    ]
    var random = Randomness(seed: 1, for: .testing).stream()
    let x = (0..<64 * 12).map { _ in special[random.integer(below: special.count)] }
    let w = (0..<64 * 40).map { _ in special[random.integer(below: special.count)] }
    var reference: [Float]?
    for isa in CPUBackend.instructionSets.reversed() {
      let backend = try CPUBackend(threads: 1, isa: isa)
      // Short sums, or everything is NaN.
      let y = backend.empty([192, 640], .f32)
      backend.matmul(
        y.allColumns, backend.upload(x, [192, 4]).allColumns, backend.pack([backend.upload(w, [640, 4])], for: .bf16),
        accumulate: false)
      let found = backend.floats(y)
      guard let wanted = reference else {
        reference = found
        continue
      }
      for (a, b) in zip(found, wanted) where !(a.isNaN && b.isNaN) {
        #expect(a.bitPattern == b.bitPattern)
        if a.bitPattern != b.bitPattern { return }
      }
    }
  }

  /// A row's attention and products do not depend on the rows beside it, nor on how its path is cut.
  @Test(arguments: [nil, 1, 15, 16, 40])
  func attentionOfAPackedForestEqualsEachPathAlone(window: Int?) throws {
    let backend = try CPUBackend(threads: 2)
    let heads = AttentionHeads(heads: 4, kvHeads: 2, size: 16, scale: 0.25, window: window)
    let tokens = 37 + 3 * 11
    let q = values(tokens * 64, 1)
    let k = values(tokens * 32, 2)
    let v = values(tokens * 32, 3)
    var forest = Forest()
    let root = forest.append(count: 37)
    for _ in 0..<3 { forest.append(count: 11, parent: root) }
    // Keys and values stand at the given slots of so many pages; what no key is written to is NaN.
    func attend(
      _ q: [Float], _ k: [Float], _ v: [Float], _ plan: AttentionPlan, slots: [Int32]? = nil, pages: Int? = nil
    ) -> [Float] {
      let rows = q.count / 64
      let keys = k.count / 32
      let count = pages ?? (keys + 63) / 64
      let y = backend.empty([rows, 64], .f32)
      let paged = backend.upload([Float](repeating: .nan, count: count * 64 * 32), [count, 2, 16, 64])
      let valueRows = backend.upload([Float](repeating: .nan, count: count * 64 * 32), [count * 64, 32])
      backend.toPages(paged, backend.upload(k, [keys, 32]).allColumns, slots)
      backend.scatter(
        valueRows, backend.upload(v, [keys, 32]).allColumns, slots ?? (0..<Int32(keys)).map { $0 })
      backend.attention(y, nil, backend.upload(q, [rows, 64]), paged, valueRows.allColumns, plan, heads)
      return backend.floats(y)
    }
    let packed = attend(q, k, v, forest.attentionPlan)
    for child in 0..<3 {
      let rows = Array(0..<37) + (0..<11).map { 37 + child * 11 + $0 }
      func pick(_ x: [Float], _ width: Int) -> [Float] { rows.flatMap { Array(x[$0 * width..<($0 + 1) * width]) } }
      var single = Forest()
      single.append(count: 48)
      let alone = attend(pick(q, 64), pick(k, 32), pick(v, 32), single.attentionPlan)
      #expect(bits(alone) == bits(pick(packed, 64)), "child \(child)")
      // Decoding: the last token alone, its keys scattered over pages in pieces of any length.
      var random = Randomness(seed: 8, for: .testing).stream(child)
      for _ in 0..<20 {
        let pages = 60
        var free = Array(0..<pages)
        var path: [KeyPiece] = []
        var slots: [Int32] = []
        while slots.count < 48 {
          let page = free.remove(at: random.integer(below: free.count))
          let count = min(48 - slots.count, 1 + random.integer(below: 20))
          let lane = random.integer(below: 65 - count)
          path.append(KeyPiece(page: Int32(page), lane: Int32(lane), rows: Int32(count)))
          slots += (0..<count).map { Int32(page * 64 + lane + $0) }
        }
        var decode = AttentionPlan(causal: true)
        let first = random.integer(below: 48)
        decode.addRun(query: 0, rows: 48 - first, seen: first + 1, path: path)
        decode.endTree()
        let last = attend(
          Array(pick(q, 64).suffix((48 - first) * 64)), pick(k, 32), pick(v, 32), decode, slots: slots, pages: pages)
        #expect(bits(last) == bits(Array(alone.suffix((48 - first) * 64))), "from \(first) of child \(child)")
      }
    }
  }

  /// Attention against its definition in f64, with long paths, many blocks and heads that share keys.
  @Test(arguments: [(1, 1, 8), (6, 2, 64), (7, 1, 80)])
  func attentionEqualsItsDefinition(heads: Int, kvHeads: Int, size: Int) throws {
    let backend = try CPUBackend(threads: 2)
    let shape = AttentionHeads(heads: heads, kvHeads: kvHeads, size: size, scale: 0.2)
    let tokens = 150
    let q = values(tokens * heads * size, 4)
    let k = values(tokens * kvHeads * size, 5)
    let v = values(tokens * kvHeads * size, 6)
    var forest = Forest()
    forest.append(count: 20)
    let root = forest.append(count: 70)
    forest.append(count: 25, parent: root)
    forest.append(count: 35, parent: root)
    // Which tokens each one sees.
    func path(_ token: Int) -> [Int] {
      if token < 20 { return Array(0...token) }
      let prompt = Array(20..<90)
      if token < 90 { return Array(20...token) }
      return prompt + (token < 115 ? Array(90...token) : Array(115...token))
    }
    let y = backend.empty([tokens, heads * size], .f32)
    let pages = backend.empty([3, kvHeads, size, 64], .f32)
    backend.toPages(pages, backend.upload(k, [tokens, kvHeads * size]).allColumns, nil)
    backend.attention(
      y, nil, backend.upload(q, [tokens, heads * size]), pages,
      backend.upload(v, [tokens, kvHeads * size]).allColumns, forest.attentionPlan, shape)
    let found = backend.floats(y)
    var expected = [Double](repeating: 0, count: found.count)
    for token in 0..<tokens {
      for head in 0..<heads {
        let kv = head / (heads / kvHeads)
        let seen = path(token)
        let scores = seen.map { key in
          (0..<size).reduce(0.0) {
            $0 + Double(q[(token * heads + head) * size + $1]) * Double(k[(key * kvHeads + kv) * size + $1])
          } * 0.2
        }
        let largest = scores.max()!
        let weights = scores.map { PortableMath.exp($0 - largest) }
        let total = weights.reduce(0, +)
        for (key, weight) in zip(seen, weights) {
          for d in 0..<size {
            expected[(token * heads + head) * size + d] += weight / total * Double(v[(key * kvHeads + kv) * size + d])
          }
        }
      }
    }
    expectClose(found.map(Double.init), expected, absolute: 2e-6, relative: 2e-5, "attention")
  }

  @Test func poolRunsEveryChunkOnce() throws {
    let pool = try #require(atk_pool_create(4))
    defer { atk_pool_destroy(pool) }
    final class Counts: @unchecked Sendable { var values = [Int](repeating: 0, count: 64) }
    let counts = Counts()
    counts.values.withUnsafeMutableBufferPointer { buffer in
      for job in 0..<20_000 {
        let chunks = job % 64 + 1
        atk_pool_run(
          pool, { context, chunk, _ in context.assumingMemoryBound(to: Int.self)[chunk] += 1 }, buffer.baseAddress!,
          chunks)
      }
    }
    for chunk in 0..<64 {
      let expected = (0..<20_000).filter { $0 % 64 + 1 > chunk }.count
      #expect(counts.values[chunk] == expected)
    }
  }

  @Test func portableMathIsAccurate() {
    for i in -7000...7000 {
      let x = Double(i) * 0.1
      let e = PortableMath.exp(x)
      if x > -700, x < 700 { #expect(abs(PortableMath.log(e) - x) <= 2e-15 * max(1, abs(x)), "exp, log \(x)") }
      let (s, c) = PortableMath.sineAndCosine(x)
      #expect(abs(s * s + c * c - 1) < 4e-16 * 4)
    }
    #expect(abs(PortableMath.exp(1) - 2.718281828459045) < 1e-15)
    #expect(PortableMath.log(2) == 0.6931471805599453)
    #expect(PortableMath.exp(0) == 1)
    #expect(abs(PortableMath.sineAndCosine(1e5).sine - 0.035748797972016503) < 1e-12)
    #expect(abs(PortableMath.sineAndCosine(0.5235987755982988).sine - 0.5) < 1e-15)
    #expect(PortableMath.pow(2, 10) == 1024 || abs(PortableMath.pow(2, 10) - 1024) < 1e-11)
  }
}
