/// Decides whether an answer equals a reference. Not symmetric: what the reference is decides what is accepted.
struct MathComparison {
  /// Elements of a reference that is a list, and levels of lists in lists.
  static let maximumElements = 256
  static let maximumDepth = 32

  var budget = MathBudget()
  private var depth = 0

  /// The rule by which they are equal, or nil.
  ///
  /// - Throws: `MathError` for a reference that cannot be compared with anything.
  mutating func rule(_ reference: MathExpression, _ answer: MathExpression) throws -> MathRule? {
    guard depth < Self.maximumDepth else { throw MathError("the reference is nested too deeply") }
    depth += 1
    defer { depth -= 1 }
    var (reference, answer) = Self.unwrapped(reference.signsWrittenOut.asserted, answer.signsWrittenOut.asserted)
    (reference, answer) = (MathMatrix.evaluated(reference), MathMatrix.evaluated(answer))
    switch (reference, answer) {
    case (.relation(let a, let ra), .relation(let b, let rb)): return try relations(a, ra, b, rb)
    case (.relation, _):
      // An interval answers an inequality; an inequality, which may be the question itself, does not answer an interval.
      guard answer.isCollection, let a = MathRealSet(reference), let b = MathRealSet(answer) else { return nil }
      return a == b ? .interval : nil
    case (_, .relation): return nil
    case (.matrix(let a), .matrix(let b)): return try matrices(a, b)
    case (.matrix, _), (_, .matrix): return nil
    default: break
    }
    if reference.isCollection || answer.isCollection { return try collections(reference, answer) }
    if let rule = Self.spelled(reference, answer) { return rule }
    if case .word = reference { return nil }
    if case .word = answer { return nil }
    return try scalars(reference, answer)
  }

  /// Takes values out of equations: `x = 5` and `2 + 3 = 5` answer 5, and `x = 5` is answered by 5; but `2 + 3 = 5` is not.
  private static func unwrapped(
    _ reference: MathExpression, _ answer: MathExpression
  ) -> (MathExpression, MathExpression) {
    switch (reference.isEquation, answer.isEquation) {
    case (false, true): return (reference, answer.lastOperand)
    case (true, false) where reference.isAssignment: return (reference.lastOperand, answer)
    default: return (reference.shortened, answer.shortened)
    }
  }

  /// Words, and letters for choices: `\text{(B)}` and `b`; `\text{abc}` and `abc`.
  private static func spelled(_ reference: MathExpression, _ answer: MathExpression) -> MathRule? {
    guard reference.isName || answer.isName, let a = reference.spelling, let b = answer.spelling, a == b else {
      return nil
    }
    if a.count == 1 { return .choice }
    // Two names with an index are names, not words.
    if case .symbol = reference, case .symbol = answer { return nil }
    return .word
  }

  private mutating func matrices(_ a: [[MathExpression]], _ b: [[MathExpression]]) throws -> MathRule? {
    guard a.count == b.count, a.first?.count == b.first?.count else { return nil }
    for (x, y) in zip(a.joined(), b.joined()) where try rule(x, y) == nil { return nil }
    return .matrix
  }

  // MARK: Sets, tuples and intervals

  private mutating func collections(_ reference: MathExpression, _ answer: MathExpression) throws -> MathRule? {
    if reference.isContinuous || answer.isContinuous {
      // Inequalities do not answer an interval, joined by "or" neither.
      if case .list(let parts) = answer, parts.contains(where: { if case .relation = $0 { true } else { false } }) {
        return nil
      }
      if let a = MathRealSet(reference), let b = MathRealSet(answer) { return a == b ? .interval : nil }
      return try symbolicIntervals(reference, answer)
    }
    let a = reference.elements
    let b = answer.elements
    let isOrdered: Bool
    guard a.count <= Self.maximumElements else { throw MathError("the reference has \(a.count) elements") }
    if case .tuple = reference {
      isOrdered = true
    } else {
      // `a = 2, b = 3` is answered by (2, 3), not by (3, 2).
      isOrdered = Self.namesAreDistinct(a) && !b.contains(where: \.isAssignment)
    }
    if isOrdered {
      guard a.count == b.count else { return nil }
      for (x, y) in zip(a, b) where try rule(x, y) == nil { return nil }
      return .tuple
    }
    // Elements may be repeated, but not by the hundred.
    guard b.count <= a.count * 2 + 4 else { return nil }
    return try sameElements(a, b) ? .set : nil
  }

  /// Two or more equations that each give another name its value.
  private static func namesAreDistinct(_ elements: [MathExpression]) -> Bool {
    guard elements.count > 1, elements.allSatisfy(\.isAssignment) else { return false }
    return Set(elements.compactMap(\.children.first)).count == elements.count
  }

  private mutating func sameElements(_ a: [MathExpression], _ b: [MathExpression]) throws -> Bool {
    var found = [Bool](repeating: false, count: b.count)
    for x in a {
      var any = false
      for (i, y) in b.enumerated() where try rule(x, y) != nil {
        found[i] = true
        any = true
      }
      guard any else { return false }
    }
    return found.allSatisfy { $0 }
  }

  private mutating func symbolicIntervals(_ reference: MathExpression, _ answer: MathExpression) throws -> MathRule? {
    switch (reference, answer) {
    case (.union(let a), .union(let b)):
      guard a.count == b.count else { return nil }
      return try sameElements(a, b) ? .interval : nil
    case (.reals, .reals): return .interval
    default:
      guard let a = reference.asInterval, let b = answer.asInterval, a.lowerIsOpen == b.lowerIsOpen,
        a.upperIsOpen == b.upperIsOpen, try rule(a.lower, b.lower) != nil, try rule(a.upper, b.upper) != nil
      else { return nil }
      return .interval
    }
  }
}

extension MathExpression {
  /// `x ∈ S` is S; of `2π ≈ 6.28` what stands before the sign, unless that is only a name.
  var asserted: MathExpression {
    guard case .relation(var operands, var relations) = self else { return self }
    if relations.last == .element, relations.count == 1 { return operands[1] }
    if let about = relations.firstIndex(of: .approximately) {
      if about == 0, operands[0].isLeftSide {
        relations[0] = .equal
        operands.removeSubrange(2...)
        relations.removeSubrange(1...)
      } else {
        operands.removeSubrange((about + 1)...)
        relations.removeSubrange(about...)
      }
    }
    return relations.isEmpty ? operands[0] : .relation(operands, relations)
  }

  var isEquation: Bool {
    if case .relation(_, let relations) = self { relations.allSatisfy { $0 == .equal } } else { false }
  }

  /// An equation that gives a name its value.
  var isAssignment: Bool {
    guard isEquation, case .relation(let operands, _) = self else { return false }
    return operands[0].isLeftSide
  }

  /// What an equation may give a value: `x`, `f(x)`, `\angle A`, `|AB|`, `\frac{AB}{CD}`, `A:B`, `(x, y)`.
  var isLeftSide: Bool {
    switch self {
    case .symbol, .word, .constant(.e): true
    case .product(let parts), .tuple(let parts), .function(.absolute, let parts): parts.allSatisfy(\.isLeftSide)
    case .power(let base, let exponent): exponent == .integer(-1) && base.isLeftSide
    default: false
    }
  }

  var lastOperand: MathExpression {
    if case .relation(let operands, _) = self, let last = operands.last { last } else { self }
  }

  /// `x = 2 + 3 = 5` as `x = 5`.
  var shortened: MathExpression {
    guard isAssignment, case .relation(let operands, _) = self, operands.count > 2 else { return self }
    return .relation([operands[0], lastOperand], [.equal])
  }

  /// What an order or a set consists of; a single value is a set of one.
  var elements: [MathExpression] {
    switch self {
    case .list(let elements), .set(let elements), .tuple(let elements): elements
    default: [self]
    }
  }

  /// Only as a set of real numbers.
  var isContinuous: Bool {
    switch self {
    case .interval, .union, .intersection, .difference, .reals: true
    case .tuple(let ends) where ends.count == 2:
      ends.contains { $0.contains { $0 == .constant(.infinity) } }
    default: false
    }
  }

  /// Two values in round brackets are an open interval where an interval is wanted.
  var asInterval: MathInterval? {
    switch self {
    case .interval(let interval): interval
    case .tuple(let ends) where ends.count == 2:
      MathInterval(lower: ends[0], upper: ends[1], lowerIsOpen: true, upperIsOpen: true)
    default: nil
    }
  }

  var isName: Bool {
    switch self {
    case .symbol, .word: true
    default: false
    }
  }

  /// The letters of a name, or of a product of names.
  var spelling: String? {
    switch self {
    case .symbol(let name): return name.lowercased()
    case .word(let word): return word
    case .constant(.e): return "e"
    case .constant(.pi): return "pi"
    case .product(let factors):
      var word = ""
      for factor in factors {
        guard let part = factor.spelling else { return nil }
        word += part
      }
      return word
    default: return nil
    }
  }
}
