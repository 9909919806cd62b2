import Rewards

/// What one column of rewards comes to in a batch: the same numbers in the table before a stage, in a step's metrics and in
/// an evaluation's.
struct ColumnStatistics: Sendable, Equatable {
  /// Over the completions that it says something about, failures and limits applied; NaN without any.
  let mean: Double
  /// The same with the n − 1 denominator; NaN below two.
  let deviation: Double
  /// Share of completions that the reward itself scored (status `ok`), whatever failures and the length limit then count.
  /// A component's is its reward's.
  let applicable: Double
  /// Share of completions on which something went wrong.
  let failed: Double
  /// Share of groups without spread among those with at least two scores; NaN if there is none.
  let flat: Double

  /// - Parameters:
  ///   - scores: one per completion as it enters the total; NaN where it says nothing.
  ///   - statuses: of the reward, one per completion.
  ///   - groups: ranges of completions that are compared with each other.
  init(_ scores: [Double], statuses: [RewardStatus], groups: [Range<Int>] = []) {
    let all = Double(max(1, scores.count))
    mean = Statistics.mean(scores)
    deviation = Statistics.deviation(scores)
    applicable = Double(statuses.count { $0 == .ok }) / all
    failed = Double(statuses.count(where: \.isFailure)) / all
    let compared = groups.map { scores[$0].filter(\.isFinite) }.filter { $0.count > 1 }
    flat = compared.isEmpty ? .nan : Double(compared.count(where: Statistics.isFlat)) / Double(compared.count)
  }

  /// Completions of one prompt after another.
  static func groups(of count: Int, size: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: max(1, size)).map { $0..<min(count, $0 + max(1, size)) }
  }

  /// `(r − mean) / (std + 1e-4)` within each group, 0 in groups without spread; NaN stays NaN. So rewards are made equal
  /// before they are added in GDPO (arXiv 2601.05242), which also pads the deviation.
  static func normalized(_ scores: [Double], groups: [Range<Int>]) -> [Double] {
    var out = scores
    for group in groups {
      let own = Array(scores[group])
      let isFlat = Statistics.isFlat(own)
      let (mean, scale) = (Statistics.mean(own), Statistics.deviation(own) + 1e-4)
      for i in group where !scores[i].isNaN { out[i] = isFlat ? 0 : (scores[i] - mean) / scale }
    }
    return out
  }
}
