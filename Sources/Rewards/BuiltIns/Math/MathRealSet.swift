/// A set of real numbers as intervals, for sets that are written in different ways.
struct MathRealSet {
  static let maximumPieces = 64

  struct Piece {
    var lower: Double
    var upper: Double
    var lowerIsOpen: Bool
    var upperIsOpen: Bool

    var isEmpty: Bool { lower > upper || lower == upper && (lowerIsOpen || upperIsOpen) }
  }

  /// In ascending order, apart from each other.
  private(set) var pieces: [Piece]
  /// An end was written as a decimal: six places count.
  private var isDecimal = false

  private static let everything = MathRealSet(
    pieces: [Piece(lower: -.infinity, upper: .infinity, lowerIsOpen: true, upperIsOpen: true)])

  private init(pieces: [Piece]) { self.pieces = pieces }

  /// Nil for anything that is no set of real numbers, or whose ends are not known numbers.
  init?(_ expression: MathExpression) {
    guard let set = Self.read(expression) else { return nil }
    self = set
    isDecimal = expression.contains { if case .number(let number) = $0 { number.isDecimal } else { false } }
  }

  private static func read(_ expression: MathExpression) -> MathRealSet? {
    switch expression {
    case .reals: return .everything
    case .interval, .tuple:
      guard let interval = expression.asInterval, let lower = end(interval.lower), let upper = end(interval.upper)
      else { return nil }
      return MathRealSet(
        pieces: [
          Piece(
            lower: lower, upper: upper, lowerIsOpen: interval.lowerIsOpen || lower.isInfinite,
            upperIsOpen: interval.upperIsOpen || upper.isInfinite)
        ]
      ).normalized
    case .set(let elements):
      guard elements.count <= maximumPieces else { return nil }
      var pieces: [Piece] = []
      for element in elements {
        guard let value = end(element), value.isFinite else { return nil }
        pieces.append(Piece(lower: value, upper: value, lowerIsOpen: false, upperIsOpen: false))
      }
      return MathRealSet(pieces: pieces).normalized
    case .union(let parts):
      guard let sets = all(parts) else { return nil }
      return MathRealSet(pieces: sets.flatMap(\.pieces)).normalized
    case .intersection(let parts):
      guard let sets = all(parts) else { return nil }
      return sets.reduce(.everything) { $0.intersection($1) }
    case .difference(let a, let b):
      guard let a = read(a), let b = read(b) else { return nil }
      return a.intersection(b.complement)
    case .relation(let operands, let relations): return solutions(operands, relations)
    case .list(let parts):
      // Inequalities that cover everything together were meant to hold together.
      guard parts.allSatisfy({ if case .relation = $0 { true } else { false } }), let sets = all(parts) else {
        return nil
      }
      let union = MathRealSet(pieces: sets.flatMap(\.pieces)).normalized
      return union.isEverything ? sets.reduce(.everything) { $0.intersection($1) } : union
    default: return nil
    }
  }

  private static func all(_ parts: [MathExpression]) -> [MathRealSet]? {
    guard parts.count <= maximumPieces else { return nil }
    let sets = parts.compactMap(read)
    return sets.count == parts.count ? sets : nil
  }

  private static func end(_ expression: MathExpression) -> Double? {
    guard expression.symbols.isEmpty else { return nil }
    var evaluator = MathEvaluator()
    let value = evaluator.value(expression)
    return value.isNaN ? nil : value
  }

  // MARK: Inequalities

  /// Solutions of a chain of inequalities that are linear in one name.
  private static func solutions(_ operands: [MathExpression], _ relations: [MathRelation]) -> MathRealSet? {
    // `0 < f(x) < 1` is about f(x).
    let value = operands.first { $0.isLeftSide && $0.symbols.count > 1 }
    let operands = operands.map { $0 == value ? MathExpression.symbol("value") : $0 }
    let names = operands.reduce(into: Set<String>()) { $0.formUnion($1.symbols) }
    guard names.count == 1, let name = names.first, relations.count <= maximumPieces else { return nil }
    var result = everything
    for i in relations.indices {
      guard let part = solutions(operands[i], relations[i], operands[i + 1], name) else { return nil }
      result = result.intersection(part)
    }
    return result
  }

  private static func solutions(
    _ left: MathExpression, _ relation: MathRelation, _ right: MathExpression, _ name: String
  ) -> MathRealSet? {
    func value(_ x: Double) -> Double {
      var evaluator = MathEvaluator([name: x])
      return evaluator.value(left) - evaluator.value(right)
    }
    let (start, next) = (value(0), value(1))
    let slope = next - start
    guard slope.isFinite, slope != 0 else { return nil }
    for x in [-2.75, 0.375, 7.5, 1021.25] {
      let expected = start + slope * x
      guard (value(x) - expected).magnitude <= 1e-9 * max(1, start.magnitude, (slope * x).magnitude) else { return nil }
    }
    let root = -start / slope
    let relation = slope < 0 ? relation.flipped : relation
    switch relation {
    case .less, .lessOrEqual:
      return MathRealSet(
        pieces: [Piece(lower: -.infinity, upper: root, lowerIsOpen: true, upperIsOpen: relation == .less)])
    case .greater, .greaterOrEqual:
      return MathRealSet(
        pieces: [Piece(lower: root, upper: .infinity, lowerIsOpen: relation == .greater, upperIsOpen: true)])
    case .equal: return point(root)
    case .notEqual: return point(root).complement
    case .approximately, .element: return nil
    }
  }

  private static func point(_ x: Double) -> MathRealSet {
    MathRealSet(pieces: [Piece(lower: x, upper: x, lowerIsOpen: false, upperIsOpen: false)])
  }

  // MARK: Operations

  private var isEverything: Bool { pieces.count == 1 && pieces[0].lower == -.infinity && pieces[0].upper == .infinity }

  private var normalized: MathRealSet {
    let sorted = pieces.filter { !$0.isEmpty }.sorted {
      $0.lower != $1.lower ? $0.lower < $1.lower : !$0.lowerIsOpen && $1.lowerIsOpen
    }
    var merged: [Piece] = []
    for piece in sorted {
      guard let last = merged.last,
        piece.lower < last.upper || piece.lower == last.upper && !(piece.lowerIsOpen && last.upperIsOpen)
      else {
        merged.append(piece)
        continue
      }
      if piece.upper > last.upper {
        merged[merged.count - 1].upper = piece.upper
        merged[merged.count - 1].upperIsOpen = piece.upperIsOpen
      } else if piece.upper == last.upper, !piece.upperIsOpen {
        merged[merged.count - 1].upperIsOpen = false
      }
    }
    return MathRealSet(pieces: merged)
  }

  private func intersection(_ other: MathRealSet) -> MathRealSet {
    var parts: [Piece] = []
    for a in pieces {
      for b in other.pieces {
        let lower = max(a.lower, b.lower)
        let upper = min(a.upper, b.upper)
        parts.append(
          Piece(
            lower: lower, upper: upper,
            lowerIsOpen: a.lower == lower && a.lowerIsOpen || b.lower == lower && b.lowerIsOpen,
            upperIsOpen: a.upper == upper && a.upperIsOpen || b.upper == upper && b.upperIsOpen))
      }
    }
    return MathRealSet(pieces: parts).normalized
  }

  private var complement: MathRealSet {
    var parts: [Piece] = []
    var lower = -Double.infinity
    var isOpen = true
    for piece in pieces {
      parts.append(Piece(lower: lower, upper: piece.lower, lowerIsOpen: isOpen, upperIsOpen: !piece.lowerIsOpen))
      lower = piece.upper
      isOpen = !piece.upperIsOpen
    }
    parts.append(Piece(lower: lower, upper: .infinity, lowerIsOpen: isOpen, upperIsOpen: true))
    return MathRealSet(pieces: parts.filter { $0.lower < .infinity && $0.upper > -.infinity }).normalized
  }
}

extension MathRealSet: Equatable {
  static func == (a: MathRealSet, b: MathRealSet) -> Bool {
    let places = a.isDecimal || b.isDecimal ? 5e-7 : 1e-12
    func same(_ x: Double, _ y: Double) -> Bool {
      guard x != y, x.isFinite, y.isFinite else { return x == y }
      return (x - y).magnitude <= places * (a.isDecimal || b.isDecimal ? 1 : max(1, x.magnitude))
    }
    return a.pieces.count == b.pieces.count
      && zip(a.pieces, b.pieces).allSatisfy {
        same($0.lower, $1.lower) && same($0.upper, $1.upper) && $0.lowerIsOpen == $1.lowerIsOpen
          && $0.upperIsOpen == $1.upperIsOpen
      }
  }
}
