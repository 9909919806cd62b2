import Core
import Rewards

/// One reward over a batch of completions, in numbers.
///
/// Group-relative training learns from differences within groups alone, so correlations are taken between values less
/// their group's mean. A value that cannot be computed (nothing varies, nothing applies) is NaN.
public struct RewardSummary: Sendable, Equatable {
  /// How the reward goes with another.
  public struct Pair: Sendable, Equatable {
    public var name: String
    public var correlation: Double
    /// Spearman's: of ranks, so that no outlier makes it.
    public var rankCorrelation: Double
  }

  public var name: String
  public var weight: Double
  public var mean: Double
  /// With the n − 1 denominator.
  public var deviation: Double
  public var lowest: Double
  public var highest: Double
  /// Share of completions that the reward itself scored.
  public var applicable: Double
  /// Share of completions on which something went wrong.
  public var failed: Double
  /// Share of groups without spread, of those with at least two scores.
  public var flat: Double
  /// With the completion's length in tokens.
  public var lengthCorrelation: Double
  public var lengthRankCorrelation: Double
  /// The covariance of the reward's weighted, group-centred part with the group-centred total over the latter's variance;
  /// over all rewards it sums to 1. Above 1 or below 0 where rewards work against each other.
  public var advantageShare: Double
  /// With the rewards that come after it.
  public var pairs: [Pair]
  /// The completion with the lowest and with the highest score; the first of several.
  public var worst: Int?
  public var best: Int?

  public static func == (a: Self, b: Self) -> Bool {
    func same(_ a: Double, _ b: Double) -> Bool { a == b || a.isNaN && b.isNaN }
    return a.name == b.name && a.worst == b.worst && a.best == b.best && a.pairs.map(\.name) == b.pairs.map(\.name)
      && zip(a.basic + a.additions, b.basic + b.additions).allSatisfy { same($0.value, $1.value) }
  }

  /// What a step's metrics have of `RewardStatistics`, by the names that they have there.
  private var basic: [(name: String, value: Double)] {
    [
      ("mean", mean), ("std", deviation), ("applicable", applicable), ("failed", failed),
      ("zero_spread", flat),
    ]
  }

  /// What only a summary has, by its names in metrics and JSON.
  private var further: [(name: String, value: Double)] {
    [
      ("min", lowest), ("max", highest), ("length_correlation", lengthCorrelation),
      ("length_rank_correlation", lengthRankCorrelation), ("advantage_share", advantageShare),
    ]
  }

  /// What is added to a step's metrics, which have the rest already.
  var additions: [(name: String, value: Double)] {
    further + pairs.map { ("correlation/\($0.name)", $0.correlation) }
  }

  var json: JSON {
    .object(
      [("name", .string(name)), ("weight", .double(weight))]
        + (basic + further).map { ($0.name, .finite($0.value)) }
        + [
          (
            "correlations",
            .object(
              pairs.map {
                (
                  $0.name,
                  [
                    "correlation": .finite($0.correlation), "rank_correlation": .finite($0.rankCorrelation),
                  ]
                )
              })
          )
        ])
  }
}

extension RewardBatch {
  /// Every column in numbers, in order.
  func summaries() -> [RewardSummary] {
    let lengths = centered(self.lengths.map(Double.init))
    let centers = columns.map { centered($0.scores) }
    let parts = columns.map(part)
    let total = parts.first.map { first in
      parts.dropFirst().reduce(first) { zip($0, $1).map { $0 + $1 } }
    }
    return columns.indices.map { i in
      var own = summary(
        columns[i].name, columns[i].weight, columns[i].scores, columns[i].statuses, centers[i], lengths)
      own.advantageShare = total.map { Self.share(parts[i], of: $0) } ?? .nan
      own.pairs = columns.indices.dropFirst(i + 1).map { j in
        .init(
          name: columns[j].name, correlation: Statistics.correlation(centers[i], centers[j]),
          rankCorrelation: Statistics.rankCorrelation(centers[i], centers[j]))
      }
      return own
    }
  }

  /// The total in numbers, called `reward`; it applies where any reward with a weight says something.
  func totalSummary() -> RewardSummary {
    var own = summary(
      "reward", 1, totals, totals.map { $0.isNaN ? .notApplicable : .ok }, centered(totals),
      centered(lengths.map(Double.init)))
    own.advantageShare = own.flat < 1 ? 1 : .nan
    return own
  }

  private func summary(
    _ name: String, _ weight: Double, _ scores: [Double], _ statuses: [RewardStatus], _ center: [Double],
    _ lengths: [Double]
  ) -> RewardSummary {
    let own = ColumnStatistics(scores, statuses: statuses, groups: groups)
    let known = scores.indices.filter { scores[$0].isFinite }
    return RewardSummary(
      name: name, weight: weight, mean: own.mean, deviation: own.deviation,
      lowest: known.map { scores[$0] }.min() ?? .nan, highest: known.map { scores[$0] }.max() ?? .nan,
      applicable: own.applicable, failed: own.failed, flat: own.flat,
      lengthCorrelation: Statistics.correlation(center, lengths),
      lengthRankCorrelation: Statistics.rankCorrelation(center, lengths), advantageShare: .nan, pairs: [],
      worst: known.min { (scores[$0], $0) < (scores[$1], $1) },
      best: known.min { (-scores[$0], $0) < (-scores[$1], $1) })
  }

  /// NaN where the total does not vary.
  private static func share(_ part: [Double], of total: [Double]) -> Double {
    guard !Statistics.isFlat(total) else { return .nan }
    var (covariance, variance) = (0.0, 0.0)
    for (x, y) in zip(part, total) where x.isFinite && y.isFinite {
      covariance += x * y
      variance += y * y
    }
    return variance > 0 ? covariance / variance : .nan
  }
}

extension JSON {
  /// A number, or null where it is none.
  static func finite(_ x: Double) -> JSON { x.isFinite ? .double(x) : .null }
}
