/// Values that are rational, without rounding.
enum MathExact {
  /// The value, or nil if it is not rational or does not fit.
  static func value(_ expression: MathExpression) -> Rational? {
    switch expression {
    case .number(let number): return number.value
    case .sum(let terms):
      var sum = Rational.zero
      for term in terms {
        guard let value = value(term), let next = sum.plus(value) else { return nil }
        sum = next
      }
      return sum
    case .product(let factors):
      var product = Rational.one
      for factor in factors {
        guard let value = value(factor), let next = product.times(value) else { return nil }
        product = next
      }
      return product
    case .power(let base, let exponent):
      guard let base = value(base), let exponent = value(exponent) else { return nil }
      return power(base, exponent)
    case .percent(let inner): return value(inner)?.divided(by: Rational(100))
    case .degrees(let inner): return value(inner)
    case .function(let function, let arguments): return apply(function, arguments)
    default: return nil
    }
  }

  private static func power(_ base: Rational, _ exponent: Rational) -> Rational? {
    if let exponent = exponent.int { return base.power(exponent) }
    guard let degree = exponent.denominator.int, let times = exponent.numerator.int, degree <= 64,
      times.magnitude <= 64,
      !base.isNegative
    else { return nil }
    return base.root(degree)?.power(times)
  }

  private static func apply(_ function: MathFunction, _ arguments: [MathExpression]) -> Rational? {
    let values = arguments.compactMap(value)
    guard values.count == arguments.count, let first = values.first else { return nil }
    switch function {
    case .based: return first
    case .absolute: return first.isNegative ? -first : first
    case .floor: return Rational(integer: first.floor)
    case .ceiling: return Rational(integer: -((-first).floor))
    case .factorial:
      guard let n = first.int, (0...450).contains(n) else { return nil }
      return product(n == 0 ? 1...1 : 1...n)
    case .binomial:
      guard let n = first.int, let k = values.last?.int, n >= 0, n <= 4000, k >= 0 else { return nil }
      if k > n { return .zero }
      let few = min(k, n - k)
      guard few > 0 else { return .one }
      guard few <= 450, let top = product((n - few + 1)...n), let bottom = product(1...few) else { return nil }
      return top.divided(by: bottom)
    case .root:
      guard let degree = values.last?.int, (1...64).contains(degree) else { return nil }
      return first.root(degree)
    case .log:
      return logarithm(first, base: values.count > 1 ? values[1] : Rational(10))
    case .lg: return logarithm(first, base: Rational(10))
    case .ln: return first.isOne ? .zero : nil
    case .exp: return first.isZero ? .one : nil
    case .max: return values.max()
    case .min: return values.min()
    case .gcd, .lcm:
      guard values.allSatisfy(\.isInteger) else { return nil }
      return values.dropFirst().reduce(first) { accumulated, next in
        guard let accumulated else { return nil }
        let divisor = BigInteger.greatestCommonDivisor(accumulated.numerator, next.numerator)
        if function == .gcd { return Rational(integer: divisor) }
        guard !divisor.isZero else { return .zero }
        return accumulated.numerator.dividedBy(divisor).quotient.times(next.numerator).map {
          Rational(integer: $0.magnitude)
        }
      }
    default: return nil
    }
  }

  private static func product(_ range: ClosedRange<Int>) -> Rational? {
    var product = BigInteger.one
    for factor in range {
      guard let next = product.times(BigInteger(factor)) else { return nil }
      product = next
    }
    return Rational(integer: product)
  }

  /// An integer exponent, if there is one.
  private static func logarithm(_ x: Rational, base: Rational) -> Rational? {
    guard !x.isNegative, !x.isZero, !base.isNegative, !base.isZero, !base.isOne else { return nil }
    if x.isOne { return .zero }
    let estimate = x.logarithm / base.logarithm
    guard estimate.isFinite, abs(estimate) <= 4096, abs(estimate - estimate.rounded()) < 1e-6 else { return nil }
    let exponent = Int(estimate.rounded())
    return base.power(exponent) == x ? Rational(exponent) : nil
  }
}
