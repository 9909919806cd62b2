/// Python's string methods, over code points.
enum PythonText {
  typealias Scalars = [Unicode.Scalar]

  static func string(_ scalars: some Sequence<Unicode.Scalar>) -> String {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    return String(view)
  }

  // MARK: Searching

  /// The byte offset of `part` in `text`, or nil. Byte search is exact: no character's bytes begin inside another's.
  static func find(_ part: String, in text: String, from start: Int = 0) -> Int? {
    var part = part
    var text = text
    return text.withUTF8 { text in part.withUTF8 { find($0, in: text, from: start) } }
  }

  static func find(
    _ part: UnsafeBufferPointer<UInt8>, in text: UnsafeBufferPointer<UInt8>, from start: Int
  ) -> Int? {
    if part.isEmpty { return start <= text.count ? start : nil }
    let last = text.count - part.count
    var i = start
    while i <= last {
      if text[i] == part[0] {
        var j = 1
        while j < part.count, text[i + j] == part[j] { j += 1 }
        if j == part.count { return i }
      }
      i += 1
    }
    return nil
  }

  /// Byte ranges of all occurrences that do not overlap, at most `limit` of them.
  static func occurrences(of part: String, in text: String, limit: Int = .max) -> [Range<Int>] {
    var part = part
    var text = text
    guard !part.isEmpty else { return [] }
    return text.withUTF8 { text in
      part.withUTF8 { part in
        var found: [Range<Int>] = []
        var at = 0
        while found.count < limit, let place = find(part, in: text, from: at) {
          found.append(place..<place + part.count)
          at = place + part.count
        }
        return found
      }
    }
  }

  /// The parts of `text` between `ranges` of bytes.
  static func pieces(of text: String, between ranges: [Range<Int>]) -> [String] {
    let bytes = Array(text.utf8)
    var result: [String] = []
    var end = 0
    for range in ranges {
      result.append(String(decoding: bytes[end..<range.lowerBound], as: UTF8.self))
      end = range.upperBound
    }
    result.append(String(decoding: bytes[end...], as: UTF8.self))
    return result
  }

  // MARK: Cutting

  static func split(_ text: String, by separator: String, limit: Int, fromRight: Bool = false) -> [String] {
    var ranges = occurrences(of: separator, in: text)
    if limit >= 0, ranges.count > limit {
      if fromRight, limit > 0 {
        // From the right, occurrences that overlap may be others than from the left.
        ranges = reversedOccurrences(of: separator, in: text, limit: limit)
      } else {
        ranges = Array(ranges.prefix(limit))
      }
    }
    return pieces(of: text, between: ranges)
  }

  private static func reversedOccurrences(of part: String, in text: String, limit: Int) -> [Range<Int>] {
    let bytes = Array(text.utf8)
    let wanted = Array(part.utf8)
    var found: [Range<Int>] = []
    var end = bytes.count
    while found.count < limit, end >= wanted.count {
      let start = end - wanted.count
      if bytes[start..<end].elementsEqual(wanted) {
        found.append(start..<end)
        end = start
      } else {
        end -= 1
      }
    }
    return found.reversed()
  }

  /// Words between white space; with a limit, the last (or first) part keeps its inner spaces.
  static func splitWords(_ text: String, limit: Int, fromRight: Bool = false) -> [String] {
    var scalars = Array(text.unicodeScalars)
    if fromRight { scalars.reverse() }
    var words: [Scalars] = []
    var at = 0
    while true {
      while at < scalars.count, isPythonSpace(scalars[at]) { at += 1 }
      if at == scalars.count { break }
      if limit >= 0, words.count == limit {
        var end = scalars.count
        while end > at, isPythonSpace(scalars[end - 1]) { end -= 1 }
        words.append(Array(scalars[at..<end]))
        break
      }
      let start = at
      while at < scalars.count, !isPythonSpace(scalars[at]) { at += 1 }
      words.append(Array(scalars[start..<at]))
    }
    if fromRight { words = words.reversed().map { $0.reversed() } }
    return words.map(string)
  }

  static func lines(_ text: String, keepEnds: Bool = false) -> [String] {
    let scalars = Array(text.unicodeScalars)
    var result: [String] = []
    var start = 0
    var i = 0
    while i < scalars.count {
      switch scalars[i].value {
      case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029:
        let end = i
        if scalars[i] == "\r", i + 1 < scalars.count, scalars[i + 1] == "\n" { i += 1 }
        i += 1
        result.append(string(scalars[start..<(keepEnds ? i : end)]))
        start = i
      default: i += 1
      }
    }
    if start < scalars.count { result.append(string(scalars[start...])) }
    return result
  }

  static func strip(_ text: String, _ characters: String? = nil, left: Bool = true, right: Bool = true) -> String {
    let set = characters.map { Set($0.unicodeScalars) }
    func drops(_ scalar: Unicode.Scalar) -> Bool { set?.contains(scalar) ?? isPythonSpace(scalar) }
    var scalars = text.unicodeScalars[...]
    if left { scalars = scalars.drop(while: drops) }
    if right { while let last = scalars.last, drops(last) { scalars.removeLast() } }
    return String(scalars)
  }

  // MARK: Case

  static func upper(_ text: String) -> String {
    string(text.unicodeScalars.flatMap { $0.properties.uppercaseMapping.unicodeScalars })
  }

  static func lower(_ text: String) -> String { string(lower(Array(text.unicodeScalars)[...])) }

  private static func lower(_ scalars: ArraySlice<Unicode.Scalar>) -> Scalars {
    var result: Scalars = []
    for i in scalars.indices {
      if scalars[i] == "\u{3A3}" {
        result.append(isFinalSigma(scalars, i) ? "\u{3C2}" : "\u{3C3}")
      } else {
        result += scalars[i].properties.lowercaseMapping.unicodeScalars
      }
    }
    return result
  }

  /// A capital sigma ends a word: a cased letter before it and none after, marks in between not counted.
  private static func isFinalSigma(_ scalars: ArraySlice<Unicode.Scalar>, _ place: Int) -> Bool {
    func isIgnorable(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.isCaseIgnorable }
    guard let before = scalars[..<place].last(where: { !isIgnorable($0) }), before.properties.isCased else {
      return false
    }
    let after = scalars[(place + 1)...].first { !isIgnorable($0) }
    return !(after?.properties.isCased ?? false)
  }

  static func capitalize(_ text: String) -> String {
    let scalars = Array(text.unicodeScalars)
    guard let first = scalars.first else { return "" }
    // The rest is lowered in the sight of the first letter, which decides about a sigma at the end.
    let lowered = lower(scalars[...])
    let firstLength = lower(scalars[..<1]).count
    return string(first.properties.titlecaseMapping.unicodeScalars + lowered.dropFirst(firstLength))
  }

  /// Every letter behind something that has no case becomes a capital, all others small.
  static func title(_ text: String) -> String {
    let scalars = Array(text.unicodeScalars)
    var result: Scalars = []
    var afterCased = false
    for i in scalars.indices {
      if afterCased {
        result +=
          scalars[i] == "\u{3A3}" ? lowerOne(scalars, i) : Array(scalars[i].properties.lowercaseMapping.unicodeScalars)
      } else {
        result += scalars[i].properties.titlecaseMapping.unicodeScalars
      }
      afterCased = scalars[i].properties.isCased
    }
    return string(result)
  }

  private static func lowerOne(_ scalars: Scalars, _ place: Int) -> Scalars {
    [isFinalSigma(scalars[...], place) ? "\u{3C2}" : "\u{3C3}"]
  }

  static func swapCase(_ text: String) -> String {
    let scalars = Array(text.unicodeScalars)
    return string(
      scalars.indices.flatMap { i -> Scalars in
        let properties = scalars[i].properties
        if scalars[i] == "\u{3A3}" { return lowerOne(scalars, i) }
        if properties.isUppercase { return Array(properties.lowercaseMapping.unicodeScalars) }
        if properties.isLowercase { return Array(properties.uppercaseMapping.unicodeScalars) }
        return [scalars[i]]
      })
  }

  // MARK: Questions

  static func isAlpha(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
    default: false
    }
  }

  static func isDigit(_ scalar: Unicode.Scalar) -> Bool {
    let type = scalar.properties.numericType
    return type == .decimal || type == .digit
  }

  static func isNumeric(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.numericType != nil }

  static func all(_ text: String, _ holds: (Unicode.Scalar) -> Bool) -> Bool {
    !text.isEmpty && text.unicodeScalars.allSatisfy(holds)
  }

  /// At least one cased letter, and all of those small.
  static func isLower(_ text: String) -> Bool {
    var found = false
    for scalar in text.unicodeScalars {
      if scalar.properties.isUppercase || scalar.properties.generalCategory == .titlecaseLetter { return false }
      if scalar.properties.isLowercase { found = true }
    }
    return found
  }

  static func isUpper(_ text: String) -> Bool {
    var found = false
    for scalar in text.unicodeScalars {
      if scalar.properties.isLowercase || scalar.properties.generalCategory == .titlecaseLetter { return false }
      if scalar.properties.isUppercase { found = true }
    }
    return found
  }

  static func isTitle(_ text: String) -> Bool {
    var found = false
    var afterCased = false
    for scalar in text.unicodeScalars {
      let properties = scalar.properties
      if properties.isUppercase || properties.generalCategory == .titlecaseLetter {
        if afterCased { return false }
        afterCased = true
        found = true
      } else if properties.isLowercase {
        if !afterCased { return false }
        found = true
      } else {
        afterCased = false
      }
    }
    return found
  }

  // MARK: Padding

  static func padded(_ text: String, to width: Int, left: Int, fill: Unicode.Scalar = " ") -> String {
    let missing = max(0, width - text.unicodeScalars.count)
    let before = min(left, missing)
    return String(repeating: Character(fill), count: before) + text
      + String(repeating: Character(fill), count: missing - before)
  }

  /// `str.center`: an odd space goes left if the width is odd.
  static func centered(_ text: String, to width: Int, fill: Unicode.Scalar = " ") -> String {
    let missing = max(0, width - text.unicodeScalars.count)
    return padded(text, to: width, left: missing / 2 + (missing & width & 1), fill: fill)
  }
}

extension String.UnicodeScalarView {
  /// Appends a text. One character at a time: appending a whole view copies what is there already.
  mutating func append(text: String) {
    for scalar in text.unicodeScalars { append(scalar) }
  }
}
