import Foundation

/// Evaluates answers in floating point, at given values of their names.
struct MathEvaluator {
  var values: [String: Double]
  /// The greatest magnitude among terms that were added: their rounding is what a small sum may be made of.
  private(set) var scale = 0.0

  init(_ values: [String: Double] = [:]) { self.values = values }

  /// NaN outside of the domain, and for what has no value.
  mutating func value(_ expression: MathExpression) -> Double {
    switch expression {
    case .number(let number): return number.value.double
    case .constant(.pi): return .pi
    case .constant(.e): return exp(1)
    case .constant(.infinity): return .infinity
    case .symbol(let name): return values[name] ?? .nan
    case .sum(let terms):
      var sum = 0.0
      for term in terms {
        let value = value(term)
        scale = max(scale, value.magnitude)
        sum += value
      }
      return sum
    case .product(let factors):
      var product = 1.0
      for factor in factors { product *= value(factor) }
      return product
    case .power(let base, let exponent): return power(base, exponent)
    case .percent(let inner): return value(inner) / 100
    case .degrees(let inner): return value(inner)
    case .function(let function, let arguments): return apply(function, arguments)
    default: return .nan
    }
  }

  private mutating func power(_ base: MathExpression, _ exponent: MathExpression) -> Double {
    let x = value(base)
    if x < 0, let exact = MathExact.value(exponent), !exact.isInteger {
      // The real root of odd degree.
      guard exact.denominator.isOdd else { return .nan }
      let magnitude = pow(-x, exact.double)
      return exact.numerator.isOdd ? -magnitude : magnitude
    }
    return pow(x, value(exponent))
  }

  private mutating func apply(_ function: MathFunction, _ arguments: [MathExpression]) -> Double {
    guard let first = arguments.first else { return .nan }
    var x = value(first)
    if function.isTrigonometric, case .degrees = first { x *= .pi / 180 }
    switch function {
    case .sin: return sin(x)
    case .cos: return cos(x)
    case .tan: return tan(x)
    case .cot: return 1 / tan(x)
    case .sec: return 1 / cos(x)
    case .csc: return 1 / sin(x)
    case .arcsin: return asin(x)
    case .arccos: return acos(x)
    case .arctan: return atan(x)
    case .arccot: return .pi / 2 - atan(x)
    case .arcsec: return acos(1 / x)
    case .arccsc: return asin(1 / x)
    case .sinh: return sinh(x)
    case .cosh: return cosh(x)
    case .tanh: return tanh(x)
    case .exp: return exp(x)
    case .ln: return log(x)
    case .lg: return log10(x)
    case .log: return arguments.count > 1 ? log(x) / log(value(arguments[1])) : log10(x)
    case .root:
      guard arguments.count > 1 else { return .nan }
      if arguments[1] == .integer(2) { return x.squareRoot() }
      let degree = value(arguments[1])
      if x < 0, degree.rounded() == degree, degree.truncatingRemainder(dividingBy: 2) != 0 {
        return -pow(-x, 1 / degree)
      }
      return pow(x, 1 / degree)
    case .absolute: return x.magnitude
    case .floor: return x.rounded(.down)
    case .ceiling: return x.rounded(.up)
    case .factorial: return x < 0 ? .nan : tgamma(x + 1)
    case .binomial:
      guard arguments.count > 1 else { return .nan }
      let k = value(arguments[1])
      guard k > -1, x > -1, x - k > -1 else { return .nan }
      return exp(lgamma(x + 1) - lgamma(k + 1) - lgamma(x - k + 1))
    case .max: return arguments.dropFirst().reduce(x) { max($0, value($1)) }
    case .min: return arguments.dropFirst().reduce(x) { min($0, value($1)) }
    case .based: return x
    case .gcd, .lcm: return .nan
    }
  }
}

/// Whether two answers with names in them have the same values at pseudo-random points.
enum MathSampling {
  /// Points that have to agree, and points that are tried.
  static let points = 12
  static let tries = 64
  static let tolerance = 1e-9

  enum Verdict { case equal, different, undecided }

  /// - Parameter factor: multiplies the second value.
  static func compare(_ a: MathExpression, _ b: MathExpression, factor: Double = 1) -> Verdict {
    let names = a.symbols.union(b.symbols).sorted()
    var random = MathRandom(state: 0x9E37_79B9_7F4A_7C15)
    var agreed = 0
    for trial in 0..<(names.isEmpty ? 1 : tries) {
      // Half of the points above zero, where roots and logarithms live; a quarter below, where |x| is not x; a quarter
      // of any sign. Further out from time to time.
      let lower = trial % 2 == 0 ? 0.2 : -3.0
      let upper = trial % 4 == 1 ? -0.2 : trial % 10 == 4 ? 12.0 : 3.0
      var values: [String: Double] = [:]
      for name in names { values[name] = lower + (upper - lower) * random.next() }
      var left = MathEvaluator(values)
      var right = MathEvaluator(values)
      let x = left.value(a)
      let y = right.value(b) * factor
      guard x.isFinite, y.isFinite else { continue }
      let size = max(x.magnitude, y.magnitude)
      // Where sums cancel, too few digits are left to tell.
      let noise = max(left.scale, right.scale) * 1e-15 * 8
      guard noise <= max(size * tolerance, 1e-12) else { continue }
      guard (x - y).magnitude <= max(size * (names.isEmpty ? 1e-13 : tolerance), noise) else { return .different }
      agreed += 1
      if agreed == points { return .equal }
    }
    if names.isEmpty { return agreed == 1 ? .equal : .undecided }
    return agreed >= points / 2 ? .equal : .undecided
  }
}

/// Numbers between 0 and 1 that are the same in every run (splitmix64).
struct MathRandom {
  var state: UInt64

  mutating func next() -> Double {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return Double((z ^ (z >> 31)) >> 11) * 0x1p-53
  }
}
