/// Plain scalars by the core schema of YAML 1.2.2, section 10.3.2. Unlike YAML 1.1, `yes`, `on` and `1:30` are strings
/// and `1e-6` is a number.
enum YAMLScalar {
  /// The value that the plain (unquoted) `text` stands for.
  static func resolve(_ text: String) -> RecipeNode.Content {
    switch text {
    case "", "~", "null", "Null", "NULL": return .null
    case "true", "True", "TRUE": return .bool(true)
    case "false", "False", "FALSE": return .bool(false)
    case ".nan", ".NaN", ".NAN": return .double(.nan)
    default: break
    }
    let bytes = Array(text.utf8)
    guard let first = bytes.first, first == plus || first == minus || first == dot || isDigit(first) else {
      return .string(text)
    }
    return number(text, bytes) ?? .string(text)
  }

  private static let plus = UInt8(ascii: "+")
  private static let minus = UInt8(ascii: "-")
  private static let dot = UInt8(ascii: ".")
  private static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

  private static func number(_ text: String, _ bytes: [UInt8]) -> RecipeNode.Content? {
    if text.hasPrefix("0x"), bytes.count > 2 { return radix(text.dropFirst(2), 16) }
    if text.hasPrefix("0o"), bytes.count > 2 { return radix(text.dropFirst(2), 8) }
    let signed = bytes[0] == plus || bytes[0] == minus
    let digits = signed ? bytes.dropFirst() : bytes[...]
    switch String(decoding: digits, as: UTF8.self) {
    case ".inf", ".Inf", ".INF": return .double(bytes[0] == minus ? -.infinity : .infinity)
    default: break
    }
    guard isDecimal(digits) else { return nil }
    // An integer too large for 64 bits is a number all the same; whoever wants an integer refuses it.
    if digits.allSatisfy(isDigit), let x = Int64(text) { return .int(x) }
    return Double(text).map { .double($0) }
  }

  private static func radix(_ digits: Substring, _ radix: Int) -> RecipeNode.Content? {
    guard digits.utf8.allSatisfy({ $0 != plus && $0 != minus }) else { return nil }
    return Int64(digits, radix: radix).map { .int($0) }
  }

  /// `[0-9]+(\.[0-9]*)?` or `\.[0-9]+`, then `([eE][-+]?[0-9]+)?`.
  private static func isDecimal(_ bytes: ArraySlice<UInt8>) -> Bool {
    var rest = bytes
    let whole = rest.prefix(while: isDigit).count
    rest = rest.dropFirst(whole)
    if rest.first == dot {
      rest = rest.dropFirst()
      let fraction = rest.prefix(while: isDigit).count
      if whole == 0, fraction == 0 { return false }
      rest = rest.dropFirst(fraction)
    } else if whole == 0 {
      return false
    }
    if rest.isEmpty { return true }
    guard rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") else { return false }
    rest = rest.dropFirst()
    if rest.first == plus || rest.first == minus { rest = rest.dropFirst() }
    return !rest.isEmpty && rest.allSatisfy(isDigit)
  }
}
