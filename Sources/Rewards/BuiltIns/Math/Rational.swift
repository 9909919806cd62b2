import Foundation

/// An exact fraction in lowest terms. What does not fit into `BigInteger` is nil.
struct Rational: Hashable, Sendable {
  let numerator: BigInteger
  /// More than zero.
  let denominator: BigInteger

  init(_ value: Int) { self.init(integer: BigInteger(value)) }

  init(integer: BigInteger) {
    numerator = integer
    denominator = .one
  }

  /// Nil for a denominator of zero.
  init?(_ numerator: BigInteger, _ denominator: BigInteger) {
    guard !denominator.isZero else { return nil }
    let divisor = BigInteger.greatestCommonDivisor(numerator, denominator)
    let sign = denominator.isNegative
    let reduced = (numerator.dividedBy(divisor).quotient, denominator.magnitude.dividedBy(divisor).quotient)
    self.numerator = sign ? -reduced.0 : reduced.0
    self.denominator = reduced.1
  }

  /// Digits with at most one point, such as `12`, `0.5`, `.5` and `3.`.
  init?(decimal text: String) {
    var digits: [UInt8] = []
    var places: Int?
    for byte in text.utf8 {
      if byte == 0x2E, places == nil {
        places = 0
      } else {
        digits.append(byte)
        if let count = places { places = count + 1 }
      }
    }
    guard let integer = BigInteger(digits: digits), let scale = BigInteger(10).power(places ?? 0),
      let value = Rational(integer, scale)
    else { return nil }
    self = value
  }

  static let zero = Rational(0)
  static let one = Rational(1)

  var isZero: Bool { numerator.isZero }
  var isOne: Bool { numerator.isOne && denominator.isOne }
  var isInteger: Bool { denominator.isOne }
  var isNegative: Bool { numerator.isNegative }
  /// The value, if it is an integer that fits.
  var int: Int? { isInteger ? numerator.int : nil }

  var double: Double {
    let (n, d) = (numerator.scaled, denominator.scaled)
    return scalbn(n.fraction / d.fraction, n.exponent - d.exponent)
  }

  static prefix func - (a: Rational) -> Rational { Rational(negating: a) }
  private init(negating a: Rational) {
    numerator = -a.numerator
    denominator = a.denominator
  }

  func plus(_ other: Rational) -> Rational? {
    if isInteger, other.isInteger { return Rational(integer: numerator + other.numerator) }
    guard let a = numerator.times(other.denominator), let b = other.numerator.times(denominator),
      let d = denominator.times(other.denominator)
    else { return nil }
    return Rational(a + b, d)
  }

  func minus(_ other: Rational) -> Rational? { plus(-other) }

  func times(_ other: Rational) -> Rational? {
    guard let n = numerator.times(other.numerator), let d = denominator.times(other.denominator) else { return nil }
    return isInteger && other.isInteger ? Rational(integer: n) : Rational(n, d)
  }

  /// Nil also for a divisor of zero.
  func divided(by other: Rational) -> Rational? {
    guard let n = numerator.times(other.denominator), let d = denominator.times(other.numerator) else { return nil }
    return Rational(n, d)
  }

  func power(_ exponent: Int) -> Rational? {
    guard exponent.magnitude <= 1 << 20 else {
      return isZero && exponent > 0 || isOne ? self : nil
    }
    guard exponent >= 0 || !isZero else { return nil }
    guard let n = numerator.power(abs(exponent)), let d = denominator.power(abs(exponent)) else { return nil }
    return exponent < 0 ? Rational(d, n) : Rational(n, d)
  }

  /// The real root, if it is rational.
  func root(_ degree: Int) -> Rational? {
    guard degree >= 1, !isNegative || degree % 2 == 1 else { return nil }
    guard let n = numerator.magnitude.root(degree), let d = denominator.root(degree) else { return nil }
    return Rational(isNegative ? -n : n, d)
  }

  /// The greatest integer that is not greater.
  var floor: BigInteger {
    let (quotient, remainder) = numerator.dividedBy(denominator)
    return remainder.isNegative ? quotient - .one : quotient
  }

  /// The nearest integer of `10^places` times the value; halves go up.
  func rounded(places: Int) -> BigInteger? {
    guard let scale = BigInteger(10).power(places), let scaled = times(Rational(integer: scale)),
      let half = Rational(.one, BigInteger(2))
    else { return nil }
    return scaled.plus(half)?.floor
  }
}

extension Rational: Comparable {
  static func < (a: Rational, b: Rational) -> Bool {
    guard let difference = a.minus(b) else { return a.double < b.double }
    return difference.isNegative
  }
}

extension Rational: CustomStringConvertible {
  var description: String { isInteger ? "\(numerator)" : "\(numerator)/\(denominator)" }
}

extension Rational {
  /// The natural logarithm of a value above zero, whatever its size.
  var logarithm: Double {
    let (n, d) = (numerator.scaled, denominator.scaled)
    return log(n.fraction) - log(d.fraction) + Double(n.exponent - d.exponent) * log(2)
  }
}
