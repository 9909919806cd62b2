/// Searching in texts as bytes, each in one pass.
extension Array where Element == UInt8 {
  init(_ text: String) { self.init(text.utf8) }

  /// Where `needle` first begins at or behind `start`, and ends before `end`.
  func position(of needle: StaticString, from start: Int = 0, before end: Int? = nil) -> Int? {
    let size = needle.utf8CodeUnitCount
    let last = (end ?? count) - size
    guard size > 0, start >= 0, start <= last else { return nil }
    return withUnsafeBufferPointer { bytes in
      var i = start
      while i <= last {
        if bytes[i] == needle.utf8Start[0], (1..<size).allSatisfy({ bytes[i + $0] == needle.utf8Start[$0] }) {
          return i
        }
        i += 1
      }
      return nil
    }
  }

  /// Where `needle` last begins, at or behind `start`, and ends before `end`.
  func lastPosition(of needle: StaticString, from start: Int = 0, before end: Int? = nil) -> Int? {
    let size = needle.utf8CodeUnitCount
    var i = (end ?? count) - size
    guard size > 0, start >= 0 else { return nil }
    return withUnsafeBufferPointer { bytes in
      while i >= start {
        if bytes[i] == needle.utf8Start[0], (1..<size).allSatisfy({ bytes[i + $0] == needle.utf8Start[$0] }) {
          return i
        }
        i -= 1
      }
      return nil
    }
  }

  /// What stands between the occurrences of a separator, empty parts included.
  func parts(separatedBy separator: StaticString) -> [String] {
    var parts: [String] = []
    var start = 0
    while let found = position(of: separator, from: start) {
      parts.append(text(start..<found))
      start = found + separator.utf8CodeUnitCount
    }
    return parts + [text(start..<count)]
  }

  /// How often `needle` occurs, without overlaps.
  func occurrences(of needle: StaticString) -> Int {
    var number = 0
    var from = 0
    while let found = position(of: needle, from: from) {
      number += 1
      from = found + needle.utf8CodeUnitCount
    }
    return number
  }

  func begins(with prefix: StaticString, at place: Int = 0) -> Bool {
    let size = prefix.utf8CodeUnitCount
    return place >= 0 && place + size <= count && (0..<size).allSatisfy { self[place + $0] == prefix.utf8Start[$0] }
  }

  /// The first place at or behind `start` that is no white space (Unicode's White_Space).
  func afterSpace(from start: Int) -> Int {
    var i = start
    while i < count {
      let size = spaceLength(at: i)
      if size == 0 { return i }
      i += size
    }
    return i
  }

  /// The bytes of the white space character at `place`; 0 if there is none.
  private func spaceLength(at place: Int) -> Int {
    let byte = self[place]
    if byte == 0x20 || (0x09...0x0D).contains(byte) { return 1 }
    guard byte >= 0xC2 else { return 0 }
    if byte == 0xC2 {
      return place + 1 < count && (self[place + 1] == 0x85 || self[place + 1] == 0xA0) ? 2 : 0
    }
    guard byte == 0xE1 || byte == 0xE2 || byte == 0xE3, place + 2 < count else { return 0 }
    switch (byte, self[place + 1], self[place + 2]) {
    case (0xE1, 0x9A, 0x80), (0xE2, 0x80, 0x80...0x8A), (0xE2, 0x80, 0xA8...0xA9), (0xE2, 0x80, 0xAF),
      (0xE2, 0x81, 0x9F), (0xE3, 0x80, 0x80):
      return 3
    default: return 0
    }
  }

  func text(_ range: Range<Int>) -> String {
    String(decoding: self[range.clamped(to: 0..<count)], as: UTF8.self)
  }
}

extension String {
  /// Without white space at both ends.
  var trimmedSpace: String {
    let scalars = unicodeScalars
    guard let first = scalars.firstIndex(where: { !$0.properties.isWhitespace }),
      let last = scalars.lastIndex(where: { !$0.properties.isWhitespace })
    else { return "" }
    return String(scalars[first...last])
  }

  /// At most `limit` characters in quotes, on one line, for a log.
  func quoted(_ limit: Int = 60) -> String {
    var out = "\""
    var number = 0
    for scalar in unicodeScalars {
      if number == limit { return out + "…\"" }
      number += 1
      switch scalar {
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case "\"": out += "\\\""
      default:
        if scalar.value >= 0x20 { out.unicodeScalars.append(scalar) } else { out += "\\u{\(scalar.value)}" }
      }
    }
    return out + "\""
  }
}
