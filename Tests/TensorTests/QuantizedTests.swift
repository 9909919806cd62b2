import AttuneTensor
import Core
import TestSupport
import Testing

/// Products with weights held as codes, against a plain twin of their definition: the same bits.
@Suite struct QuantizedTests {
  /// A plain twin of `atk_table_codes`: how weights become codes, and what products make of them.
  private struct Twin {
    let format: WeightFormat
    let n: Int
    let k: Int
    var codes: [Float]
    /// `[n, groups]`.
    var scales: [Float]

    var group: Int { format == .int8 ? k : 128 }
    var groups: Int { (k + group - 1) / group }

    init(_ format: WeightFormat, _ w: [Float], n: Int, k: Int) {
      self.format = format
      self.n = n
      self.k = k
      codes = [Float](repeating: 0, count: n * k)
      scales = []
      for row in 0..<n {
        for start in stride(from: 0, to: k, by: format == .int8 ? k : 128) {
          let range = row * k + start..<row * k + min(start + (format == .int8 ? k : 128), k)
          let (q, scale) = format == .int8 ? Twin.eight(Array(w[range])) : Twin.four(Array(w[range]))
          // Integers know no negative zero.
          codes.replaceSubrange(range, with: q.map { $0 + 0 })
          scales.append(scale)
        }
      }
    }

    /// The largest magnitude with its sign, the positive one of two; NaN before infinity before numbers.
    private static func extreme(_ w: [Float]) -> Float {
      let most = w.map { $0.bitPattern & 0x7FFF_FFFF }.max()!
      return Float(bitPattern: w.contains { $0.bitPattern == most } ? most : most | 0x8000_0000)
    }

    private static func eight(_ w: [Float]) -> ([Float], Float) {
      let none = [Float](repeating: 0, count: w.count)
      let largest = abs(extreme(w))
      guard largest.isFinite else { return (none, .nan) }
      guard largest >= 0x1p-120 else { return (none, 0) }
      let inverse = 127 / largest
      return (w.map { ($0 * inverse).rounded(.toNearestOrEven) }, largest / 127)
    }

    private static func four(_ w: [Float]) -> ([Float], Float) {
      let none = [Float](repeating: 0, count: w.count)
      let extreme = extreme(w)
      guard extreme.isFinite else { return (none, .nan) }
      guard abs(extreme) >= 0x1p-120 else { return (none, 0) }
      let inverse = 1 / extreme
      let u = w.map { $0 * inverse }
      func choice(_ r: Float) -> [Float] {
        u.map { min(max(($0 * r).rounded(.toNearestOrEven), -8), 7) }
      }
      // Element i is added to lane i mod 16, the lanes are folded 8, 4, 2, 1.
      func sum(_ a: [Float], _ b: [Float]) -> Float {
        var lanes = [Float](repeating: 0, count: 16)
        for i in a.indices { lanes[i % 16].addProduct(a[i], b[i]) }
        for width in [8, 4, 2, 1] {
          for i in 0..<width { lanes[i] += lanes[i + width] }
        }
        return lanes[0]
      }
      var best: (gain: Float, q: [Float], scale: Float) = (-1, none, 0)
      for candidate in 0..<16 {
        let q = choice(candidate == 0 ? 7 : -5.25 - 0.25 * Float(candidate))
        let (uq, qq) = (sum(u, q), sum(q, q))
        if uq * uq / qq > best.gain { best = (uq * uq / qq, q, extreme * (uq / qq)) }
      }
      return (best.q, best.scale)
    }

    /// What bf16 holds of x: to nearest even, subnormals to zero.
    static func rounded(_ x: Float) -> Float {
      if x.isNaN { return x }
      if x.exponentBitPattern == 0 { return Float(bitPattern: x.bitPattern & 0x8000_0000) }
      let u = x.bitPattern
      return Float(bitPattern: (u &+ 0x7FFF &+ (u >> 16 & 1)) & 0xFFFF_0000)
    }

    /// The bf16 dot: for each pair odd then even, fused, subnormal sums to zero. An odd end has a partner of zeros.
    private static func dot(_ a: [Float], _ b: [Float]) -> Float {
      var sum: Float = 0
      func add(_ x: Float, _ y: Float) {
        sum.addProduct(x, y)
        if sum.exponentBitPattern == 0 { sum = Float(bitPattern: sum.bitPattern & 0x8000_0000) }
      }
      for l in stride(from: 0, to: a.count, by: 2) {
        if l + 1 < a.count { add(a[l + 1], b[l + 1]) } else { add(0, 0) }
        add(a[l], b[l])
      }
      return sum
    }

    /// y `[m, n]` for x `[m, k]`.
    func product(_ x: [Float], _ m: Int) -> [Float] {
      let x = x.map(Twin.rounded)
      return (0..<m).flatMap { i in
        (0..<n).map { j in
          var y: Float = 0
          for g in 0..<groups {
            let range = g * group..<min((g + 1) * group, k)
            let sum = Twin.dot(
              range.map { x[i * k + $0] }, range.map { codes[j * k + $0] })
            if format == .int8 { y = scales[j] * sum } else { y.addProduct(scales[j * groups + g], sum) }
          }
          return y
        }
      }
    }

    /// dx `[m, k]` for dy `[m, n]`.
    func turned(_ dy: [Float], _ m: Int) -> [Float] {
      (0..<m).flatMap { i in
        (0..<k).map { l in
          Twin.dot(
            (0..<n).map { Twin.rounded(dy[i * n + $0] * scales[$0 * groups + l / group]) },
            (0..<n).map { codes[$0 * k + l] })
        }
      }
    }

    var dequantized: [Float] {
      (0..<n * k).map { scales[$0 / k * groups + $0 % k / group] * codes[$0] }
    }
  }

  private func values(_ count: Int, _ seed: Int, deviation: Double = 1) -> [Float] {
    var random = Randomness(seed: 13, for: .testing).stream(seed)
    return (0..<count).map { _ in Float(random.normal() * deviation) }
  }

  /// Equal bits; two NaN are equal whatever they carry.
  private func expectSame(_ a: [Float], _ b: [Float], _ what: String) {
    #expect(a.count == b.count, "\(what)")
    for i in a.indices where a[i].bitPattern != b[i].bitPattern && !(a[i].isNaN && b[i].isNaN) {
      Issue.record("\(what): element \(i) is \(a[i]), \(b[i]) was expected")
      return
    }
  }

  @Test(arguments: CPUBackend.instructionSets, [WeightFormat.int8, .int4])
  func productsEqualTheirDefinitionBitForBit(isa: String, format: WeightFormat) throws {
    // Few and many rows, odd inputs, inputs that leave part of a group, of four pairs and of a block, outputs beside panels.
    let shapes = [
      (1, 16, 8), (1, 200, 37), (2, 33, 130), (5, 33, 64), (7, 17, 257), (8, 70, 129), (13, 70, 131), (33, 45, 390),
      (40, 81, 128), (64, 48, 96), (35, 17, 1100), (3, 16, 1), (250, 19, 34), (37, 1030, 20),
    ]
    let backends = try [1, 2, 3].map { try CPUBackend(threads: $0, isa: isa) }
    for (m, n, k) in shapes {
      let w = values(n * k, 2, deviation: 0.1)
      let x = values(m * k, 1)
      let dy = values(m * n, 3)
      let twin = Twin(format, w, n: n, k: k)
      let y = twin.product(x, m)
      let dx = twin.turned(dy, m)
      for backend in backends {
        let what = "\(backend.name), \(format) [\(m), \(n), \(k)]"
        let packed = backend.pack([backend.upload(w, [n, k])], for: .bf16, as: format)
        let plain = backend.empty([n, k], .f32)
        backend.unpack(plain, packed)
        expectSame(backend.floats(plain), twin.dequantized, "\(what), weights")
        let found = backend.empty([m, n], .f32)
        let xt = backend.upload(x, [m, k])
        backend.matmul(found.allColumns, xt.allColumns, packed, accumulate: false)
        expectSame(backend.floats(found), y, what)
        let narrow = backend.empty([m, k], .bf16)
        backend.convert(narrow, xt)
        backend.fillZero(found)
        backend.matmul(found.allColumns, narrow.allColumns, packed, accumulate: false)
        expectSame(backend.floats(found), y, "\(what), bf16 operand")
        let gradient = backend.empty([m, k], .f32)
        backend.matmulTurned(gradient, backend.upload(dy, [m, n]).allColumns, packed, accumulate: false)
        expectSame(backend.floats(gradient), dx, "\(what), turned")
      }
    }
  }

  @Test(arguments: [WeightFormat.int8, .int4])
  func specialValuesAgreeOnEveryInstructionSet(format: WeightFormat) throws {
    let special: [Float] = [
      0, -0.0, Float(bitPattern: 0x11233), Float(bitPattern: 0x8000_4321), .leastNormalMagnitude, -1e-20, 1e-30, 1, -1,
      0x1p-120, -0x1p-121, 3e38, -3e38, .infinity, -.infinity, .nan, 5e-20, 0.5, -7, 3,
    ]
    var random = Randomness(seed: 1, for: .testing).stream(named: format.rawValue)
    for k in [4, 7, 133] {
      // Most rows are numbers alone, or everything would be NaN.
      func draw(_ rows: Int, _ width: Int) -> [Float] {
        (0..<rows).flatMap { row in
          (0..<width).map { _ in
            let value = special[random.integer(below: special.count)]
            return row % 4 == 0 || value.isFinite && abs(value) < 1e38 ? value : 0.25
          }
        }
      }
      let (m, n) = (40, 50)
      let w = draw(n, k)
      let x = draw(m, k)
      let dy = draw(m, n)
      let twin = Twin(format, w, n: n, k: k)
      #expect(twin.scales.contains { $0.isNaN } && twin.scales.contains { $0.isFinite && $0 != 0 })
      let y = twin.product(x, m)
      for isa in CPUBackend.instructionSets {
        let backend = try CPUBackend(threads: 1, isa: isa)
        let packed = backend.pack([backend.upload(w, [n, k])], for: .bf16, as: format)
        for rows in [3, m] {
          let found = backend.empty([rows, n], .f32)
          backend.matmul(
            found.allColumns, backend.upload(Array(x.prefix(rows * k)), [rows, k]).allColumns, packed, accumulate: false
          )
          expectSame(backend.floats(found), Array(y.prefix(rows * n)), "\(isa), \(k) inputs")
        }
        // A NaN weight reaches every input's gradient: turned products on the rows without one.
        let sound = (0..<n).filter { row in (0..<k).allSatisfy { w[row * k + $0].isFinite } }
        let soundWeights = sound.flatMap { Array(w[$0 * k..<($0 + 1) * k]) }
        let soundTwin = Twin(format, soundWeights, n: sound.count, k: k)
        let own = (0..<m).flatMap { i in sound.map { dy[i * n + $0] } }
        let dx = backend.empty([m, k], .f32)
        backend.matmulTurned(
          dx, backend.upload(own, [m, sound.count]).allColumns,
          backend.pack([backend.upload(soundWeights, [sound.count, k])], for: .bf16, as: format),
          accumulate: false)
        expectSame(backend.floats(dx), soundTwin.turned(own, m), "\(isa), \(k) inputs, turned")
      }
    }
  }

  /// Matrices side by side, wherever their borders fall among the panels, are those matrices one by one; f32 weights that
  /// bf16 holds exactly and their bf16 form give the same codes.
  @Test(arguments: [WeightFormat.int8, .int4])
  func matricesSideBySideAreThoseOneByOne(format: WeightFormat) throws {
    let backend = try CPUBackend(threads: 2)
    let (m, k) = (11, 150)
    let x = backend.upload(values(m * k, 1), [m, k])
    let weights = [21, 16, 40, 3].enumerated().map { i, rows in
      let narrow = backend.empty([rows, k], .bf16)
      backend.convert(narrow, backend.upload(values(rows * k, 2 + i), [rows, k]))
      return narrow
    }
    let y = backend.empty([m, 80], .f32)
    backend.matmul(y.allColumns, x.allColumns, backend.pack(weights, for: .bf16, as: format), accumulate: false)
    let together = backend.floats(y)
    var from = 0
    for w in weights {
      let single = backend.empty([m, w.rows], .f32)
      let wide = backend.upload(backend.floats(w), w.shape)
      backend.matmul(single.allColumns, x.allColumns, backend.pack([wide], for: .bf16, as: format), accumulate: false)
      let expected = backend.floats(single)
      for i in 0..<m {
        expectSame(
          Array(together[i * 80 + from..<i * 80 + from + w.rows]), Array(expected[i * w.rows..<(i + 1) * w.rows]),
          "row \(i) from \(from)")
      }
      from += w.rows
    }
  }

  /// 8 bits: half a step of max|w| / 127. 4 bits: no worse in squares than steps of max|w| / 7, and better on the whole.
  @Test func codesStayCloseToTheWeights() throws {
    let backend = try CPUBackend(threads: 2)
    let (n, k) = (64, 512)
    let w = values(n * k, 5, deviation: 0.02)
    func held(_ format: WeightFormat) -> [Float] {
      let plain = backend.empty([n, k], .f32)
      backend.unpack(plain, backend.pack([backend.upload(w, [n, k])], for: .bf16, as: format))
      return backend.floats(plain)
    }
    let eight = held(.int8)
    for row in 0..<n {
      let own = row * k..<(row + 1) * k
      let step = own.map { abs(w[$0]) }.max()! / 127
      for i in own { #expect(abs(eight[i] - w[i]) <= step * 0.50001) }
    }
    let four = held(.int4)
    var (ours, theirs) = (0.0, 0.0)
    for start in stride(from: 0, to: n * k, by: 128) {
      let group = start..<start + 128
      let step = group.map { abs(w[$0]) }.max()! / 7
      let own = group.reduce(0.0) { $0 + Double(four[$1] - w[$1]) * Double(four[$1] - w[$1]) }
      let plain = group.reduce(0.0) {
        let error = Double((w[$1] / step).rounded() * step - w[$1])
        return $0 + error * error
      }
      #expect(own <= plain * 1.00001)
      ours += own
      theirs += plain
    }
    #expect(ours < 0.93 * theirs, "\(ours / theirs)")
  }

  /// A group whose members are held in one format packs that; with a trained one among them, all are plain.
  @Test func aTrainedWeightIsPlain() throws {
    let backend = try CPUBackend(threads: 1)
    func weight(_ format: WeightFormat) -> Parameter {
      Parameter(
        name: "w", value: backend.upload(values(32 * 20, 1), [32, 20]), precision: .bf16, format: format,
        trainable: false, backend: backend)
    }
    let (a, b) = (weight(.int8), weight(.int8))
    let group = WeightGroup([a, b])
    #expect(group.panels(on: backend).format == .int8)
    b.setTrainable(true)
    #expect(b.format == .plain && group.panels(on: backend).format == .plain)
    b.setTrainable(false)
    #expect(group.panels(on: backend).format == .int8)
    #expect(WeightGroup([a, weight(.int4)]).panels(on: backend).format == .plain)
  }
}
