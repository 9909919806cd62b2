/// What an answer says, as a tree. Its depth is bounded by the parser.
indirect enum MathExpression: Hashable, Sendable {
  case number(MathNumber)
  case constant(MathConstant)
  case symbol(String)
  /// Words of `\text{}`: lower case, single spaces.
  case word(String)
  case sum([MathExpression])
  /// A quotient is a product with a power of -1.
  case product([MathExpression])
  case power(MathExpression, MathExpression)
  case function(MathFunction, [MathExpression])
  case percent(MathExpression)
  /// The value in degrees; radians only where a trigonometric function reads it.
  case degrees(MathExpression)
  /// `±x` or, `upper` being false, `∓x`.
  case plusMinus(MathExpression, upper: Bool)
  /// `a < b = c`: one operator fewer than operands.
  case relation([MathExpression], [MathRelation])
  /// Separated by commas, "and" or "or", in no brackets.
  case list([MathExpression])
  case set([MathExpression])
  /// In round brackets; two elements may also be an open interval.
  case tuple([MathExpression])
  case interval(MathInterval)
  case union([MathExpression])
  case intersection([MathExpression])
  case difference(MathExpression, MathExpression)
  case reals
  /// Rows of equal length.
  case matrix([[MathExpression]])
}

/// A number as it was written.
struct MathNumber: Hashable, Sendable {
  var value: Rational
  /// Written with a decimal point: compared to six places rather than exactly.
  var isDecimal = false
}

enum MathConstant: Hashable, Sendable { case pi, e, infinity }

enum MathRelation: Hashable, Sendable {
  case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual, approximately, element

  /// The relation with its sides exchanged.
  var flipped: MathRelation {
    switch self {
    case .less: .greater
    case .lessOrEqual: .greaterOrEqual
    case .greater: .less
    case .greaterOrEqual: .lessOrEqual
    default: self
    }
  }

  var isInequality: Bool { self == .less || self == .lessOrEqual || self == .greater || self == .greaterOrEqual }
}

struct MathInterval: Hashable, Sendable {
  var lower: MathExpression
  var upper: MathExpression
  var lowerIsOpen: Bool
  var upperIsOpen: Bool
}

/// Names are those of LaTeX without the backslash.
enum MathFunction: String, Hashable, Sendable, CaseIterable {
  case sin, cos, tan, cot, sec, csc
  case arcsin, arccos, arctan, arccot, arcsec, arccsc
  case sinh, cosh, tanh
  case exp, ln, lg
  /// Argument and base; without a base it is 10.
  case log
  /// Argument and degree.
  case root
  case absolute, floor, ceiling, factorial, binomial
  case gcd, lcm, min, max
  /// Digits and the base that they were written in. The value is that of the digits, as a base is asked for, not found.
  case based

  var isTrigonometric: Bool {
    switch self {
    case .sin, .cos, .tan, .cot, .sec, .csc: true
    default: false
    }
  }

  /// Written before its argument, with or without brackets.
  var isPrefix: Bool {
    switch self {
    case .root, .absolute, .floor, .ceiling, .factorial, .binomial, .based: false
    default: true
    }
  }

  /// For `\sin^{-1}`.
  var inverse: MathFunction? {
    switch self {
    case .sin: .arcsin
    case .cos: .arccos
    case .tan: .arctan
    case .cot: .arccot
    case .sec: .arcsec
    case .csc: .arccsc
    default: nil
    }
  }

  /// Also under the names that people and programs write.
  static let named: [String: MathFunction] = {
    var names = Dictionary(uniqueKeysWithValues: allCases.filter(\.isPrefix).map { ($0.rawValue, $0) })
    for (name, function) in [
      ("asin", arcsin), ("acos", arccos), ("atan", arctan), ("tg", tan), ("ctg", cot), ("cosec", csc),
      ("arctg", arctan),
    ] { names[name] = function }
    return names
  }()
}

extension MathExpression {
  static func integer(_ value: Int) -> MathExpression { .number(MathNumber(value: Rational(value))) }
  static let emptySet = MathExpression.set([])

  /// `-x`, with the sign inside a number.
  static func negative(_ x: MathExpression) -> MathExpression {
    switch x {
    case .number(let number): .number(MathNumber(value: -number.value, isDecimal: number.isDecimal))
    case .plusMinus(let value, let upper): .plusMinus(value, upper: !upper)
    default: product(of: [.integer(-1), x])
    }
  }

  /// A fraction; of two numbers, a number.
  static func quotient(_ a: MathExpression, _ b: MathExpression) -> MathExpression {
    if case .number(let x) = a, case .number(let y) = b, let value = x.value.divided(by: y.value) {
      return .number(MathNumber(value: value, isDecimal: x.isDecimal || y.isDecimal))
    }
    return product(of: [a, .power(b, .integer(-1))])
  }

  static func product(of factors: [MathExpression]) -> MathExpression {
    if factors.count == 1 { return factors[0] }
    return .product(factors.flatMap { if case .product(let inner) = $0 { inner } else { [$0] } })
  }

  static func sum(of terms: [MathExpression]) -> MathExpression {
    if terms.count == 1 { return terms[0] }
    return .sum(terms.flatMap { if case .sum(let inner) = $0 { inner } else { [$0] } })
  }

  /// The parts, in order.
  var children: [MathExpression] {
    switch self {
    case .number, .constant, .symbol, .word, .reals: []
    case .sum(let x), .product(let x), .list(let x), .set(let x), .tuple(let x), .union(let x), .intersection(let x): x
    case .function(_, let x), .relation(let x, _): x
    case .power(let a, let b), .difference(let a, let b): [a, b]
    case .percent(let x), .degrees(let x), .plusMinus(let x, _): [x]
    case .interval(let interval): [interval.lower, interval.upper]
    case .matrix(let rows): rows.flatMap { $0 }
    }
  }

  /// The same with each part replaced.
  func mapChildren(_ transform: (MathExpression) -> MathExpression) -> MathExpression {
    switch self {
    case .number, .constant, .symbol, .word, .reals: self
    case .sum(let x): .sum(x.map(transform))
    case .product(let x): .product(x.map(transform))
    case .list(let x): .list(x.map(transform))
    case .set(let x): .set(x.map(transform))
    case .tuple(let x): .tuple(x.map(transform))
    case .union(let x): .union(x.map(transform))
    case .intersection(let x): .intersection(x.map(transform))
    case .function(let function, let x): .function(function, x.map(transform))
    case .relation(let x, let relations): .relation(x.map(transform), relations)
    case .power(let a, let b): .power(transform(a), transform(b))
    case .difference(let a, let b): .difference(transform(a), transform(b))
    case .percent(let x): .percent(transform(x))
    case .degrees(let x): .degrees(transform(x))
    case .plusMinus(let x, let upper): .plusMinus(transform(x), upper: upper)
    case .interval(let x):
      .interval(
        MathInterval(
          lower: transform(x.lower), upper: transform(x.upper), lowerIsOpen: x.lowerIsOpen,
          upperIsOpen: x.upperIsOpen))
    case .matrix(let rows): .matrix(rows.map { $0.map(transform) })
    }
  }

  func contains(where test: (MathExpression) -> Bool) -> Bool {
    test(self) || children.contains { $0.contains(where: test) }
  }

  var symbols: Set<String> {
    if case .symbol(let name) = self { return [name] }
    return children.reduce(into: []) { $0.formUnion($1.symbols) }
  }

  /// Not a number, a relation, or an expression of them: something that is compared by its elements.
  var isCollection: Bool {
    switch self {
    case .list, .set, .tuple, .interval, .union, .intersection, .difference, .reals: true
    default: false
    }
  }

  /// `±` written out: the value with the upper signs, then that with the lower ones.
  var signsWrittenOut: MathExpression {
    guard contains(where: { if case .plusMinus = $0 { true } else { false } }) else { return self }
    switch self {
    case .list(let elements): return .list(elements.flatMap(\.writtenOutElements))
    case .set(let elements): return .set(elements.flatMap(\.writtenOutElements))
    case .relation, .tuple, .union, .intersection, .difference, .matrix: return mapChildren(\.signsWrittenOut)
    default: return .list([withSigns(upper: true), withSigns(upper: false)])
    }
  }

  /// Both values join the list that the element is in.
  private var writtenOutElements: [MathExpression] {
    if !isCollection, case .list(let values) = signsWrittenOut { values } else { [signsWrittenOut] }
  }

  private func withSigns(upper: Bool) -> MathExpression {
    if case .plusMinus(let value, let isUpper) = self {
      let inner = value.withSigns(upper: upper)
      return isUpper == upper ? inner : .negative(inner)
    }
    return mapChildren { $0.withSigns(upper: upper) }
  }
}
