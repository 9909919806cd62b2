import Core

/// The grammar: a result type, a name, and arguments that are names, constants or pointers to functions.
extension SignatureReader {
  /// More arguments than any C compiler has to accept, and a bound for the work.
  private static let mostArguments = 127

  mutating func declaration() throws -> Declaration {
    let result = try type(before: "the function's name")
    guard case .word(let name) = token else {
      throw problem("expected the function's name, found \(words(token))", at: column)
    }
    at += 1
    try expect("(", "after \(name)", hint: "such as: double \(name)(const char *completion)")
    var arguments: [Argument] = []
    if !accept(")") {
      if token == .word("void"), tokens[at + 1].token == .mark(")") {
        at += 2
      } else {
        repeat { arguments.append(try argument()) } while accept(",")
        try expect(")", "or ',' after an argument")
      }
    }
    _ = accept(";")
    guard token == .end else { throw problem("\(words(token)) after the signature", at: column) }
    guard arguments.count <= Self.mostArguments else {
      throw problem("\(arguments.count) arguments, expected at most \(Self.mostArguments)", at: 1)
    }
    return Declaration(name: name, result: result, arguments: arguments)
  }

  private static let qualifiers: Set<String> = [
    "const", "volatile", "restrict", "__restrict", "extern", "static", "inline",
  ]

  /// The type up to the name: words in any order, and `*`.
  private mutating func type(before what: String) throws -> CType {
    let start = column
    var words: [String] = []
    var isConst = false
    while case .word(let word) = token {
      if ["struct", "union", "enum"].contains(word) {
        throw problem(
          word == "enum" ? "'enum' names no number of known size" : "a \(word) cannot be passed", at: column,
          hint: word == "enum" ? "write int" : "write a small C function that takes its parts, and name that")
      }
      guard CType.words.contains(word) || Self.qualifiers.contains(word) else { break }
      if word == "const" { isConst = true } else if !Self.qualifiers.contains(word) { words.append(word) }
      at += 1
    }
    guard !words.isEmpty else { throw unknownType(before: what) }
    let number = words == ["void"] ? nil : CType.number(of: words)
    guard number != nil || words == ["void"] else {
      let spelled = words.joined(separator: " ")
      throw problem(
        "'\(spelled)' is no type that can be passed", at: start,
        hint: spelled.contains("long double") ? "write a small C function that takes a double" : nil)
    }
    var pointers = 0
    while token == .mark("*") || Self.isQualifier(token) {
      if token == .mark("*") { pointers += 1 }
      at += 1
    }
    let name = words.joined(separator: " ") + (pointers > 0 ? " " + String(repeating: "*", count: pointers) : "")
    return CType(
      number: number, pointers: pointers, isConst: isConst, words: (isConst && pointers > 0 ? "const " : "") + name)
  }

  private static func isQualifier(_ token: Token) -> Bool {
    if case .word(let word) = token { qualifiers.contains(word) } else { false }
  }

  private func unknownType(before what: String) -> AttuneError {
    guard case .word(let word) = token else {
      return problem("expected a type, found \(words(token))", at: column)
    }
    switch tokens[at + 1].token {
    case .word, .mark("*"):
      let near = nearestName(to: word, among: CType.words.sorted())
      return problem(
        "'\(word)' is no type that is known here", at: column,
        hint: near.map { "did you mean '\($0)'?" } ?? "write the type that it stands for, such as unsigned int")
    case .mark("("):
      return problem("\(word) has no result type", at: column, hint: "such as: double \(word)(..)")
    default:
      return problem(
        "\(word) has no type", at: column, hint: "such as: const char *completion, double column.NAME, int32_t step")
    }
  }

  private mutating func argument() throws -> Argument {
    let typeColumn = column
    if token == .ellipsis {
      throw problem(
        "functions with '...' cannot be called", at: column,
        hint: "write a small C function with fixed arguments that calls it, and name that")
    }
    if token == .word("NULL") {
      at += 1
      return Argument(
        type: CType(number: nil, pointers: 1, isConst: true, words: "void *"), value: .null, typeColumn: typeColumn,
        column: typeColumn)
    }
    var type = try self.type(before: "an argument's name")
    let column = self.column
    if token == .mark("(") { return try callback(returning: type, typeColumn) }
    let value = try self.value(of: &type)
    var fallback: JSON?
    if accept("=") {
      guard let literal = try literal() else {
        throw problem("expected a number or a text after '=', found \(words(token))", at: self.column)
      }
      fallback = literal
    }
    if type.isVoid { throw problem("an argument cannot be void", at: typeColumn) }
    return Argument(type: type, value: value, fallback: fallback, typeColumn: typeColumn, column: column)
  }

  private mutating func value(of type: inout CType) throws -> Value {
    if token == .word("NULL") {
      guard type.pointers > 0 else { throw problem("NULL is no \(type.words)", at: column) }
      at += 1
      return .null
    }
    if let literal = try literal() { return .literal(literal) }
    guard case .word(let root) = token else {
      throw problem(
        "expected the name of what is passed as \(type.words), found \(words(token))", at: column,
        hint: "such as completion, column.NAME, parameter.NAME or step; a constant is written as it is: double 0.5")
    }
    at += 1
    return .name(try name(root, &type))
  }

  private mutating func name(_ root: String, _ type: inout CType) throws -> Name {
    var name = Name(root: root, index: nil, parts: [])
    while true {
      if accept("[") {
        if accept("]") {
          // `double weights[]` is another way to write `double *weights`.
          type.pointers += 1
          type.words += type.pointers > 1 ? "*" : " *"
        } else {
          guard name.index == nil, name.parts.isEmpty, case .number(let digits) = token, let index = Int(digits),
            index < 1 << 16
          else { throw problem("expected a picture's number, such as pixels[1], found \(words(token))", at: column) }
          at += 1
          name.index = index
          try expect("]", "after the number")
        }
      } else if accept(".") {
        switch token {
        case .word(let word), .string(let word): name.parts.append(word)
        default:
          throw problem(
            "expected a name after '\(name.words).', found \(words(token))", at: column,
            hint: "a name that is no C name is written in quotes: column.\"2nd\"")
        }
        at += 1
      } else {
        return name
      }
    }
  }

  /// A number, a text, `true` or `false`; nil if something else comes.
  private mutating func literal() throws -> JSON? {
    let start = column
    let isNegative = accept("-")
    switch token {
    case .number(let digits):
      at += 1
      guard let number = Self.number(digits, isNegative: isNegative) else {
        throw problem("'\(isNegative ? "-" : "")\(digits)' is no number", at: start)
      }
      return number
    case _ where isNegative: throw problem("expected a number after '-', found \(words(token))", at: column)
    case .string(let text):
      at += 1
      return .string(text)
    case .word("true"), .word("false"):
      defer { at += 1 }
      return .bool(token == .word("true"))
    default: return nil
    }
  }

  private static func number(_ digits: String, isNegative: Bool) -> JSON? {
    let sign = isNegative ? "-" : ""
    let lower = digits.lowercased()
    if lower.hasPrefix("0x") {
      let bare = lower.dropFirst(2).prefix { $0.isHexDigit }
      guard !bare.isEmpty, lower.dropFirst(2 + bare.count).allSatisfy({ "ul".contains($0) }) else { return nil }
      return Int64(sign + bare, radix: 16).map { .int($0) }
    }
    let bare = lower.prefix { $0.isNumber || ".e+-".contains($0) }
    let suffix = lower.dropFirst(bare.count)
    if bare.allSatisfy(\.isNumber), suffix.allSatisfy({ "ul".contains($0) }) {
      // A leading zero means octal in C, which hardly anybody means.
      guard bare.count == 1 || bare.first != "0" else { return nil }
      return Int64(sign + bare).map { .int($0) }
    }
    guard suffix.isEmpty || suffix == "f" else { return nil }
    return Double(sign + bare).flatMap { $0.isFinite ? .double($0) : nil }
  }

  /// `(*name)(types)` after the result's type.
  private mutating func callback(returning result: CType, _ typeColumn: Int) throws -> Argument {
    try expect("(", "before a function pointer's name")
    try expect("*", "in front of a function pointer's name", hint: "such as: void (*log)(const char *)")
    let column = self.column
    guard case .word(let name) = token else {
      throw problem("expected the name of a function of the host, found \(words(token))", at: column)
    }
    at += 1
    try expect(")", "after \(name)")
    try expect("(", "before the types that \(name) takes")
    var parameters: [CType] = []
    if !accept(")") {
      repeat {
        if token == .ellipsis { throw problem("functions with '...' cannot be offered", at: self.column) }
        let type = try self.type(before: "a comma")
        if case .word = token { at += 1 }
        parameters.append(type)
      } while accept(",")
      try expect(")", "or ',' after a type")
    }
    if parameters.count == 1, parameters[0].isVoid { parameters = [] }
    return Argument(
      type: result, value: .callback(name, parameters: parameters), typeColumn: typeColumn, column: column)
  }
}
