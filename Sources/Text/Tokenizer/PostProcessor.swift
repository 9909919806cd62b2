/// What is done to the ids of a whole text.
struct PostProcessor: Sendable {
  static let supported = ["ByteLevel", "Sequence", "TemplateProcessing"]

  /// Ids put before and after the text when special tokens are asked for.
  var before: [Int32] = []
  var after: [Int32] = []
  /// Leaves the spaces at the edges of a token out of its offsets (byte-level vocabularies), and whether the space that
  /// was put in front of the text stays in.
  var trimsOffsets = false
  var keepsPrefixSpace = false
}

/// How token texts become text again.
enum Decoder: Sendable {
  static let supported = ["ByteFallback", "ByteLevel", "Fuse", "Metaspace", "Replace", "Sequence", "Strip"]

  /// One step over a list of token texts.
  enum Step: Sendable {
    case byteLevel
    case replace([UInt8], with: [UInt8])
    /// Runs of byte tokens (`<0x41>`) become characters; each byte of a run that is not UTF-8 becomes U+FFFD.
    case byteFallback
    case fuse
    case strip(UInt8, start: Int, stop: Int)
    case metaspace([UInt8], dropsFirst: Bool)
  }

  /// The bytes of all tokens, one after the other; what is not UTF-8 becomes U+FFFD.
  case byteLevel
  case steps([Step])

  static func run(_ steps: [Step], _ tokens: [[UInt8]]) -> String {
    var tokens = tokens
    for step in steps {
      switch step {
      case .byteLevel:
        let bytes = tokens.flatMap { token -> [UInt8] in
          ByteAlphabet.bytes(of: String(decoding: token, as: UTF8.self)) ?? token
        }
        tokens = [Array(String(decoding: bytes, as: UTF8.self).utf8)]
      case .replace(let old, let new): tokens = tokens.map { replaced($0, old, new) }
      case .byteFallback: tokens = joinByteTokens(tokens)
      case .fuse: tokens = [Array(tokens.joined())]
      case .strip(let byte, let start, let stop):
        tokens = tokens.map { token in
          let left = token.prefix(start).prefix { $0 == byte }.count
          let right = token.dropFirst(left).suffix(stop).reversed().prefix { $0 == byte }.count
          return Array(token[left..<token.count - right])
        }
      case .metaspace(let replacement, let dropsFirst):
        for i in tokens.indices {
          let drops = i == 0 && dropsFirst && tokens[i].starts(with: replacement)
          if drops { tokens[i].removeFirst(replacement.count) }
          tokens[i] = replaced(tokens[i], replacement, [0x20])
        }
      }
    }
    return String(decoding: tokens.joined(), as: UTF8.self)
  }

  /// What `run` makes of one token among others; a byte token is its byte, also where alone it is no character.
  static func bytes(_ steps: [Step], _ token: [UInt8], atStart: Bool) -> [UInt8] {
    var bytes = token
    var isFused = false
    for step in steps {
      switch step {
      case .byteLevel: bytes = ByteAlphabet.bytes(of: String(decoding: bytes, as: UTF8.self)) ?? bytes
      case .replace(let old, let new): bytes = replaced(bytes, old, new)
      case .byteFallback: bytes = byteToken(bytes).map { [$0] } ?? bytes
      case .fuse: isFused = true
      case .strip(let byte, let start, let stop):
        // Behind `fuse` there is one text, and its edges are the first and the last token's.
        if !isFused || atStart { bytes.removeFirst(bytes.prefix(start).prefix { $0 == byte }.count) }
        if !isFused { bytes.removeLast(bytes.suffix(stop).reversed().prefix { $0 == byte }.count) }
      case .metaspace(let replacement, let dropsFirst):
        if atStart, dropsFirst, bytes.starts(with: replacement) { bytes.removeFirst(replacement.count) }
        bytes = replaced(bytes, replacement, [0x20])
      }
    }
    return bytes
  }

  private static func replaced(_ text: [UInt8], _ old: [UInt8], _ new: [UInt8]) -> [UInt8] {
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
      result.append(
        String(validating: run, as: UTF8.self) != nil
          ? run : Array(repeating: UTF8.encodedReplacementCharacter, count: run.count).flatMap { $0 })
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
