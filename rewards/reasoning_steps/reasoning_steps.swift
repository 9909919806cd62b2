import RewardKit

/// Counts what looks like the steps of a solution. It is here as an example of a reward that a policy learns to hack: see
/// the README before using it.
///
/// A marker is `Step 3:`, a line that begins with `3.`, `-` or `*`, or one of `First,` `Second,` `Next,` `Finally,`. The
/// score is the number of markers over `target`, at most 1.
struct ReasoningSteps: Reward {
  static let summary = "step markers over 3, at most 1: easily hacked, an example of what not to trust"
  static let range: ClosedRange<Double>? = 0...1
  static let parameters: [Parameter] = [
    .number("target", default: 3, in: 1...1000, "how many markers score 1")
  ]

  private var target = 3.0

  mutating func configure(_ parameters: Parameters) throws { target = parameters.number("target") ?? target }

  func score(_ sample: Sample) -> Score {
    let count = Double(Self.markers(in: Array(sample.completion.utf8)))
    return Score(min(1, count / target), components: ["markers": count], log: "\(Int(count)) step markers")
  }

  private static let words = ["First,", "Second,", "Next,", "Finally,"].map { Array($0.utf8) }

  static func markers(in text: [UInt8]) -> Int {
    var count = 0
    var i = 0
    while i < text.count {
      let beginsLine = i == 0 || text[i - 1] == 0x0A
      if beginsLine, text[i] == UInt8(ascii: "-") || text[i] == UInt8(ascii: "*") {
        count += 1
      } else if beginsLine, let end = digits(text, from: i), end < text.count, text[end] == UInt8(ascii: ".") {
        count += 1
        i = end
      } else if text[i...].starts(with: "Step ".utf8), let end = digits(text, from: i + 5), end < text.count,
        text[end] == UInt8(ascii: ":")
      {
        count += 1
        i = end
      } else if let word = words.first(where: { text[i...].starts(with: $0) }) {
        count += 1
        i += word.count - 1
      }
      i += 1
    }
    return count
  }

  /// Behind the digits at a place, or nil if there are none.
  private static func digits(_ text: [UInt8], from start: Int) -> Int? {
    var end = start
    while end < text.count, (0x30...0x39).contains(text[end]) { end += 1 }
    return end > start ? end : nil
  }
}

@c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(ReasoningSteps.self) }
