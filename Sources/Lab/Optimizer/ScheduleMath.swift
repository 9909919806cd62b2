/// What schedules need of a mathematics library, from additions, multiplications and square roots alone.
///
/// The C library's `cos` and `pow` are chosen by processor and differ in the last bit; the same recipe must give the
/// same learning rates everywhere.
enum ScheduleMath {
  /// The cosine of `x` radians, within one unit in the last place for |x| below 10^6; NaN beyond 10^9.
  ///
  /// The argument is reduced by a multiple of π/2 in three parts, then a series for sine or cosine in |r| ≤ π/4 follows.
  static func cos(_ x: Double) -> Double {
    guard abs(x) <= 1e9 else { return .nan }
    let n = (x * (2 / Double.pi)).rounded(.toNearestOrEven)
    // Each of the first two parts has 33 bits, so that its product with n is exact.
    let (high, low) = difference(x - n * halfPi1, n * halfPi2)
    let (r, tail) = difference(high, n * halfPi3 - low)
    switch Int(n) & 3 {
    case 0: return cosine(r, tail)
    case 1: return -sine(r, tail)
    case 2: return -cosine(r, tail)
    default: return sine(r, tail)
    }
  }

  /// `x` to the power of `power`, both not negative; 0 to the power of 0 is 1.
  ///
  /// Whole powers by squaring, the binary fraction by square roots, which every processor rounds exactly: within about
  /// fifty units in the last place. Powers above 2^32 count as 2^32.
  static func power(_ x: Double, _ power: Double) -> Double {
    guard x >= 0, power >= 0 else { return .nan }
    if x == 1 || power == 0 { return 1 }
    let bounded = min(power, 0x1p32)
    var whole = UInt64(bounded)
    var fraction = bounded - Double(whole)
    var result = 1.0
    var square = x
    while whole > 0 {
      if whole & 1 == 1 { result *= square }
      square *= square
      whole >>= 1
    }
    var root = x
    while fraction > 0 {
      root = root.squareRoot()
      fraction *= 2
      if fraction >= 1 {
        result *= root
        fraction -= 1
      }
    }
    return result
  }

  private static let halfPi1 = Double(bitPattern: 0x3FF9_21FB_5440_0000)
  private static let halfPi2 = Double(bitPattern: 0x3DD0_B461_1A60_0000)
  private static let halfPi3 = 2.0222662487959506e-21

  /// a - b and what its rounding lost.
  private static func difference(_ a: Double, _ b: Double) -> (Double, Double) {
    let d = a - b
    let shadow = d - a
    return (d, (a - (d - shadow)) - (b + shadow))
  }

  /// cos(r + tail): 1 - r²/2 keeps what its rounding lost, the Taylor series follows up to r^16.
  private static func cosine(_ r: Double, _ tail: Double) -> Double {
    let z = r * r
    var sum = 1.0 / 20_922_789_888_000
    for term in cosineTerms { sum = sum * z + term }
    let half = 0.5 * z
    let head = 1 - half
    return head + (((1 - head) - half) + (z * z * sum - r * tail))
  }

  /// sin(r + tail) by its Taylor series up to r^17.
  private static func sine(_ r: Double, _ tail: Double) -> Double {
    let z = r * r
    var sum = 1.0 / 355_687_428_096_000
    for term in sineTerms { sum = sum * z + term }
    return r + (r * z * sum + tail * (1 - 0.5 * z))
  }

  /// -1/14!, 1/12!, … 1/4!.
  private static let cosineTerms: [Double] = [
    -1.0 / 87_178_291_200, 1.0 / 479_001_600, -1.0 / 3_628_800, 1.0 / 40_320, -1.0 / 720, 1.0 / 24,
  ]

  /// -1/15!, 1/13!, … -1/3!.
  private static let sineTerms: [Double] = [
    -1.0 / 1_307_674_368_000, 1.0 / 6_227_020_800, -1.0 / 39_916_800, 1.0 / 362_880, -1.0 / 5040, 1.0 / 120, -1.0 / 6,
  ]
}
