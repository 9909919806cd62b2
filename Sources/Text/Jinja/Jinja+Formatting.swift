import Core
import Foundation

/// `%` formatting and `str.format`.
extension Jinja.Interpreter {
  /// How one value is to be written.
  private struct Field {
    var fill: Unicode.Scalar = " "
    var align: Unicode.Scalar?
    var sign: Unicode.Scalar = "-"
    var alternate = false
    var zero = false
    var width = 0
    var grouping: Unicode.Scalar?
    var precision: Int?
    var type: Unicode.Scalar?
  }

  private static let widest = 1 << 16

  private func number(_ scalars: [Unicode.Scalar], _ at: inout Int) throws -> Int? {
    let start = at
    var value = 0
    while at < scalars.count, let digit = Int(String(scalars[at])), scalars[at].isASCII {
      value = value * 10 + digit
      guard value <= Self.widest else { throw failure("a width or precision above \(Self.widest)") }
      at += 1
    }
    return at > start ? value : nil
  }

  // MARK: Percent

  /// `format % values`.
  func percentFormat(_ format: String, _ values: Value) throws -> String {
    let scalars = Array(format.unicodeScalars)
    var arguments: [Value] = [values]
    if case .tuple(let items) = values { arguments = items.values }
    var next = 0
    var usedName = false
    var out = String.UnicodeScalarView()
    func take() throws -> Value {
      guard next < arguments.count else { throw failure("not enough arguments for format string") }
      next += 1
      return arguments[next - 1]
    }
    func star(_ at: inout Int) throws -> Int? {
      guard at < scalars.count, scalars[at] == "*" else { return try number(scalars, &at) }
      at += 1
      guard let value = try take().integer, abs(value == .min ? .max : value) <= Self.widest else {
        throw failure("* wants an integer up to \(Self.widest)")
      }
      return value
    }
    var at = 0
    while at < scalars.count {
      guard scalars[at] == "%" else {
        out.append(scalars[at])
        at += 1
        continue
      }
      at += 1
      var field = Field(align: ">")
      var named: Value?
      if at < scalars.count, scalars[at] == "(" {
        guard let end = scalars[at...].firstIndex(of: ")") else { throw failure("incomplete format key") }
        let name = PythonText.string(scalars[at + 1..<end])
        guard case .dict(let dict) = values else { throw failure("format requires a mapping") }
        guard let value = dict.value(of: name) else { throw failure("the format key '\(name)' is missing") }
        named = value
        usedName = true
        at = end + 1
      }
      flags: while at < scalars.count {
        switch scalars[at] {
        case "-": field.align = "<"
        case "0": field.zero = true
        case "+": field.sign = "+"
        case " ": if field.sign != "+" { field.sign = " " }
        case "#": field.alternate = true
        default: break flags
        }
        at += 1
      }
      if let width = try star(&at) {
        if width < 0 { field.align = "<" }
        field.width = abs(width)
      }
      if at < scalars.count, scalars[at] == "." {
        at += 1
        field.precision = max(0, try star(&at) ?? 0)
      }
      while at < scalars.count, ["h", "l", "L"].contains(scalars[at]) { at += 1 }
      guard at < scalars.count else { throw failure("incomplete format") }
      let type = scalars[at]
      at += 1
      if type == "%" {
        out.append("%")
        continue
      }
      let text = try percentField(field, type, named ?? take())
      try charge(text.utf8.count)
      out.append(text: text)
    }
    if next < arguments.count, !usedName {
      // Whatever could be a mapping may be left unused.
      switch values {
      case .dict, .list: break
      default: throw failure("not all arguments converted during string formatting")
      }
    }
    return String(out)
  }

  private func percentField(_ start: Field, _ type: Unicode.Scalar, _ value: Value) throws -> String {
    var field = start
    switch type {
    case "s", "r", "a":
      var text = try type == "s" ? text(of: value) : representation(of: value)
      if type == "a" { text = escapedToASCII(text) }
      if let precision = field.precision { text = PythonText.string(text.unicodeScalars.prefix(precision)) }
      return pad(text, field)
    case "c":
      if case .string(let text) = value, text.unicodeScalars.count == 1 { return pad(text, field) }
      guard let code = value.integer, let scalar = UInt32(exactly: code).flatMap(Unicode.Scalar.init) else {
        throw failure("%c requires int or char")
      }
      return pad(String(Character(scalar)), field)
    case "d", "i", "u", "x", "X", "o":
      guard let number = value.number else {
        throw failure("%\(type) format: a real number is required, not \(value.typeName)")
      }
      guard let integer = value.integer ?? Int(exactly: number.rounded(.towardZero)) else {
        throw failure("%\(type) format: \(pythonText(of: number)) is no integer of 64 bits")
      }
      if case .double = value, type == "x" || type == "X" || type == "o" {
        throw failure("%\(type) format: an integer is required, not float")
      }
      field.type = type == "i" || type == "u" ? "d" : type
      let digits = integerDigits(integer, field)
      let missing = (field.precision ?? 0) - digits.count
      return padNumber(
        String(repeating: "0", count: max(0, missing)) + digits, negative: integer < 0, field,
        prefix: field.alternate ? ["x": "0x", "X": "0X", "o": "0o"][type] ?? "" : "")
    case "e", "E", "f", "F", "g", "G":
      guard let number = value.number else { throw failure("must be real number, not \(value.typeName)") }
      field.type = type
      return padNumber(try doubleDigits(number, field), negative: number.sign == .minus && !number.isNaN, field)
    default: throw failure("unsupported format character '\(type)'")
    }
  }

  private func escapedToASCII(_ text: String) -> String {
    text.unicodeScalars.map { scalar in
      if scalar.isASCII { return String(Character(scalar)) }
      let hex = String(scalar.value, radix: 16)
      let (letter, width) = scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
      return "\\\(letter)\(String(repeating: "0", count: width - hex.count))\(hex)"
    }.joined()
  }

  // MARK: Digits and padding

  private func integerDigits(_ value: Int, _ field: Field) -> String {
    switch field.type {
    case "x": String(value.magnitude, radix: 16)
    case "X": String(value.magnitude, radix: 16, uppercase: true)
    case "o": String(value.magnitude, radix: 8)
    case "b": String(value.magnitude, radix: 2)
    default: String(value.magnitude)
    }
  }

  private func doubleDigits(_ value: Double, _ field: Field) throws -> String {
    if value.isNaN { return "nan" }
    if value.isInfinite { return "inf" }
    let precision = field.precision ?? 6
    let magnitude = abs(value)
    try charge(precision + 400)
    switch field.type {
    case "f", "F", "%": return String(format: "%.\(precision)f", magnitude)
    case "e": return String(format: "%.\(precision)e", magnitude)
    case "E": return String(format: "%.\(precision)E", magnitude)
    case "G": return String(format: field.alternate ? "%#.\(precision)G" : "%.\(precision)G", magnitude)
    default: return String(format: field.alternate ? "%#.\(precision)g" : "%.\(precision)g", magnitude)
    }
  }

  private func pad(_ text: String, _ field: Field, default standard: Unicode.Scalar = "<") -> String {
    let missing = max(0, field.width - text.unicodeScalars.count)
    let left =
      switch field.align ?? standard {
      case "<": 0
      case "^": missing / 2
      default: missing
      }
    return PythonText.padded(text, to: field.width, left: left, fill: field.fill)
  }

  private func padNumber(_ digits: String, negative: Bool, _ field: Field, prefix: String = "") -> String {
    let sign = negative ? "-" : field.sign == "-" ? "" : String(Character(field.sign))
    var digits = digits
    if let grouping = field.grouping { digits = grouped(digits, by: grouping) }
    let fillsInside = field.align == "=" || (field.zero && field.align != "<")
    if fillsInside {
      let fill = field.zero && field.align != "=" ? "0" : field.fill
      let missing = max(0, field.width - sign.count - prefix.count - digits.unicodeScalars.count)
      return sign + prefix + String(repeating: Character(fill), count: missing) + digits
    }
    return pad(sign + prefix + digits, field, default: ">")
  }

  private func grouped(_ digits: String, by separator: Unicode.Scalar) -> String {
    let whole = digits.prefix { $0.isNumber }
    var out = ""
    for (index, digit) in whole.enumerated() {
      if index > 0, (whole.count - index) % 3 == 0 { out.unicodeScalars.append(separator) }
      out.append(digit)
    }
    return out + digits.dropFirst(whole.count)
  }

  // MARK: str.format

  /// `format.format(*positional, **named)`.
  func braceFormat(_ format: String, _ arguments: Jinja.CallArguments) throws -> String {
    var automatic = 0
    return try braceFormat(Array(format.unicodeScalars), arguments, &automatic, level: 0)
  }

  private func braceFormat(
    _ scalars: [Unicode.Scalar], _ arguments: Jinja.CallArguments, _ automatic: inout Int, level: Int
  ) throws -> String {
    guard level < 3 else { throw failure("max string recursion exceeded") }
    var out = String.UnicodeScalarView()
    var at = 0
    while at < scalars.count {
      let scalar = scalars[at]
      at += 1
      if scalar == "{" || scalar == "}", at < scalars.count, scalars[at] == scalar {
        out.append(scalar)
        at += 1
        continue
      }
      if scalar == "}" { throw failure("single '}' encountered in format string") }
      guard scalar == "{" else {
        out.append(scalar)
        continue
      }
      // The end of the field: braces inside its specification are fields of their own.
      var depth = 1
      let start = at
      while at < scalars.count, depth > 0 {
        if scalars[at] == "{" { depth += 1 }
        if scalars[at] == "}" { depth -= 1 }
        at += 1
      }
      guard depth == 0 else { throw failure("expected '}' before end of string") }
      let text = try braceField(Array(scalars[start..<at - 1]), arguments, &automatic, level: level)
      try charge(text.utf8.count)
      out.append(text: text)
    }
    return String(out)
  }

  private func braceField(
    _ field: [Unicode.Scalar], _ arguments: Jinja.CallArguments, _ automatic: inout Int, level: Int
  ) throws -> String {
    let nameEnd = field.firstIndex { $0 == ":" || $0 == "!" } ?? field.count
    var specification: [Unicode.Scalar] = []
    var conversion: Unicode.Scalar?
    var at = nameEnd
    if at < field.count, field[at] == "!" {
      guard at + 1 < field.count else { throw failure("end of string while looking for conversion specifier") }
      conversion = field[at + 1]
      at += 2
    }
    if at < field.count {
      guard field[at] == ":" else { throw failure("expected ':' after conversion specifier") }
      specification = Array(field[(at + 1)...])
    }
    var value = try braceArgument(Array(field[..<nameEnd]), arguments, &automatic)
    switch conversion {
    case "s": value = .string(try text(of: value))
    case "r": value = .string(try representation(of: value))
    case "a": value = .string(escapedToASCII(try representation(of: value)))
    case nil: break
    case let other?: throw failure("unknown conversion specifier \(other)")
    }
    if specification.contains("{") {
      let text = try braceFormat(specification, arguments, &automatic, level: level + 1)
      specification = Array(text.unicodeScalars)
    }
    return try format(value, specification)
  }

  private func braceArgument(
    _ name: [Unicode.Scalar], _ arguments: Jinja.CallArguments, _ automatic: inout Int
  ) throws -> Value {
    var at = name.firstIndex { $0 == "." || $0 == "[" } ?? name.count
    let first = PythonText.string(name[..<at])
    var value: Value
    if let index = first.isEmpty ? automatic : Int(first) {
      if first.isEmpty { automatic += 1 }
      guard arguments.positional.indices.contains(index) else {
        throw failure("replacement index \(index) out of range for positional args tuple")
      }
      value = arguments.positional[index]
    } else {
      guard let named = arguments.named.last(where: { sameText($0.name, first) }) else {
        throw failure("the format argument '\(first)' is missing")
      }
      value = named.value
    }
    while at < name.count {
      if name[at] == "." {
        let end = name[(at + 1)...].firstIndex { $0 == "." || $0 == "[" } ?? name.count
        value = try attribute(PythonText.string(name[at + 1..<end]), of: value)
        at = end
      } else {
        guard name[at] == "[", let end = name[at...].firstIndex(of: "]") else {
          throw failure("a format field that cannot be read: '\(PythonText.string(name))'")
        }
        let key = PythonText.string(name[at + 1..<end])
        value = try item(Int(key).map { .int($0) } ?? .string(key), of: value)
        at = end + 1
      }
      if case .undefined(let undefined) = value { throw failure(undefined.message) }
    }
    return value
  }

  /// `format(value, specification)`: `[[fill]align][sign][#][0][width][grouping][.precision][type]`.
  private func format(_ value: Value, _ text: [Unicode.Scalar]) throws -> String {
    if text.isEmpty { return try self.text(of: value) }
    var field = Field()
    var at = 0
    let aligns: [Unicode.Scalar] = ["<", ">", "^", "="]
    if text.count > 1, aligns.contains(text[1]) {
      field.fill = text[0]
      field.align = text[1]
      at = 2
    } else if aligns.contains(text[0]) {
      field.align = text[0]
      at = 1
    }
    func skip(_ options: [Unicode.Scalar]) -> Unicode.Scalar? {
      guard at < text.count, options.contains(text[at]) else { return nil }
      at += 1
      return text[at - 1]
    }
    field.sign = skip(["+", "-", " "]) ?? "-"
    field.alternate = skip(["#"]) != nil
    if skip(["0"]) != nil, field.align == nil { field.zero = true }
    field.width = try number(text, &at) ?? 0
    field.grouping = skip([",", "_"])
    if skip(["."]) != nil {
      guard let precision = try number(text, &at) else { throw failure("format specifier missing precision") }
      field.precision = precision
    }
    if at < text.count {
      field.type = text[at]
      at += 1
    }
    guard at == text.count else { throw failure("invalid format specifier '\(PythonText.string(text))'") }
    return try format(value, field)
  }

  private func format(_ value: Value, _ start: Field) throws -> String {
    var field = start
    func unknown() -> AttuneError {
      failure("unknown format code '\(field.type.map { String($0) } ?? "")' for object of type '\(value.typeName)'")
    }
    switch (value, field.type) {
    case (.string(var text), nil), (.string(var text), "s"?):
      if let precision = field.precision { text = PythonText.string(text.unicodeScalars.prefix(precision)) }
      if field.zero { field.fill = "0" }
      return pad(text, field)
    case (.int, let type), (.bool, let type):
      let integer = value.integer ?? 0
      switch type {
      case nil where value.typeName == "bool" && field.width == 0: return try text(of: value)
      case nil, "d", "n", "x", "X", "o", "b":
        let prefix = field.alternate ? ["x": "0x", "X": "0X", "o": "0o", "b": "0b"][type ?? "d"] ?? "" : ""
        return padNumber(integerDigits(integer, field), negative: integer < 0, field, prefix: prefix)
      case "c":
        guard let scalar = UInt32(exactly: integer).flatMap(Unicode.Scalar.init) else { throw unknown() }
        return pad(String(Character(scalar)), field)
      case "e", "E", "f", "F", "g", "G", "%": return try format(.double(Double(integer)), field)
      default: throw unknown()
      }
    case (.double(let number), let type):
      let negative = number.sign == .minus && !number.isNaN
      switch type {
      case "e", "E", "f", "F", "g", "G", "n":
        return padNumber(try doubleDigits(number, field), negative: negative, field)
      case "%": return padNumber(try doubleDigits(number * 100, field) + "%", negative: negative, field)
      case nil:
        guard field.precision != nil else { return padNumber(pythonText(of: abs(number)), negative: negative, field) }
        var digits = try doubleDigits(number, field)
        if !digits.contains("."), !digits.contains("e"), !digits.contains("n") { digits += ".0" }
        return padNumber(digits, negative: negative, field)
      default: throw unknown()
      }
    default:
      throw failure("unsupported format string passed to \(value.typeName).__format__")
    }
  }
}
