import AttuneTensor
import Foundation

/// A matrix of doubles, row by row.
struct Grid {
  let rows: Int
  let width: Int
  var values: [Double]

  init(_ rows: Int, _ width: Int, _ values: [Double]) {
    precondition(values.count == rows * width)
    self.rows = rows
    self.width = width
    self.values = values
  }

  init(_ rows: Int, _ width: Int, _ value: (Int, Int) -> Double) {
    self.init(rows, width, (0..<rows * width).map { value($0 / width, $0 % width) })
  }

  subscript(row: Int, column: Int) -> Double {
    get { values[row * width + column] }
    set { values[row * width + column] = newValue }
  }

  func row(_ row: Int) -> [Double] { Array(values[row * width..<(row + 1) * width]) }

  func columns(_ range: Range<Int>) -> Grid { Grid(rows, range.count) { self[$0, range.lowerBound + $1] } }
}

/// The kernels once more, as their definitions read: f64, one element after the other, nothing clever.
enum Plain {
  // MARK: Rounding

  /// x to the nearest number of eight significant bits, the even one of two as near; subnormals are zero.
  static func bf16(_ x: Float) -> Float {
    if x.isSubnormal { return Float(signOf: x, magnitudeOf: 0) }
    guard x.isNormal else { return x }
    let quantum = x.ulp * 65536
    return (x / quantum).rounded(.toNearestOrEven) * quantum
  }

  /// The bits of an IEEE half as an f32 number: sign, then exponent by its value, then the fraction.
  static func half(_ half: UInt16) -> UInt32 {
    let sign = UInt32(half >> 15) << 31
    let exponent = Int(half >> 10 & 31)
    let fraction = UInt32(half & 1023)
    if exponent == 31 { return sign | 255 << 23 | fraction << 13 }
    let size =
      exponent == 0
      ? Float(fraction) * 0x1p-24 : Float(sign: .plus, exponent: exponent - 15, significand: 1 + Float(fraction) / 1024)
    return sign | size.bitPattern
  }

  /// One multiply-add of a bf16 product: subnormal operands are zero, the exact sum is rounded to 24 bits as if exponents
  /// had no end, and what is below the smallest normal number becomes zero. Exact where the sum fits a double.
  static func pairStep(_ sum: Float, _ x: Float, _ w: Float) -> Float {
    func flushed(_ x: Float) -> Double { x.isSubnormal ? Double(Float(signOf: x, magnitudeOf: 0)) : Double(x) }
    let exact = flushed(sum) + flushed(x) * flushed(w)
    guard exact != 0, exact.isFinite else { return Float(exact) }
    let quantum = Double(sign: .plus, exponent: exact.exponent - 23, significand: 1)
    let rounded = (exact / quantum).rounded(.toNearestOrEven) * quantum
    return Float(abs(rounded) < Double(Float.leastNormalMagnitude) ? rounded * 0 : rounded)
  }

  // MARK: Norms

  private static func mean(_ x: [Double]) -> Double { x.reduce(0, +) / Double(x.count) }

  static func rmsNorm(_ x: Grid, _ w: [Double], _ epsilon: Double) -> Grid {
    let size = (0..<x.rows).map { (mean(x.row($0).map { $0 * $0 }) + epsilon).squareRoot() }
    return Grid(x.rows, x.width) { x[$0, $1] / size[$0] * w[$1] }
  }

  /// With s the root mean square: ∂y_i/∂x_j = w_i (δ_ij / s − x_i x_j / (n s³)).
  static func rmsNormBackward(_ dy: Grid, _ x: Grid, _ w: [Double], _ epsilon: Double) -> (dx: Grid, dw: [Double]) {
    var dx = dy
    var dw = w.map { _ in 0.0 }
    for r in 0..<x.rows {
      let s = (mean(x.row(r).map { $0 * $0 }) + epsilon).squareRoot()
      let dot = (0..<x.width).reduce(0) { $0 + w[$1] * dy[r, $1] * x[r, $1] }
      for i in 0..<x.width {
        dx[r, i] = w[i] * dy[r, i] / s - x[r, i] * dot / (Double(x.width) * s * s * s)
        dw[i] += dy[r, i] * x[r, i] / s
      }
    }
    return (dx, dw)
  }

  /// (x − mean) / deviation of every row, and the deviations.
  private static func normalized(_ x: Grid, _ epsilon: Double) -> (h: Grid, deviation: [Double]) {
    let means = (0..<x.rows).map { mean(x.row($0)) }
    let deviation = (0..<x.rows).map { r in
      (mean(x.row(r).map { ($0 - means[r]) * ($0 - means[r]) }) + epsilon).squareRoot()
    }
    return (Grid(x.rows, x.width) { (x[$0, $1] - means[$0]) / deviation[$0] }, deviation)
  }

  static func layerNorm(_ x: Grid, _ w: [Double], _ b: [Double], _ epsilon: Double) -> Grid {
    let h = normalized(x, epsilon).h
    return Grid(x.rows, x.width) { h[$0, $1] * w[$1] + b[$1] }
  }

  /// With e = w dy and h the normalised row: dx = (e − mean e − h mean(e h)) / deviation.
  static func layerNormBackward(
    _ dy: Grid, _ x: Grid, _ w: [Double], _ epsilon: Double
  ) -> (dx: Grid, dw: [Double], db: [Double]) {
    let (h, deviation) = normalized(x, epsilon)
    var dx = dy
    var (dw, db) = (w.map { _ in 0.0 }, w.map { _ in 0.0 })
    for r in 0..<x.rows {
      let e = (0..<x.width).map { w[$0] * dy[r, $0] }
      let along = mean((0..<x.width).map { e[$0] * h[r, $0] })
      let plain = mean(e)
      for i in 0..<x.width {
        dx[r, i] = (e[i] - plain - h[r, i] * along) / deviation[r]
        dw[i] += dy[r, i] * h[r, i]
        db[i] += dy[r, i]
      }
    }
    return (dx, dw, db)
  }

  /// The heads of all rows, one to a row.
  static func heads(of x: Grid, _ size: Int) -> Grid { Grid(x.rows * x.width / size, size, x.values) }

  /// Every head normed (unless `norm` is nil), then the point (x_i, x_{i + size/2}) of the plane turned by the row's angle i.
  static func transformHeads(
    _ x: Grid, _ norm: [Double]?, _ epsilon: Double, cosine: Grid, sine: Grid, size: Int, backwards: Bool
  ) -> Grid {
    let half = size / 2
    let normed = norm.map { rmsNorm(heads(of: x, size), $0, epsilon).values } ?? x.values
    return Grid(x.rows, x.width) { r, c in
      let i = c % size
      let here = normed[r * x.width + c]
      let there = normed[r * x.width + (i < half ? c + half : c - half)]
      let turn = sine[r, i % half] * (backwards ? -1 : 1)
      return here * cosine[r, i % half] + there * (i < half ? -turn : turn)
    }
  }

  // MARK: Activations

  private static func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }

  static func swiGLU(_ x: Grid) -> Grid {
    let n = x.width / 2
    return Grid(x.rows, n) { x[$0, $1] * sigmoid(x[$0, $1]) * x[$0, n + $1] }
  }

  static func swiGLUBackward(_ dy: Grid, _ x: Grid) -> Grid {
    let n = dy.width
    return Grid(x.rows, x.width) { r, c in
      let gate = x[r, c % n]
      let s = sigmoid(gate)
      return c < n ? dy[r, c] * x[r, n + c] * (s + gate * s * (1 - s)) : dy[r, c - n] * gate * s
    }
  }

  static func gelu(_ x: Double, tanhForm: Bool) -> Double {
    tanhForm
      ? x / 2 * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
      : x / 2 * erfc(-x / 2.0.squareRoot())
  }

  static func geluSlope(_ x: Double, tanhForm: Bool) -> Double {
    guard tanhForm else {
      return erfc(-x / 2.0.squareRoot()) / 2 + x * exp(-x * x / 2) / (2 * Double.pi).squareRoot()
    }
    let c = (2 / Double.pi).squareRoot()
    let t = tanh(c * (x + 0.044715 * x * x * x))
    return (1 + t) / 2 + x / 2 * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)
  }

  // MARK: Attention

  struct AttentionResult {
    var output: Grid
    var lse: Grid
    var dq: Grid
    var dk: Grid
    var dv: Grid
  }

  /// Attention of every token over those that `seen` lists, and its gradients for `dOutput`.
  static func attention(
    _ q: Grid, _ k: Grid, _ v: Grid, _ dOutput: Grid, _ shape: AttentionHeads, seen: (Int) -> [Int]
  ) -> AttentionResult {
    func zeros(_ like: Grid) -> Grid { Grid(like.rows, like.width) { _, _ in 0 } }
    let (size, valueSize) = (shape.size, shape.valueSize)
    var result = AttentionResult(
      output: zeros(dOutput), lse: Grid(q.rows, shape.heads) { _, _ in 0 }, dq: zeros(q), dk: zeros(k), dv: zeros(v))
    for token in 0..<q.rows {
      for head in 0..<shape.heads {
        let kvHead = head / (shape.heads / shape.kvHeads)
        let (own, shared) = (head * size, kvHead * size)
        let (ownValue, sharedValue) = (head * valueSize, kvHead * valueSize)
        let keys = Array(seen(token).suffix(shape.window ?? Int.max))
        let scores = keys.map { key in
          shape.scale * (0..<size).reduce(0) { $0 + q[token, own + $1] * k[key, shared + $1] }
        }
        let largest = scores.max()!
        let total = scores.reduce(0) { $0 + exp($1 - largest) }
        result.lse[token, head] = largest + log(total)
        let p = scores.map { exp($0 - largest) / total }
        let dp = keys.map { key in
          (0..<valueSize).reduce(0) { $0 + dOutput[token, ownValue + $1] * v[key, sharedValue + $1] }
        }
        let expected = zip(p, dp).reduce(0) { $0 + $1.0 * $1.1 }
        for (j, key) in keys.enumerated() {
          let ds = p[j] * (dp[j] - expected)
          for d in 0..<valueSize {
            result.output[token, ownValue + d] += p[j] * v[key, sharedValue + d]
            result.dv[key, sharedValue + d] += p[j] * dOutput[token, ownValue + d]
          }
          for d in 0..<size {
            result.dq[token, own + d] += ds * shape.scale * k[key, shared + d]
            result.dk[key, shared + d] += ds * shape.scale * q[token, own + d]
          }
        }
      }
    }
    return result
  }

  // MARK: Language-model head

  /// The six streams of one row, in the order of `HeadStream`.
  static func head(_ logits: [Double], target: Int, _ temperature: Double) -> [Double] {
    let z = logits.map { $0 / temperature }
    let largest = z.max()!
    let lse = largest + log(z.reduce(0) { $0 + exp($1 - largest) })
    let p = z.map { exp($0 - lse) }
    let likeliest = z.firstIndex(of: largest)!
    return [
      z[target] - lse, zip(z, p).reduce(0) { $1.1 > 0 ? $0 - $1.1 * ($1.0 - lse) : $0 }, lse, mean(z),
      log(p.reduce(0) { $0 + $1 * $1 }), likeliest == target ? 1 : 0,
    ]
  }

  /// The gradient of one row's logits for gradients `d` of the streams.
  static func headBackward(_ logits: [Double], _ d: [Double], target: Int, _ temperature: Double) -> [Double] {
    let streams = head(logits, target: target, temperature)
    let (entropy, lse) = (streams[1], streams[2])
    let p = logits.map { exp($0 / temperature - lse) }
    let squares = p.reduce(0) { $0 + $1 * $1 }
    return p.indices.map { j in
      var dz = d[0] * ((j == target ? 1 : 0) - p[j])
      if p[j] > 0 { dz -= d[1] * p[j] * (log(p[j]) + entropy) }
      dz += d[2] * p[j]
      dz += d[3] / Double(p.count)
      dz += d[4] * 2 * (p[j] * p[j] / squares - p[j])
      return dz / temperature
    }
  }

  // MARK: Optimizer

  /// AdamW (1711.05101) as torch orders it.
  static func adamW(
    _ p: inout [Double], _ m: inout [Double], _ v: inout [Double], _ g: [Double], gradientScale: Double,
    learningRate: Double, beta1: Double, beta2: Double, epsilon: Double, weightDecay: Double, step: Int
  ) {
    let rest1 = 1 - pow(beta1, Double(step))
    let rest2 = 1 - pow(beta2, Double(step))
    for i in p.indices {
      let gradient = g[i] * gradientScale
      p[i] -= learningRate * weightDecay * p[i]
      m[i] = beta1 * m[i] + (1 - beta1) * gradient
      v[i] = beta2 * v[i] + (1 - beta2) * gradient * gradient
      p[i] -= learningRate * (m[i] / rest1) / ((v[i] / rest2).squareRoot() + epsilon)
    }
  }

  /// AdamW with moments in 8 bits (2110.02861): bytes and scales of blocks of 256.
  static func adamWQuantized(
    _ p: inout [Double], _ m: inout Quantized, _ v: inout Quantized, _ g: [Double], learningRate: Double,
    weightDecay: Double, step: Int
  ) {
    var (first, second) = (m.values, v.values)
    adamW(
      &p, &first, &second, g, gradientScale: 0.5, learningRate: learningRate, beta1: 0.8, beta2: 0.97, epsilon: 1e-6,
      weightDecay: weightDecay, step: step)
    m = Quantized(first, .signed)
    v = Quantized(second, .unsigned)
  }

  /// Numbers as bytes: the nearest value of a code for each, scaled by the largest magnitude of the block.
  struct Quantized {
    var bytes: [UInt8] = []
    var scales: [Double] = []
    private let code: DynamicCode

    init(_ x: [Double], _ code: DynamicCode) {
      self.code = code
      let values = code.values.map { Double($0) }
      for from in stride(from: 0, to: x.count, by: 256) {
        let block = x[from..<min(from + 256, x.count)]
        let scale = block.map(abs).max()!
        scales.append(scale)
        for number in block {
          let wanted = scale > 0 ? number / scale : 0
          var nearest = values.indices.min { abs(values[$0] - wanted) < abs(values[$1] - wanted) }!
          if values[0] == 0, wanted > 0, nearest == 0 { nearest = 1 }
          bytes.append(UInt8(nearest))
        }
      }
    }

    var values: [Double] { bytes.indices.map { Double(code.values[Int(bytes[$0])]) * scales[$0 / 256] } }
  }

  /// Gradient descent as torch has it.
  static func sgd(_ p: inout [Double], _ m: inout [Double]?, _ g: [Double], _ step: SGDStep) {
    for i in p.indices {
      var d = g[i] * step.gradientScale
      if step.couplesDecay { d += step.weightDecay * p[i] } else { p[i] -= step.learningRate * step.weightDecay * p[i] }
      if let old = m?[i] {
        let new = step.momentum * old + d
        m?[i] = new
        d = step.nesterov ? d + step.momentum * new : new
      }
      p[i] -= step.learningRate * d
    }
  }

  /// Gram-Schmidt of rows.
  static func orthonormalRows(_ x: Grid) -> Grid {
    var rows: [[Double]] = []
    func length(_ row: [Double]) -> Double { row.reduce(0) { $0 + $1 * $1 }.squareRoot() }
    let longest = (0..<x.rows).map { length(x.row($0)) }.max() ?? 0
    for r in 0..<x.rows {
      var row = x.row(r)
      for _ in 0..<2 {
        for other in rows {
          let share = zip(other, row).reduce(0) { $0 + $1.0 * $1.1 }
          for i in row.indices { row[i] -= share * other[i] }
        }
      }
      let size = length(row)
      rows.append(size > 0x1p-16 * longest ? row.map { $0 / size } : row.map { _ in 0 })
    }
    return Grid(x.rows, x.width, rows.flatMap { $0 })
  }
}
