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
  /// - `rewards/NAME/applicable`: share of completions that the reward itself scored, its status being `ok`.
  /// - `rewards/NAME/zero_spread`: share of groups without spread among those with at least two scores; NaN without any.
  /// - `rewards/NAME/failed`: share of completions; timed out and invalid ones are among them.
  ///
  /// Per reward also `timed_out`, a share of completions, `seconds` per sample, and `clipped`, a share, where its rule
  /// clips. For all together `unscored`: completions that no column with a weight says anything about.
  ///
  /// - Parameters:
  ///   - groupSize: completions per prompt; groups lie one after another.
  ///   - seconds: wall time per reward for all completions; nil: not measured.
  package static func metrics(
    _ matrix: RewardMatrix, _ rules: [ScoringRule], outcomes: [[RewardOutcome]], groupSize: Int, seconds: [Double]?
  ) -> [ObjectiveResult.Metric] {
    let all = Double(max(1, matrix.values.count))
    let groups = ColumnStatistics.groups(of: matrix.values.count, size: groupSize)
    var metrics: [ObjectiveResult.Metric] = []
    for (k, column) in matrix.columns.enumerated() {
      let values = matrix.values.map { $0[k] }
      let statuses = outcomes[column.reward].map(\.status)
      let own = ColumnStatistics(values, statuses: statuses, groups: groups)
      let normalized = ColumnStatistics.normalized(values, groups: groups)
      func add(_ name: String, _ value: Double) { metrics.append(.init("rewards/\(column.name)/\(name)", value)) }
      add("mean", own.mean)
      add("std", own.deviation)
      add("normalized_mean", Statistics.mean(normalized))
      add("normalized_std", Statistics.deviation(normalized))
      add("applicable", own.applicable)
      add("zero_spread", own.flat)
      add("failed", own.failed)
      guard column.component == nil else { continue }
      add("timed_out", Double(statuses.count { $0 == .timedOut }) / all)
      if let seconds { add("seconds", seconds[column.reward] / all) }
      if rules[column.reward].clip != nil { add("clipped", Double(matrix.clipped[column.reward]) / all) }
    }
    metrics.append(.init("unscored", Double(matrix.isUnscored.filter { $0 }.count)))
    return metrics
  }

  /// `eval/rewards/NAME/mean`, `std` and `applicable` of every column, and `failed` of every reward.
  package static func evaluationMetrics(
    _ matrix: RewardMatrix, outcomes: [[RewardOutcome]]
  ) -> [(name: String, value: Double)] {
    matrix.columns.enumerated().flatMap { k, column in
      let own = ColumnStatistics(matrix.values.map { $0[k] }, statuses: outcomes[column.reward].map(\.status))
      var metrics = [("mean", own.mean), ("std", own.deviation), ("applicable", own.applicable)]
      if column.component == nil { metrics.append(("failed", own.failed)) }
      return metrics.filter { !$0.1.isNaN }.map { ("eval/rewards/\(column.name)/\($0.0)", $0.1) }
    }
  }
}
