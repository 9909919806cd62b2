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

  enum Delimiter: Sendable {
    case pattern(SplitPattern)
    case literal([UInt8])
  }

  case split(Delimiter, Behavior, inverted: Bool)
  /// Numbers apart from the rest, each digit by itself or together.
  case digits(SplitPattern, individual: Bool)
  /// GPT-2's own step: a space in front of pieces that do not begin with one, then its split pattern.
  case byteLevel(addsPrefixSpace: Bool, pattern: SplitPattern?)
  /// Spaces become `replacement`, and one is put in front.
  case metaspace(replacement: [UInt8], prepends: Prepending, splits: Bool)

  enum Prepending: Sendable { case always, first, never }

  static let supported = ["ByteLevel", "Digits", "Metaspace", "Sequence", "Split"]

  func apply(to text: inout WorkingText, _ matcher: PatternMatcher) throws {
    switch self {
    case .split(let delimiter, let behavior, let inverted):
      try Self.split(&text, delimiter, behavior, inverted: inverted, matcher)
    case .digits(let pattern, let individual):
      try Self.split(&text, .pattern(pattern), individual ? .isolated : .contiguous, inverted: false, matcher)
    case .byteLevel(let addsPrefixSpace, let pattern):
      if addsPrefixSpace {
        text.rewrite { piece, _, emit in
          if !Self.beginsWithSpace(piece) { emit(0x20, piece.startIndex) }
          for i in piece.indices { emit(piece[i], i) }
        }
      }
      if let pattern { try Self.split(&text, .pattern(pattern), .isolated, inverted: false, matcher) }
    case .metaspace(let replacement, let prepends, let splits):
      let isFirst = text.isFirst
      text.rewrite { piece, index, emit in
        let begins = piece.first == 0x20 || piece.starts(with: replacement)
        let prefix = prepends == .always || (prepends == .first && isFirst && index == 0)
        if prefix, !begins { for byte in replacement { emit(byte, piece.startIndex) } }
        for i in piece.indices {
          if piece[i] == 0x20 { for byte in replacement { emit(byte, i) } } else { emit(piece[i], i) }
        }
      }
      if splits { try Self.split(&text, .literal(replacement), .mergedWithNext, inverted: false, matcher) }
    }
  }

  private static func beginsWithSpace(_ piece: ArraySlice<UInt8>) -> Bool {
    String(decoding: piece.prefix(4), as: UTF8.self).unicodeScalars.first?.properties.isWhitespace ?? false
  }

  private static func split(
    _ text: inout WorkingText, _ delimiter: Delimiter, _ behavior: Behavior, inverted: Bool, _ matcher: PatternMatcher
  ) throws {
    try text.split { piece, emit in
      var matches: [Range<Int>] = []
      // The commonest case by far keeps no list.
      if case .pattern(let pattern) = delimiter, behavior == .isolated {
        var end = 0
        try matcher.forEachMatch(of: pattern, in: piece) { match in
          emit(end..<match.lowerBound)
          emit(match)
          end = match.upperBound
        }
        emit(end..<piece.count)
        return
      }
      switch delimiter {
      case .pattern(let pattern): try matcher.forEachMatch(of: pattern, in: piece) { matches.append($0) }
      case .literal(let literal): matches = occurrences(of: literal, in: piece)
      }
      arrange(matches, in: piece.count, behavior, inverted: inverted, emit)
    }
  }

  private static func occurrences(of literal: [UInt8], in text: UnsafeBufferPointer<UInt8>) -> [Range<Int>] {
    var found: [Range<Int>] = []
    var at = 0
    while !literal.isEmpty, at + literal.count <= text.count {
      if text[at] == literal[0], text[at..<at + literal.count].elementsEqual(literal) {
        found.append(at..<at + literal.count)
        at += literal.count
      } else {
        at += 1
      }
    }
    return found
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
