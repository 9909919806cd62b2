import Core

/// Reads a signature's text, by hand and to the letter, so that an error can point at its place.
struct SignatureReader {
  /// A declaration whose names have no meaning yet.
  struct Declaration {
    var name: String
    var result: CType
    var arguments: [Argument]
  }

  /// `type name`, `type (*name)(types)`, `type literal` or `NULL`.
  struct Argument {
    var type: CType
    var value: Value
    /// The value that stands in where there is none: `double column.x = 0`.
    var fallback: JSON?
    /// Where type and value begin, from 1.
    var typeColumn: Int
    var column: Int
  }

  enum Value {
    case name(Name)
    case literal(JSON)
    case null
    case callback(String, parameters: [CType])
  }

  /// `root`, `root[1]`, `root.part`, `root."any name".part`.
  struct Name {
    var root: String
    var index: Int?
    var parts: [String]

    var words: String {
      root + (index.map { "[\($0)]" } ?? "")
        + parts.map { part in
          "." + (part.unicodeScalars.allSatisfy(SignatureReader.isWord) ? part : JSON.string(part).text())
        }.joined()
    }
  }

  private enum Token: Equatable {
    case word(String)
    case number(String)
    case string(String)
    case mark(Unicode.Scalar)
    case ellipsis
    case end
  }

  let text: String
  private var tokens: [(token: Token, column: Int)] = []
  private var at = 0
  /// More arguments than any C compiler has to accept, and a bound for the work.
  private static let mostArguments = 127

  init(_ text: String) throws {
    // Tabs and line breaks would move the mark under a wrong place.
    let flat = text.unicodeScalars.map { $0.properties.isWhitespace ? " " : Character($0) }
    self.text = String(flat)
    try readTokens()
  }

  /// An error that shows the signature with a mark under its place.
  func problem(_ message: String, at column: Int, hint: String? = nil) -> AttuneError {
    .request(
      "\(message), at column \(column) of the signature\n  \(text)\n  \(String(repeating: " ", count: column - 1))^",
      hint: hint)
  }

  // MARK: Tokens

  static func isWord(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "a"..."z", "A"..."Z", "0"..."9", "_": true
    default: false
    }
  }

  private mutating func readTokens() throws {
    let scalars = Array(text.unicodeScalars)
    var i = 0
    while i < scalars.count {
      let start = i
      func take(while test: (Unicode.Scalar) -> Bool) -> String {
        while i < scalars.count, test(scalars[i]) { i += 1 }
        var word = ""
        word.unicodeScalars.append(contentsOf: scalars[start..<i])
        return word
      }
      let next = scalars[i]
      let token: Token
      if next == " " {
        i += 1
        continue
      } else if ("0"..."9").contains(next) {
        var last: Unicode.Scalar = " "
        let isHex = i + 1 < scalars.count && (scalars[i + 1] == "x" || scalars[i + 1] == "X")
        token = .number(
          take { scalar in
            defer { last = scalar }
            let isSign = !isHex && (scalar == "+" || scalar == "-") && (last == "e" || last == "E")
            return Self.isWord(scalar) || scalar == "." || isSign
          })
      } else if Self.isWord(next) {
        token = .word(take(while: Self.isWord))
      } else if next == "\"" {
        i += 1
        token = .string(try string(scalars, &i, from: start))
      } else if next == ".", i + 2 < scalars.count, scalars[i + 1] == ".", scalars[i + 2] == "." {
        i += 3
        token = .ellipsis
      } else {
        i += 1
        token = .mark(next)
      }
      tokens.append((token, start + 1))
    }
    tokens.append((.end, scalars.count + 1))
  }

  private func string(_ scalars: [Unicode.Scalar], _ i: inout Int, from start: Int) throws -> String {
    var out = String.UnicodeScalarView()
    while i < scalars.count {
      let scalar = scalars[i]
      i += 1
      if scalar == "\"" { return String(out) }
      guard scalar == "\\" else {
        out.append(scalar)
        continue
      }
      let escapes: [Unicode.Scalar: Unicode.Scalar] = [
        "n": "\n", "t": "\t", "r": "\r", "\\": "\\", "\"": "\"", "'": "'",
      ]
      guard i < scalars.count, let meant = escapes[scalars[i]] else {
        throw problem("an escape that is not known", at: i, hint: #"known are \n, \t, \r, \\, \" and \'"#)
      }
      out.append(meant)
      i += 1
    }
    throw problem("a text has no closing \"", at: start + 1)
  }

  private var token: Token { tokens[at].token }
  var column: Int { tokens[at].column }

  private func words(_ token: Token) -> String {
    switch token {
    case .word(let word): "'\(word)'"
    case .number(let number): "'\(number)'"
    case .string: "a text"
    case .mark(let mark): "'\(mark)'"
    case .ellipsis: "'...'"
    case .end: "the end"
    }
  }

  private mutating func accept(_ mark: Unicode.Scalar) -> Bool {
    guard token == .mark(mark) else { return false }
    at += 1
    return true
  }

  private mutating func expect(_ mark: Unicode.Scalar, _ place: String, hint: String? = nil) throws {
    guard accept(mark) else {
      throw problem("expected '\(mark)' \(place), found \(words(token))", at: column, hint: hint)
    }
  }

  // MARK: Declarations

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
