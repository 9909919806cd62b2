import RewardKit

/// How close the answer is to a reference, by the edits that lead from one to the other.
///
/// The answer is what stands in the last closed `<answer>` span, else the whole completion. Of several references the
/// closest counts.
struct FuzzyMatch: Reward {
  static let summary = "closeness of the answer to a reference: 1 - edits / length, in characters or in words"
  static let range: ClosedRange<Double>? = 0...1
  static let parameters: [Parameter] = [
    .string(
      "mode", default: "ratio",
      "ratio: edits of code points over the longer text; word_error_rate: edits of words over the reference's"),
    .bool("normalize", default: true, "compare without ASCII case, punctuation and repeated spaces"),
    .number(
      "max_length", default: 4096, in: 1...16384, "how many units are aligned; each one beyond them counts as an edit"),
  ]

  private var countsWords = false
  private var normalizes = true
  private var maxLength = 4096

  mutating func configure(_ parameters: Parameters) throws {
    let mode = parameters.string("mode") ?? "ratio"
    guard ["ratio", "word_error_rate"].contains(mode) else {
      throw RewardError.invalid("mode is '\(mode)', expected ratio or word_error_rate")
    }
    countsWords = mode == "word_error_rate"
    normalizes = parameters.bool("normalize") ?? true
    maxLength = Int(parameters.number("max_length") ?? 4096)
  }

  func score(_ sample: Sample) throws -> Score {
    let references = sample.references
    guard !references.isEmpty else { return Score(nil, log: "no reference") }
    let completion = Array(sample.completion.utf8)
    let answer = words(Self.answerSpan(in: completion) ?? completion[...])
    var best: (score: Double, edits: Int, length: Int)?
    for reference in references {
      let reference = words(Array(reference.utf8)[...])
      guard !reference.isEmpty else { throw RewardError.invalid("a reference is empty") }
      let (a, b) =
        countsWords ? Self.numbered(answer, reference) : (Self.characters(answer), Self.characters(reference))
      let edits = Self.edits(a, b, limit: maxLength)
      let length = countsWords ? b.count : max(a.count, b.count)
      let score = 1 - min(1, Double(edits) / Double(length))
      if score > best?.score ?? -1 { best = (score, edits, length) }
    }
    guard let best else { return Score(nil) }
    return Score(
      best.score, components: ["edits": Double(best.edits)],
      log: "\(best.edits) edits in \(best.length) \(countsWords ? "words" : "characters")")
  }

  // MARK: Texts as units

  private func words(_ text: ArraySlice<UInt8>) -> [[UInt8]] {
    let all = text.split { $0 == 0x20 || (0x09...0x0D).contains($0) }.map(Array.init)
    guard normalizes else { return all }
    let lower = all.map { $0.map { (0x41...0x5A).contains($0) ? $0 + 32 : $0 } }
    let plain = lower.map { $0.filter { !Self.isPunctuation($0) } }.filter { !$0.isEmpty }
    return plain.isEmpty ? lower : plain
  }

  /// Code points of the words with one space between them.
  private static func characters(_ words: [[UInt8]]) -> [UInt32] {
    String(decoding: Array(words.joined(separator: [0x20])), as: UTF8.self).unicodeScalars.map(\.value)
  }

  /// Two lists of words as numbers that are equal for equal words.
  private static func numbered(_ a: [[UInt8]], _ b: [[UInt8]]) -> ([UInt32], [UInt32]) {
    var numbers: [[UInt8]: UInt32] = [:]
    func number(_ word: [UInt8]) -> UInt32 {
      let next = UInt32(numbers.count)
      return numbers[word]
        ?? {
          numbers[word] = next; return next
        }()
    }
    return (a.map(number), b.map(number))
  }

  // MARK: Edits

  /// The fewest insertions, deletions and replacements that lead from `a` to `b` (Levenshtein). What both begin and end
  /// with costs nothing; of the rest at most `limit` units are aligned, in O(limit²) time.
  static func edits(_ a: [UInt32], _ b: [UInt32], limit: Int) -> Int {
    var (a, b) = (a[...], b[...])
    while let first = a.first, first == b.first { (a, b) = (a.dropFirst(), b.dropFirst()) }
    while let last = a.last, last == b.last { (a, b) = (a.dropLast(), b.dropLast()) }
    let beyond = max(0, a.count - limit) + max(0, b.count - limit)
    let (x, y) = (Array(a.prefix(limit)), Array(b.prefix(limit)))
    // row[j]: edits from what was read of x to the first j units of y.
    var row = Array(0...y.count)
    for i in x.indices {
      var diagonal = row[0]
      row[0] = i + 1
      for j in y.indices {
        let replaced = diagonal + (x[i] == y[j] ? 0 : 1)
        diagonal = row[j + 1]
        row[j + 1] = min(replaced, diagonal + 1, row[j] + 1)
      }
    }
    return row[y.count] + beyond
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

  private static func isPunctuation(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E: true
    default: false
    }
  }
}

@c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(FuzzyMatch.self) }
