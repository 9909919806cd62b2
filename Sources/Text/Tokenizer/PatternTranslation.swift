import Core

/// Turns a tokenizer's pattern (Oniguruma's dialect, Unicode 16) into one that means the same to PCRE2.
///
/// What differs: `\s` is the White_Space property, `\w` includes marks, `\h` is a hexadecimal digit, `\v` a vertical
/// tab, `(?m)` lets the dot match line feeds, `{,n}` has a lower bound of 0, and the categories are newer. `^` and `$`
/// are line anchors in both once PCRE2 is told so.
struct PatternTranslation {
  private static let space =
    #"\x09-\x0D\x20\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}"#

  private let source: [Unicode.Scalar]
  private var at = 0
  private var result = ""

  static func translate(_ pattern: String) throws -> String {
    var translation = PatternTranslation(source: Array(pattern.unicodeScalars))
    try translation.run()
    return translation.result
  }

  private init(source: [Unicode.Scalar]) { self.source = source }

  private func refusal(_ what: String) -> AttuneError {
    var text = String.UnicodeScalarView()
    text.append(contentsOf: source)
    return .request("the split pattern \(String(text)) has \(what), which is not supported")
  }

  private func peek(_ ahead: Int = 0) -> Unicode.Scalar? {
    at + ahead < source.count ? source[at + ahead] : nil
  }

  private func starts(with text: String) -> Bool { source[at...].starts(with: text.unicodeScalars) }

  private mutating func run() throws {
    while let scalar = peek() {
      switch scalar {
      case "\\": try escape()
      case "[": result += try characterClass()
      case "(" where starts(with: "(?#"):
        while let next = peek(), next != ")" {
          _ = next
          at += 1
        }
        at += 1
      case "(" where starts(with: "(?"):
        groupOptions()
      case "{" where peek(1) == ",":
        result += "{0"
        at += 1
      default:
        result.unicodeScalars.append(scalar)
        at += 1
      }
    }
  }

  /// `(?imx-imx:` or `(?imx)`: Oniguruma's `m` is PCRE2's `s`. Other groups are copied.
  private mutating func groupOptions() {
    var end = at + 2
    while end < source.count, "imsx-".unicodeScalars.contains(source[end]) { end += 1 }
    guard end < source.count, end > at + 2, source[end] == ":" || source[end] == ")" else {
      result += "(?"
      at += 2
      return
    }
    for scalar in source[at..<end] { result.unicodeScalars.append(scalar == "m" ? "s" : scalar) }
    at = end
  }

  /// An escape outside a class.
  private mutating func escape() throws {
    guard let item = try escapedItem() else { return }
    switch item {
    case .text(let text): result += text
    case .members(let members): result += "[\(members)]"
    case .others(let members): result += "[^\(members)]"
    }
  }

  private enum Item {
    /// Text that means the same inside and outside a class.
    case text(String)
    /// The characters of a class.
    case members(String)
    /// All characters but these.
    case others(String)
  }

  /// Reads one escape. Nil if it was an anchor or a reference, copied as it is.
  private mutating func escapedItem(inClass: Bool = false) throws -> Item? {
    guard let letter = peek(1) else { throw refusal("a backslash at its end") }
    at += 2
    switch letter {
    case "s": return .members(Self.space)
    case "S": return .others(Self.space)
    case "d": return .members(Self.category("Nd"))
    case "D": return .others(Self.category("Nd"))
    case "w": return .members(["L", "M", "N", "Pc"].map(Self.category).joined())
    case "W": return .others(["L", "M", "N", "Pc"].map(Self.category).joined())
    case "h": return .members("0-9A-Fa-f")
    case "H": return .others("0-9A-Fa-f")
    case "v": return .text("\\x0B")
    case "p", "P": return try property(negated: letter == "P")
    case "u":
      let digits = source[at...].prefix(4)
      guard digits.count == 4, digits.allSatisfy({ $0.properties.isASCIIHexDigit }) else {
        throw refusal("an incomplete \\u escape")
      }
      at += 4
      return .text("\\x{\(String(String.UnicodeScalarView(digits)))}")
    case "Q", "E", "K", "N", "C", "g", "o":
      throw refusal("the escape \\\(letter)")
    default:
      var text = "\\"
      text.unicodeScalars.append(letter)
      if !inClass, "bBAzZGRXk".unicodeScalars.contains(letter) {
        result += text
        return nil
      }
      return .text(text)
    }
  }

  private mutating func property(negated: Bool) throws -> Item {
    guard peek() == "{", let end = source[at...].firstIndex(of: "}") else {
      throw refusal("a \\p without a name in braces")
    }
    var name = String(String.UnicodeScalarView(source[at + 1..<end]))
    var negated = negated
    if name.hasPrefix("^") {
      negated.toggle()
      name.removeFirst()
    }
    at = end + 1
    let members = Self.category(Self.shortName(name))
    return negated ? .others(members) : .members(members)
  }

  private static func category(_ name: String) -> String { "\\p{\(name)}" + NewCategories.classText(of: name) }

  private static func shortName(_ name: String) -> String {
    let long = [
      "letter": "L", "mark": "M", "number": "N", "punctuation": "P", "punct": "P", "symbol": "S", "separator": "Z",
      "uppercaseletter": "Lu", "lowercaseletter": "Ll", "titlecaseletter": "Lt", "modifierletter": "Lm",
      "otherletter": "Lo", "nonspacingmark": "Mn", "decimalnumber": "Nd",
    ]
    return long[name.lowercased().filter { $0 != "_" && $0 != " " }] ?? name
  }

  /// A class, with what it excludes kept apart: PCRE2 has no way to take new characters out of `\P{L}` in a class.
  private mutating func characterClass() throws -> String {
    at += 1
    var negated = false
    if peek() == "^" {
      negated = true
      at += 1
    }
    var members = ""
    var exclusions: [String] = []
    var isFirst = true
    while true {
      guard let scalar = peek() else { throw refusal("a class without its closing bracket") }
      if scalar == "]", !isFirst { break }
      isFirst = false
      switch scalar {
      case "\\":
        switch try escapedItem(inClass: true) {
        case .text(let text), .members(let text): members += text
        case .others(let text): exclusions.append("[^\(text)]")
        case nil: break
        }
      case "[" where peek(1) == ":":
        guard let end = source[at...].firstIndex(of: "]") else { throw refusal("an open [: :] class") }
        members.unicodeScalars.append(contentsOf: source[at...end])
        at = end + 1
      case "[": throw refusal("a class inside a class")
      case "&" where peek(1) == "&": throw refusal("an intersection of classes (&&)")
      default:
        if scalar == "]" { members += "\\" }
        members.unicodeScalars.append(scalar)
        at += 1
      }
    }
    at += 1
    if exclusions.isEmpty { return "[\(negated ? "^" : "")\(members)]" }
    let all = (members.isEmpty ? [] : ["[\(members)]"]) + exclusions
    return negated ? "(?:(?!\(all.joined(separator: "|")))(?s:.))" : "(?:\(all.joined(separator: "|")))"
  }
}
