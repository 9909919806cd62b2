@testable import AttuneTensor
import Core
import Foundation
import TestSupport
import Testing

/// Kernels against their plain twins, in f32 and f64, on shapes that fill no vector evenly.
@Suite struct PlainTwinTests {
  private static let shared = try! CPUBackend(threads: 2)
  private var backend: CPUBackend { Self.shared }
  private static let shapes = [(1, 1), (1, 16), (5, 1), (0, 5), (3, 20), (7, 37), (40, 600)]

  /// Random numbers that f32 holds exactly.
  private func random(_ rows: Int, _ width: Int, _ seed: Int, spread: Double = 1) -> Grid {
    var random = Randomness(seed: 21, for: .testing).stream(seed, width)
    return Grid(rows, width) { _, _ in Double(Float(random.normal() * spread)) }
  }

  private func upload(_ x: Grid, _ dtype: DType = .f32) -> Tensor {
    backend.upload(x.values, [x.rows, x.width], as: dtype)
  }
  private func upload(_ x: [Double], _ dtype: DType = .f32) -> Tensor { backend.upload(x, [x.count], as: dtype) }
  private func floats(_ x: Grid) -> [Float] { x.values.map { Float($0) } }
  private func bits(_ x: [Float]) -> [UInt32] { x.map(\.bitPattern) }

  /// f32 results are within a few units in the last place of the twin, in proportion to its largest value.
  private func expect(
    _ found: Tensor, _ twin: [Double], within: Double = 2e-6, _ what: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let finite = twin.map(abs).filter(\.isFinite)
    let scale = max(1, finite.max() ?? 0)
    let tolerance = found.dtype == .f64 ? 1e-13 : within
    expectClose(
      backend.doubles(found), twin, absolute: tolerance * scale, relative: tolerance, "\(what) in \(found.dtype)",
      sourceLocation: sourceLocation)
  }

  /// `run` writes to a bf16 tensor what it writes to an f32 one, rounded.
  private func expectRounded(
    _ shape: [Int], _ what: String, sourceLocation: SourceLocation = #_sourceLocation, _ run: (Tensor) -> Void
  ) {
    let wide = backend.empty(shape, .f32)
    let narrow = backend.empty(shape, .bf16)
    run(wide)
    run(narrow)
    #expect(
      bits(backend.floats(narrow)) == bits(backend.floats(wide).map(Plain.bf16)), "\(what) rounded",
      sourceLocation: sourceLocation)
  }

  // MARK: Adapters

  @Test(arguments: shapes) func magnitudes(rows: Int, width: Int) {
    let (x, dy) = (random(rows, width + 3, 1), random(rows, width, 2))
    let (w, d, before) = (random(1, width, 3).values, random(1, width, 4).values, random(1, width, 5).values)
    let inner = x.columns(2..<2 + width)
    for dtype in [DType.f32, .f64] {
      let y = backend.empty([rows, width], dtype)
      backend.scaleByColumn(y.allColumns, upload(x, dtype).columns(2..<2 + width), upload(w, dtype))
      expect(y, Grid(rows, width) { inner[$0, $1] * w[$1] }.values, "scaled columns")
      let dw = upload(before, dtype)
      backend.columnProducts(
        dw, upload(dy, dtype).allColumns, upload(x, dtype).columns(2..<2 + width), upload(d, dtype))
      expect(
        dw,
        (0..<width).map { c in
          (0..<rows).reduce(before[c]) { $0 + dy[$1, c] / d[c] * inner[$1, c] }
        }, within: 2e-5, "products of columns")
      let norms = backend.empty([rows], dtype)
      backend.rowNorms(norms, upload(inner, dtype))
      expect(norms, (0..<rows).map { r in inner.row(r).reduce(0) { $0 + $1 * $1 }.squareRoot() }, "norms")
      let ratio = backend.empty([width], dtype)
      backend.divide(ratio, upload(w, dtype), upload(d, dtype))
      expect(ratio, zip(w, d).map(/), "quotients")
    }
  }

  /// The words of Philox, one by one, decide; a row's mask goes with its place and not with its neighbours.
  @Test(arguments: shapes) func dropout(rows: Int, width: Int) {
    let x = random(rows, width, 1)
    let places = (0..<rows).map { RowPlace(tree: 3 + $0 / 2, row: 1_000_000 * $0) }
    let threshold = UInt32(0.3 * 0x1p32)
    let twin = Grid(rows, width) { r, c in
      let block = Philox.block(
        key: (11, 12), counter: (places[r].tree, places[r].row, UInt32(c / 64 * 16 + c % 16), 0))
      let word = [block.0, block.1, block.2, block.3][c % 64 / 16]
      return word >= threshold ? x[r, c] : 0
    }
    func dropped(_ from: Int, _ to: Int, _ dtype: DType) -> [Double] {
      let part = Grid(to - from, width) { x[from + $0, $1] }
      let y = backend.empty([to - from, width], dtype)
      backend.dropout(
        y, upload(part, dtype),
        DropoutMask(key: (11, 12), probability: 0.3, rows: Array(places[from..<to])))
      return backend.doubles(y)
    }
    for dtype in [DType.f32, .f64] {
      #expect(dropped(0, rows, dtype) == twin.values)
      if rows > 1 { #expect(dropped(0, 1, dtype) + dropped(1, rows, dtype) == twin.values) }
    }
  }

  // MARK: Norms

  @Test(arguments: shapes) func rmsNorm(rows: Int, width: Int) {
    let (x, dy) = (random(rows, width, 1), random(rows, width, 2))
    let (w, before) = (random(1, width, 3).values, random(1, width, 4).values)
    let twin = Plain.rmsNormBackward(dy, x, w, 1e-5)
    for dtype in [DType.f32, .f64] {
      let (y, dx) = (backend.empty([rows, width], dtype), backend.empty([rows, width], dtype))
      let dw = upload(before, dtype)
      backend.rmsNorm(y, upload(x, dtype), upload(w, dtype), 1e-5)
      expect(y, Plain.rmsNorm(x, w, 1e-5).values, "RMS norm")
      backend.rmsNormBackward(dx, dw, upload(dy, dtype), upload(x, dtype), upload(w, dtype), 1e-5)
      expect(dx, twin.dx.values, "dx")
      expect(dw, zip(before, twin.dw).map(+), "dw")
      let alone = backend.empty([rows, width], dtype)
      backend.rmsNormBackward(alone, nil, upload(dy, dtype), upload(x, dtype), upload(w, dtype), 1e-5)
      #expect(backend.doubles(alone) == backend.doubles(dx))
    }
    expectRounded([rows, width], "RMS norm") { backend.rmsNorm($0, upload(x), upload(w), 1e-5) }
  }

  @Test(arguments: shapes) func layerNorm(rows: Int, width: Int) {
    let (x, dy) = (random(rows, width, 1), random(rows, width, 2))
    let (w, b) = (random(1, width, 3).values, random(1, width, 4).values)
    let before = random(2, width, 5)
    let twin = Plain.layerNormBackward(dy, x, w, 1e-3)
    for dtype in [DType.f32, .f64] {
      let (y, dx) = (backend.empty([rows, width], dtype), backend.empty([rows, width], dtype))
      let (dw, db) = (upload(before.row(0), dtype), upload(before.row(1), dtype))
      backend.layerNorm(y, upload(x, dtype), upload(w, dtype), upload(b, dtype), 1e-3)
      expect(y, Plain.layerNorm(x, w, b, 1e-3).values, "layer norm")
      backend.layerNormBackward(dx, dw, db, upload(dy, dtype), upload(x, dtype), upload(w, dtype), 1e-3)
      expect(dx, twin.dx.values, "dx")
      expect(dw, zip(before.row(0), twin.dw).map(+), "dw")
      expect(db, zip(before.row(1), twin.db).map(+), "db")
      let alone = backend.empty([rows, width], dtype)
      backend.layerNormBackward(alone, nil, nil, upload(dy, dtype), upload(x, dtype), upload(w, dtype), 1e-3)
      #expect(backend.doubles(alone) == backend.doubles(dx))
    }
    expectRounded([rows, width], "layer norm") { backend.layerNorm($0, upload(x), upload(w), upload(b), 1e-3) }
  }

  /// Heads are read from and written to the middle columns of wider matrices, whose other columns stay.
  @Test(arguments: [(1, 1, 2), (5, 3, 6), (9, 2, 40), (300, 4, 64), (0, 2, 8)])
  func heads(rows: Int, heads: Int, size: Int) {
    let width = heads * size
    let (wide, old) = (random(rows, width + 5, 1), random(rows, width + 7, 2))
    let (x, dy) = (wide.columns(3..<3 + width), random(rows, width, 3))
    let norm = random(1, size, 4).values
    let turns = random(rows, size / 2, 5)
    let cosine = Grid(rows, size / 2) { Double(Float(cos(turns[$0, $1]))) }
    let sine = Grid(rows, size / 2) { Double(Float(sin(turns[$0, $1]))) }
    for dtype in [DType.f32, .f64] {
      let angles = RotaryAngles(cosine: upload(cosine, dtype), sine: upload(sine, dtype))
      for (normed, backwards) in [(true, false), (false, false), (false, true), (true, true)] {
        let y = upload(old, dtype)
        backend.transformHeads(
          y.columns(2..<2 + width), upload(wide, dtype).columns(3..<3 + width), normed ? upload(norm, dtype) : nil,
          1e-5, angles, size: size, backwards: backwards)
        let twin = Plain.transformHeads(
          x, normed ? norm : nil, 1e-5, cosine: cosine, sine: sine, size: size, backwards: backwards)
        let expected = Grid(rows, width + 7) { (2..<2 + width).contains($1) ? twin[$0, $1 - 2] : old[$0, $1] }
        expect(y, expected.values, "heads, norm \(normed), backwards \(backwards)")
        guard !normed else { continue }
        let place = upload(x, dtype)
        backend.transformHeads(
          place.allColumns, place.allColumns, nil, 0, angles, size: size, backwards: backwards)
        #expect(
          backend.doubles(place)
            == Grid(rows, width + 7, backend.doubles(y)).columns(2..<2 + width).values, "in place")
      }
      let before = random(1, size, 6).values
      let (dx, dw) = (upload(old, dtype), upload(before, dtype))
      backend.headNormBackward(
        dx.columns(2..<2 + width), dw, upload(dy, dtype), upload(wide, dtype).columns(3..<3 + width),
        upload(norm, dtype), 1e-5)
      let twin = Plain.rmsNormBackward(Plain.heads(of: dy, size), Plain.heads(of: x, size), norm, 1e-5)
      let gradient = Grid(rows, width, twin.dx.values)
      expect(
        dx, Grid(rows, width + 7) { (2..<2 + width).contains($1) ? gradient[$0, $1 - 2] : old[$0, $1] }.values,
        within: 1e-5, "dx of the heads' norm")
      expect(dw, zip(before, twin.dw).map(+), within: 1e-5, "dw of the heads' norm")
    }
  }

  // MARK: Activations

  @Test(arguments: shapes) func activations(rows: Int, width: Int) {
    let (gateUp, x) = (random(rows, 2 * width, 1, spread: 3), random(rows, width, 2, spread: 3))
    let dy = random(rows, width, 3)
    for dtype in [DType.f32, .f64] {
      let y = backend.empty([rows, width], dtype)
      let d = backend.empty([rows, 2 * width], dtype)
      backend.swiGLU(y, upload(gateUp, dtype))
      expect(y, Plain.swiGLU(gateUp).values, "SwiGLU")
      backend.swiGLUBackward(d, upload(dy, dtype), upload(gateUp, dtype))
      expect(d, Plain.swiGLUBackward(dy, gateUp).values, "SwiGLU backwards")
      for form in [GELUForm.exact, .tanh] {
        backend.gelu(y, upload(x, dtype), form)
        expect(y, x.values.map { Plain.gelu($0, tanhForm: form == .tanh) }, "GELU \(form)")
        backend.geluBackward(y, upload(dy, dtype), upload(x, dtype), form)
        expect(
          y, zip(dy.values, x.values).map { $0 * Plain.geluSlope($1, tanhForm: form == .tanh) },
          "GELU \(form) backwards")
      }
    }
    expectRounded([rows, width], "SwiGLU") { backend.swiGLU($0, upload(gateUp)) }
    expectRounded([rows, 2 * width], "SwiGLU backwards") { backend.swiGLUBackward($0, upload(dy), upload(gateUp)) }
    for form in [GELUForm.exact, .tanh] {
      expectRounded([rows, width], "GELU \(form)") { backend.gelu($0, upload(x), form) }
    }
  }

  // MARK: Element by element, bit for bit

  @Test(arguments: [0, 1, 15, 16, 17, 20_000]) func sumsAndScales(count: Int) {
    let (a, b) = (random(1, count, 1), random(1, count, 2))
    let (x, z) = (floats(a), floats(b))
    let s = 0.3
    let y = backend.empty([count], .f32)
    backend.add(y, upload(a), upload(b))
    #expect(bits(backend.floats(y)) == bits(zip(x, z).map(+)))
    backend.scale(y, upload(a), s)
    #expect(bits(backend.floats(y)) == bits(x.map { Float(s) * $0 }))
    let sum = upload(b)
    backend.addScaled(sum, upload(a), s)
    #expect(bits(backend.floats(sum)) == bits(zip(x, z).map { $1.addingProduct(Float(s), $0) }))
    let copy = backend.empty([1, count], .f32)
    backend.copy(copy, upload(a))
    #expect(bits(backend.floats(copy)) == bits(x))
    backend.fillZero(copy)
    #expect(bits(backend.floats(copy)) == [UInt32](repeating: 0, count: count))
  }

  @Test(arguments: [(1, 1, 0..<1), (0, 5, 1..<4), (3, 20, 2..<19), (7, 37, 0..<37), (40, 600, 5..<595)])
  func columns(rows: Int, width: Int, range: Range<Int>) {
    let (x, old) = (random(rows, width, 1), random(rows, width, 2))
    let (xf, of) = (floats(x), floats(old))
    func inside(_ i: Int) -> Bool { range.contains(i % width) }
    let y = upload(old)
    backend.scaleColumns(y, upload(x), range, 0.7)
    #expect(bits(backend.floats(y)) == bits(xf.indices.map { inside($0) ? 0.7 * xf[$0] : of[$0] }))
    let narrow = backend.empty([rows, width], .bf16)
    backend.convert(narrow, upload(old))
    backend.scaleColumns(narrow, upload(x), range, 0.7)
    #expect(
      bits(backend.floats(narrow)) == bits(xf.indices.map { Plain.bf16(inside($0) ? 0.7 * xf[$0] : of[$0]) }))

    let bias = floats(random(1, range.count, 3))
    backend.addBias(upload(x).columns(range), backend.upload(bias, [range.count]))
    let biased = upload(x)
    backend.addBias(biased.columns(range), backend.upload(bias, [range.count]))
    #expect(
      bits(backend.floats(biased))
        == bits(xf.indices.map { inside($0) ? xf[$0] + bias[$0 % width - range.lowerBound] : xf[$0] }))
    let db = backend.upload(bias, [range.count])
    backend.biasGradient(db, upload(x).columns(range))
    let sums = bias.indices.map { c in (0..<rows).reduce(bias[c]) { $0 + xf[$1 * width + range.lowerBound + c] } }
    #expect(bits(backend.floats(db)) == bits(sums))

    let put = upload(old)
    backend.copyColumns(put.columns(range), upload(x).columns(range))
    #expect(bits(backend.floats(put)) == bits(xf.indices.map { inside($0) ? xf[$0] : of[$0] }))
  }

  // MARK: Rows, bit for bit

  @Test(arguments: [(1, 1, 1), (9, 37, 5), (50, 16, 50), (200, 300, 130), (4, 5, 0)])
  func rowsByIndex(table: Int, width: Int, rows: Int) {
    var order = Randomness(seed: 22, for: .testing).stream(table)
    let repeated = (0..<rows).map { _ in Int32(order.integer(below: table)) }
    let distinct = Array((0..<Int32(table)).shuffled(using: &order).prefix(rows))
    let x = random(table, width, 1)
    let source = random(rows, width + 3, 2)
    let y = source.columns(2..<2 + width)
    let gathered = Grid(rows, width) { x[Int(repeated[$0]), $1] }

    let taken = backend.empty([rows, width], .f32)
    backend.gather(taken, upload(x), repeated)
    #expect(bits(backend.floats(taken)) == bits(floats(gathered)))
    let narrow = backend.empty([table, width], .bf16)
    backend.convert(narrow, upload(x))
    backend.gather(taken, narrow, repeated)
    #expect(bits(backend.floats(taken)) == bits(floats(gathered).map(Plain.bf16)))
    let both = backend.empty([rows, width], .bf16)
    backend.gather(both, narrow, repeated)
    #expect(bits(backend.floats(both)) == bits(floats(gathered).map(Plain.bf16)))

    var scattered = x
    for (r, i) in distinct.enumerated() { for c in 0..<width { scattered[Int(i), c] = y[r, c] } }
    let target = upload(x)
    backend.scatter(target, upload(source).columns(2..<2 + width), distinct)
    #expect(bits(backend.floats(target)) == bits(floats(scattered)))

    var sums = floats(x)
    for (r, i) in repeated.enumerated() { for c in 0..<width { sums[Int(i) * width + c] += Float(y[r, c]) } }
    let added = upload(x)
    backend.scatterAdd(added, upload(y), repeated)
    #expect(bits(backend.floats(added)) == bits(sums))
  }

  /// Rows to random slots, to runs of slots, and to slots of their own numbers; other slots stay.
  @Test(arguments: [(1, 1, 1), (3, 2, 5), (70, 2, 16), (150, 3, 24), (0, 1, 4)])
  func pages(rows: Int, heads: Int, size: Int) {
    let width = heads * size
    let source = random(rows, width + 4, 1)
    let x = source.columns(1..<1 + width)
    let count = rows / 32 + 2
    var order = Randomness(seed: 23, for: .testing).stream(rows)
    let scattered = Array((0..<Int32(count * 64)).shuffled(using: &order).prefix(rows))
    let first = Int32(order.integer(below: count * 64 - rows))
    for slots in [nil, scattered, (0..<Int32(rows)).map { first + $0 }] as [[Int32]?] {
      let old = random(count * width, 64, 2)
      var twin = old
      for r in 0..<rows {
        let slot = slots.map { Int($0[r]) } ?? r
        for c in 0..<width { twin[slot / 64 * width + c, slot % 64] = x[r, c] }
      }
      let pages = backend.upload(old.values, [count, heads, size, 64], as: .f32)
      backend.toPages(pages, upload(source).columns(1..<1 + width), slots)
      #expect(bits(backend.floats(pages)) == bits(floats(twin)))
    }
  }

  /// Squares of rows side by side, some of them missing, and the way back.
  @Test(arguments: [(1, 1, 1), (9, 5, 4), (40, 33, 9)])
  func groupedRows(rows: Int, width: Int, group: Int) {
    var order = Randomness(seed: 25, for: .testing).stream(rows)
    let places = (rows / group + 2) * group
    let index = Array(
      ((0..<Int32(rows)) + [Int32](repeating: -1, count: max(0, places - rows))).shuffled(using: &order)
        .prefix(places))
    let x = random(rows, width, 1)
    let twin = Grid(places / group, width * group) { r, c in
      let from = index[r * group + c % group]
      return from < 0 ? 0 : x[Int(from), c / group]
    }
    let y = backend.empty([places / group, width * group], .f32)
    backend.groupRows(y, upload(x), index, group: group)
    #expect(bits(backend.floats(y)) == bits(floats(twin)))
    let dx = backend.empty([rows, width], .f32)
    backend.groupRowsBackward(dx, y, index, group: group)
    let back = Grid(rows, width) { index.contains(Int32($0)) ? x[$0, $1] : 0 }
    #expect(bits(backend.floats(dx)) == bits(floats(back)))
  }

  // MARK: Attention

  /// Heads of latent attention, gathered and taken apart again.
  @Test(arguments: [
    LatentHeads(heads: 1, plain: 1, turned: 2, value: 1, scale: 1),
    LatentHeads(heads: 3, plain: 14, turned: 6, value: 11, scale: 1),
    LatentHeads(heads: 4, plain: 0, turned: 20, value: 33, scale: 1),
  ])
  func latentHeads(shape: LatentHeads) {
    let (rows, h, plain, turned, value) = (13, shape.heads, shape.plain, shape.turned, shape.value)
    let size = plain + turned
    let (query, keyValue) = (random(rows, h * size, 1), random(rows, h * (plain + value), 2))
    let source = random(rows, turned + 3, 3)
    let key = source.columns(2..<2 + turned)
    let (c, s) = (random(rows, turned / 2, 4), random(rows, turned / 2, 5))
    let angles = RotaryAngles(cosine: upload(c), sine: upload(s))
    func turn(_ r: Int, _ i: Int, _ sign: Float, _ x: (Int) -> Double) -> Double {
      let (a, b) = (Float(x(i / 2 * 2)), Float(x(i / 2 * 2 + 1)))
      let (cosine, sine) = (Float(c[r, i / 2]), Float(s[r, i / 2]) * sign)
      return Double(i % 2 == 0 ? a * cosine - b * sine : b * cosine + a * sine)
    }
    let twinQ = Grid(rows, h * size) { r, i in
      i % size < plain ? query[r, i] : turn(r, i % size - plain, 1) { query[r, i / size * size + plain + $0] }
    }
    let twinK = Grid(rows, h * size) { r, i in
      i % size < plain
        ? keyValue[r, i / size * (plain + value) + i % size] : turn(r, i % size - plain, 1) { key[r, $0] }
    }
    let twinV = Grid(rows, h * value) { r, i in keyValue[r, i / value * (plain + value) + plain + i % value] }
    let (q, k) = (backend.empty([rows, h * size], .f32), backend.empty([rows, h * size], .f32))
    let v = backend.empty([rows, h * value], .f32)
    backend.latentHeads(
      q, k, v, upload(query), upload(keyValue), upload(source).columns(2..<2 + turned), angles, shape)
    #expect(bits(backend.floats(q)) == bits(floats(twinQ)))
    #expect(bits(backend.floats(k)) == bits(floats(twinK)))
    #expect(bits(backend.floats(v)) == bits(floats(twinV)))

    let (dq, dk, dv) = (random(rows, h * size, 6), random(rows, h * size, 7), random(rows, h * value, 8))
    let backQ = Grid(rows, h * size) { r, i in
      i % size < plain ? dq[r, i] : turn(r, i % size - plain, -1) { dq[r, i / size * size + plain + $0] }
    }
    let backKV = Grid(rows, h * (plain + value)) { r, i in
      let (head, at) = (i / (plain + value), i % (plain + value))
      return at < plain ? dk[r, head * size + at] : dv[r, head * value + at - plain]
    }
    let sums = Grid(rows, turned) { r, i in
      Double((0..<h).dropFirst().reduce(Float(dk[r, plain + i])) { $0 + Float(dk[r, $1 * size + plain + i]) })
    }
    let backKey = Grid(rows, turned + 3) { r, i in
      i >= 2 && i < 2 + turned ? turn(r, i - 2, -1) { sums[r, $0] } : source[r, i]
    }
    let (dQuery, dKeyValue) = (backend.empty(q.shape, .f32), backend.empty([rows, h * (plain + value)], .f32))
    let dKey = upload(source)
    backend.latentHeadsBackward(
      dQuery, dKeyValue, dKey.columns(2..<2 + turned), upload(dq), upload(dk), upload(dv), angles, shape)
    #expect(bits(backend.floats(dQuery)) == bits(floats(backQ)))
    #expect(bits(backend.floats(dKeyValue)) == bits(floats(backKV)))
    #expect(bits(backend.floats(dKey)) == bits(floats(backKey)))
  }

  /// Attention and its gradients on a forest whose prompt is shared by completions, one of them with a child of its own.
  @Test(arguments: [
    AttentionHeads(heads: 1, kvHeads: 1, size: 3, scale: 0.3),
    AttentionHeads(heads: 4, kvHeads: 2, size: 12, scale: 0.3),
    AttentionHeads(heads: 3, kvHeads: 1, size: 20, scale: 0.3),
    AttentionHeads(heads: 2, kvHeads: 2, size: 16, scale: 0.3),
    AttentionHeads(heads: 2, kvHeads: 2, size: 20, valueSize: 11, scale: 0.3),
    AttentionHeads(heads: 4, kvHeads: 2, size: 5, valueSize: 18, scale: 0.3, window: 30),
    AttentionHeads(heads: 3, kvHeads: 3, size: 16, scale: 0.3, window: 1),
    AttentionHeads(heads: 2, kvHeads: 1, size: 16, scale: 0.3, window: 65),
  ])
  func attentionAndItsGradients(shape: AttentionHeads) {
    let (heads, kvHeads, size, valueSize) = (shape.heads, shape.kvHeads, shape.size, shape.valueSize)
    var forest = Forest()
    forest.append(count: 6)
    let root = forest.append(count: 67)
    forest.append(count: 18, parent: root)
    let child = forest.append(count: 1, parent: root)
    forest.append(count: 9, parent: child)
    forest.append(count: 1)
    let tokens = forest.tokenCount
    func seen(_ token: Int) -> [Int] {
      var at = forest.segments.lastIndex { $0.start <= token }
      var keys: [Int] = []
      var last = token
      while let segment = at.map({ forest.segments[$0] }) {
        keys = Array(segment.start...last) + keys
        at = segment.parent
        if let parent = at { last = forest.segments[parent].start + forest.segments[parent].count - 1 }
      }
      return keys
    }
    let (wide, narrow, wideValue) = (heads * size, kvHeads * valueSize, heads * valueSize)
    let (q, dOutput) = (random(tokens, wide, 1), random(tokens, wideValue, 2))
    let k = random(tokens, kvHeads * size, 3)
    // Values, and their gradient, are columns of something wider.
    let source = random(tokens, narrow + 5, 4)
    let v = source.columns(4..<4 + narrow)
    let twin = Plain.attention(q, k, v, dOutput, shape, seen: seen)
    for dtype in [DType.f32, .f64] {
      let pages = (tokens + 63) / 64
      let (keyPages, valuePages) = (
        backend.zeros([pages, kvHeads, size, 64], dtype), backend.zeros([pages, kvHeads, valueSize, 64], dtype)
      )
      let values = upload(source, dtype).columns(4..<4 + narrow)
      backend.toPages(keyPages, upload(k, dtype).allColumns, nil)
      backend.toPages(valuePages, values, nil)
      let (output, lse) = (backend.empty([tokens, wideValue], dtype), backend.empty([tokens, heads], dtype))
      let plan = forest.attentionPlan
      backend.attention(output, lse, upload(q, dtype), keyPages, values, plan, shape)
      expect(output, twin.output.values, "attention")
      expect(lse, twin.lse.values, "log-sum-exp")
      let (dq, dk) = (backend.empty([tokens, wide], dtype), backend.empty([tokens, kvHeads * size], dtype))
      let dv = upload(source, dtype)
      backend.attentionBackward(
        dq, dk, dv.columns(4..<4 + narrow), upload(dOutput, dtype), lse, upload(q, dtype), upload(k, dtype), keyPages,
        valuePages, plan, shape)
      expect(dq, twin.dq.values, "dq")
      expect(dk, twin.dk.values, "dk")
      let expected = Grid(tokens, narrow + 5) { $1 >= 4 && $1 < 4 + narrow ? twin.dv[$0, $1 - 4] : source[$0, $1] }
      expect(dv, expected.values, "dv")
      guard dtype == .f32 else { continue }
      expectRounded([tokens, wideValue], "attention") {
        backend.attention($0, nil, upload(q), keyPages, values, plan, shape)
      }
    }
  }

  // MARK: Language-model head

  /// Coarse logits, so that some are equal; every second row has some that are -inf, one of them a target's.
  private func logits(_ rows: Int, _ vocabulary: Int) -> (Grid, [Int32]) {
    var order = Randomness(seed: 24, for: .testing).stream(vocabulary)
    var x = random(rows, vocabulary, 1, spread: 3)
    for i in x.values.indices { x.values[i] = (x.values[i] * 4).rounded() / 4 }
    let targets = (0..<rows).map { _ in Int32(order.integer(below: vocabulary)) }
    guard vocabulary > 4 else { return (x, targets) }
    for r in stride(from: 1, to: rows, by: 2) {
      for _ in 0..<max(1, vocabulary / 10) {
        let i = order.integer(below: vocabulary)
        if r == 1 || i != Int(targets[r]) { x[r, i] = -.infinity }
      }
    }
    x[1, Int(targets[1])] = -.infinity
    return (x, targets)
  }

  @Test(arguments: [1, 5, 16, 37, 300], [0.7, 1, 2.5]) func head(vocabulary: Int, temperature: Double) {
    let rows = 6
    let (x, targets) = logits(rows, vocabulary)
    let all = Set(HeadStream.allCases)
    let twin = (0..<rows).map { Plain.head(x.row($0), target: Int(targets[$0]), temperature) }
    // The rows stand from the third on in streams of nine; gradients of most streams in most rows, of none in the last.
    var seeds = random(6, 9, 2)
    for stream in 0..<6 {
      seeds[stream, 2 + 5] = 0
      for row in 0..<5 where row % 3 == 0 && stream % 2 == 1 { seeds[stream, 2 + row] = 0 }
    }
    for dtype in [DType.f32, .f64] {
      let streams = upload(Grid(6, 9) { _, _ in 7 }, dtype)
      backend.head(streams, firstRow: 2, upload(x, dtype), targets[...], temperature, all)
      let expected = Grid(6, 9) { (2..<8).contains($1) ? twin[$1 - 2][$0] : 7 }
      expect(streams, expected.values, "streams")
      let found = Grid(6, 9, backend.doubles(streams))
      for stream in HeadStream.allCases {
        let single = upload(Grid(6, rows) { _, _ in 7 }, dtype)
        backend.head(single, firstRow: 0, upload(x, dtype), targets[...], temperature, [stream])
        let alone = Grid(6, rows, backend.doubles(single))
        #expect(alone.row(stream.rawValue) == found.columns(2..<8).row(stream.rawValue), "\(stream) alone")
        #expect(alone.values.filter { $0 != 7 }.count <= rows)
      }
      let gradient = upload(x, dtype)
      backend.headBackward(gradient, upload(seeds, dtype), firstRow: 2, targets[...], temperature, all)
      let wanted = (0..<rows).flatMap { r in
        Plain.headBackward(x.row(r), (0..<6).map { seeds[$0, 2 + r] }, target: Int(targets[r]), temperature)
      }
      expect(gradient, wanted, "gradient of the logits")
    }
  }

  /// A mean over a vocabulary with a logit of -inf is -inf, wherever that logit stands among the vectors.
  @Test(arguments: [16, 37]) func meanOfInfiniteLogits(vocabulary: Int) {
    for place in [0, vocabulary - 1] {
      var x = random(1, vocabulary, 1)
      x[0, place] = -.infinity
      let streams = backend.empty([6, 1], .f32)
      backend.head(streams, firstRow: 0, upload(x), [3][...], 1, [.meanLogit])
      #expect(backend.floats(streams)[HeadStream.meanLogit.rawValue] == -.infinity)
    }
  }

  /// The id drawn is where the distribution's running sum passes the share, and its log-probability is the head's.
  private func checkSampling(_ vocabulary: Int, _ temperature: Double, _ dtype: DType) {
    var draw = Randomness(seed: 25, for: .testing).stream(vocabulary)
    let uniforms = [0, 1 - 0x1p-53, 0.5, 0x1p-60] + (0..<200).map { _ in draw.uniform() }
    var row = logits(2, vocabulary).0.row(1)
    if vocabulary > 4 {
      row[0] = -.infinity
      row[vocabulary - 1] = -.infinity
      row[vocabulary - 2] = -40
    } else {
      row[0] = 1
    }
    let x = upload(Grid(uniforms.count, vocabulary) { row[$1] }, dtype)
    let (ids, logprobs) = backend.sample(x, uniforms, temperature)
    let e = backend.empty([uniforms.count, vocabulary], dtype)
    backend.exponentials(e, x, temperature)
    let weights = Array(backend.doubles(e)[..<vocabulary])
    var running = 0.0
    let sums = weights.map { weight in
      running += weight
      return running
    }
    for (id, u) in zip(ids.map { Int($0) }, uniforms) {
      let target = u * running
      let expected = sums.firstIndex { $0 > target } ?? weights.lastIndex { $0 > 0 }!
      // Sums in another order may differ in their last bits: just at a border its other side is right as well.
      let near = abs(sums[min(id, expected)] - target) <= 1e-13 * running
      #expect(weights[id] > 0 && (id == expected || near), "\(u) drew \(id) instead of \(expected)")
    }
    #expect(Int(ids[0]) == weights.firstIndex { $0 > 0 })
    let streams = backend.empty([6, uniforms.count], dtype)
    backend.head(streams, firstRow: 0, x, ids[...], temperature, [.logprob])
    #expect(bits(logprobs) == bits(backend.doubles(streams)[..<uniforms.count].map { Float($0) }))
  }

  @Test(arguments: [1, 5, 16, 256, 257, 1000], [0.7, 1]) func sampling(vocabulary: Int, temperature: Double) {
    checkSampling(vocabulary, temperature, .f32)
  }

  @Test(arguments: [1, 257]) func samplingInDouble(vocabulary: Int) { checkSampling(vocabulary, 0.7, .f64) }

  @Test func likeliest() {
    for vocabulary in [1, 5, 16, 37, 300] {
      let x = logits(9, vocabulary).0
      let expected = (0..<9).map { r in Int32(x.row(r).firstIndex(of: x.row(r).max()!)!) }
      for dtype in [DType.f32, .f64] { #expect(backend.likeliest(upload(x, dtype)) == expected) }
    }
    #expect(backend.likeliest(upload(Grid(2, 5, [1, 3, 3, 2, 3, -.infinity, -4, -4, -9, -4]))) == [1, 1])
    #expect(backend.likeliest(backend.empty([0, 5], .f32)) == [])
  }

  /// e^x within two units in the last place of its f32 argument's, zero below the smallest normal number.
  @Test(arguments: [1, 7, 64, 333], [0.7, 1]) func exponentials(vocabulary: Int, temperature: Double) {
    let x = random(5, vocabulary, 1, spread: 30)
    let y = backend.empty([5, vocabulary], .f32)
    backend.exponentials(y, upload(x), temperature)
    let twin = (0..<5).flatMap { r -> [Double] in
      let scaled = x.row(r).map { Float($0) / Float(temperature) }
      let z = scaled.map { $0 - scaled.max()! }
      return z.map { $0 < -87.3 ? 0 : exp(Double($0)) }
    }
    expectClose(backend.doubles(y), twin, relative: 0x1p-22, "exponentials")
    let wide = backend.empty([5, vocabulary], .f64)
    backend.exponentials(wide, upload(x, .f64), temperature)
    let exact = (0..<5).flatMap { r in
      let largest = x.row(r).max()!
      return x.row(r).map { exp($0 / temperature - largest / temperature) }
    }
    expectClose(backend.doubles(wide), exact, relative: 1e-13, "exponentials in f64")
  }

  // MARK: Optimizer

  @Test(arguments: [0, 1, 37, 17_000]) func adamW(count: Int) {
    for dtype in [DType.f32, .f64] {
      var p = random(1, count, 1).values
      var (m, v) = (p.map { _ in 0.0 }, p.map { _ in 0.0 })
      let (parameter, first, second) = (upload(p, dtype), backend.zeros([count], dtype), backend.zeros([count], dtype))
      for step in 1...3 {
        let g = random(1, count, 1 + step, spread: 0.1).values
        let settings = AdamWStep(
          gradientScale: 0.5, learningRate: 1e-2, beta1: 0.8, beta2: 0.97, epsilon: 1e-6, weightDecay: 0.1, step: step)
        backend.adamW(parameter, first, second, upload(g, dtype), settings)
        Plain.adamW(
          &p, &m, &v, g, gradientScale: 0.5, learningRate: 1e-2, beta1: 0.8, beta2: 0.97, epsilon: 1e-6,
          weightDecay: 0.1, step: step)
        expect(parameter, p, within: 1e-6, "parameter after step \(step)")
        expectClose(backend.doubles(first), m, absolute: 1e-8, relative: 2e-6, "first moment after step \(step)")
        expectClose(backend.doubles(second), v, absolute: 1e-10, relative: 2e-6, "second moment after step \(step)")
      }
    }
  }

  /// In f64 the bytes of the moments too; with f32 a number beside a border may fall to either side.
  @Test(arguments: [0, 1, 37, 256, 17_000]) func adamWQuantized(count: Int) {
    for dtype in [DType.f32, .f64] {
      var p = random(1, count, 1).values
      var (m, v) = (Plain.Quantized(p.map { _ in 0 }, .signed), Plain.Quantized(p.map { _ in 0 }, .unsigned))
      func bytes(_ x: [UInt8]) -> Tensor { x.withUnsafeBytes { backend.upload($0, [count], .u8) } }
      let parameter = upload(p, dtype)
      let moments = QuantizedMoments(
        first: bytes(m.bytes), firstScales: upload(m.scales, dtype), second: bytes(v.bytes),
        secondScales: upload(v.scales, dtype))
      for step in 1...(dtype == .f64 ? 4 : 1) {
        // Magnitudes over several decades, and some zeros.
        let g = random(1, count, 1 + step).values.enumerated().map { $1 * [1, 1e-2, 1e-4, 0][$0 % 4] }
        let settings = AdamWStep(
          gradientScale: 0.5, learningRate: 1e-2, beta1: 0.8, beta2: 0.97, epsilon: 1e-6, weightDecay: 0.1, step: step)
        backend.adamWQuantized(parameter, moments, upload(g, dtype), settings)
        Plain.adamWQuantized(&p, &m, &v, g, learningRate: 1e-2, weightDecay: 0.1, step: step)
        expect(parameter, p, within: 1e-6, "parameter after step \(step)")
        guard dtype == .f64 else { continue }
        #expect(backend.withHostBytes(moments.first) { Array($0) } == m.bytes, "first moment after step \(step)")
        #expect(backend.withHostBytes(moments.second) { Array($0) } == v.bytes, "second moment after step \(step)")
        expectClose(backend.doubles(moments.firstScales), m.scales, relative: 1e-12, "first scales")
        expectClose(backend.doubles(moments.secondScales), v.scales, relative: 1e-12, "second scales")
      }
    }
  }

  /// The codes: ascending, 0 where it should be, every decade's share; what is above 0 stays above it.
  @Test func dynamicCodes() {
    for (code, zero) in [(DynamicCode.signed, 127), (.unsigned, 0)] {
      #expect(code.values.count == 256 && code.borders.count == 255)
      #expect(code.values[zero] == 0 && code.values[255] == 1)
      for i in 0..<255 {
        #expect(code.values[i] < code.borders[i] && code.borders[i] < code.values[i + 1], "border \(i)")
      }
    }
    #expect(DynamicCode.signed.values.count { $0 > 0.1 && $0 < 1 } == 64)
    #expect(DynamicCode.unsigned.values.count { $0 > 0.1 && $0 < 1 } == 128)
    #expect(DynamicCode.unsigned.values[1] == Float(0.325e-6) && DynamicCode.signed.values[128] == Float(0.55e-6))
  }

  @Test(arguments: [0, 1, 37, 17_000]) func sgd(count: Int) {
    for dtype in [DType.f32, .f64] {
      for (momentum, nesterov, couples) in [(0.0, false, true), (0.8, false, false), (0.9, true, true)] {
        var p = random(1, count, 1).values
        var m = momentum > 0 ? p.map { _ in 0.0 } : nil
        let parameter = upload(p, dtype)
        let buffer = m.map { upload($0, dtype) }
        for step in 1...3 {
          let g = random(1, count, 1 + step).values
          let settings = SGDStep(
            gradientScale: 0.5, learningRate: 0.1, momentum: momentum, nesterov: nesterov, weightDecay: 0.1,
            couplesDecay: couples)
          backend.sgd(parameter, buffer, upload(g, dtype), settings)
          Plain.sgd(&p, &m, g, settings)
          expect(parameter, p, within: 1e-6, "parameter after step \(step)")
          if let buffer, let m { expect(buffer, m, within: 1e-6, "momentum after step \(step)") }
        }
      }
    }
  }

  @Test(arguments: [(1, 1), (1, 16), (5, 20), (0, 5), (7, 37), (40, 600)]) func orthonormalRows(rows: Int, width: Int) {
    var x = random(rows, width, 1)
    // A row that others span, and one that is nearly so.
    if rows > 4 {
      for i in 0..<width {
        x[2, i] = x[0, i] - 3 * x[1, i]
        x[3, i] = x[0, i] + x[3, i] * 0x1p-10
      }
    }
    let twin = Plain.orthonormalRows(x)
    for dtype in [DType.f32, .f64] {
      let y = upload(x, dtype)
      backend.orthonormalizeRows(y)
      // The rest of a nearly parallel row has lost ten bits.
      expect(y, twin.values, within: 1e-3, "rows")
      let found = Grid(rows, width, backend.doubles(y))
      for a in 0..<rows {
        for b in 0...a {
          let product = zip(found.row(a), found.row(b)).reduce(0) { $0 + $1.0 * $1.1 }
          let wanted = a == b && !(rows > 4 && a == 2) ? 1.0 : 0
          expectClose([product], [wanted], absolute: dtype == .f64 ? 1e-13 : 2e-6, "rows \(a), \(b) in \(dtype)")
        }
      }
    }
  }

  @Test(arguments: [0, 1, 17, 4096, 4097, 20_000]) func sumOfSquares(count: Int) {
    let x = random(1, count, 1)
    let expected = x.values.reduce(0) { $0 + $1 * $1 }
    for dtype in [DType.f32, .f64] {
      expectClose([backend.sumOfSquares(upload(x, dtype))], [expected], relative: 1e-13, "sum of squares")
    }
  }

  // MARK: bf16

  /// Every bf16 number is itself in f32 and comes back, subnormals as zero.
  @Test(arguments: CPUBackend.instructionSets) func everyNarrowNumberComesBack(isa: String) throws {
    let backend = try CPUBackend(threads: 1, isa: isa)
    let all = (0...UInt16.max).map { $0 }
    let narrow = all.withUnsafeBytes { backend.upload($0, [65536], .bf16) }
    let wide = backend.empty([65536], .f32)
    backend.convert(wide, narrow)
    let values = backend.floats(wide)
    #expect(bits(values) == all.map { UInt32($0) << 16 })
    let back = backend.empty([65536], .bf16)
    backend.convert(back, wide)
    let found = backend.withHostBytes(back) { Array($0.bindMemory(to: UInt16.self)) }
    let wrong = all.filter { i in
      let x = values[Int(i)]
      if x.isNaN { return !Float(bitPattern: UInt32(found[Int(i)]) << 16).isNaN }
      return found[Int(i)] != (x.isSubnormal ? i & 0x8000 : i)
    }
    #expect(wrong == [])
  }

  /// Every half is the f32 number of the same value; a NaN keeps its bits.
  @Test(arguments: CPUBackend.instructionSets) func everyHalfIsWidened(isa: String) throws {
    let backend = try CPUBackend(threads: 2, isa: isa)
    // More than a chunk of the kernel, and no multiple of a vector.
    let all = (0...UInt16.max).map { $0 } + [0x3C00, 0x8001, 0x7BFF]
    let halves = all.withUnsafeBytes { backend.upload($0, [all.count], .f16) }
    #expect(bits(backend.floats(halves)) == all.map(Plain.half))
    let rounded = backend.empty([all.count], .bf16)
    backend.convert(rounded, halves)
    for (found, half) in zip(backend.floats(rounded), all) {
      let expected = Plain.bf16(Float(bitPattern: Plain.half(half)))
      #expect(found.bitPattern == expected.bitPattern || (found.isNaN && expected.isNaN), "half \(half)")
    }
    let table = halves.reshaped([all.count, 1])
    let taken = backend.empty([4, 1], .f32)
    backend.gather(taken, table, [0x3C00, 65538, 1, 0xFBFF])
    #expect(backend.floats(taken) == [1, 65504, 0x1p-24, -65504])
  }

  /// Matrices are packed a few rows at a time; where they are cut makes no difference, whatever they are stored as.
  @Test(arguments: [DType.f32, .bf16, .f16]) func largeMatricesArePackedInSlabs(dtype: DType) throws {
    let (n, k) = (2 * CPUBackend.slabBytes / (512 * dtype.size) + 21, 512)
    var random = Randomness(seed: 27, for: .testing).stream()
    // Halves without infinities and NaN; the same bits are bf16 numbers too.
    let narrow = (0..<n * k).map { _ in UInt16(truncatingIfNeeded: random.next()) & 0xBBFF }
    let w: Tensor
    if dtype == .f32 {
      w = backend.upload(narrow.map { Float(bitPattern: Plain.half($0)) }, [n, k])
    } else {
      w = narrow.withUnsafeBytes { backend.upload($0, [n, k], dtype) }
    }
    let wide = backend.upload(backend.floats(w), [n, k])
    func contents(_ packed: PackedMatrix) -> [UInt8] {
      let bytes = (packed.storage as! HostStorage)
      return Array(UnsafeRawBufferPointer(start: bytes.pointer, count: bytes.byteCount))
    }
    for (precision, format) in [(Precision.full, WeightFormat.plain), (.bf16, .plain), (.bf16, .int8), (.bf16, .int4)] {
      let whole = backend.pack([w], for: precision, as: format)
      // Whole panels of the f32 matrix, packed one piece after the other.
      let rows = 1616
      let pieces = stride(from: 0, to: n, by: rows).flatMap { from in
        contents(backend.pack([wide.rowRange(from..<min(from + rows, n))], for: precision, as: format))
      }
      #expect(contents(whole) == pieces, "\(precision) \(format)")
    }
  }

  /// A matrix that a file holds turned gives the panels of the matrix.
  @Test(arguments: CPUBackend.instructionSets) func turnedMatricesGiveTheSamePanels(isa: String) throws {
    let backend = try CPUBackend(threads: 2, isa: isa)
    var random = Randomness(seed: 28, for: .testing).stream()
    for (n, k) in [(1, 1), (16, 32), (37, 21), (100, 64), (130, 131)] {
      let values = (0..<n * k).map { _ in Float(random.normal()) }
      for dtype in [DType.f32, .bf16, .f16] {
        var w = backend.upload(values, [n, k])
        if dtype != .f32 {
          let narrow = backend.empty([n, k], .bf16)
          backend.convert(narrow, w)
          // The bits of a bf16 number around 1 are those of some half.
          w = Tensor(storage: narrow.storage, dtype: dtype, shape: [n, k])
        }
        let turned = backend.turned(w)
        #expect(turned.shape == [k, n] && backend.floats(backend.turned(turned)) == backend.floats(w))
        for (precision, format) in [(Precision.full, WeightFormat.plain), (.bf16, .plain), (.bf16, .int8)] {
          func contents(_ packed: PackedMatrix) -> [UInt8] {
            let bytes = (packed.storage as! HostStorage)
            return Array(UnsafeRawBufferPointer(start: bytes.pointer, count: bytes.byteCount))
          }
          #expect(
            contents(backend.packTurned(turned, for: precision, as: format))
              == contents(backend.pack([w], for: precision, as: format)), "\(n) x \(k) \(dtype) \(precision) \(format)")
        }
      }
    }
  }

  @Test(arguments: CPUBackend.instructionSets) func wideNumbersRound(isa: String) throws {
    let backend = try CPUBackend(threads: 1, isa: isa)
    var random = Randomness(seed: 26, for: .testing).stream()
    var x: [Float] = [
      // Ties to even below and above, either side of a tie, a carry into the exponent, overflow.
      0x1.01p0, 0x1.03p0, 0x1.010002p0, 0x1.00fffep0, 0x1.ffp0, 0x1.fep127, 0x1.fefffep127, 0x1.ffp127,
      .greatestFiniteMagnitude, .leastNormalMagnitude, .leastNonzeroMagnitude, .leastNormalMagnitude.nextDown, 0,
      .infinity, .nan,
      Float(bitPattern: 0x7F80_0001), Float(bitPattern: 0x7FFF_FFFF),
    ]
    x += x.map { -$0 }
    x += (0..<20_001).map { _ in Float(bitPattern: UInt32(truncatingIfNeeded: random.next())) }
    let narrow = backend.empty([x.count], .bf16)
    backend.convert(narrow, backend.upload(x, [x.count]))
    for (found, value) in zip(backend.floats(narrow), x) {
      let expected = Plain.bf16(value)
      if found.isNaN && expected.isNaN { continue }
      #expect(found.bitPattern == expected.bitPattern, "\(value)")
    }
  }

  /// Products of bf16 around the smallest normal number: subnormal operands, subnormal sums that go on, sums that would
  /// round up to the smallest normal number on the grid of subnormals and not on their own.
  @Test(arguments: CPUBackend.instructionSets) func narrowProductsFlushAsTheInstructionDoes(isa: String) throws {
    let backend = try CPUBackend(threads: 2, isa: isa)
    var random = Randomness(seed: 27, for: .testing).stream()
    func sign() -> UInt32 { UInt32(random.integer(below: 2)) << 31 }
    /// A bf16 number around 2^-72, now and then a subnormal one.
    func operand() -> Float {
      let exponent = random.integer(below: 6) == 0 ? 0 : 50 + random.integer(below: 10)
      return Float(bitPattern: sign() | UInt32(exponent) << 23 | UInt32(random.integer(below: 128)) << 16)
    }
    /// At most four times the smallest normal number.
    func before() -> Float {
      let low = random.integer(below: 2) == 0 ? random.integer(below: 3) : random.integer(below: 1 << 23)
      return Float(bitPattern: sign() | UInt32(random.integer(below: 3)) << 23 | UInt32(low))
    }
    func narrow(_ x: [Float], _ shape: [Int]) -> Tensor {
      x.map { UInt16($0.bitPattern >> 16) }.withUnsafeBytes { backend.upload($0, shape, .bf16) }
    }
    for (m, n, k) in [(9, 40, 5), (1, 33, 6), (120, 50, 2)] {
      let x = (0..<m * k).map { _ in operand() }
      let w = (0..<n * k).map { _ in operand() }
      let dy = (0..<m * n).map { _ in operand() }
      let (old, oldX, oldW) = (
        (0..<m * n).map { _ in before() }, (0..<m * k).map { _ in before() }, (0..<n * k).map { _ in before() }
      )
      /// Sums of `length` products added to `old`, pairs ascending, the odd one of a pair first.
      func sums(_ old: [Float], _ length: Int, _ left: (Int, Int) -> Float, _ right: (Int, Int) -> Float) -> [Float] {
        old.indices.map { at in
          stride(from: 0, to: length, by: 2).reduce(old[at]) { sum, l in
            let odd =
              l + 1 < length ? Plain.pairStep(sum, left(at, l + 1), right(at, l + 1)) : Plain.pairStep(sum, 0, 0)
            return Plain.pairStep(odd, left(at, l), right(at, l))
          }
        }
      }
      let panels = backend.pack([narrow(w, [n, k])], for: .bf16)
      let y = backend.upload(old, [m, n])
      backend.matmul(y.allColumns, narrow(x, [m, k]).allColumns, panels, accumulate: true)
      #expect(bits(backend.floats(y)) == bits(sums(old, k, { x[$0 / n * k + $1] }, { w[$0 % n * k + $1] })), "\(m) y")
      let dx = backend.upload(oldX, [m, k])
      backend.matmulTurned(dx, narrow(dy, [m, n]).allColumns, panels, accumulate: true)
      #expect(
        bits(backend.floats(dx)) == bits(sums(oldX, n, { dy[$0 / k * n + $1] }, { w[$1 * k + $0 % k] })), "\(m) dx")
      let dw = backend.upload(oldW, [n, k])
      backend.matmulWeightGradient(dw, narrow(dy, [m, n]).allColumns, narrow(x, [m, k]).allColumns, .bf16)
      #expect(
        bits(backend.floats(dw)) == bits(sums(oldW, m, { dy[$1 * n + $0 / k] }, { x[$1 * k + $0 % k] })), "\(m) dw")
    }
  }
}
