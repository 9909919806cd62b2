/// The formats of JSON Schema that are checked, each in its common reading.
enum StringFormat: String, CaseIterable, Sendable {
  case date
  case time
  case dateTime = "date-time"
  case email
  case hostname
  case ipv4
  case ipv6
  case uri
  case uuid

  func accepts(_ text: String) -> Bool {
    let bytes = [UInt8](text)
    switch self {
    case .date: return Self.isDate(bytes[...])
    case .time: return Self.isTime(bytes[...])
    case .dateTime:
      return bytes.count > 11 && (bytes[10] | 0x20 == UInt8(ascii: "t")) && Self.isDate(bytes[..<10])
        && Self.isTime(bytes[11...])
    case .email:
      guard let at = bytes.lastIndex(of: UInt8(ascii: "@")) else { return false }
      let local = bytes[..<at]
      return !local.isEmpty && local.count <= 64 && local.first != 0x2E && local.last != 0x2E
        && local.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"()<>[]:;@\\,\"".utf8.contains($0) }
        && !text.contains("..") && Self.isHostname(bytes[(at + 1)...])
    case .hostname: return Self.isHostname(bytes[...])
    case .ipv4: return Self.isIPv4(bytes[...])
    case .ipv6: return Self.isIPv6(text)
    case .uri:
      guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")), let first = bytes.first, Self.isLetter(first),
        colon + 1 < bytes.count
      else { return false }
      return bytes[..<colon].allSatisfy { Self.isLetter($0) || Self.isDigit($0) || "+-.".utf8.contains($0) }
        && bytes.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"<>\"{}|\\^`".utf8.contains($0) }
    case .uuid:
      return bytes.count == 36
        && bytes.enumerated().allSatisfy { i, byte in
          [8, 13, 18, 23].contains(i) ? byte == 0x2D : Self.isHex(byte)
        }
    }
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
  private static func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte | 0x20) }
  private static func isHex(_ byte: UInt8) -> Bool { isDigit(byte) || (0x61...0x66).contains(byte | 0x20) }

  /// The number that two to four digits write, or nil.
  private static func number(_ bytes: ArraySlice<UInt8>) -> Int? {
    guard !bytes.isEmpty, bytes.count <= 4, bytes.allSatisfy(isDigit) else { return nil }
    return bytes.reduce(0) { $0 * 10 + Int($1 - 0x30) }
  }

  /// `2026-02-28` (RFC 3339), a day that exists.
  private static func isDate(_ bytes: ArraySlice<UInt8>) -> Bool {
    let b = Array(bytes)
    guard b.count == 10, b[4] == 0x2D, b[7] == 0x2D, let year = number(b[0..<4]), let month = number(b[5..<7]),
      let day = number(b[8..<10]), (1...12).contains(month)
    else { return false }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    let days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    return (1...days[month - 1]).contains(day)
  }

  /// `23:59:60.5+01:00` or with `Z` (RFC 3339).
  private static func isTime(_ bytes: ArraySlice<UInt8>) -> Bool {
    let b = Array(bytes)
    guard b.count >= 9, b[2] == 0x3A, b[5] == 0x3A, let hour = number(b[0..<2]), let minute = number(b[3..<5]),
      let second = number(b[6..<8]), hour < 24, minute < 60, second <= 60
    else { return false }
    var at = 8
    if b[at] == 0x2E {
      let digits = b[(at + 1)...].prefix(while: isDigit).count
      guard digits > 0 else { return false }
      at += 1 + digits
    }
    let zone = Array(b[at...])
    if zone.count == 1 { return zone[0] | 0x20 == UInt8(ascii: "z") }
    guard zone.count == 6, zone[0] == 0x2B || zone[0] == 0x2D, zone[3] == 0x3A, let hours = number(zone[1..<3]),
      let minutes = number(zone[4..<6])
    else { return false }
    return hours < 24 && minutes < 60
  }

  private static func isHostname(_ bytes: ArraySlice<UInt8>) -> Bool {
    guard !bytes.isEmpty, bytes.count <= 253 else { return false }
    return bytes.split(separator: 0x2E, omittingEmptySubsequences: false).allSatisfy { label in
      !label.isEmpty && label.count <= 63 && label.first != 0x2D && label.last != 0x2D
        && label.allSatisfy { isLetter($0) || isDigit($0) || $0 == 0x2D }
    }
  }

  private static func isIPv4(_ bytes: ArraySlice<UInt8>) -> Bool {
    let parts = bytes.split(separator: 0x2E, omittingEmptySubsequences: false)
    return parts.count == 4
      && parts.allSatisfy { part in
        guard let value = number(part) else { return false }
        return value < 256 && (part.count == 1 || part.first != 0x30)
      }
  }

  private static func isIPv6(_ text: String) -> Bool {
    guard text.utf8.count <= 45 else { return false }
    let halves = text.split(separator: "::", omittingEmptySubsequences: false).map { Array($0.utf8) }
    guard halves.count <= 2 else { return false }
    var groups = 0
    for (i, half) in halves.enumerated() where !half.isEmpty {
      let parts = half.split(separator: 0x3A, omittingEmptySubsequences: false)
      for (j, part) in parts.enumerated() {
        if i == halves.count - 1, j == parts.count - 1, part.contains(0x2E) {
          guard isIPv4(part) else { return false }
          groups += 2
        } else {
          guard (1...4).contains(part.count), part.allSatisfy(isHex) else { return false }
          groups += 1
        }
      }
    }
    return halves.count == 2 ? groups <= 7 : groups == 8
  }
}
