import RewardKit

/// The F1 score between the words of the answer and the words of a reference, as question answering counts it.
///
/// The answer is what stands in the last closed `<answer>` span, else the whole completion. Words are compared as
/// multisets, after the normalization of `exact_match`; of several references the best counts.
struct F1: Reward {
  static let summary = "F1 between the words of the answer and of a reference, the best of several references"
  static let range: ClosedRange<Double>? = 0...1

  func score(_ sample: Sample) throws -> Score {
    let references = sample.references
    guard !references.isEmpty else { return Score(nil, log: "no reference") }
    let completion = Array(sample.completion.utf8)
    let answer = Self.words(Self.answerSpan(in: completion) ?? completion[...])
    var best = Match()
    for reference in references {
      let words = Self.words(Array(reference.utf8)[...])
      guard !words.isEmpty else { throw RewardError.invalid("a reference is empty") }
      let match = Match(answer, words)
      if match.f1 > best.f1 || best.of == 0 { best = match }
    }
    return Score(
      best.f1, components: ["precision": best.precision, "recall": best.recall],
      log: "\(best.common) words in common, \(best.answered) in the answer, \(best.of) in the reference")
  }

  /// How many words two texts share, counted as often as they occur in both.
  struct Match {
    var common = 0
    var answered = 0
    var of = 0

    init() {}

    init(_ answer: [[UInt8]], _ reference: [[UInt8]]) {
      answered = answer.count
      of = reference.count
      var left: [[UInt8]: Int] = [:]
      for word in reference { left[word, default: 0] += 1 }
      for word in answer {
        guard let count = left[word], count > 0 else { continue }
        left[word] = count - 1
        common += 1
      }
    }

    var precision: Double { answered == 0 ? 0 : Double(common) / Double(answered) }
    var recall: Double { of == 0 ? 0 : Double(common) / Double(of) }
    var f1: Double { common == 0 ? 0 : 2 * precision * recall / (precision + recall) }
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

@c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(F1.self) }
