/// A step that changes the text before it is cut into pieces.
enum Normalizer: Sendable {
  /// The normalization forms of Unicode.
  case form(UnicodeForm)
  case lowercase
  /// Marks go; what carried them stays.
  case stripAccents
  /// Marks that take no space go.
  case stripNonspacing
  /// White space at the edges goes.
  case strip(left: Bool, right: Bool)
  /// Puts the string in front of a text that is not empty.
  case prepend([UInt8])
  /// Replaces every occurrence of the first by the second.
  case replace(Delimiter, with: [UInt8])
  /// Control characters go, other white space becomes a space.
  case cleanControls
  /// The cleaning of SentencePiece's nmt rules.
  case nmt
  /// Spaces around every Chinese character.
  case spaceChinese
  /// Every byte becomes its character of the byte alphabet.
  case byteCharacters

  static let supported = [
    "BertNormalizer", "ByteLevel", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Prepend", "Replace", "Sequence",
    "Strip", "StripAccents",
  ]

  /// - Throws: `AttuneError` if a pattern fails at work.
  func apply(to text: inout WorkingText, _ matcher: PatternMatcher) throws {
    switch self {
    case .form(let form): form.apply(to: &text)
    case .lowercase:
      text.rewriteCharacters { scalar in
        if scalar.value < 0x80 {
          return scalar.value >= 0x41 && scalar.value <= 0x5A ? [Unicode.Scalar(UInt8(scalar.value + 32))] : nil
        }
        return scalar.properties.changesWhenLowercased ? Array(scalar.properties.lowercaseMapping.unicodeScalars) : nil
      }
    case .stripAccents: text.rewriteCharacters { CharacterClass.isMark($0) ? [] : nil }
    case .stripNonspacing: text.rewriteCharacters { CharacterClass.isNonspacing($0) ? [] : nil }
    case .strip(let left, let right):
      let kept = Self.trimmed(text.bytes, left: left, right: right)
      if let origins = text.origins { text.origins = Array(origins[kept]) }
      text.bytes = Array(text.bytes[kept])
      text.pieces = text.bytes.isEmpty ? [] : [0..<text.bytes.count]
    case .prepend(let prefix):
      text.rewrite { piece, _, emit in
        for byte in prefix { emit(byte, piece.startIndex) }
        for i in piece.indices { emit(piece[i], i) }
      }
    case .replace(let old, let new):
      try text.rewrite { piece, _, emit in
        let start = piece.startIndex
        try piece.withUnsafeBufferPointer { slice in
          var end = 0
          try old.forEachMatch(in: slice, matcher) { match in
            for i in end..<match.lowerBound { emit(slice[i], start + i) }
            for byte in new { emit(byte, start + match.upperBound - 1) }
            end = match.upperBound
          }
          for i in end..<slice.count { emit(slice[i], start + i) }
        }
      }
    case .cleanControls:
      text.rewriteCharacters { scalar in
        switch scalar {
        case "\t", "\n", "\r": return [" "]
        case "\0", "\u{FFFD}": return []
        default:
          if CharacterClass.isControl(scalar) { return [] }
          return scalar.properties.isWhitespace ? [" "] : nil
        }
      }
    case .nmt:
      text.rewriteCharacters { scalar in
        switch scalar.value {
        case 0x01...0x08, 0x0B, 0x0E...0x1F, 0x7F, 0x8F, 0x9F: []
        case 0x09, 0x0A, 0x0C, 0x0D, 0x1680, 0x200B...0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD: [" "]
        default: nil
        }
      }
    case .spaceChinese:
      text.rewriteCharacters { scalar in
        switch scalar.value {
        case 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xF900...0xFAFF, 0x20000...0x2A6DF, 0x2A700...0x2B81F,
          0x2B920...0x2CEAF, 0x2F800...0x2FA1F:
          [" ", scalar, " "]
        default: nil
        }
      }
    case .byteCharacters:
      text.rewrite { piece, _, emit in
        for i in piece.indices { for byte in ByteAlphabet.encoded[Int(piece[i])] { emit(byte, i) } }
      }
    }
  }

  /// What is left of a text without the white space at its edges.
  private static func trimmed(_ bytes: [UInt8], left: Bool, right: Bool) -> Range<Int> {
    bytes.withUnsafeBufferPointer { bytes in
      var first: Int?
      var last = 0
      var at = 0
      while at < bytes.count {
        let (value, length) = decodeValue(bytes, at)
        if !(Unicode.Scalar(value)?.properties.isWhitespace ?? false) {
          if first == nil { first = at }
          last = at + length
        }
        at += length
      }
      guard let first else { return left || right ? 0..<0 : 0..<bytes.count }
      return (left ? first : 0)..<(right ? last : bytes.count)
    }
  }
}
