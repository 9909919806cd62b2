extension JSON {
  /// Reads one JSON text (RFC 8259).
  ///
  /// - Parameters:
  ///   - file: the name that errors carry.
  ///   - refuseDuplicateKeys: true makes a repeated key an error; otherwise the last one wins, as in Python.
  /// - Throws: `AttuneError` with line and column: not UTF-8, not JSON, nested deeper than 512, trailing text.
  public static func parse(
    _ bytes: some Collection<UInt8>, file: String = "", refuseDuplicateKeys: Bool = false
  ) throws -> JSON {
    let result = bytes.withContiguousStorageIfAvailable { buffer in
      Result { try JSONParser(buffer, file: file, refuseDuplicateKeys: refuseDuplicateKeys).parse() }
    }
    if let result { return try result.get() }
    return try Array(bytes).withUnsafeBufferPointer {
      try JSONParser($0, file: file, refuseDuplicateKeys: refuseDuplicateKeys).parse()
    }
  }

  /// Reads one JSON text.
  public static func parse(_ text: String, file: String = "") throws -> JSON {
    var copy = text
    return try copy.withUTF8 { try JSONParser($0, file: file, refuseDuplicateKeys: false).parse() }
  }
}

/// A recursive-descent parser over UTF-8 bytes; depth and every index are bounded.
private struct JSONParser {
  private let bytes: UnsafeBufferPointer<UInt8>
  private let file: String
  private let refuseDuplicateKeys: Bool
  private var at = 0
  private var line: Int32 = 1
  private var lineStart = 0
  /// Up to where columns of this line were counted, and the column there.
  private var measured: (at: Int, column: Int32) = (0, 1)
  private static let deepest = 512

  init(_ bytes: UnsafeBufferPointer<UInt8>, file: String, refuseDuplicateKeys: Bool) {
    self.bytes = bytes
    self.file = file
    self.refuseDuplicateKeys = refuseDuplicateKeys
  }

  func parse() throws -> JSON {
    var copy = self
    return try copy.document()
  }

  private mutating func document() throws -> JSON {
    if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF {
      at = 3
      lineStart = 3
    }
    skipSpace()
    let result = try value(depth: 0)
    skipSpace()
    if at < bytes.count { throw error("the JSON value ends here, but more text follows") }
    return result
  }

  /// The place that was reached. Columns count code points; each byte is looked at once.
  private mutating func place() -> JSON.Position {
    if measured.at < lineStart { measured = (lineStart, 1) }
    for i in measured.at..<max(at, measured.at) where bytes[i] & 0xC0 != 0x80 { measured.column += 1 }
    measured.at = max(at, measured.at)
    return JSON.Position(line: line, column: measured.column)
  }

  private mutating func error(_ message: String) -> AttuneError {
    let place = place()
    return .request(
      "not valid JSON: \(message)",
      at: .init(file: file, line: Int(place.line), column: Int(place.column)))
  }

  private var found: String {
    guard at < bytes.count else { return "the end of the text" }
    let byte = bytes[at]
    return byte >= 0x20 && byte < 0x7F ? "'\(Character(Unicode.Scalar(byte)))'" : "byte \(byte)"
  }

  private mutating func skipSpace() {
    while at < bytes.count {
      switch bytes[at] {
      case 0x20, 0x09, 0x0D: at += 1
      case 0x0A:
        at += 1
        line += 1
        lineStart = at
      default: return
      }
    }
  }

  private mutating func value(depth: Int) throws -> JSON {
    guard depth < Self.deepest else { throw error("nested deeper than \(Self.deepest) levels") }
    guard at < bytes.count else { throw error("the text ends where a value was expected") }
    switch bytes[at] {
    case UInt8(ascii: "{"): return try objectValue(depth: depth)
    case UInt8(ascii: "["): return try arrayValue(depth: depth)
    case UInt8(ascii: "\""):
      let place = place()
      return JSON(.string(try string()), at: place)
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    default: throw error("found \(found) where a value was expected")
    }
  }

  private mutating func word(_ text: StaticString, _ result: JSON.Content) throws -> JSON {
    let place = place()
    guard at + text.utf8CodeUnitCount <= bytes.count else { throw error("found \(found) where a value was expected") }
    for i in 0..<text.utf8CodeUnitCount where bytes[at + i] != text.utf8Start[i] {
      throw error("found \(found) where a value was expected")
    }
    at += text.utf8CodeUnitCount
    return JSON(result, at: place)
  }

  private mutating func number() throws -> JSON {
    let place = place()
    let start = at
    func digit(_ i: Int) -> Bool { i < bytes.count && bytes[i] >= 0x30 && bytes[i] <= 0x39 }
    if bytes[at] == UInt8(ascii: "-") { at += 1 }
    guard digit(at) else { throw error("found \(found) where a digit was expected") }
    if bytes[at] == 0x30, digit(at + 1) { throw error("a number begins with 0") }
    var whole: Int64? = 0
    while digit(at) {
      if let sum = whole {
        let (product, overflow) = sum.multipliedReportingOverflow(by: 10)
        let (next, overflow2) = product.addingReportingOverflow(Int64(bytes[at] - 0x30))
        whole = overflow || overflow2 ? nil : next
      }
      at += 1
    }
    var isInteger = true
    if at < bytes.count, bytes[at] == UInt8(ascii: ".") {
      isInteger = false
      at += 1
      guard digit(at) else { throw error("found \(found) where a digit was expected") }
      while digit(at) { at += 1 }
    }
    if at < bytes.count, bytes[at] == UInt8(ascii: "e") || bytes[at] == UInt8(ascii: "E") {
      isInteger = false
      at += 1
      if at < bytes.count, bytes[at] == UInt8(ascii: "+") || bytes[at] == UInt8(ascii: "-") { at += 1 }
      guard digit(at) else { throw error("found \(found) where a digit was expected") }
      while digit(at) { at += 1 }
    }
    if isInteger, let whole {
      return JSON(.int(bytes[start] == UInt8(ascii: "-") ? -whole : whole), at: place)
    }
    let text = String(decoding: UnsafeBufferPointer(rebasing: bytes[start..<at]), as: UTF8.self)
    guard let number = Double(text) else { throw error("'\(text)' is not a number") }
    return JSON(.double(number), at: place)
  }

  private mutating func arrayValue(depth: Int) throws -> JSON {
    let place = place()
    at += 1
    var items: [JSON] = []
    skipSpace()
    if at < bytes.count, bytes[at] == UInt8(ascii: "]") {
      at += 1
      return JSON(.array(items), at: place)
    }
    while true {
      skipSpace()
      items.append(try value(depth: depth + 1))
      skipSpace()
      guard at < bytes.count else { throw error("the list that began on line \(place.line) is not closed") }
      let separator = bytes[at]
      guard separator == UInt8(ascii: ",") || separator == UInt8(ascii: "]") else {
        throw error("found \(found) where ',' or ']' was expected")
      }
      at += 1
      if separator == UInt8(ascii: "]") { return JSON(.array(items), at: place) }
    }
  }

  private mutating func objectValue(depth: Int) throws -> JSON {
    let place = place()
    at += 1
    var object = JSON.Object()
    skipSpace()
    if at < bytes.count, bytes[at] == UInt8(ascii: "}") {
      at += 1
      return JSON(.object(object), at: place)
    }
    while true {
      skipSpace()
      guard at < bytes.count, bytes[at] == UInt8(ascii: "\"") else {
        throw error("found \(found) where a key in double quotes was expected")
      }
      let key = try string()
      if refuseDuplicateKeys, object[key] != nil { throw error("the key \"\(key)\" appears twice") }
      skipSpace()
      guard at < bytes.count, bytes[at] == UInt8(ascii: ":") else {
        throw error("found \(found) where ':' was expected")
      }
      at += 1
      skipSpace()
      object.insert(key, try value(depth: depth + 1))
      skipSpace()
      guard at < bytes.count else { throw error("the mapping that began on line \(place.line) is not closed") }
      let separator = bytes[at]
      guard separator == UInt8(ascii: ",") || separator == UInt8(ascii: "}") else {
        throw error("found \(found) where ',' or '}' was expected")
      }
      at += 1
      if separator == UInt8(ascii: "}") { return JSON(.object(object), at: place) }
    }
  }

  /// A string; a lone surrogate escape becomes U+FFFD, bytes that are not UTF-8 are refused.
  private mutating func string() throws -> String {
    at += 1
    let start = at
    while at < bytes.count, bytes[at] != UInt8(ascii: "\""), bytes[at] != UInt8(ascii: "\\") {
      guard bytes[at] >= 0x20 else { throw error("a control character inside a string") }
      at += 1
    }
    guard at < bytes.count else { throw error("the string is not closed") }
    if bytes[at] == UInt8(ascii: "\"") {
      let slice = UnsafeBufferPointer(rebasing: bytes[start..<at])
      guard let text = String(validating: slice, as: UTF8.self) else { throw error("a string that is not UTF-8") }
      at += 1
      return text
    }
    var buffer = Array(bytes[start..<at])
    while true {
      guard at < bytes.count else { throw error("the string is not closed") }
      let byte = bytes[at]
      if byte == UInt8(ascii: "\"") {
        at += 1
        guard let text = String(validating: buffer, as: UTF8.self) else { throw error("a string that is not UTF-8") }
        return text
      }
      guard byte >= 0x20 else { throw error("a control character inside a string") }
      at += 1
      guard byte == UInt8(ascii: "\\") else {
        buffer.append(byte)
        continue
      }
      guard at < bytes.count else { throw error("the string is not closed") }
      let escape = bytes[at]
      at += 1
      switch escape {
      case UInt8(ascii: "n"): buffer.append(0x0A)
      case UInt8(ascii: "t"): buffer.append(0x09)
      case UInt8(ascii: "r"): buffer.append(0x0D)
      case UInt8(ascii: "b"): buffer.append(0x08)
      case UInt8(ascii: "f"): buffer.append(0x0C)
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): buffer.append(escape)
      case UInt8(ascii: "u"):
        var unit = try hex4()
        if unit >= 0xD800, unit < 0xDC00, at + 1 < bytes.count, bytes[at] == UInt8(ascii: "\\"),
          bytes[at + 1] == UInt8(ascii: "u")
        {
          let mark = at
          at += 2
          let low = try hex4()
          if low >= 0xDC00, low < 0xE000 {
            unit = 0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00)
          } else {
            at = mark
          }
        }
        buffer.append(contentsOf: String(Character(Unicode.Scalar(unit) ?? "\u{FFFD}")).utf8)
      default:
        at -= 1
        throw error("found \(found) after a backslash")
      }
    }
  }

  private mutating func hex4() throws -> UInt32 {
    guard at + 4 <= bytes.count else { throw error("\\u needs four hexadecimal digits") }
    var unit: UInt32 = 0
    for _ in 0..<4 {
      let byte = bytes[at]
      switch byte {
      case 0x30...0x39: unit = unit << 4 | UInt32(byte - 0x30)
      case 0x41...0x46: unit = unit << 4 | UInt32(byte - 0x41 + 10)
      case 0x61...0x66: unit = unit << 4 | UInt32(byte - 0x61 + 10)
      default: throw error("\\u needs four hexadecimal digits")
      }
      at += 1
    }
    return unit
  }
}
