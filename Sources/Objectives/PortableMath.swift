/// Elementary functions in Double made of additions, multiplications and divisions alone.
///
/// A C library picks its `exp` and `log` by processor, so the last bit of a loss would depend on the machine. These are
/// within two units in the last place of the true value (tested over the whole range), and the same bits everywhere.
enum PortableMath {
  /// The high part of ln 2, its last 32 bits zero: its product with an exponent is exact.
  private static let ln2High = Double(bitPattern: 0x3FE6_2E42_FEE0_0000)
  /// What is left of ln 2.
  private static let ln2Low = 1.908214929270587700e-10
  private static let inverseLn2 = 1.4426950408889634
  /// ln of the largest finite double, and ln of half the smallest positive one: beyond them exp is infinity or 0.
  private static let largestExponent = 709.782712893384
  private static let smallestExponent = -745.1332191019412

  /// e to the power of `x`; exactly 1 at 0.
  static func exp(_ x: Double) -> Double {
    if x.isNaN { return x }
    if x > largestExponent { return .infinity }
    if x < smallestExponent { return 0 }
    let (k, r, rest) = reduced(x)
    return scaled(1 + (r + (r * r * exponentialTail(r) + rest)), by: k)
  }

  /// e to the power of `x`, minus 1, without cancellation near 0.
  static func expm1(_ x: Double) -> Double {
    if x.isNaN || x == 0 { return x }
    if abs(x) < 0.35 { return x + x * x * exponentialTail(x) }
    if x > 40 { return exp(x) }
    if x < -40 { return -1 }
    let (k, r, rest) = reduced(x)
    let p = r + (r * r * exponentialTail(r) + rest)
    let power = scaled(1, by: k)
    return (power - 1) + power * p
  }

  /// The natural logarithm; negative infinity at 0, NaN below.
  static func log(_ x: Double) -> Double {
    if x.isNaN || x == .infinity { return x }
    if x == 0 { return -.infinity }
    if x < 0 { return .nan }
    var exponent = 0
    var m = x
    if m < Double.leastNormalMagnitude {
      m *= 0x1p54
      exponent = -54
    }
    let bits = m.bitPattern
    exponent += Int(bits >> 52) - 1023
    m = Double(bitPattern: bits & 0x000F_FFFF_FFFF_FFFF | 0x3FF0_0000_0000_0000)
    if m > 1.4142135623730951 {
      m *= 0.5
      exponent += 1
    }
    // log m = 2 atanh(s), written so that the large terms f and f²/2 carry no rounding of s.
    let f = m - 1
    if f == 0 { return exponent == 0 ? 0 : Double(exponent) * ln2High + Double(exponent) * ln2Low }
    let s = f / (2 + f)
    let z = s * s
    var tail = 2.0 / 25
    for term in logarithmTerms { tail = tail * z + term }
    let halfSquare = 0.5 * f * f
    let correction = s * (halfSquare + z * tail)
    let k = Double(exponent)
    return k * ln2High - ((halfSquare - (correction + k * ln2Low)) - f)
  }

  /// log(1 + x) without cancellation near 0.
  static func log1p(_ x: Double) -> Double {
    if x.isNaN || x == .infinity || abs(x) < 0x1p-54 { return x }
    if x < -1 { return .nan }
    let u = 1 + x
    if u == 0 { return -.infinity }
    // What 1 + x lost to rounding, to first order.
    let lost = abs(x) < 1 ? x - (u - 1) : 1 - (u - x)
    return log(u) + lost / u
  }

  /// The hyperbolic tangent.
  static func tanh(_ x: Double) -> Double {
    if x > 22 { return 1 }
    if x < -22 { return -1 }
    let e = expm1(2 * x)
    return e / (e + 2)
  }

  /// The logistic function 1 / (1 + exp(−x)).
  static func sigmoid(_ x: Double) -> Double {
    if x >= 0 { return 1 / (1 + exp(-x)) }
    let e = exp(x)
    return e / (1 + e)
  }

  /// The logarithm of the logistic function; neither end overflows or loses its digits.
  static func logSigmoid(_ x: Double) -> Double { (x < 0 ? x : 0) - log1p(exp(-abs(x))) }

  /// The slope of the logistic function, σ(x)·σ(−x).
  static func sigmoidSlope(_ x: Double) -> Double { sigmoid(x) * sigmoid(-x) }

  /// The square root, exactly rounded by every processor.
  static func sqrt(_ x: Double) -> Double { x.squareRoot() }

  /// `x` within two bounds; NaN stays NaN, unlike with `min` and `max`.
  static func clamp(_ x: Double, _ low: Double, _ high: Double) -> Double {
    x < low ? low : (x > high ? high : x)
  }

  /// x = k ln 2 + r with |r| at most about ln 2 / 2; `rest` is what the rounding of r cost exp(r).
  private static func reduced(_ x: Double) -> (k: Int, r: Double, rest: Double) {
    let k = (x * inverseLn2).rounded(.toNearestOrEven)
    let high = x - k * ln2High
    let low = k * ln2Low
    let r = high - low
    let rest = (high - r) - low
    return (Int(k), r, rest + rest * r)
  }

  /// (exp(r) − 1 − r) / r² by its Taylor series; the first term left out is below 1e-17 for |r| < 0.36.
  private static func exponentialTail(_ r: Double) -> Double {
    var sum = 1.0 / 87_178_291_200
    for coefficient in factorialInverses { sum = sum * r + coefficient }
    return sum
  }

  /// 1/13!, 1/12!, … 1/2!.
  private static let factorialInverses: [Double] = [
    1.0 / 6_227_020_800, 1.0 / 479_001_600, 1.0 / 39_916_800, 1.0 / 3_628_800, 1.0 / 362_880, 1.0 / 40_320, 1.0 / 5040,
    1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5,
  ]

  /// 2/23, 2/21, … 2/3: the series of 2 atanh(s) / s without its first term.
  private static let logarithmTerms: [Double] = [
    2.0 / 23, 2.0 / 21, 2.0 / 19, 2.0 / 17, 2.0 / 15, 2.0 / 13, 2.0 / 11, 2.0 / 9, 2.0 / 7, 2.0 / 5, 2.0 / 3,
  ]

  /// x · 2^k; in two steps where 2^k itself is out of range.
  private static func scaled(_ x: Double, by k: Int) -> Double {
    if k >= -1022, k <= 1023 { return x * powerOfTwo(k) }
    if k > 1023 { return x * powerOfTwo(1023) * powerOfTwo(k - 1023) }
    return x * powerOfTwo(k + 100) * 0x1p-100
  }

  private static func powerOfTwo(_ k: Int) -> Double { Double(bitPattern: UInt64(k + 1023) << 52) }
}
