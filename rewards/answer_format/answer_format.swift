import RewardKit

/// 1 if the whole completion is `<answer>`, digits, `</answer>` and nothing else.
struct AnswerFormat: Reward {
  static let summary = "1 if the completion is exactly <answer>digits</answer>"
  static let range: ClosedRange<Double>? = 0...1

  func score(_ sample: Sample) -> Score {
    let problem = Self.problem(in: sample.completion)
    return Score(
      problem == nil ? 1 : 0, components: ["well_formed": problem == nil ? 1 : 0], log: problem ?? "well formed")
  }

  /// What keeps the text from being an answer, or nil.
  static func problem(in text: String) -> String? {
    let open = "<answer>".utf8
    let close = "</answer>".utf8
    let bytes = Array(text.utf8)
    guard bytes.starts(with: open) else { return "does not begin with <answer>" }
    guard bytes.count >= open.count + close.count, bytes.suffix(close.count).elementsEqual(close) else {
      return "does not end with </answer>"
    }
    let inside = bytes[open.count..<(bytes.count - close.count)]
    if inside.isEmpty { return "nothing between the tags" }
    return inside.allSatisfy { (0x30...0x39).contains($0) } ? nil : "something other than digits between the tags"
  }
}

@c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(AnswerFormat.self) }
