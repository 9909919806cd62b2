/// The LaTeX of a text: boxes, stretches between signs of mathematics, and the word "answer". Takes time linear in the text.
struct MathScan {
  /// A stretch of LaTeX outside of boxes.
  struct Environment {
    var candidate: MathCandidate
    /// `\frac{1}{2}` without signs around it.
    var isBare = false
  }

  private(set) var boxed: [MathCandidate] = []
  private(set) var environments: [Environment] = []
  private(set) var anchors: MathAnchors

  private let bytes: [UInt8]

  init(_ text: String) {
    bytes = Array(text.utf8)
    anchors = MathAnchors(bytes)
    let braces = Self.matchingBraces(bytes)
    findBoxes(braces)
    findEnvironments(braces)
    joinNeighbours()
  }

  private func string(_ range: Range<Int>) -> String { bytes.text(range).trimmedSpace }

  private func begins(with pattern: StaticString, at: Int) -> Bool { bytes.begins(with: pattern, at: at) }

  /// For each opening brace the place of its closing one, or -1.
  static func matchingBraces(_ bytes: [UInt8]) -> [Int32] {
    var matching = [Int32](repeating: -1, count: bytes.count)
    var open: [Int] = []
    for (i, byte) in bytes.enumerated() {
      if byte == 0x7B { open.append(i) }
      if byte == 0x7D, let start = open.popLast() { matching[start] = Int32(i) }
    }
    return matching
  }

  // MARK: Boxes

  /// Outermost boxes; those that belong together are one candidate.
  private mutating func findBoxes(_ braces: [Int32]) {
    var found: [(content: String, range: Range<Int>, isPercent: Bool)] = []
    var at = 0
    while at < bytes.count {
      guard bytes[at] == 0x5C,
        let length = begins(with: "\\boxed", at: at) ? 6 : begins(with: "\\fbox", at: at) ? 5 : nil
      else {
        at += 1
        continue
      }
      var brace = at + length
      while brace < bytes.count, bytes[brace] == 0x20 { brace += 1 }
      guard brace < bytes.count, bytes[brace] == 0x7B, braces[brace] >= 0 else {
        at += length
        continue
      }
      let end = Int(braces[brace])
      found.append((Self.unboxed(string((brace + 1)..<end)), at..<(end + 1), percentFollows(end + 1)))
      at = end + 1
    }
    // From the last one backwards, as long as a box belongs to the one behind it.
    var groups: [MathCandidate] = []
    var last: Range<Int>?
    for box in found.reversed() {
      let content = box.content
      if let behind = last, groups.count > 0, belongs(box.range, content, to: behind, groups[groups.count - 1].parts[0])
      {
        if groups[groups.count - 1].parts[0] != content, groups[groups.count - 1].parts.count < 32 {
          groups[groups.count - 1].parts.insert(content, at: 0)
        }
        groups[groups.count - 1].range = box.range.lowerBound..<groups[groups.count - 1].range.upperBound
      } else {
        groups.append(MathCandidate(parts: [content], isPercent: box.isPercent, range: box.range))
      }
      last = box.range
    }
    boxed = groups
  }

  /// A box inside a box is only its content.
  private static func unboxed(_ content: String) -> String {
    for name in ["\\boxed{", "\\fbox{"] where content.hasPrefix(name) && content.hasSuffix("}") {
      return String(content.dropFirst(name.count).dropLast())
    }
    return content
  }

  /// Closer than ten bytes, or joined by a separator within seventy.
  private func belongs(_ box: Range<Int>, _ content: String, to next: Range<Int>, _ other: String) -> Bool {
    let gap = box.upperBound..<next.lowerBound
    if gap.count < 10 { return true }
    guard gap.count < 70, content != other else { return false }
    let text = bytes.text(gap)
    return text.contains(",") || text.contains(";")
      || text.split(whereSeparator: { !$0.isLetter }).contains { $0 == "and" || $0 == "or" }
  }

  private func percentFollows(_ place: Int) -> Bool {
    var at = place
    while at < bytes.count, bytes[at] == 0x20 { at += 1 }
    if begins(with: "\\%", at: at) || begins(with: "%", at: at) { return true }
    return begins(with: "percent", at: at) || begins(with: "Percent", at: at) || begins(with: "pct", at: at)
  }

  // MARK: Signs of mathematics

  private mutating func findEnvironments(_ braces: [Int32]) {
    var at = 0
    // Where a search for a closing sign has failed, no later one succeeds.
    var noBracket = false
    var noDollars = false
    var lineEnd = 0
    while at < bytes.count {
      let byte = bytes[at]
      if byte == 0x5C, at + 1 < bytes.count {
        if bytes[at + 1] == 0x5B, !noBracket {
          if let end = find("\\]", from: at + 2) {
            add((at + 2)..<end, from: at, to: end + 2)
            at = end + 2
            continue
          }
          noBracket = true
        } else if bytes[at + 1] == 0x28, at >= lineEnd {
          if let end = find("\\)", from: at + 2, inLine: true) {
            add((at + 2)..<end, from: at, to: end + 2)
            at = end + 2
            continue
          }
          lineEnd = newline(from: at)
        } else if let end = fractionEnd(at, braces) {
          let start = at > 0 && bytes[at - 1] == 0x2D ? at - 1 : at
          add(start..<end, from: start, to: end, isBare: true)
          at = end
          continue
        }
        at += 2
      } else if byte == 0x24 {
        if begins(with: "$$", at: at) {
          if !noDollars, let end = find("$$", from: at + 2) {
            add((at + 2)..<end, from: at, to: end + 2)
            at = end + 2
            continue
          }
          noDollars = true
          at += 2
        } else if at > 0, (0x30...0x39).contains(bytes[at - 1]) {
          at += 1
        } else if let end = closingDollar(from: at + 1) {
          add((at + 1)..<end, from: at, to: end + 1)
          at = end + 1
        } else {
          // Nothing closes in this line.
          at = max(at + 1, newline(from: at))
        }
      } else {
        at += 1
      }
    }
  }

  private mutating func add(_ content: Range<Int>, from start: Int, to end: Int, isBare: Bool = false) {
    guard !content.isEmpty else { return }
    // What is in a box is looked at as a box.
    guard !boxed.contains(where: { $0.range.overlaps(start..<end) }) || boxed.count > 64 else { return }
    environments.append(
      Environment(
        candidate: MathCandidate(
          parts: [content.count > MathLexer.maximumLength ? "" : string(content)], isPercent: percentFollows(end),
          range: start..<end), isBare: isBare))
  }

  private func newline(from start: Int) -> Int { bytes[start...].firstIndex(of: 0x0A) ?? bytes.count }

  private func find(_ pattern: StaticString, from start: Int, inLine: Bool = false) -> Int? {
    var at = start
    while at < bytes.count {
      if inLine, bytes[at] == 0x0A { return nil }
      if begins(with: pattern, at: at) { return at }
      // A doubled backslash is a sign of its own.
      at += bytes[at] == 0x5C ? 2 : 1
    }
    return nil
  }

  private func closingDollar(from start: Int) -> Int? {
    var at = start
    while at < bytes.count, bytes[at] != 0x0A {
      if bytes[at] == 0x24 { return at }
      at += bytes[at] == 0x5C ? 2 : 1
    }
    return nil
  }

  /// The end of `\frac{1}{2}` with numbers only.
  private func fractionEnd(_ start: Int, _ braces: [Int32]) -> Int? {
    guard
      begins(with: "\\frac{", at: start) || begins(with: "\\dfrac{", at: start) || begins(with: "\\tfrac{", at: start)
    else { return nil }
    var at = bytes[start + 1] == 0x66 ? start + 5 : start + 6
    for _ in 0..<2 {
      guard at < bytes.count, bytes[at] == 0x7B, braces[at] > Int32(at) + 1, Int(braces[at]) - at < 24 else {
        return nil
      }
      let end = Int(braces[at])
      guard bytes[(at + 1)..<end].allSatisfy({ (0x2C...0x39).contains($0) && $0 != 0x2F }) else { return nil }
      at = end + 1
    }
    return at
  }

  // MARK: Lists

  /// `$1$, $2$ and $3$` is one list.
  private mutating func joinNeighbours() {
    var joined: [Environment] = []
    for environment in environments {
      if let last = joined.last, last.candidate.parts.count < 6,
        isSeparator(last.candidate.range.upperBound..<environment.candidate.range.lowerBound)
      {
        joined[joined.count - 1].candidate.parts += environment.candidate.parts
        joined[joined.count - 1].candidate.isPercent = false
        joined[joined.count - 1].candidate.range =
          last.candidate.range.lowerBound..<environment.candidate.range.upperBound
      } else {
        joined.append(environment)
      }
    }
    environments = joined
  }

  private func isSeparator(_ gap: Range<Int>) -> Bool {
    guard gap.count < 24 else { return false }
    let text = bytes.text(gap).trimmedSpace
    return [",", "and", "or", ",and", ",or", ", and", ", or"].contains(text)
  }
}
