/// What is known of a generation batch before any reward: lengths, and which completions ended by themselves.
public struct CompletionStatistics: Sendable {
  /// Tokens per completion.
  public var lengths: [Int]
  /// False for a completion that hit the length limit: its last token does not end a sequence.
  public var terminated: [Bool]

  public init(lengths: [Int], terminated: [Bool]) {
    precondition(lengths.count == terminated.count, "\(lengths.count) lengths, \(terminated.count) flags")
    self.lengths = lengths
    self.terminated = terminated
  }

  /// `completions/mean_length`, `…/clipped_ratio`, `…/mean_terminated_length` and kin.
  public var metrics: [ObjectiveResult.Metric] {
    let ended = zip(lengths, terminated).compactMap { $1 ? $0 : nil }
    let clipped = terminated.reduce(0) { $1 ? $0 : $0 + 1 }
    return Self.summary(lengths, "length")
      + [.init("completions/clipped_ratio", Double(clipped) / Double(max(1, lengths.count)))]
      + Self.summary(ended, "terminated_length")
  }

  /// Takes completions that hit the length limit out of the loss (`mask_truncated_completions`, overlong filtering of
  /// DAPO, arXiv 2503.14476). Their rewards still count in their group.
  public func maskTruncated(_ mask: inout [Bool], rowOffsets: [Int]) {
    precondition(rowOffsets.count == terminated.count + 1, "\(rowOffsets.count) offsets, \(terminated.count) flags")
    for i in terminated.indices where !terminated[i] {
      for t in rowOffsets[i]..<rowOffsets[i + 1] { mask[t] = false }
    }
  }

  private static func summary(_ lengths: [Int], _ name: String) -> [ObjectiveResult.Metric] {
    let mean = Double(lengths.reduce(0, +)) / Double(max(1, lengths.count))
    return [
      .init("completions/mean_\(name)", mean), .init("completions/min_\(name)", Double(lengths.min() ?? 0)),
      .init("completions/max_\(name)", Double(lengths.max() ?? 0)),
    ]
  }
}
