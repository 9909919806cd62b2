/// How token texts become text again.
enum Decoder: Sendable {
  static let supported = [
    "BPEDecoder", "ByteFallback", "ByteLevel", "CTC", "Fuse", "Metaspace", "Replace", "Sequence", "Strip", "WordPiece",
  ]

  /// One step over a list of token texts.
  enum Step: Sendable {
    case byteLevel
    case replace(Delimiter, with: [UInt8])
    /// Runs of byte tokens (`<0x41>`) become characters; each byte of a run that is not UTF-8 becomes U+FFFD.
    case byteFallback
    case fuse
    /// Up to so many of one character, in UTF-8, at the beginning and the end of every token.
    case strip([UInt8], start: Int, stop: Int)
    /// The character becomes a space; in the first token it goes, if one was put in front of texts.
    case metaspace([UInt8], dropsFirst: Bool)
    /// Tokens are words, but for those that begin with the prefix.
    case wordPiece(prefix: [UInt8], cleansUp: Bool)
    /// The suffix of a token is the end of a word.
    case wordEnd([UInt8])
    /// Repeated tokens count once, those of the padding not at all.
    case collapse(padding: [UInt8], delimiter: [UInt8], cleansUp: Bool)
    /// One text of all tokens with spaces between them.
    case join
  }

  /// The bytes of all tokens, one after the other; what is not UTF-8 becomes U+FFFD.
  case byteLevel
  case steps([Step])

  static func run(_ steps: [Step], _ tokens: [[UInt8]]) -> String {
    let matcher = PatternMatcher()
    var tokens = tokens
    for step in steps {
      switch step {
      case .byteLevel:
        let bytes = tokens.flatMap { token -> [UInt8] in
          ByteAlphabet.bytes(of: String(decoding: token, as: UTF8.self)) ?? token
        }
        tokens = [Array(String(decoding: bytes, as: UTF8.self).utf8)]
      case .byteFallback: tokens = joinByteTokens(tokens)
      case .fuse: tokens = [Array(tokens.joined())]
      case .join: tokens = [Array(tokens.joined(separator: [0x20]))]
      case .collapse:
        var last: [UInt8]?
        tokens = tokens.filter { token in
          defer { last = token }
          return token != last
        }
        fallthrough
      default:
        let count = tokens.count
        for i in tokens.indices {
          tokens[i] = apply(step, to: tokens[i], isFirst: i == 0, isLast: i == count - 1, matcher)
        }
        if case .collapse = step { tokens.removeAll(where: \.isEmpty) }
      }
    }
    return String(decoding: tokens.joined(), as: UTF8.self)
  }

  /// A step that looks at one token at a time.
  private static func apply(
    _ step: Step, to token: [UInt8], isFirst: Bool, isLast: Bool, _ matcher: PatternMatcher
  ) -> [UInt8] {
    switch step {
    case .replace(let old, let new): return old.replaced(in: token, by: new, matcher)
    case .strip(let character, let start, let stop):
      let left = repeats(of: character, in: token, atMost: start)
      let rest = token.dropFirst(left * character.count)
      let right = repeats(of: character.reversed(), in: rest.reversed(), atMost: stop)
      return Array(rest.dropLast(right * character.count))
    case .metaspace(let replacement, let dropsFirst):
      return replaced(token, replacement, isFirst && dropsFirst ? [] : [0x20])
    case .wordPiece(let prefix, let cleansUp):
      var word = token
      if !isFirst {
        if token.starts(with: prefix) { word.removeFirst(prefix.count) } else { word.insert(0x20, at: 0) }
      }
      return cleansUp ? cleanedUp(word) : word
    case .wordEnd(let suffix): return replaced(token, suffix, isLast ? [] : [0x20])
    case .collapse(let padding, let delimiter, let cleansUp):
      let word = replaced(token, padding, [])
      return cleansUp ? replaced(cleanedUp(word), delimiter, [0x20]) : word
    default: return token
    }
  }

  /// What `run` makes of one token among others; a byte token is its byte, also where alone it is no character.
  static func bytes(_ steps: [Step], _ token: [UInt8], atStart: Bool) -> [UInt8] {
    let matcher = PatternMatcher()
    var bytes = token
    var isFused = false
    for step in steps {
      switch step {
      case .byteLevel: bytes = ByteAlphabet.bytes(of: String(decoding: bytes, as: UTF8.self)) ?? bytes
      case .byteFallback: bytes = byteToken(bytes).map { [$0] } ?? bytes
      case .fuse: isFused = true
      case .join: if !atStart { bytes.insert(0x20, at: 0) }
      case .strip(let character, let start, _) where isFused:
        // Behind `fuse` there is one text, and its edges are the first and the last token's.
        if atStart {
          bytes = apply(
            .strip(character, start: start, stop: 0), to: bytes, isFirst: true, isLast: false, matcher)
        }
      default: bytes = apply(step, to: bytes, isFirst: atStart, isLast: false, matcher)
      }
    }
    return bytes
  }

  private static func repeats(
    of character: some Collection<UInt8>, in text: some Collection<UInt8>, atMost limit: Int
  ) -> Int {
    var count = 0
    var rest = text[...]
    while count < limit, !character.isEmpty, rest.starts(with: character) {
      rest = rest.dropFirst(character.count)
      count += 1
    }
    return count
  }

  /// Spaces before punctuation and inside English contractions, as WordPiece texts have them.
  private static func cleanedUp(_ text: [UInt8]) -> [UInt8] {
    let rules = [
      (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
      (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
    ]
    return rules.reduce(text) { replaced($0, Array($1.0.utf8), Array($1.1.utf8)) }
  }

  static func replaced(_ text: [UInt8], _ old: [UInt8], _ new: [UInt8]) -> [UInt8] {
    guard let first = old.first, text.contains(first) else { return text }
    var result: [UInt8] = []
    var at = 0
    while at < text.count {
      if text[at] == first, text[at...].starts(with: old) {
        result += new
        at += old.count
      } else {
        result.append(text[at])
        at += 1
      }
    }
    return result
  }

  private static func joinByteTokens(_ tokens: [[UInt8]]) -> [[UInt8]] {
    var result: [[UInt8]] = []
    var run: [UInt8] = []
    func flush() {
      guard !run.isEmpty else { return }
      if String(validating: run, as: UTF8.self) != nil {
        result.append(run)
      } else {
        result += Array(repeating: Array(UTF8.encodedReplacementCharacter), count: run.count)
      }
      run = []
    }
    for token in tokens {
      if let byte = byteToken(token) {
        run.append(byte)
      } else {
        flush()
        result.append(token)
      }
    }
    flush()
    return result
  }

  /// The byte that `<0x41>` stands for.
  static func byteToken(_ token: [UInt8]) -> UInt8? {
    guard token.count == 6, token.starts(with: "<0x".utf8), token[5] == UInt8(ascii: ">") else { return nil }
    return UInt8(String(decoding: token[3..<5], as: UTF8.self), radix: 16)
  }
}
