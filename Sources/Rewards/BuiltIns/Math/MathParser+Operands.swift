extension MathParser {
  static let greek: Set<String> = [
    "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota", "kappa",
    "lambda", "mu", "nu", "xi", "rho", "varrho", "sigma", "varsigma", "tau", "upsilon", "phi", "varphi", "chi", "psi",
    "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega", "ell", "hbar",
    "angle", "triangle", "imath", "jmath",
  ]
  static let openers: Set<String> = [
    "{", "frac", "sqrt", "binom", "pi", "infty", "emptyset", "reals", "mathbb", "begin", "lfloor", "lceil", "langle",
    "overline",
  ]

  func startsOperand(_ token: MathToken) -> Bool {
    switch token {
    case .number, .letter, .text: true
    case .symbol("("), .symbol("["), .symbol("{"): true
    case .symbol("|"): !insideAbsolute
    case .command(let name):
      Self.openers.contains(name) || Self.greek.contains(name) || MathFunction.named[name] != nil
    default: false
    }
  }

  mutating func operand() throws -> MathExpression {
    guard let token = current else { throw MathError("the end is not expected") }
    at += 1
    switch token {
    case .number(let digits): return try number(digits)
    case .letter(let letter): return try named(String(letter))
    case .text(let words): return .word(Self.word(words))
    case .symbol("("), .symbol("["), .symbol("{"), .command("{"), .command("langle"):
      return try nested { try $0.bracketed(token) }
    case .symbol("|"): return try nested { try $0.absolute() }
    case .command("lfloor"): return try nested { try $0.enclosed(.floor, closer: "rfloor") }
    case .command("lceil"): return try nested { try $0.enclosed(.ceiling, closer: "rceil") }
    case .command("frac"):
      let (a, b) = try fractionArguments()
      return .quotient(a, b)
    case .command("binom"):
      let (a, b) = try fractionArguments()
      return .function(.binomial, [a, b])
    case .command("sqrt"): return try root()
    case .command("pi"): return .constant(.pi)
    case .command("infty"): return .constant(.infinity)
    case .command("emptyset"): return .emptySet
    case .command("reals"): return .reals
    case .command("mathbb"): return try blackboard()
    case .command("overline"): return .symbol("overline(\(try spelled()))")
    case .command("begin"): return try nested { try $0.environment() }
    case .command(let name):
      if let function = MathFunction.named[name] { return try nested { try $0.applied(function) } }
      if Self.greek.contains(name) { return try named(name) }
      throw MathError("\\\(name) is not known")
    default: throw MathError("\(token) is not expected")
    }
  }

  /// Lower case, single spaces, without brackets and stops around it.
  static func word(_ text: String) -> String {
    let words = text.lowercased().split(whereSeparator: \.isWhitespace).joined(separator: " ")
    let marks: Set<Character> = ["(", ")", "[", "]", ".", ",", ":", ";", "!", "*", "\"", "'"]
    var slice = words[...].drop { marks.contains($0) }
    while let last = slice.last, marks.contains(last) { slice.removeLast() }
    return slice.isEmpty ? words : String(slice)
  }

  /// A name with what is written below it. A lone `e` is the base of natural logarithms.
  private mutating func named(_ name: String) throws -> MathExpression {
    if current == .symbol("_") {
      at += 1
      return .symbol(name + "_" + (try spelled()))
    }
    return name == "e" ? .constant(.e) : .symbol(name)
  }

  /// The characters of an argument, for names.
  mutating func spelled() throws -> String {
    guard accept(.symbol("{")) else {
      guard let token = current else { throw MathError("the end is not expected") }
      at += 1
      return Self.spelling(token)
    }
    var text = ""
    while let token = current, token != .symbol("}") {
      text += Self.spelling(token)
      at += 1
    }
    try expect(.symbol("}"))
    return text
  }

  private static func spelling(_ token: MathToken) -> String {
    switch token {
    case .number(let text), .command(let text), .text(let text): text
    case .letter(let c), .symbol(let c): String(c)
    case .comma: ","
    case .rowBreak: ";"
    }
  }

  /// In braces, or a single token.
  mutating func argument() throws -> MathExpression {
    if accept(.symbol("{")) {
      return try nested { try $0.bracketed(.symbol("{")) }
    }
    return try nested { try $0.operand() }
  }

  /// Of `\frac` and `\binom`, also without braces: `\frac12`.
  mutating func fractionArguments() throws -> (MathExpression, MathExpression) {
    if case .number(let digits) = current, digits.count > 1, let first = digits.first, first.isNumber,
      !digits.contains(".")
    {
      // "12" is one token and two arguments.
      tokens.replaceSubrange(at...at, with: [.number(String(first)), .number(String(digits.dropFirst()))])
    }
    return (try argument(), try argument())
  }

  private mutating func root() throws -> MathExpression {
    var degree = MathExpression.integer(2)
    if accept(.symbol("[")) {
      degree = try nested { try $0.sum() }
      try expect(.symbol("]"))
    }
    return .function(.root, [try argument(), degree])
  }

  private mutating func absolute() throws -> MathExpression {
    let outer = insideAbsolute
    insideAbsolute = true
    defer { insideAbsolute = outer }
    let inner = try sum()
    try expect(.symbol("|"))
    return .function(.absolute, [inner])
  }

  private mutating func enclosed(_ function: MathFunction, closer: String) throws -> MathExpression {
    let outer = insideAbsolute
    insideAbsolute = false
    defer { insideAbsolute = outer }
    let inner = try sum()
    try expect(.command(closer))
    return .function(function, [inner])
  }

  private mutating func blackboard() throws -> MathExpression {
    let name = try spelled()
    if name == "R" { return .reals }
    return .symbol("mathbb(\(name))")
  }

  /// What a function is applied to: brackets, or all factors up to the next sign or function.
  private mutating func applied(_ name: MathFunction) throws -> MathExpression {
    var function = name
    var power: MathExpression?
    var base: MathExpression?
    for _ in 0..<2 {
      if accept(.symbol("_")) {
        splitIndex()
        base = try argument()
      }
      if accept(.symbol("^")) {
        let exponent = try exponent()
        if exponent == .integer(-1), let inverse = function.inverse {
          function = inverse
        } else {
          power = exponent
        }
      }
    }
    var arguments: [MathExpression]
    let isBracketed = current == .symbol("(") || current == .symbol("[") || current == .symbol("{")
    if isBracketed, let opener = current {
      at += 1
      let inner = try bracketed(opener)
      if case .tuple(let elements) = inner { arguments = elements } else { arguments = [inner] }
    } else {
      arguments = [try openArgument()]
    }
    switch function {
    case .gcd, .lcm, .min, .max: break
    default: guard arguments.count == 1 else { throw MathError("\(function.rawValue) of \(arguments.count) values") }
    }
    if let base {
      guard function == .log else { throw MathError("\(function.rawValue) with an index") }
      arguments.append(base)
    }
    let value = MathExpression.function(function, arguments)
    return power.map { .power(value, $0) } ?? value
  }

  /// `\log_28` is the logarithm of 8 with the base 2.
  private mutating func splitIndex() {
    guard case .number(let digits) = current, digits.count > 1, !digits.contains("."), let first = digits.first,
      at + 1 >= tokens.count || !startsOperand(tokens[at + 1])
    else { return }
    tokens.replaceSubrange(at...at, with: [.number(String(first)), .number(String(digits.dropFirst()))])
  }

  private mutating func openArgument() throws -> MathExpression {
    var isNegative = false
    while accept(.symbol("-")) { isNegative.toggle() }
    var factors: [MathExpression] = []
    while let token = current, startsOperand(token) {
      if case .command(let name) = token, MathFunction.named[name] != nil, !factors.isEmpty { break }
      if !factors.isEmpty, case .number = token, case .number = tokens[at - 1] { break }
      factors.append(try postfixed())
    }
    guard !factors.isEmpty else { throw MathError("a function of nothing") }
    let argument = MathExpression.product(of: factors)
    return isNegative ? .negative(argument) : argument
  }
}
