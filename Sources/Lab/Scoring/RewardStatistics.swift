import Objectives
import Rewards

/// What is logged of each reward in a step.
package struct RewardStatistics: Sendable {
  /// Per column NAME, in order:
  ///
  /// - `rewards/NAME/mean`, `std`: over the completions that it says something about, failures and limits applied; the
  ///   deviation has the n − 1 denominator.
  /// - `rewards/NAME/normalized_mean`, `normalized_std`: the same after `(r − mean) / (std + 1e-4)` within each group; 0 in
  ///   groups without spread.
  /// - `rewards/NAME/applicable`: share of completions that it says something about.
  /// - `rewards/NAME/zero_spread`: share of groups in which it tells no two completions apart.
  ///
  /// Per reward also `failed` (timed out and invalid ones are among them) and `timed_out`, both shares of completions,
  /// `seconds` per sample, and `clipped`, a share, where its rule clips. For all together `unscored`: completions that no
  /// column with a weight says anything about.
  ///
  /// - Parameters:
  ///   - groupSize: completions per prompt; groups lie one after another.
  ///   - seconds: wall time per reward for all completions; nil: not measured.
  package static func metrics(
    _ matrix: RewardMatrix, _ rules: [ScoringRule], outcomes: [[RewardOutcome]], groupSize: Int, seconds: [Double]?
  ) -> [ObjectiveResult.Metric] {
    let rows = matrix.values.count
    let all = Double(max(1, rows))
    let groups = stride(from: 0, to: rows, by: max(1, groupSize)).map { $0..<min($0 + max(1, groupSize), rows) }
    var metrics: [ObjectiveResult.Metric] = []
    for (k, column) in matrix.columns.enumerated() {
      let values = matrix.values.map { $0[k] }
      let own = Distribution(values)
      var normalized = [Double](repeating: .nan, count: rows)
      var flat = 0
      for group in groups {
        let spread = Distribution(values[group])
        if spread.isFlat { flat += 1 }
        for i in group where !values[i].isNaN {
          normalized[i] = spread.isFlat ? 0 : (values[i] - spread.mean) / (spread.deviation + 1e-4)
        }
      }
      let after = Distribution(normalized)
      func add(_ name: String, _ value: Double) { metrics.append(.init("rewards/\(column.name)/\(name)", value)) }
      add("mean", own.mean)
      add("std", own.deviation)
      add("normalized_mean", after.mean)
      add("normalized_std", after.deviation)
      add("applicable", Double(own.count) / all)
      add("zero_spread", Double(flat) / Double(max(1, groups.count)))
      guard column.component == nil else { continue }
      let failed = outcomes[column.reward].filter(\.isFailure)
      add("failed", Double(failed.count) / all)
      add("timed_out", Double(failed.filter { $0.status == .timedOut }.count) / all)
      if let seconds { add("seconds", seconds[column.reward] / all) }
      if rules[column.reward].clip != nil { add("clipped", Double(matrix.clipped[column.reward]) / all) }
    }
    metrics.append(.init("unscored", Double(matrix.isUnscored.filter { $0 }.count)))
    return metrics
  }
}

extension RewardStatistics {
  /// `eval/rewards/NAME/mean`, `std` and `applicable` of every column, and `failed` of every reward.
  package static func evaluationMetrics(
    _ matrix: RewardMatrix, outcomes: [[RewardOutcome]]
  ) -> [(name: String, value: Double)] {
    let all = Double(max(1, matrix.values.count))
    return matrix.columns.enumerated().flatMap { k, column in
      let own = Distribution(matrix.values.map { $0[k] })
      var metrics = [("mean", own.mean), ("std", own.deviation), ("applicable", Double(own.count) / all)]
      if column.component == nil {
        metrics.append(("failed", Double(outcomes[column.reward].filter(\.isFailure).count) / all))
      }
      return metrics.filter { !$0.1.isNaN }.map { ("eval/rewards/\(column.name)/\($0.0)", $0.1) }
    }
  }
}

/// Mean and deviation of the values that are not NaN.
package struct Distribution: Sendable {
  package let count: Int
  /// NaN without values.
  package let mean: Double
  /// With the n − 1 denominator; NaN below two values.
  package let deviation: Double
  /// The values differ by no more than rounding, or there are fewer than two: `max − min ≤ 1e-9·max(1, |mean|)`.
  package let isFlat: Bool

  package init(_ values: some Sequence<Double>) {
    let known = values.filter { !$0.isNaN }
    count = known.count
    guard let least = known.min(), let greatest = known.max() else {
      (mean, deviation, isFlat) = (.nan, .nan, true)
      return
    }
    let mean = known.reduce(0, +) / Double(known.count)
    self.mean = mean
    let squares = known.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    deviation = known.count > 1 ? (squares / Double(known.count - 1)).squareRoot() : .nan
    isFlat = greatest - least <= 1e-9 * max(1, abs(mean))
  }
}
