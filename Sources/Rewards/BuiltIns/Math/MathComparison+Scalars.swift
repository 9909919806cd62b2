extension MathComparison {
  /// Numbers and expressions.
  mutating func scalars(_ reference: MathExpression, _ answer: MathExpression) throws -> MathRule? {
    let a = MathExact.value(reference)
    let b = MathExact.value(answer)
    if let a, let b {
      if case .function(.based, let x) = reference, case .function(.based, let y) = answer, x.last != y.last {
        return nil
      }
      if a == b { return a.isInteger ? .integer : .rational }
      if Self.hasDecimal(reference) || Self.hasDecimal(answer) { return Self.equalToSixPlaces(a, b) ? .numeric : nil }
      return Self.samePercentage(reference, answer) ? .percent : nil
    }
    if reference == answer { return .structure }
    if reference.isInfinite || answer.isInfinite { return Self.sameInfinity(reference, answer) ? .numeric : nil }
    if case .number(let number) = reference, number.isDecimal { return Self.equal(number.value, answer) }
    if case .number(let number) = answer, number.isDecimal { return Self.equal(number.value, reference) }
    return try symbolic(reference, answer)
  }

  private mutating func symbolic(_ reference: MathExpression, _ answer: MathExpression) throws -> MathRule? {
    var isDecided = false
    if let a = MathFraction(reference, &budget), let b = MathFraction(answer, &budget),
      let isEqual = a.equals(b, &budget)
    {
      if isEqual { return .polynomial }
      isDecided = a.isRational && b.isRational
    }
    let (x, y) = (reference.symbols, answer.symbols)
    if x != y, let folded = Self.folded(reference, x), let other = Self.folded(answer, y),
      folded != reference || other != answer,
      folded.symbols == other.symbols
    {
      return try symbolic(folded, other)
    }
    // Quotients of polynomials that differ differ everywhere but at a few points, however little.
    if isDecided { return nil }
    switch MathSampling.compare(reference, answer) {
    case .equal: return x.isEmpty && y.isEmpty ? .numeric : .sampled
    case .different: return nil
    case .undecided:
      // Whose fault it is: an answer without values is wrong, a reference without values says nothing.
      guard MathSampling.compare(reference, reference) != .undecided else {
        throw MathError("the reference cannot be evaluated")
      }
      return nil
    }
  }

  private static func sameInfinity(_ a: MathExpression, _ b: MathExpression) -> Bool {
    guard a.isInfinite, b.isInfinite else { return false }
    var (left, right) = (MathEvaluator(), MathEvaluator())
    let x = left.value(a)
    return x.isInfinite && x == right.value(b)
  }

  /// The same with all names in lower case, if that keeps different names apart.
  private static func folded(_ expression: MathExpression, _ symbols: Set<String>) -> MathExpression? {
    guard Set(symbols.map { $0.lowercased() }).count == symbols.count else { return nil }
    func fold(_ x: MathExpression) -> MathExpression {
      if case .symbol(let name) = x { return .symbol(name.lowercased()) }
      return x.mapChildren(fold)
    }
    return fold(expression)
  }

  // MARK: Decimals

  private static func hasDecimal(_ expression: MathExpression) -> Bool {
    expression.contains { if case .number(let number) = $0 { number.isDecimal } else { false } }
  }

  /// Equal after rounding to six places. A value that rounds to zero without being zero is compared by its own digits.
  static func equalToSixPlaces(_ a: Rational, _ b: Rational) -> Bool {
    guard let x = a.rounded(places: 6), let y = b.rounded(places: 6) else {
      return (a.double - b.double).magnitude <= 1e-12 * a.double.magnitude
    }
    guard x == y else { return false }
    if !x.isZero { return true }
    return (a.double - b.double).magnitude <= 1e-6 * min(a.double.magnitude, b.double.magnitude)
  }

  /// A decimal, and a value that is not rational.
  private static func equal(_ decimal: Rational, _ other: MathExpression) -> MathRule? {
    guard other.symbols.isEmpty else { return nil }
    var evaluator = MathEvaluator()
    let value = evaluator.value(other)
    guard value.isFinite, evaluator.scale * 1e-14 <= 1e-7, value.magnitude < 1e15 else { return nil }
    let rounded = (value * 1e6).rounded()
    guard rounded == (decimal.double * 1e6).rounded(), rounded != 0 else { return nil }
    return .numeric
  }

  /// `9\%` and `9`, as integers only.
  private static func samePercentage(_ a: MathExpression, _ b: MathExpression) -> Bool {
    func number(_ x: MathExpression) -> (value: Rational, isPercent: Bool)? {
      switch x {
      case .percent(.number(let number)) where number.value.isInteger: (number.value, true)
      case .number(let number) where number.value.isInteger: (number.value, false)
      default: nil
      }
    }
    guard let x = number(a), let y = number(b) else { return false }
    return x.isPercent != y.isPercent && x.value == y.value
  }
}

extension MathExpression {
  fileprivate var isInfinite: Bool { contains { $0 == .constant(.infinity) } }
}
