/// What a text is searched for: a pattern or a fixed string. The empty string is found around every character, as a
/// pattern would be.
enum Delimiter: Sendable {
  case pattern(SplitPattern)
  case literal([UInt8])

  /// Calls `found` with every occurrence in `text`, from left to right.
  @inline(__always)
  func forEachMatch(
    in text: UnsafeBufferPointer<UInt8>, _ matcher: PatternMatcher, _ found: (Range<Int>) -> Void
  ) throws {
    switch self {
    case .pattern(let pattern): try matcher.forEachMatch(of: pattern, in: text, found)
    case .literal(let literal) where literal.isEmpty:
      var at = 0
      while at < text.count {
        found(at..<at)
        at += utf8Length(text[at])
      }
      if !text.isEmpty { found(text.count..<text.count) }
    case .literal(let literal):
      var at = 0
      while at + literal.count <= text.count {
        if text[at] == literal[0], text[at..<at + literal.count].elementsEqual(literal) {
          found(at..<at + literal.count)
          at += literal.count
        } else {
          at += 1
        }
      }
    }
  }

  /// `text` with every occurrence replaced by `new`.
  func replaced(in text: [UInt8], by new: [UInt8], _ matcher: PatternMatcher) -> [UInt8] {
    if case .literal(let literal) = self, let first = literal.first, !text.contains(first) { return text }
    var result: [UInt8] = []
    text.withUnsafeBufferPointer { text in
      var end = 0
      try? forEachMatch(in: text, matcher) { match in
        result += text[end..<match.lowerBound]
        result += new
        end = match.upperBound
      }
      result += text[end...]
    }
    return result
  }
}
