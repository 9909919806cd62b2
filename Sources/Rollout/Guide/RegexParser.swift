import Core

/// Reads a regular expression.
///
/// The dialect: literals; `.` (all but a newline); `[a-z]`, `[^a-z]`; `\d \w \s` (ASCII) and `\D \W \S`;
/// `\n \r \t \f \v \0 \xHH \uHHHH \u{H…}`, a backslash before punctuation; `( )`, `(?: )`, names of groups are passed over;
/// `|`; `* + ? {m} {m,} {m,n} {,n}`, each also lazy, which means the same. The whole text has to match; `^` and `$` at the
/// ends of the pattern, or of one of its outermost alternatives, say what is said anyway. Refused, with the place and the
/// reason: lookaround, backreferences, word boundaries, flags, possessive quantifiers, Unicode properties.
struct RegexParser {
  /// One outermost alternative of a pattern.
  struct Alternative {
    var syntax: GuideSyntax
    /// Whether `^` and `$` stood at its ends.
    var isAnchoredAtStart: Bool
    var isAnchoredAtEnd: Bool
  }

  /// Groups inside groups at most.
  static let deepest = 200
  /// Repetitions at most, before the automaton's own limit.
  static let largestCount = 1_000_000

  private let scalars: [Unicode.Scalar]
  private var at = 0

  private init(_ pattern: String) { scalars = Array(pattern.unicodeScalars) }

  /// The texts that match as a whole.
  static func parse(_ pattern: String) throws -> GuideSyntax {
    .choice(try alternatives(pattern).map(\.syntax))
  }

  /// The outermost alternatives, each with its anchors.
  static func alternatives(_ pattern: String) throws -> [Alternative] {
    var parser = RegexParser(pattern)
    var result: [Alternative] = []
    repeat {
      let starts = parser.take("^")
      let syntax = try parser.sequence(depth: 0)
      let end = parser.at
      result.append(
        Alternative(syntax: syntax, isAnchoredAtStart: starts, isAnchoredAtEnd: parser.take("$")))
      if let next = parser.next, next != "|" {
        throw parser.refusal(
          next == ")" ? "a ')' that closes nothing" : "'$' in the middle: the whole text has to match anyway",
          at: next == ")" ? nil : end, hint: next == ")" ? "write \\) for the character" : "write \\$ for the character"
        )
      }
    } while parser.take("|")
    return result
  }

  private var next: Unicode.Scalar? { at < scalars.count ? scalars[at] : nil }

  private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    guard next == scalar else { return false }
    at += 1
    return true
  }

  private mutating func take(_ text: String) -> Bool {
    guard scalars[at...].starts(with: text.unicodeScalars) else { return false }
    at += text.unicodeScalars.count
    return true
  }

  private func refusal(_ message: String, at place: Int? = nil, hint: String? = nil) -> AttuneError {
    .request(message, at: .init(file: "regex", line: 1, column: (place ?? at) + 1), hint: hint)
  }

  private mutating func choice(depth: Int) throws -> GuideSyntax {
    var parts = [try sequence(depth: depth)]
    while take("|") { parts.append(try sequence(depth: depth)) }
    return parts.count == 1 ? parts[0] : .choice(parts)
  }

  private mutating func sequence(depth: Int) throws -> GuideSyntax {
    var parts: [GuideSyntax] = []
    while let scalar = next, scalar != "|", scalar != ")", scalar != "$" || depth > 0 {
      let atom = try atom(depth: depth)
      parts.append(try quantified(atom))
    }
    return parts.count == 1 ? parts[0] : .sequence(parts)
  }

  // MARK: Atoms

  private mutating func atom(depth: Int) throws -> GuideSyntax {
    let place = at
    let scalar = scalars[at]
    switch scalar {
    case "(": return try group(depth: depth + 1)
    case "[":
      at += 1
      return .scalars(try characterClass(from: place))
    case ".":
      at += 1
      return .scalars(.notNewline)
    case "\\": return .scalars(try escape(inClass: false))
    case "*", "+", "?":
      throw refusal("nothing to repeat before '\(scalar)'", hint: "write \\\(scalar) for the character")
    case "{": throw refusal("nothing to repeat before '{'", hint: "write \\{ for the character")
    case "^", "$":
      throw refusal(
        "'\(scalar)' in the middle: the whole text has to match anyway", hint: "write \\\(scalar) for the character")
    default:
      at += 1
      return .scalars(ScalarSet(scalar))
    }
  }

  private mutating func group(depth: Int) throws -> GuideSyntax {
    let place = at
    guard depth <= Self.deepest else { throw refusal("groups nested deeper than \(Self.deepest)") }
    at += 1
    if take("?") {
      if take(":") {
      } else if take("=") || take("!") || take("<=") || take("<!") {
        throw refusal("lookaround is not supported: a text is matched from left to right", at: place)
      } else if take("P<") || take("<") {
        while let scalar = next, ScalarSet.wordCharacters.contains(scalar.value) { at += 1 }
        guard take(">") else { throw refusal("the name of a group is not closed", at: place, hint: "write (?<name>…)") }
      } else if take("P=") {
        throw refusal("backreferences are not supported: they are not regular", at: place)
      } else {
        throw refusal(
          "'(?\(next.map { String(Character($0)) } ?? "")' is not supported", at: place,
          hint: "supported: (…), (?:…) and (?<name>…)")
      }
    }
    let inner = try choice(depth: depth)
    guard take(")") else { throw refusal("a group that is not closed", at: place, hint: "a ')' was expected") }
    return inner
  }

  /// A class, its bracket taken.
  private mutating func characterClass(from place: Int) throws -> ScalarSet {
    let isNegated = take("^")
    var set = ScalarSet([])
    var isFirst = true
    while !take("]") {
      guard let scalar = next else {
        throw refusal("a class that is not closed", at: place, hint: "a ']' was expected")
      }
      if scalar == "[", at + 1 < scalars.count, scalars[at + 1] == ":" {
        throw refusal("POSIX classes are not supported", hint: "use ranges such as a-z")
      }
      let start = at
      let low = try classItem()
      if next == "-", at + 1 < scalars.count, scalars[at + 1] != "]" {
        at += 1
        let high = try classItem()
        guard let first = single(low), let last = single(high), first <= last else {
          throw refusal("a range that ends before it begins, or does not go from character to character", at: start)
        }
        set = set.union(ScalarSet([first...last]))
      } else {
        set = set.union(low)
      }
      isFirst = false
    }
    if isFirst { throw refusal("an empty class", at: place, hint: "write [\\]] for the bracket itself") }
    return isNegated ? set.inverted : set
  }

  private mutating func classItem() throws -> ScalarSet {
    guard scalars[at] == "\\" else {
      defer { at += 1 }
      return ScalarSet(scalars[at])
    }
    return try escape(inClass: true)
  }

  private func single(_ set: ScalarSet) -> UInt32? {
    set.ranges.count == 1 && set.ranges[0].count == 1 ? set.ranges[0].lowerBound : nil
  }

  // MARK: Escapes

  private mutating func escape(inClass: Bool) throws -> ScalarSet {
    let place = at
    at += 1
    guard let scalar = next else { throw refusal("a backslash at the end", at: place, hint: "write \\\\ for one") }
    at += 1
    switch scalar {
    case "d": return .digits
    case "D": return ScalarSet.digits.inverted
    case "w": return .wordCharacters
    case "W": return ScalarSet.wordCharacters.inverted
    case "s": return .spaces
    case "S": return ScalarSet.spaces.inverted
    case "n": return ScalarSet("\n")
    case "r": return ScalarSet("\r")
    case "t": return ScalarSet("\t")
    case "f": return ScalarSet("\u{0C}")
    case "v": return ScalarSet("\u{0B}")
    case "0": return ScalarSet("\0")
    case "x": return ScalarSet(try codePoint(digits: 2, from: place))
    case "u": return ScalarSet(try codePoint(digits: 4, from: place))
    case "1"..."9": throw refusal("backreferences are not supported: they are not regular", at: place)
    case "k": throw refusal("backreferences are not supported: they are not regular", at: place)
    case "b" where inClass: return ScalarSet("\u{08}")
    case "b", "B": throw refusal("word boundaries are not supported", at: place)
    case "A", "Z", "z", "G": throw refusal("anchors are not supported: the whole text has to match anyway", at: place)
    case "p", "P":
      throw refusal("Unicode properties are not supported", at: place, hint: "use ranges such as \\u00C0-\\u024F")
    case _ where scalar.value < 0x80 && !ScalarSet.wordCharacters.contains(scalar.value) || scalar == "_":
      return ScalarSet(scalar)
    default:
      throw refusal(
        "the escape \\\(scalar) is not known", at: place,
        hint: "known: \\d \\D \\w \\W \\s \\S \\n \\r \\t \\f \\v \\0 \\xHH \\uHHHH, and \\ before punctuation")
    }
  }

  private mutating func codePoint(digits: Int, from place: Int) throws -> Unicode.Scalar {
    var value: UInt32
    if take("{") {
      value = try hexadecimal(1...6, from: place)
      guard take("}") else { throw refusal("a code point that is not closed", at: place, hint: "a '}' was expected") }
    } else {
      value = try hexadecimal(digits...digits, from: place)
      if (0xD800..<0xDC00).contains(value), take("\\u") {
        let low = try hexadecimal(4...4, from: place)
        guard (0xDC00..<0xE000).contains(low) else { throw refusal("half a surrogate pair", at: place) }
        value = 0x10000 + (value - 0xD800) << 10 + (low - 0xDC00)
      }
    }
    guard let scalar = Unicode.Scalar(value) else {
      throw refusal("U+\(String(value, radix: 16, uppercase: true)) is no character", at: place)
    }
    return scalar
  }

  private mutating func hexadecimal(_ count: ClosedRange<Int>, from place: Int) throws -> UInt32 {
    var text = ""
    while text.count < count.upperBound, let scalar = next, scalar.properties.isASCIIHexDigit {
      text.unicodeScalars.append(scalar)
      at += 1
    }
    guard text.count >= count.lowerBound, let value = UInt32(text, radix: 16) else {
      throw refusal("\(text.count) hexadecimal digits, \(count.lowerBound) were expected", at: place)
    }
    return value
  }

  // MARK: Quantifiers

  private mutating func quantified(_ atom: GuideSyntax) throws -> GuideSyntax {
    let place = at
    var least = 1
    var most: Int? = 1
    if take("*") {
      (least, most) = (0, nil)
    } else if take("+") {
      (least, most) = (1, nil)
    } else if take("?") {
      (least, most) = (0, 1)
    } else if take("{") {
      (least, most) = try counts(from: place)
    } else {
      return atom
    }
    if take("?") {
      // Lazy: which of several matches is found does not matter, only whether there is one.
    } else if next == "+" {
      throw refusal("possessive quantifiers are not supported", hint: "write a group around what is to be repeated")
    }
    if let scalar = next, "*+?{".unicodeScalars.contains(scalar) {
      throw refusal("a quantifier behind a quantifier", hint: "write a group around what is to be repeated")
    }
    return .repeated(atom, least: least, most: most)
  }

  private mutating func counts(from place: Int) throws -> (Int, Int?) {
    let first = try number(from: place)
    var last = first
    let hasComma = take(",")
    if hasComma { last = try number(from: place) }
    guard first != nil || last != nil, take("}") else {
      throw refusal(
        "a count that is not of the form {m}, {m,}, {m,n} or {,n}", at: place, hint: "write \\{ for the character")
    }
    let least = first ?? 0
    if let last, last < least { throw refusal("a count from \(least) to \(last)", at: place) }
    return (least, last)
  }

  private mutating func number(from place: Int) throws -> Int? {
    var value: Int?
    while let scalar = next, ("0"..."9").contains(scalar) {
      value = (value ?? 0) * 10 + Int(scalar.value - 0x30)
      guard value! <= Self.largestCount else {
        throw refusal("a count above \(Self.largestCount)", at: place, hint: "leave the upper count out: {m,}")
      }
      at += 1
    }
    return value
  }
}
