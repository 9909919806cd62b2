/// Places where a text announces its answer.
struct MathAnchors {
  /// Bytes between the announcement and the answer.
  static let reach = 50

  private struct Anchor {
    /// Behind "answer" or "answer:".
    var end: Int
    var hasColon: Bool
    /// The word before is "final".
    var isFinal: Bool
  }

  private var anchors: [Anchor] = []
  private let bytes: [UInt8]

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    var at = 0
    while at + 6 <= bytes.count {
      guard bytes[at] | 0x20 == 0x61, word("answer", at: at) else {
        at += 1
        continue
      }
      let isFinal = at >= 6 && word("final ", at: at - 6)
      let hasColon = at + 6 < bytes.count && bytes[at + 6] == 0x3A
      anchors.append(Anchor(end: at + (hasColon ? 7 : 6), hasColon: hasColon, isFinal: isFinal))
      at += 6
    }
  }

  /// Letters in any case.
  private func word(_ word: StaticString, at: Int) -> Bool {
    guard at >= 0, at + word.utf8CodeUnitCount <= bytes.count else { return false }
    return word.withUTF8Buffer { buffer in
      for i in 0..<buffer.count where bytes[at + i] | 0x20 != buffer[i] | 0x20 { return false }
      return true
    }
  }

  /// For each announcement the first candidate behind it, with the priority of the announcement.
  func behind(_ environments: [MathScan.Environment]) -> [(priority: Int, candidate: MathCandidate)] {
    behind(environments.map(\.candidate))
  }

  func behind(_ candidates: [MathCandidate]) -> [(priority: Int, candidate: MathCandidate)] {
    var out: [(priority: Int, candidate: MathCandidate)] = []
    var next = 0
    for anchor in anchors {
      while next < candidates.count, candidates[next].range.lowerBound < anchor.end { next += 1 }
      guard next < candidates.count else { break }
      let candidate = candidates[next]
      let gap = anchor.end..<candidate.range.lowerBound
      if anchor.isFinal, gap.count <= 110, endsWithIs(gap) {
        let isHoped = gap.count <= 6 && hopeFollows(candidate.range.upperBound)
        out.append((isHoped ? 0 : 50, candidate))
      } else if gap.count <= Self.reach {
        out.append((anchor.hasColon ? 100 : 200, candidate))
      }
    }
    return out
  }

  /// " is" or " is:" stands before the answer.
  private func endsWithIs(_ gap: Range<Int>) -> Bool {
    var end = gap.upperBound
    while end > gap.lowerBound, bytes[end - 1] <= 0x20 || bytes[end - 1] == 0x3A { end -= 1 }
    return end - gap.lowerBound >= 3 && word("is", at: end - 2) && bytes[end - 3] <= 0x20
  }

  private func hopeFollows(_ place: Int) -> Bool {
    var at = place
    if at < bytes.count, bytes[at] == 0x2E { at += 1 }
    if at < bytes.count, bytes[at] <= 0x20 { at += 1 }
    return bytes.begins(with: "I hope", at: at)
  }
}
