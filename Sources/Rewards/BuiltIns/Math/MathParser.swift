/// Reads an answer. Precedence is that of latex2sympy: multiplication without a sign binds more tightly than a division
/// sign, so that `1/2x` is `1/(2x)`.
struct MathParser {
  /// Brackets and exponents inside each other.
  static let maximumDepth = 24

  var tokens: [MathToken]
  var at = 0
  var depth = 0
  /// Inside `|...|`, where the next `|` closes.
  var insideAbsolute = false

  init(_ tokens: [MathToken]) { self.tokens = tokens }

  /// LaTeX, without the signs around it.
  static func parse(latex text: String) throws -> MathExpression {
    try parse(MathUnits.stripped(try MathLexer.tokens(text, isPlain: false)))
  }

  /// Text without LaTeX: an expression, a single word, or a letter.
  ///
  /// - Throws: `MathError` for sentences.
  static func parse(plain text: String) throws -> MathExpression {
    let tokens = try MathLexer.tokens(text, isPlain: true)
    let hasWords = tokens.contains {
      if case .text(let word) = $0 { !MathWords.units.contains(word.lowercased()) } else { false }
    }
    guard !hasWords || tokens.count(where: { $0 != .symbol(".") }) == 1 else { throw MathError("words") }
    return try parse(MathUnits.stripped(tokens))
  }

  private static func parse(_ tokens: [MathToken]) throws -> MathExpression {
    var parser = MathParser(tokens)
    let expression = try parser.list()
    guard parser.at == parser.tokens.count else { throw MathError("\(parser.tokens[parser.at]) is not expected") }
    return expression
  }

  var current: MathToken? { at < tokens.count ? tokens[at] : nil }

  mutating func accept(_ token: MathToken) -> Bool {
    guard current == token else { return false }
    at += 1
    return true
  }

  mutating func expect(_ token: MathToken) throws {
    guard accept(token) else { throw MathError("\(token) is missing") }
  }

  mutating func nested<T>(_ body: (inout MathParser) throws -> T) throws -> T {
    guard depth < Self.maximumDepth else { throw MathError("more than \(Self.maximumDepth) levels deep") }
    depth += 1
    defer { depth -= 1 }
    return try body(&self)
  }

  // MARK: Levels

  mutating func list() throws -> MathExpression {
    let elements = try self.elements()
    return elements.count == 1 ? elements[0] : .list(elements)
  }

  /// One or more, separated by commas.
  mutating func elements() throws -> [MathExpression] {
    var elements = [try relation()]
    while case .comma = current {
      at += 1
      // ", and" is one separator; a comma at the end separates nothing.
      while accept(.comma) {}
      guard let next = current, startsElement(next) else { break }
      elements.append(try relation())
    }
    return elements
  }

  private func startsElement(_ token: MathToken) -> Bool {
    switch token {
    case .symbol("-"), .symbol("+"), .command("pm"), .command("mp"): true
    default: startsOperand(token)
    }
  }

  mutating func relation() throws -> MathExpression {
    var operands = [try setExpression()]
    var relations: [MathRelation] = []
    while let relation = relationSign() {
      relations.append(relation)
      operands.append(try setExpression())
    }
    return relations.isEmpty ? operands[0] : .relation(operands, relations)
  }

  private mutating func relationSign() -> MathRelation? {
    var result: MathRelation
    switch current {
    case .symbol("="): result = .equal
    case .symbol("<"): result = .less
    case .symbol(">"): result = .greater
    case .command("le"): result = .lessOrEqual
    case .command("ge"): result = .greaterOrEqual
    case .command("ne"): result = .notEqual
    case .command("approx"): result = .approximately
    case .command("in"): result = .element
    case .symbol("!") where at + 1 < tokens.count && tokens[at + 1] == .symbol("="):
      at += 1
      result = .notEqual
    default: return nil
    }
    at += 1
    // `<=`, `>=`, `==` of programs.
    if accept(.symbol("=")) {
      if result == .less { result = .lessOrEqual }
      if result == .greater { result = .greaterOrEqual }
    }
    return result
  }

  private mutating func setExpression() throws -> MathExpression {
    var result = try sum()
    while true {
      if accept(.command("cup")) {
        let next = try sum()
        if case .union(let parts) = result { result = .union(parts + [next]) } else { result = .union([result, next]) }
      } else if accept(.command("cap")) {
        let next = try sum()
        if case .intersection(let parts) = result {
          result = .intersection(parts + [next])
        } else {
          result = .intersection([result, next])
        }
      } else if accept(.command("setminus")) {
        if case .difference = result { throw MathError("two differences of sets") }
        result = .difference(result, try sum())
      } else {
        return result
      }
    }
  }

  mutating func sum() throws -> MathExpression {
    var terms = [try product()]
    while true {
      switch current {
      case .symbol("+"):
        at += 1
        terms.append(try product())
      case .symbol("-"):
        at += 1
        terms.append(.negative(try product()))
      case .command("pm"):
        at += 1
        terms.append(.plusMinus(try product(), upper: true))
      case .command("mp"):
        at += 1
        terms.append(.plusMinus(try product(), upper: false))
      default: return .sum(of: terms)
      }
    }
  }

  private mutating func product() throws -> MathExpression {
    var isNegative = false
    var plusMinus: Bool?
    loop: while true {
      switch current {
      case .symbol("-"): isNegative.toggle()
      case .symbol("+"): break
      case .command("pm"): plusMinus = true
      case .command("mp"): plusMinus = false
      default: break loop
      }
      at += 1
    }
    var result = try unsignedProduct()
    if let plusMinus { result = .plusMinus(result, upper: plusMinus) }
    return isNegative ? .negative(result) : result
  }

  private mutating func unsignedProduct() throws -> MathExpression {
    var result = try juxtaposed()
    while true {
      if accept(.symbol("*")) {
        result = .product(of: [result, try signedFactor()])
      } else if accept(.symbol("/")) || accept(.symbol(":")) {
        result = .quotient(result, try signedFactor())
      } else {
        return result
      }
    }
  }

  private mutating func signedFactor() throws -> MathExpression {
    var isNegative = false
    while true {
      if accept(.symbol("-")) { isNegative.toggle() } else if !accept(.symbol("+")) { break }
    }
    let factor = try juxtaposed()
    return isNegative ? .negative(factor) : factor
  }

  /// Factors without a sign between them.
  mutating func juxtaposed() throws -> MathExpression {
    if let mixed = try mixedNumber() { return mixed }
    var factors = [try postfixed()]
    while let token = current, startsOperand(token) {
      if case .number = token, case .number = tokens[at - 1] { throw MathError("two numbers side by side") }
      if case .text = token {
        // A unit.
        at += 1
        try skipExponent()
        continue
      }
      factors.append(try postfixed())
    }
    return .product(of: factors)
  }

  mutating func skipExponent() throws {
    guard accept(.symbol("^")) else { return }
    _ = try nested { try $0.exponent() }
  }

  /// An operand with what follows it: powers, factorials, percent signs, degrees.
  mutating func postfixed() throws -> MathExpression {
    var result = try operand()
    var count = 0
    while true {
      count += 1
      guard count <= Self.maximumDepth else {
        throw MathError("more than \(Self.maximumDepth) signs behind an operand")
      }
      switch current {
      case .symbol("!") where at + 1 >= tokens.count || tokens[at + 1] != .symbol("="):
        at += 1
        result = .function(.factorial, [result])
      case .symbol("%"):
        at += 1
        result = .percent(result)
      case .command("circ"), .command("degrees"):
        at += 1
        result = .degrees(result)
      case .symbol("'"), .command("prime"):
        at += 1
        guard case .symbol(let name) = result else { throw MathError("a prime behind something that is no name") }
        result = .symbol(name + "'")
      case .symbol("^"):
        at += 1
        result = try powered(result)
      default: return result
      }
    }
  }

  private mutating func powered(_ base: MathExpression) throws -> MathExpression {
    let start = at
    let isGroup = accept(.symbol("{"))
    if accept(.command("circ")) || accept(.command("degrees")) {
      if isGroup { try expect(.symbol("}")) }
      return .degrees(base)
    }
    if accept(.command("prime")) || accept(.symbol("'")) {
      if isGroup { try expect(.symbol("}")) }
      guard case .symbol(let name) = base else { throw MathError("a prime behind something that is no name") }
      return .symbol(name + "'")
    }
    at = start
    return .power(base, try nested { try $0.exponent() })
  }

  /// Behind `^`.
  mutating func exponent() throws -> MathExpression {
    if accept(.symbol("-")) { return .negative(try nested { try $0.exponent() }) }
    let base = try operand()
    guard accept(.symbol("^")) else { return base }
    return .power(base, try nested { try $0.exponent() })
  }
}
