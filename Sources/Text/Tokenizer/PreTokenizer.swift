/// A step that cuts pieces into smaller ones; merging never crosses the border of a piece.
enum PreTokenizer: Sendable {
  /// What becomes of the parts that match and those between them.
  enum Behavior: String, Sendable, CaseIterable {
    case isolated = "Isolated"
    case removed = "Removed"
    case mergedWithPrevious = "MergedWithPrevious"
    case mergedWithNext = "MergedWithNext"
    case contiguous = "Contiguous"
  }

  case split(Delimiter, Behavior, inverted: Bool)
  /// Characters of a class apart from the rest.
  case characters(CharacterClass, Behavior)
  /// Words (`\w+`) and runs of what is neither word nor white space; white space goes.
  case words
  /// Pieces of so many characters.
  case fixedLength(Int)
  /// GPT-2's own step: a space in front of pieces that do not begin with one, then its split pattern.
  case byteLevel(addsPrefixSpace: Bool, pattern: SplitPattern?)
  /// Every byte becomes its character of the byte alphabet. Left out where the model takes bytes.
  case byteCharacters
  /// Spaces become `replacement`, and one is put in front.
  case metaspace(replacement: [UInt8], prepends: Prepending, splits: Bool)

  enum Prepending: String, Sendable, CaseIterable { case always, first, never }

  static let supported = [
    "BertPreTokenizer", "ByteLevel", "CharDelimiterSplit", "Digits", "FixedLength", "Metaspace", "Punctuation",
    "Sequence", "Split", "Whitespace", "WhitespaceSplit",
  ]

  func apply(to text: inout WorkingText, _ matcher: PatternMatcher) throws {
    switch self {
    case .split(let delimiter, let behavior, let inverted):
      try Self.split(&text, delimiter, behavior, inverted: inverted, matcher)
    case .characters(let set, let behavior):
      text.split { piece, emit in
        var matches: [Range<Int>] = []
        Self.forEachCharacter(of: piece) { scalar, range in if set.contains(scalar) { matches.append(range) } }
        Self.arrange(matches, in: piece.count, behavior, inverted: false, emit)
      }
    case .words: text.split(Self.splitWords)
    case .fixedLength(let length):
      text.split { piece, emit in
        var start = 0
        var count = 0
        Self.forEachCharacter(of: piece) { _, range in
          count += 1
          guard count == length else { return }
          emit(start..<range.upperBound)
          start = range.upperBound
          count = 0
        }
        emit(start..<piece.count)
      }
    case .byteLevel(let addsPrefixSpace, let pattern):
      if addsPrefixSpace {
        text.rewrite { piece, _, emit in
          if piece.first != 0x20 { emit(0x20, piece.startIndex) }
          for i in piece.indices { emit(piece[i], i) }
        }
      }
      if let pattern { try Self.split(&text, .pattern(pattern), .isolated, inverted: false, matcher) }
    case .byteCharacters:
      text.rewrite { piece, _, emit in
        for i in piece.indices { for byte in ByteAlphabet.encoded[Int(piece[i])] { emit(byte, i) } }
      }
    case .metaspace(let replacement, let prepends, let splits):
      let begins = text.pieces.indices.map { prepends == .first && text.beginsText($0) }
      text.rewrite { piece, index, emit in
        let hasOne = piece.first == 0x20 || piece.starts(with: replacement)
        if prepends == .always || begins[index], !hasOne {
          for byte in replacement { emit(byte, piece.startIndex) }
        }
        for i in piece.indices {
          if piece[i] == 0x20 { for byte in replacement { emit(byte, i) } } else { emit(piece[i], i) }
        }
      }
      if splits { try Self.split(&text, .literal(replacement), .mergedWithNext, inverted: false, matcher) }
    }
  }

  private static func forEachCharacter(
    of text: UnsafeBufferPointer<UInt8>, _ body: (Unicode.Scalar, Range<Int>) -> Void
  ) {
    var at = 0
    while at < text.count {
      let (value, length) = decodeValue(text, at)
      body(Unicode.Scalar(value) ?? "\u{FFFD}", at..<at + length)
      at += length
    }
  }

  private static func splitWords(_ piece: UnsafeBufferPointer<UInt8>, _ emit: (Range<Int>) -> Void) {
    // nil between pieces, else whether the running piece is a word.
    var isWord: Bool?
    var start = 0
    forEachCharacter(of: piece) { scalar, range in
      let kind: Bool? =
        CharacterClass.isWord(scalar) ? true : CharacterClass.whitespace.contains(scalar) ? nil : false
      guard kind != isWord else { return }
      if isWord != nil { emit(start..<range.lowerBound) }
      isWord = kind
      start = range.lowerBound
    }
    if isWord != nil { emit(start..<piece.count) }
  }

  private static func split(
    _ text: inout WorkingText, _ delimiter: Delimiter, _ behavior: Behavior, inverted: Bool, _ matcher: PatternMatcher
  ) throws {
    try text.split { piece, emit in
      // The commonest case by far keeps no list.
      if behavior == .isolated {
        var end = 0
        try delimiter.forEachMatch(in: piece, matcher) { match in
          emit(end..<match.lowerBound)
          emit(match)
          end = match.upperBound
        }
        emit(end..<piece.count)
        return
      }
      var matches: [Range<Int>] = []
      try delimiter.forEachMatch(in: piece, matcher) { matches.append($0) }
      arrange(matches, in: piece.count, behavior, inverted: inverted, emit)
    }
  }

  /// Joins or drops the parts as `behavior` says.
  private static func arrange(
    _ matches: [Range<Int>], in count: Int, _ behavior: Behavior, inverted: Bool, _ emit: (Range<Int>) -> Void
  ) {
    var parts: [(range: Range<Int>, isMatch: Bool)] = []
    var end = 0
    for match in matches {
      if match.lowerBound > end { parts.append((end..<match.lowerBound, inverted)) }
      parts.append((match, !inverted))
      end = match.upperBound
    }
    if end < count { parts.append((end..<count, inverted)) }
    switch behavior {
    case .isolated: for part in parts { emit(part.range) }
    case .removed: for part in parts where !part.isMatch { emit(part.range) }
    case .contiguous:
      var i = 0
      while i < parts.count {
        var last = i
        while last + 1 < parts.count, parts[last + 1].isMatch == parts[i].isMatch { last += 1 }
        emit(parts[i].range.lowerBound..<parts[last].range.upperBound)
        i = last + 1
      }
    case .mergedWithPrevious:
      var i = 0
      while i < parts.count {
        // A match joins the part before it unless that is a match too.
        let joins = !parts[i].isMatch && i + 1 < parts.count && parts[i + 1].isMatch
        emit(parts[i].range.lowerBound..<parts[joins ? i + 1 : i].range.upperBound)
        i += joins ? 2 : 1
      }
    case .mergedWithNext:
      var i = 0
      while i < parts.count {
        let joins = parts[i].isMatch && i + 1 < parts.count && !parts[i + 1].isMatch
        emit(parts[i].range.lowerBound..<parts[joins ? i + 1 : i].range.upperBound)
        i += joins ? 2 : 1
      }
    }
  }
}
