/// A dialogue as a chat template wrote it.
public struct RenderedChat: Sendable, Equatable {
  public var text: String
  /// Where the assistant speaks, in code points of `text`: what the template's `generation` blocks wrote. Empty if the
  /// template has none.
  public var assistantSpans: [Range<Int>]

  public init(text: String, assistantSpans: [Range<Int>]) {
    self.text = text
    self.assistantSpans = assistantSpans
  }

  /// 1 for every token from the one that holds the first character of a span to the one that holds its last, else 0.
  ///
  /// - Parameters:
  ///   - tokens: the tokens of `text` with their offsets, in order.
  ///   - spans: code points, as in `assistantSpans`.
  public static func assistantMask(tokens: [Tokenizer.Token], spans: [Range<Int>]) -> [Int] {
    var mask = [Int](repeating: 0, count: tokens.count)
    for span in spans where !span.isEmpty {
      // Offsets rise, so both ends are found by halving.
      let first = tokens.partitioningIndex { $0.end > span.lowerBound }
      let end = tokens.partitioningIndex { $0.start >= span.upperBound }
      if first < end { for i in first..<end { mask[i] = 1 } }
    }
    return mask
  }
}

extension Array {
  /// The first index whose element satisfies `holds`, if all after it do too.
  fileprivate func partitioningIndex(_ holds: (Element) -> Bool) -> Int {
    var low = 0
    var high = count
    while low < high {
      let middle = (low + high) / 2
      if holds(self[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
