/// A polynomial with rational coefficients, of a bounded number of terms.
struct MathPolynomial: Hashable, Sendable {
  static let maximumTerms = 128
  static let maximumDegree = 64

  /// Generators and their exponents, generators in ascending order.
  typealias Monomial = [Generator: Int]

  /// What is not taken apart: a name, or a power of something that is not a polynomial.
  struct Generator: Hashable, Sendable {
    var expression: MathExpression

    var isName: Bool {
      switch expression {
      case .symbol, .constant: true
      default: false
      }
    }
  }

  private(set) var terms: [Monomial: Rational]

  static let zero = MathPolynomial(terms: [:])
  static let one = MathPolynomial(.one)

  private init(terms: [Monomial: Rational]) { self.terms = terms }
  init(_ constant: Rational) { terms = constant.isZero ? [:] : [[:]: constant] }
  init(generator: MathExpression) { terms = [[Generator(expression: generator): 1]: .one] }

  var isZero: Bool { terms.isEmpty }
  var constant: Rational? {
    if terms.isEmpty { return .zero }
    return terms.count == 1 ? terms[[:]] : nil
  }

  func plus(_ other: MathPolynomial) -> MathPolynomial? {
    var sum = terms
    for (monomial, coefficient) in other.terms {
      guard let next = (sum[monomial] ?? .zero).plus(coefficient) else { return nil }
      sum[monomial] = next.isZero ? nil : next
    }
    return sum.count <= Self.maximumTerms ? MathPolynomial(terms: sum) : nil
  }

  func scaled(by factor: Rational) -> MathPolynomial? {
    var scaled: [Monomial: Rational] = [:]
    guard !factor.isZero else { return .zero }
    for (monomial, coefficient) in terms {
      guard let next = coefficient.times(factor) else { return nil }
      scaled[monomial] = next
    }
    return MathPolynomial(terms: scaled)
  }

  func times(_ other: MathPolynomial, _ budget: inout MathBudget) -> MathPolynomial? {
    guard budget.take(terms.count * other.terms.count) else { return nil }
    var product: [Monomial: Rational] = [:]
    for (left, a) in terms {
      for (right, b) in other.terms {
        var monomial = left
        for (generator, exponent) in right { monomial[generator, default: 0] += exponent }
        guard let factor = Self.reduce(&monomial), let coefficient = a.times(b)?.times(factor) else { return nil }
        guard let next = (product[monomial] ?? .zero).plus(coefficient) else { return nil }
        product[monomial] = next.isZero ? nil : next
        guard product.count <= Self.maximumTerms else { return nil }
      }
    }
    return MathPolynomial(terms: product)
  }

  /// Uses i² = -1 and √2² = 2, and answers with the factor that comes of it. Nil above the greatest degree.
  private static func reduce(_ monomial: inout Monomial) -> Rational? {
    var factor = Rational.one
    for (generator, exponent) in monomial where exponent > 1 {
      let power: (base: Rational, degree: Int)
      switch generator.expression {
      case .symbol("i"): power = (Rational(-1), 2)
      case .function(.root, let arguments):
        guard let base = MathExact.value(arguments[0]), !base.isNegative, arguments.count == 2,
          let degree = MathExact.value(arguments[1])?.int, degree > 1
        else { continue }
        power = (base, degree)
      default: continue
      }
      guard let part = power.base.power(exponent / power.degree), let next = factor.times(part) else { return nil }
      factor = next
      monomial[generator] = exponent % power.degree == 0 ? nil : exponent % power.degree
    }
    return monomial.values.allSatisfy { $0 <= maximumDegree } ? factor : nil
  }

  func power(_ exponent: Int, _ budget: inout MathBudget) -> MathPolynomial? {
    guard exponent >= 0, exponent <= Self.maximumDegree else { return nil }
    var result = MathPolynomial.one
    for _ in 0..<exponent {
      guard let next = result.times(self, &budget) else { return nil }
      result = next
    }
    return result
  }

  /// The number `c` with `self = c · other`, if there is one.
  func ratio(to other: MathPolynomial) -> Rational? {
    guard terms.count == other.terms.count, let (monomial, coefficient) = other.terms.first,
      let own = terms[monomial], let ratio = own.divided(by: coefficient), other.scaled(by: ratio) == self
    else { return nil }
    return ratio
  }
}

/// How much work one comparison may still do.
struct MathBudget {
  /// About a term of a product each; hundreds of milliseconds where coefficients are long.
  static let products = 100_000
  private var left = products

  mutating func take(_ amount: Int) -> Bool {
    left -= amount
    return left >= 0
  }
}

/// A quotient of polynomials: the normal form of an answer with names in it.
struct MathFraction {
  var numerator: MathPolynomial
  var denominator: MathPolynomial

  /// Nil for what is too big, and for divisions by zero.
  init?(_ expression: MathExpression, _ budget: inout MathBudget) {
    switch expression {
    case .number(let number): self.init(MathPolynomial(number.value))
    case .symbol, .constant(.pi), .constant(.e): self.init(MathPolynomial(generator: expression))
    case .percent(let inner):
      guard let value = MathFraction(inner, &budget), let part = Rational(.one, BigInteger(100)),
        let scaled = value.numerator.scaled(by: part)
      else { return nil }
      self.init(scaled, value.denominator)
    case .degrees(let inner): self.init(inner, &budget)
    case .sum(let terms):
      var sum = MathFraction(.zero)
      for term in terms {
        guard let value = MathFraction(term, &budget), let next = sum.plus(value, &budget) else { return nil }
        sum = next
      }
      self = sum
    case .product(let factors):
      var product = MathFraction(.one)
      for factor in factors {
        guard let value = MathFraction(factor, &budget), let next = product.times(value, &budget) else { return nil }
        product = next
      }
      self = product
    case .power(let base, let exponent):
      guard let exponent = MathExact.value(exponent)?.int, exponent.magnitude <= MathPolynomial.maximumDegree else {
        self.init(opaque: expression)
        return
      }
      guard let value = MathFraction(base, &budget), let n = value.numerator.power(abs(exponent), &budget),
        let d = value.denominator.power(abs(exponent), &budget), exponent >= 0 || !n.isZero
      else { return nil }
      self.init(exponent < 0 ? d : n, exponent < 0 ? n : d)
    case .function: self.init(opaque: expression)
    default: return nil
    }
  }

  private init(_ numerator: MathPolynomial, _ denominator: MathPolynomial = .one) {
    self.numerator = numerator
    self.denominator = denominator
  }

  /// A number if it is one, else a generator.
  private init(opaque expression: MathExpression) {
    if let value = MathExact.value(expression) {
      self.init(MathPolynomial(value))
    } else {
      self.init(MathPolynomial(generator: expression))
    }
  }

  private func plus(_ other: MathFraction, _ budget: inout MathBudget) -> MathFraction? {
    if denominator == other.denominator {
      return numerator.plus(other.numerator).map { MathFraction($0, denominator) }
    }
    guard let a = numerator.times(other.denominator, &budget), let b = other.numerator.times(denominator, &budget),
      let n = a.plus(b), let d = denominator.times(other.denominator, &budget)
    else { return nil }
    return MathFraction(n, d)
  }

  private func times(_ other: MathFraction, _ budget: inout MathBudget) -> MathFraction? {
    guard let n = numerator.times(other.numerator, &budget), let d = denominator.times(other.denominator, &budget)
    else { return nil }
    return MathFraction(n, d)
  }

  /// Made of names and constants alone, without roots and other functions.
  var isRational: Bool {
    [numerator, denominator].allSatisfy { $0.terms.keys.allSatisfy { $0.keys.allSatisfy(\.isName) } }
  }

  /// Whether both are the same function, where both are defined; nil if that takes too much work.
  func equals(_ other: MathFraction, _ budget: inout MathBudget) -> Bool? {
    guard let a = numerator.times(other.denominator, &budget), let b = other.numerator.times(denominator, &budget)
    else { return nil }
    return a == b
  }
}
