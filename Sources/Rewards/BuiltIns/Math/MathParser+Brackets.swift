extension MathParser {
  /// Behind an opening bracket, up to and with the closing one.
  mutating func bracketed(_ opener: MathToken) throws -> MathExpression {
    let outer = insideAbsolute
    insideAbsolute = false
    defer { insideAbsolute = outer }
    switch opener {
    case .command("{"): return try set(closer: .command("}"))
    case .symbol("{"):
      guard current != .symbol("}") else { throw MathError("empty braces") }
      let elements = try self.elements()
      try expect(.symbol("}"))
      return elements.count == 1 ? elements[0] : .set(elements)
    case .command("langle"):
      let elements = try self.elements()
      try expect(.command("rangle"))
      return .tuple(elements)
    default:
      let elements = try self.elements()
      let closesRound = accept(.symbol(")"))
      if !closesRound { try expect(.symbol("]")) }
      return Self.group(elements, opensRound: opener == .symbol("("), closesRound: closesRound)
    }
  }

  private static func group(_ elements: [MathExpression], opensRound: Bool, closesRound: Bool) -> MathExpression {
    switch elements.count {
    case 1: return elements[0]
    case 2 where !(opensRound && closesRound):
      return .interval(
        MathInterval(lower: elements[0], upper: elements[1], lowerIsOpen: opensRound, upperIsOpen: closesRound))
    default: return .tuple(elements)
    }
  }

  /// A list of elements, or `{x | condition}`.
  private mutating func set(closer: MathToken) throws -> MathExpression {
    if accept(closer) { return .emptySet }
    if let end = conditionStart { return try condition(from: end, closer: closer) }
    let elements = try self.elements()
    try expect(closer)
    return .set(elements)
  }

  /// The place behind `x |`, `x :` or `x \in \mathbb{R} |`.
  private var conditionStart: Int? {
    guard case .letter = current else { return nil }
    var end = at + 1
    if end < tokens.count, tokens[end] == .command("in") {
      end += 1
      guard end < tokens.count else { return nil }
      if tokens[end] == .command("reals") {
        end += 1
      } else if end + 3 < tokens.count,
        tokens[end...(end + 3)] == [.command("mathbb"), .symbol("{"), .letter("R"), .symbol("}")]
      {
        end += 4
      } else {
        return nil
      }
    }
    guard end < tokens.count, tokens[end] == .symbol("|") || tokens[end] == .symbol(":") else { return nil }
    return end + 1
  }

  private mutating func condition(from start: Int, closer: MathToken) throws -> MathExpression {
    at = start
    let conditions = try elements()
    try expect(closer)
    return .intersection([.reals] + conditions)
  }

  // MARK: Matrices

  private static let matrices: Set<String> = [
    "matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix", "smallmatrix", "array",
  ]

  /// Behind `\begin`.
  mutating func environment() throws -> MathExpression {
    let name = try environmentName()
    guard Self.matrices.contains(name) else { throw MathError("the environment \(name) is not known") }
    if name == "array", accept(.symbol("{")) {
      while let token = current, token != .symbol("}") {
        _ = token
        at += 1
      }
      try expect(.symbol("}"))
    }
    var rows: [[MathExpression]] = [[]]
    let outer = insideAbsolute
    insideAbsolute = false
    defer { insideAbsolute = outer }
    while current != .command("end") {
      if accept(.rowBreak) {
        if rows.last?.isEmpty == false { rows.append([]) }
      } else {
        rows[rows.count - 1].append(try relation())
        guard accept(.symbol("&")) || current == .rowBreak || current == .command("end") else {
          throw MathError("a matrix that does not end")
        }
      }
    }
    at += 1
    guard try environmentName() == name else { throw MathError("\\end of another environment") }
    if rows.last?.isEmpty == true { rows.removeLast() }
    guard let width = rows.first?.count, rows.allSatisfy({ $0.count == width }) else {
      throw MathError("a matrix with rows of different lengths")
    }
    return .matrix(rows)
  }

  private mutating func environmentName() throws -> String {
    try expect(.symbol("{"))
    var name = ""
    while let token = current, token != .symbol("}") {
      switch token {
      case .letter(let letter): name.append(letter)
      case .text(let text), .command(let text): name += text
      default: throw MathError("an environment without a name")
      }
      at += 1
    }
    try expect(.symbol("}"))
    return name
  }
}
