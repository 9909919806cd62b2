import Core

/// Turns a tokenizer's pattern (Oniguruma's dialect, Unicode 16) into one that means the same to PCRE2.
///
/// What differs: `\s` is the White_Space property, `\w` is that of UTS #18, `\h` is a hexadecimal digit, `\v` a vertical
/// tab, `(?m)` lets the dot match line feeds, `{,n}` has a lower bound of 0, classes nest and intersect, names such as
/// `[:alpha:]` are properties of Unicode, scripts are those of the Script property, and the categories are newer. `^` and
/// `$` are line anchors in both once PCRE2 is told so.
struct PatternTranslation {
  private static let space =
    #"\x09-\x0D\x20\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}"#

  private static let word =
    ["L", "M", "Nd", "Nl", "Pc"].map(category).joined()
    + #"\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}"#

  /// Characters of Latin-1 that Oniguruma's `\w` takes along only where it stands alone.
  private static let wordOutsideClasses = #"\xB2\xB3\xB9\xBC-\xBE"#

  private let source: [Unicode.Scalar]
  private var at = 0
  private var depth = 0
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
    case "w": return .members(Self.word + (inClass ? "" : Self.wordOutsideClasses))
    case "W": return .others(Self.word + (inClass ? "" : Self.wordOutsideClasses))
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
    let members = try members(of: name)
    return negated ? .others(members) : .members(members)
  }

  /// The characters of `\p{name}` or `[:name:]`.
  private func members(of name: String, isBracket: Bool = false) throws -> String {
    let key = name.lowercased().filter { $0 != "_" && $0 != " " && $0 != "-" }
    switch key {
    case "alpha", "alphabetic": return NewCategories.alphabetic
    case "alnum": return NewCategories.alphabetic + Self.category("Nd")
    case "punct": return Self.category("P") + (isBracket ? Self.category("S") : "")
    case "digit": return Self.category("Nd")
    case "space", "whitespace": return Self.space
    case "word": return Self.word
    case "xdigit", "asciihexdigit": return "0-9A-Fa-f"
    case "cntrl": return Self.category("Cc")
    case "upper": return "\\p{Uppercase}" + Self.category("Lu")
    case "lower": return "\\p{Lowercase}" + Self.category("Ll")
    case "blank": return #"\x09\p{Zs}"#
    case "ascii": return #"\x00-\x7F"#
    case "any": return #"\x00-\x{10FFFF}"#
    case "graph", "print", "assigned", "cn", "unassigned", "c", "other": throw refusal("the property \(name)")
    default: break
    }
    if let short = Self.longNames[key] { return Self.category(short) }
    if Self.categories.contains(key) { return Self.category(key.prefix(1).uppercased() + key.dropFirst()) }
    if Self.binaryProperties.contains(key) { return "\\p{\(name)}" + NewCategories.classText(ofProperty: name) }
    return "\\p{sc:\(name)}" + NewCategories.classText(ofProperty: name)
  }

  private static func category(_ name: String) -> String { "\\p{\(name)}" + NewCategories.classText(of: name) }

  private static let categories: Set<String> = [
    "l", "lu", "ll", "lt", "lm", "lo", "m", "mn", "mc", "me", "n", "nd", "nl", "no", "p", "pc", "pd", "ps", "pe", "pi",
    "pf", "po", "s", "sm", "sc", "sk", "so", "z", "zs", "zl", "zp", "cc", "cf", "co",
  ]
  private static let binaryProperties: Set<String> = [
    "uppercase", "lowercase", "emoji", "emojipresentation", "emojimodifier", "emojimodifierbase", "emojicomponent",
    "extendedpictographic", "ideographic", "math", "dash", "joincontrol", "diacritic", "extender", "hexdigit", "cased",
    "idstart", "idcontinue", "xidstart", "xidcontinue", "quotationmark", "variationselector", "regionalindicator",
  ]
  private static let longNames = [
    "letter": "L", "mark": "M", "number": "N", "punctuation": "P", "symbol": "S", "separator": "Z",
    "uppercaseletter": "Lu", "lowercaseletter": "Ll", "titlecaseletter": "Lt", "modifierletter": "Lm",
    "otherletter": "Lo", "nonspacingmark": "Mn", "spacingmark": "Mc", "enclosingmark": "Me", "decimalnumber": "Nd",
    "letternumber": "Nl", "othernumber": "No", "control": "Cc", "format": "Cf", "spaceseparator": "Zs",
    "mathsymbol": "Sm", "currencysymbol": "Sc", "modifiersymbol": "Sk", "othersymbol": "So",
    "connectorpunctuation": "Pc", "dashpunctuation": "Pd", "openpunctuation": "Ps", "closepunctuation": "Pe",
    "initialpunctuation": "Pi", "finalpunctuation": "Pf", "otherpunctuation": "Po",
  ]

  /// A class. What it excludes or holds as classes of their own is kept apart, as alternatives for one character: PCRE2 has
  /// no way to take new characters out of `\P{L}` in a class, nor to nest classes.
  private mutating func characterClass() throws -> String {
    at += 1
    depth += 1
    defer { depth -= 1 }
    guard depth < 20 else { throw refusal("classes nested too deeply") }
    var negated = false
    if peek() == "^" {
      negated = true
      at += 1
    }
    /// The operands of `&&`, each a set.
    var operands: [String] = []
    var members = ""
    var alternatives: [String] = []
    func operand() throws -> String {
      let all = (members.isEmpty ? [] : ["[\(members)]"]) + alternatives
      guard !all.isEmpty else { throw refusal("an empty class") }
      return all.count == 1 ? all[0] : "(?:\(all.joined(separator: "|")))"
    }
    var isFirst = true
    while true {
      guard let scalar = peek() else { throw refusal("a class without its closing bracket") }
      if scalar == "]", !isFirst { break }
      isFirst = false
      switch scalar {
      case "\\":
        switch try escapedItem(inClass: true) {
        case .text(let text), .members(let text): members += text
        case .others(let text): alternatives.append("[^\(text)]")
        case nil: break
        }
      case "[" where peek(1) == ":":
        guard let end = source[at...].firstIndex(of: "]"), end > at + 3, source[end - 1] == ":" else {
          throw refusal("an open [: :] class")
        }
        let isNegated = source[at + 2] == "^"
        let name = String(String.UnicodeScalarView(source[at + (isNegated ? 3 : 2)..<end - 1]))
        let text = try self.members(of: name, isBracket: true)
        if isNegated { alternatives.append("[^\(text)]") } else { members += text }
        at = end + 1
      case "[": alternatives.append(try characterClass())
      case "&" where peek(1) == "&":
        operands.append(try operand())
        members = ""
        alternatives = []
        at += 2
      default:
        if scalar == "]" { members += "\\" }
        members.unicodeScalars.append(scalar)
        at += 1
      }
    }
    at += 1
    if operands.isEmpty, alternatives.isEmpty { return "[\(negated ? "^" : "")\(members)]" }
    let last = try operand()
    let set = operands.isEmpty ? last : "(?:" + operands.map { "(?=\($0))" }.joined() + "\(last))"
    return negated ? "(?:(?!\(set))(?s:.))" : set
  }
}
