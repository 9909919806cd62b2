import RewardKit

/// Prefers the shorter of a prompt's right completions (Kimi k1.5, section 2.3.3).
///
/// Over a whole group, with the lengths of its completions, λ = 0.5 - (length - shortest) / (longest - shortest). A right
/// completion scores λ, a wrong one min(0, λ): being brief never pays for being wrong. Where all are equally long, all
/// score 0.
struct GroupLength: GroupReward {
  static let summary = "the shorter of a group's right completions score higher, from 0.5 to -0.5; wrong ones at most 0"
  static let range: ClosedRange<Double>? = -0.5...0.5
  static let parameters: [Parameter] = [
    .string("unit", default: "tokens", "tokens or characters"),
    .string(
      "correct", default: "match",
      "match: the answer is a reference, as in exact_match; all: every completion counts as right; column: as a column says"
    ),
    .string("column", default: "correct", "for correct: column, a boolean or a number that is right from 1 on"),
  ]

  private enum Correctness: String { case match, all, column }
  private var countsTokens = true
  private var correctness = Correctness.match
  private var column = "correct"

  mutating func configure(_ parameters: Parameters) throws {
    let unit = parameters.string("unit") ?? "tokens"
    guard ["tokens", "characters"].contains(unit) else {
      throw RewardError.invalid("unit is '\(unit)', expected tokens or characters")
    }
    countsTokens = unit == "tokens"
    let word = parameters.string("correct") ?? "match"
    guard let correctness = Correctness(rawValue: word) else {
      throw RewardError.invalid("correct is '\(word)', expected match, all or column")
    }
    self.correctness = correctness
    column = parameters.string("column") ?? column
  }

  func score(group: [Sample]) throws -> [Score] {
    if let absent = group.lazy.compactMap(absence).first { return group.map { _ in Score(nil, log: absent) } }
    let lengths = try group.map(length)
    let right = try group.map(isRight)
    guard let shortest = lengths.min(), let longest = lengths.max() else { return [] }
    return zip(lengths, right).map { length, right in
      let spread = Double(longest - shortest)
      let preference = spread == 0 ? 0 : 0.5 - Double(length - shortest) / spread
      return Score(
        right ? preference : min(0, preference), components: ["length": Double(length), "right": right ? 1 : 0],
        log:
          "\(right ? "right" : "wrong"), \(length) of \(shortest) to \(longest) \(countsTokens ? "tokens" : "characters")"
      )
    }
  }

  private func length(_ sample: Sample) throws -> Int {
    guard countsTokens else { return sample.completion.unicodeScalars.count }
    if sample.tokenCount == 0, !sample.completion.isEmpty {
      throw RewardError.invalid("a completion comes without tokens: unit characters would do")
    }
    return sample.policyMask.count { $0 }
  }

  /// What a sample lacks to be called right or wrong, or nil.
  private func absence(_ sample: Sample) -> String? {
    switch correctness {
    case .all: return nil
    case .column:
      let kind = sample.value(column)?.kind ?? .null
      return kind == .null ? "no column \(column)" : nil
    case .match: return sample.references.isEmpty ? "no reference" : nil
    }
  }

  private func isRight(_ sample: Sample) throws -> Bool {
    switch correctness {
    case .all: return true
    case .column:
      if let right = sample.bool(column) { return right }
      guard let number = sample.number(column) else {
        throw RewardError.invalid("the column \(column) is no boolean and no number")
      }
      return number >= 1
    case .match:
      let completion = Array(sample.completion.utf8)
      let answer = Self.words(Self.answerSpan(in: completion) ?? completion[...])
      return sample.references.contains { Self.words(Array($0.utf8)[...]) == answer }
    }
  }

  /// What the last closed `<answer>` span holds, or nil.
  static func answerSpan(in text: [UInt8]) -> ArraySlice<UInt8>? {
    let open = Array("<answer>".utf8)
    let close = Array("</answer>".utf8)
    var from: Int?
    var span: ArraySlice<UInt8>?
    for i in text.indices where text[i] == open[0] {
      if text[i...].starts(with: open) {
        from = i + open.count
      } else if let start = from, text[i...].starts(with: close) {
        span = text[start..<i]
        from = nil
      }
    }
    return span
  }

  /// Lower-case words without punctuation and the articles a, an, the, all of it ASCII. A text of which nothing would be
  /// left (the answer "A", the answer "+") keeps more of itself.
  static func words(_ text: ArraySlice<UInt8>) -> [[UInt8]] {
    let all = text.split { $0 == 0x20 || (0x09...0x0D).contains($0) }.map { word in
      word.map { (0x41...0x5A).contains($0) ? $0 + 32 : $0 }
    }
    let plain = all.map { $0.filter { !isPunctuation($0) } }.filter { !$0.isEmpty }
    let telling = plain.filter { !articles.contains($0) }
    if !telling.isEmpty { return telling }
    return plain.isEmpty ? all : plain
  }

  private static let articles = ["a", "an", "the"].map { Array($0.utf8) }

  private static func isPunctuation(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E: true
    default: false
    }
  }
}

@c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(GroupLength.self) }
