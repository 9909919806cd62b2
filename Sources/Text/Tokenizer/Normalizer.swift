/// A step that changes the text before it is cut into pieces.
enum Normalizer: Sendable {
  case nfc
  /// Puts the string in front of a text that is not empty.
  case prepend([UInt8])
  /// Replaces every occurrence of the first string by the second.
  case replace([UInt8], with: [UInt8])

  static let supported = ["NFC", "Prepend", "Replace", "Sequence"]

  func apply(to text: inout WorkingText) {
    switch self {
    case .nfc: Self.compose(&text)
    case .prepend(let prefix):
      text.rewrite { piece, _, emit in
        for byte in prefix { emit(byte, piece.startIndex) }
        for i in piece.indices { emit(piece[i], i) }
      }
    case .replace(let old, let new):
      text.rewrite { piece, _, emit in
        var at = piece.startIndex
        while at < piece.endIndex {
          if piece[at] == old[0], piece[at...].starts(with: old) {
            for byte in new { emit(byte, at + old.count - 1) }
            at += old.count
          } else {
            emit(piece[at], at)
            at += 1
          }
        }
      }
    }
  }

  /// NFC. Most texts are composed already, and then only their characters are looked at.
  private static func compose(_ text: inout WorkingText) {
    guard let first = firstToCompose(in: text.bytes) else { return }
    let old = text.bytes
    var bytes = Array(old[..<first])
    bytes.reserveCapacity(old.count)
    var origins = text.origins.map { Array($0[..<first]) }
    var at = first
    while at < old.count {
      // A run: one inert character and those behind it that may join it.
      var scalars: [Unicode.Scalar] = []
      var starts: [Int] = []
      repeat {
        let (scalar, length) = decode(old, at)
        if !scalars.isEmpty, CanonicalComposition.isInert(scalar.value) { break }
        scalars.append(scalar)
        starts.append(at)
        at += length
      } while at < old.count
      if scalars.count == 1, CanonicalComposition.isInert(scalars[0].value) {
        bytes += old[starts[0]..<at]
        if let all = text.origins { origins?.append(contentsOf: all[starts[0]..<at]) }
        continue
      }
      var consumed = 0
      for unit in CanonicalComposition.normalize(scalars) {
        let inserted = unit.change > 0
        let source = min(max(0, inserted ? consumed - 1 : consumed), starts.count - 1)
        let origin = text.origins?[starts[source]]
        for byte in UTF8.encode(unit.scalar) ?? UTF8.encodedReplacementCharacter {
          bytes.append(byte)
          if let origin { origins?.append(origin) }
        }
        if !inserted { consumed += 1 - unit.change }
      }
    }
    text.bytes = bytes
    text.origins = origins
    text.pieces = bytes.isEmpty ? [] : [0..<bytes.count]
  }

  /// The place of the character before the first one that may need composing, or nil.
  private static func firstToCompose(in bytes: [UInt8]) -> Int? {
    bytes.withUnsafeBufferPointer { bytes in
      var previous = 0
      var at = 0
      while at < bytes.count {
        // Below U+0300 (lead bytes up to 0xCB) nothing ever changes.
        if bytes[at] < 0xCC {
          previous = at
          at += bytes[at] < 0x80 ? 1 : 2
          continue
        }
        let (value, length) = decodeValue(bytes, at)
        if !CanonicalComposition.isInert(value) { return previous }
        previous = at
        at += length
      }
      return nil
    }
  }

  private static func decode(_ bytes: [UInt8], _ at: Int) -> (Unicode.Scalar, Int) {
    let (value, length) = bytes.withUnsafeBufferPointer { decodeValue($0, at) }
    return (Unicode.Scalar(value) ?? "\u{FFFD}", length)
  }
}

/// The code point that begins at `at` of valid UTF-8, and its length in bytes.
@inline(__always)
func decodeValue(_ bytes: UnsafeBufferPointer<UInt8>, _ at: Int) -> (value: UInt32, length: Int) {
  let first = UInt32(bytes[at])
  let length = utf8Length(bytes[at])
  guard length > 1, at + length <= bytes.count else { return (first, 1) }
  var value = first & (0x7F >> UInt32(length))
  for i in 1..<length { value = value << 6 | UInt32(bytes[at + i] & 0x3F) }
  return (value, length)
}
