extension MathComparison {
  /// Equations and inequalities: up to exchanging sides, moving terms and scaling.
  mutating func relations(
    _ a: [MathExpression], _ ra: [MathRelation], _ b: [MathExpression], _ rb: [MathRelation]
  ) throws -> MathRule? {
    let x = Self.pairs(a, ra)
    let y = Self.pairs(b, rb)
    guard x.count == y.count, x.count <= Self.maximumElements else { return nil }
    // `1 < x < 2` and `2 > x > 1` hold the same pairs.
    var isTaken = [Bool](repeating: false, count: y.count)
    for pair in x {
      var found: Int?
      for (i, other) in y.enumerated() where !isTaken[i] && found == nil {
        if try same(pair, other) { found = i }
      }
      guard let found else { return nil }
      isTaken[found] = true
    }
    return .relation
  }

  private struct Pair {
    var left: MathExpression
    var relation: MathRelation
    var right: MathExpression

    /// With everything on the left side.
    var difference: MathExpression { .sum(of: [left, .negative(right)]) }
  }

  private static func pairs(_ operands: [MathExpression], _ relations: [MathRelation]) -> [Pair] {
    relations.indices.map { i in
      // All inequalities point the same way.
      switch relations[i] {
      case .greater, .greaterOrEqual:
        Pair(left: operands[i + 1], relation: relations[i].flipped, right: operands[i])
      default: Pair(left: operands[i], relation: relations[i], right: operands[i + 1])
      }
    }
  }

  private mutating func same(_ a: Pair, _ b: Pair) throws -> Bool {
    guard a.relation == b.relation else { return false }
    if try bothSides(a.left, b.left, a.right, b.right) { return true }
    let isSymmetric = !a.relation.isInequality
    if isSymmetric, try bothSides(a.left, b.right, a.right, b.left) { return true }
    guard !a.left.isCollection, !a.right.isCollection, !b.left.isCollection, !b.right.isCollection else { return false }
    let (x, y) = (a.difference, b.difference)
    if let p = MathFraction(x, &budget), let q = MathFraction(y, &budget), p.denominator.constant != nil,
      q.denominator.constant != nil, !p.numerator.isZero,
      let ratio = p.numerator.ratio(to: q.numerator), let m = q.denominator.constant, let n = p.denominator.constant,
      let factor = ratio.times(m)?.divided(by: n)
    {
      return isSymmetric || !factor.isNegative
    }
    guard !x.symbols.isEmpty else { return false }
    return MathSampling.compare(x, y) == .equal || isSymmetric && MathSampling.compare(x, y, factor: -1) == .equal
  }

  private mutating func bothSides(
    _ a: MathExpression, _ b: MathExpression, _ c: MathExpression, _ d: MathExpression
  ) throws -> Bool {
    // The comparison of two sides that nobody can evaluate is not an error of the whole.
    guard let left = try? rule(a, b), left != .percent, let right = try? rule(c, d), right != .percent else {
      return false
    }
    return true
  }
}
