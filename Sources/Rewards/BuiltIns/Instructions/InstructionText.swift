/// What instructions count in a text. Every function takes one pass.
enum InstructionText {
  /// Runs of letters, marks, digits and underscores, as `\w+` finds them.
  static func words(_ text: String) -> [Substring.UnicodeScalarView] {
    text.unicodeScalars.split { !isWordPart($0) }.map { $0 }
  }

  static func isWordPart(_ scalar: Unicode.Scalar) -> Bool {
    if scalar.value < 0x80 {
      return (0x61...0x7A).contains(scalar.value | 0x20) || (0x30...0x39).contains(scalar.value) || scalar == "_"
    }
    switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .decimalNumber,
      .letterNumber, .otherNumber, .nonspacingMark, .spacingMark, .enclosingMark:
      return true
    default: return false
    }
  }

  /// Has cased letters, none of them in lower case (or, with `lower`, none in upper case).
  static func isCased(_ text: some Sequence<Unicode.Scalar>, lower: Bool) -> Bool {
    var found = false
    for scalar in text {
      let properties = scalar.properties
      if lower ? properties.isUppercase : properties.isLowercase { return false }
      if properties.generalCategory == .titlecaseLetter { return false }
      if lower ? properties.isLowercase : properties.isUppercase { found = true }
    }
    return found
  }

  /// Words in capitals: what white space separates, without punctuation at its ends.
  static func capitalWords(_ text: String) -> Int {
    text.unicodeScalars.split { $0.properties.isWhitespace }.filter { word in
      guard let first = word.firstIndex(where: isWordPart), let last = word.lastIndex(where: isWordPart) else {
        return false
      }
      return isCased(word[first...last], lower: false)
    }.count
  }

  private static let abbreviations: Set<String> = [
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "vs", "etc", "e.g", "i.e", "cf", "fig", "no", "vol", "inc",
    "ltd",
    "co", "approx",
  ]

  /// Sentences: each ends with `.`, `!`, `?` or `…` (and closing quotes or brackets) before white space or the end of the text, or
  /// with `。`, `！` or `？`; an initial or a common abbreviation ends none; what is left at the end is one.
  static func sentences(_ text: String) -> Int {
    let scalars = Array(text.unicodeScalars)
    var number = 0
    var hasWords = false
    var wordStart = 0
    var i = 0
    while i < scalars.count {
      let scalar = scalars[i]
      switch scalar {
      case "。", "！", "？":
        if hasWords { number += 1 }
        hasWords = false
        wordStart = i + 1
      case ".", "!", "?", "…":
        var end = i + 1
        while end < scalars.count, ".!?…\"'”’)]".unicodeScalars.contains(scalars[end]) { end += 1 }
        if end == scalars.count || scalars[end].properties.isWhitespace {
          let isShort = scalar == "." && end == i + 1 && end < scalars.count && isAbbreviation(scalars[wordStart..<i])
          if !isShort {
            if hasWords { number += 1 }
            hasWords = false
          }
        }
        i = end - 1
      default:
        if scalar.properties.isWhitespace {
          wordStart = i + 1
        } else if isWordPart(scalar) {
          hasWords = true
        }
      }
      i += 1
    }
    return number + (hasWords ? 1 : 0)
  }

  private static func isAbbreviation(_ word: ArraySlice<Unicode.Scalar>) -> Bool {
    guard word.count <= 8 else { return false }
    var text = String.UnicodeScalarView()
    text.append(contentsOf: word.drop { !isWordPart($0) })
    if text.count == 1, let only = text.first { return only.properties.isUppercase && only != "I" }
    return abbreviations.contains(String(text).lowercased())
  }

  /// How often `phrase` occurs without overlaps; `words`: only where no word goes on at either end. Case does not count.
  static func occurrences(of phrase: String, in text: String, words: Bool = false) -> Int {
    let wanted = Array(phrase.lowercased().unicodeScalars)
    let scalars = Array(text.lowercased().unicodeScalars)
    guard !wanted.isEmpty, wanted.count <= scalars.count else { return 0 }
    let failure = borders(wanted)
    var number = 0
    var matched = 0
    for (i, scalar) in scalars.enumerated() {
      while matched > 0, wanted[matched] != scalar { matched = failure[matched - 1] }
      if wanted[matched] == scalar { matched += 1 }
      guard matched == wanted.count else { continue }
      let start = i + 1 - wanted.count
      let stands =
        !words
        || !(start > 0 && isWordPart(scalars[start - 1]) && isWordPart(scalars[start]))
          && !(i + 1 < scalars.count && isWordPart(scalars[i + 1]) && isWordPart(scalar))
      if stands { number += 1 }
      matched = stands ? 0 : failure[matched - 1]
    }
    return number
  }

  /// For each prefix, the length of its longest proper prefix that is its suffix (Knuth, Morris and Pratt).
  private static func borders(_ pattern: [Unicode.Scalar]) -> [Int] {
    var table = [Int](repeating: 0, count: pattern.count)
    var length = 0
    for i in pattern.indices.dropFirst() {
      while length > 0, pattern[i] != pattern[length] { length = table[length - 1] }
      if pattern[i] == pattern[length] { length += 1 }
      table[i] = length
    }
    return table
  }

  /// As bytes: the characters CR and LF together would be none of the two.
  private static func lines(_ text: String) -> [ArraySlice<UInt8>] { [UInt8](text).split(separator: 0x0A) }

  /// Spans that begin with `[` and end with the next `]` of their line.
  static func placeholders(_ text: String) -> Int {
    var number = 0
    var isOpen = false
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "["): isOpen = true
      case UInt8(ascii: "]"):
        if isOpen { number += 1 }
        isOpen = false
      case 0x0A: isOpen = false
      default: break
      }
    }
    return number
  }

  /// Lines that begin with `-`, or with `*` and no second one.
  static func bullets(_ text: String) -> Int {
    lines(text).filter { line in
      let rest = line.drop { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }
      guard let first = rest.first else { return false }
      if first == UInt8(ascii: "-") { return true }
      return first == UInt8(ascii: "*") && rest.count > 1 && rest[rest.startIndex + 1] != UInt8(ascii: "*")
    }.count
  }

  /// `*parts*` and `**parts**` of a line that are not empty, each of the second counted once.
  static func highlights(_ text: String) -> Int {
    lines(text).reduce(0) { $0 + highlights(line: Array($1)) }
  }

  private static func highlights(line: [UInt8]) -> Int {
    let star = UInt8(ascii: "*")
    var number = 0
    var i = 0
    while i < line.count {
      guard line[i] == star else {
        i += 1
        continue
      }
      let width = i + 1 < line.count && line[i + 1] == star ? 2 : 1
      let start = i + width
      guard let close = line[min(start, line.count)...].firstIndex(of: star) else { return number }
      let isClosed = width == 1 || (close + 1 < line.count && line[close + 1] == star)
      let isFilled = line[start..<close].contains { $0 > 0x20 }
      if isClosed, isFilled {
        number += 1
        i = close + width
      } else {
        i = max(close, start)
      }
    }
    return number
  }

  /// How often `splitter`, an optional white space and digits stand in the text, such as `SECTION 2`.
  static func sections(_ text: String, splitter: String) -> Int {
    let bytes = [UInt8](text)
    let mark = [UInt8](splitter)
    guard !mark.isEmpty else { return 0 }
    var number = 0
    var i = 0
    while i + mark.count <= bytes.count {
      guard bytes[i] == mark[0], bytes[i..<(i + mark.count)].elementsEqual(mark) else {
        i += 1
        continue
      }
      var end = i + mark.count
      if end < bytes.count, bytes[end] == 0x20 || (0x09...0x0D).contains(bytes[end]) { end += 1 }
      let digits = bytes[end...].prefix { (0x30...0x39).contains($0) }.count
      if digits > 0 { number += 1 }
      i = digits > 0 ? end + digits : i + 1
    }
    return number
  }

  /// `<<title>>` on one line, with something between the signs.
  static func hasTitle(_ text: String) -> Bool {
    lines(text).contains { line in
      let bytes = Array(line)
      guard let open = bytes.position(of: "<<"), let close = bytes.lastPosition(of: ">>", from: open + 2) else {
        return false
      }
      return bytes[(open + 2)..<close].contains { $0 > 0x20 && $0 != 0x3C && $0 != 0x3E }
    }
  }
}
