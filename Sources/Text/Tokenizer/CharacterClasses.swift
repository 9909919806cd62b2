/// Classes of characters by which tokenizers cut and clean text, each in the Unicode version that tokenizers use for it.
enum CharacterClass: Sendable {
  /// White_Space.
  case whitespace
  /// ASCII punctuation and category P of Unicode 8.
  case punctuation
  /// Category N of Unicode 17.
  case numeric
  /// `\w` of UTS #18 (Alphabetic, M, Nd, Pc, Join_Control) of Unicode 16.
  case word
  /// One given character.
  case one(Unicode.Scalar)

  func contains(_ scalar: Unicode.Scalar) -> Bool {
    switch self {
    case .whitespace: scalar.properties.isWhitespace
    case .punctuation: Self.isPunctuation(scalar)
    case .numeric: Self.isNumeric(scalar)
    case .word: Self.isWord(scalar)
    case .one(let other): scalar == other
    }
  }

  static func isPunctuation(_ scalar: Unicode.Scalar) -> Bool {
    if scalar.value < 0x80 {
      switch scalar.value {
      case 0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E: return true
      default: return false
      }
    }
    // Two characters have changed their category since.
    if scalar.value == 0x166D || scalar.value == 0x111C9 { return true }
    switch scalar.properties.generalCategory {
    case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
      .finalPunctuation, .otherPunctuation:
      return isKnown(scalar, to: 8)
    default: return false
    }
  }

  static func isNumeric(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .decimalNumber, .letterNumber, .otherNumber: true
    default: (0x11DE0...0x11DE9).contains(scalar.value) || (0x16FF4...0x16FF6).contains(scalar.value)
    }
  }

  static func isWord(_ scalar: Unicode.Scalar) -> Bool {
    if !scalar.isASCII, !isKnown(scalar, to: 16) { return false }
    let properties = scalar.properties
    if properties.isAlphabetic || properties.isJoinControl { return true }
    switch properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation: return true
    default: return false
    }
  }

  /// Category M of Unicode 9: what stripping accents takes away.
  static func isMark(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark: isKnown(scalar, to: 9)
    default: false
    }
  }

  /// Category Mn of Unicode 8: what BERT's cleaning takes away.
  static func isNonspacing(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    // These have changed their category since.
    case 0x1734: true
    case 0x1885, 0x1886, 0xA9BD: false
    default: scalar.properties.generalCategory == .nonspacingMark && isKnown(scalar, to: 8)
    }
  }

  /// Categories Cc, Cf and Co of Unicode 8.
  static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .privateUse: true
    case .format: isKnown(scalar, to: 8)
    default: false
    }
  }

  private static func isKnown(_ scalar: Unicode.Scalar, to version: Int) -> Bool {
    scalar.properties.age.map { $0.major <= version } ?? false
  }
}
