/// Sums and products of matrices, for answers such as `\frac{1}{5}\begin{pmatrix}1&2\end{pmatrix}`.
enum MathMatrix {
  /// Elements of a matrix that is computed.
  static let maximumElements = 64

  /// The one matrix that an expression of matrices is; any other expression is itself.
  static func evaluated(_ expression: MathExpression) -> MathExpression {
    switch expression {
    case .sum(let terms): return sum(terms) ?? expression
    case .product(let factors): return product(factors) ?? expression
    default: return expression
    }
  }

  private static func rows(_ expression: MathExpression) -> [[MathExpression]]? {
    if case .matrix(let rows) = expression, rows.count * (rows.first?.count ?? 0) <= maximumElements {
      rows
    } else {
      nil
    }
  }

  private static func sum(_ terms: [MathExpression]) -> MathExpression? {
    var total: [[MathExpression]]?
    for term in terms {
      guard let next = rows(evaluated(term)) else { return nil }
      guard let sum = total else {
        total = next
        continue
      }
      guard sum.count == next.count, sum.first?.count == next.first?.count else { return nil }
      total = zip(sum, next).map { zip($0, $1).map { .sum(of: [$0, $1]) } }
    }
    return total.map(MathExpression.matrix)
  }

  private static func product(_ factors: [MathExpression]) -> MathExpression? {
    var scalars: [MathExpression] = []
    var total: [[MathExpression]]?
    for factor in factors {
      guard let next = rows(evaluated(factor)) else {
        scalars.append(factor)
        continue
      }
      guard let left = total else {
        total = next
        continue
      }
      guard let width = next.first?.count, left.first?.count == next.count else { return nil }
      total = left.map { row in
        (0..<width).map { column in .sum(of: zip(row, next).map { .product(of: [$0, $1[column]]) }) }
      }
      guard left.count * width <= maximumElements else { return nil }
    }
    guard let total else { return nil }
    return .matrix(scalars.isEmpty ? total : total.map { $0.map { .product(of: scalars + [$0]) } })
  }
}
