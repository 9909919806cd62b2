import Core
import Objectives
import Rewards

/// The scores of a batch of completions that were compared with each other, one column after another.
struct RewardBatch: Sendable {
  /// What one reward said, or one of its components that has a weight of its own.
  struct Column: Sendable {
    var name: String
    /// 0: only logged.
    var weight: Double
    /// As they enter the total, one per completion; NaN where the reward says nothing.
    var scores: [Double]
    /// One per completion.
    var statuses: [RewardStatus]
  }

  /// Groups, whose completions are compared with each other, are runs of so many.
  var groupSize: Int
  var columns: [Column]
  /// Tokens of each completion.
  var lengths: [Int]
  /// The total per completion; NaN where no reward applies.
  var totals: [Double]
  /// True where every reward is normalised within its group before they are added.
  var normalizesFirst = false

  var groups: [Range<Int>] {
    ColumnStatistics.groups(of: lengths.count, size: groupSize)
  }

  /// Values less the mean of their group: what group-relative training sees of them. NaN stays NaN, and counts in no mean.
  func centered(_ values: [Double]) -> [Double] {
    var out = values
    for group in groups {
      let mean = Statistics.mean(Array(values[group]))
      for i in group { out[i] = values[i] - mean }
    }
    return out
  }

  /// A reward's part of the totals, centred within groups; 0 where it says nothing about a completion that others score,
  /// NaN where no reward does.
  func part(_ column: Column) -> [Double] {
    var part = totals.map { $0.isNaN ? Double.nan : 0 }
    let scores = normalizesFirst ? ColumnStatistics.normalized(column.scores, groups: groups) : column.scores
    for i in part.indices where !scores[i].isNaN && !totals[i].isNaN { part[i] = column.weight * scores[i] }
    return centered(part)
  }
}

extension RewardBatch {
  /// - Parameter outcomes: `[reward][completion]`.
  init(
    _ matrix: RewardMatrix, outcomes: [[RewardOutcome]], lengths: [Int], _ stage: Recipe.Stage
  ) {
    self.init(
      groupSize: stage.comparedCompletions(of: lengths.count),
      columns: matrix.columns.enumerated().map { k, column in
        Column(
          name: column.name, weight: column.weight, scores: matrix.values.map { $0[k] },
          statuses: outcomes[column.reward].map(\.status))
      },
      lengths: lengths, totals: matrix.values.indices.map { matrix.total($0) ?? .nan },
      normalizesFirst: stage.policyObjective?.normalizesRewardsFirst == true)
  }
}
