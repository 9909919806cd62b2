import Core

/// Group-relative advantages: rewards of G completions per prompt, compared with each other (GRPO, arXiv 2402.03300).
///
/// `ρ_i = Σ_k w_k R_ik`, where NaN means that a reward does not apply and adds nothing. A completion for which no
/// reward applies is unscorable: it stays out of every mean and deviation and gets advantage 0.
///
/// - `sum_then_normalize`: `A = ρ − mean of its group`, then divided by `std + 1e-4` of the group, of the batch (arXiv
///   2508.08221) or not at all (arXiv 2503.20783).
/// - `normalize_then_sum` (GDPO, arXiv 2601.05242): every reward normalized within its group, weighted, summed, and the
///   sums normalized over the batch.
///
/// All deviations have the n − 1 denominator. Departures: (1) the 1e-4 is the field's, not the paper's; (2) a group
/// counts as flat when `max − min ≤ 1e-9·max(1, |mean|)`, and its advantages are exactly 0: a deviation that is
/// rounding residue would otherwise become an advantage of thousands.
public struct GroupAdvantages: Sendable {
  public enum Scaling: String, NamedChoice {
    case group, batch, none
  }

  public enum Aggregation: String, NamedChoice {
    case sumThenNormalize = "sum_then_normalize"
    case normalizeThenSum = "normalize_then_sum"
  }

  public struct Configuration: Sendable, Equatable {
    /// `num_generations`: completions per prompt, at least 2.
    public var groupSize: Int
    /// `reward_weights`, one per reward; nil weighs each 1.
    public var rewardWeights: [Double]?
    /// `scale_rewards`.
    public var scaling: Scaling
    /// `multi_objective_aggregation`.
    public var aggregation: Aggregation

    public init(
      groupSize: Int = 8, rewardWeights: [Double]? = nil, scaling: Scaling = .group,
      aggregation: Aggregation = .sumThenNormalize
    ) {
      self.groupSize = groupSize
      self.rewardWeights = rewardWeights
      self.scaling = scaling
      self.aggregation = aggregation
    }

    /// - Parameter generationBatch: completions scored together, if known.
    /// - Throws: `AttuneError` for a group below 2, weights that are not finite, a batch not made of whole groups.
    public func validate(generationBatch: Int? = nil) throws {
      guard groupSize >= 2 else {
        throw AttuneError.request(
          "num_generations is \(groupSize); a group needs at least 2 completions to compare",
          hint: "the usual value is 8")
      }
      if let bad = rewardWeights?.first(where: { !$0.isFinite }) {
        throw AttuneError.request("reward_weights holds \(bad); every weight must be a finite number")
      }
      if let generationBatch, generationBatch % groupSize != 0 {
        throw AttuneError.request(
          "\(generationBatch) completions are not whole groups of num_generations \(groupSize)",
          hint: "make the generation batch a multiple of \(groupSize)")
      }
    }
  }

  /// Advantages of one generation batch, and what was found on the way.
  public struct Scores: Sendable {
    /// One per completion; 0 for unscorable completions and flat groups.
    public var advantages: [Double]
    /// The weighted sum `ρ` per completion; NaN where no reward applies.
    public var rewards: [Double]
    /// One per group: true when its rewards give no signal.
    public var groupIsFlat: [Bool]
    public var metrics: [ObjectiveResult.Metric]
  }

  /// What the deviation is padded with before dividing.
  static let deviationPadding = 1e-4

  public var configuration: Configuration

  public init(_ configuration: Configuration = .init()) { self.configuration = configuration }

  /// Scores a generation batch.
  ///
  /// - Parameters:
  ///   - rewards: `[completion][reward]`; groups are runs of `groupSize` completions; NaN: does not apply.
  ///   - names: one per reward, for the metrics `rewards/<name>/mean` and `/std`.
  /// - Throws: `AttuneError` if the shapes disagree or a reward is infinite.
  public func compute(rewards: [[Double]], names: [String]) throws -> Scores {
    try configuration.validate(generationBatch: rewards.count)
    let weights = configuration.rewardWeights ?? [Double](repeating: 1, count: names.count)
    let totals = try RewardTotals(rewards, names: names, weights: configuration.rewardWeights).values
    let size = configuration.groupSize
    let groups = stride(from: 0, to: totals.count, by: size).map { $0..<($0 + size) }
    let spread = Spread(totals)
    let groupSpreads = groups.map { Spread(totals[$0]) }

    var advantages = [Double](repeating: 0, count: totals.count)
    let flatShare: Double
    switch configuration.aggregation {
    case .sumThenNormalize:
      for (group, own) in zip(groups, groupSpreads) where !own.isFlat {
        let scale: Double =
          switch configuration.scaling {
          case .group: own.deviation + Self.deviationPadding
          case .batch: spread.deviation + Self.deviationPadding
          case .none: 1
          }
        for i in group where !totals[i].isNaN { advantages[i] = (totals[i] - own.mean) / scale }
      }
      flatShare =
        configuration.scaling == .batch
        ? (spread.isFlat && spread.count > 1 ? 1 : 0) : Spread.flatShare(totals, size: size)
    case .normalizeThenSum:
      var sums = totals.map { $0.isNaN ? Double.nan : 0 }
      for group in groups {
        for k in names.indices {
          let own = Spread(group.lazy.map { rewards[$0][k] })
          guard !own.isFlat else { continue }
          for i in group where !rewards[i][k].isNaN {
            sums[i] += weights[k] * ((rewards[i][k] - own.mean) / (own.deviation + Self.deviationPadding))
          }
        }
      }
      let whole = Spread(sums)
      if !whole.isFlat {
        for i in sums.indices where !sums[i].isNaN {
          advantages[i] = (sums[i] - whole.mean) / (whole.deviation + Self.deviationPadding)
        }
      }
      flatShare = whole.isFlat && whole.count > 1 ? 1 : 0
    }

    var metrics = RewardTotals.metrics(rewards, names: names, totals: totals)
    metrics.append(.init("frac_reward_zero_std", flatShare))
    return Scores(
      advantages: advantages, rewards: totals, groupIsFlat: groupSpreads.map(\.isFlat), metrics: metrics)
  }
}

/// The weighted sum `ρ` of each completion's rewards.
struct RewardTotals {
  /// One per completion; NaN where no reward applies.
  let values: [Double]

  /// - Throws: `AttuneError` if shapes disagree or a reward is infinite.
  init(_ rewards: [[Double]], names: [String], weights: [Double]?) throws {
    let weights = weights ?? [Double](repeating: 1, count: names.count)
    guard weights.count == names.count else {
      throw AttuneError.request("reward_weights has \(weights.count) values for \(names.count) rewards")
    }
    for (i, row) in rewards.enumerated() {
      guard row.count == names.count else {
        throw AttuneError.work("completion \(i) has \(row.count) rewards, expected \(names.count)")
      }
      if let k = row.firstIndex(where: \.isInfinite) {
        throw AttuneError.work("reward '\(names[k])' of completion \(i) is \(row[k]); a reward must be finite or NaN")
      }
    }
    values = rewards.map { row in
      let known = zip(row, weights).filter { !$0.0.isNaN }
      return known.isEmpty ? .nan : known.reduce(0) { $0 + $1.1 * $1.0 }
    }
  }

  /// `rewards/<name>/mean` and `/std`, `reward`, `reward_std`.
  static func metrics(_ rewards: [[Double]], names: [String], totals: [Double]) -> [ObjectiveResult.Metric] {
    let own = names.enumerated().flatMap { k, name in
      let spread = Spread(rewards.lazy.map { $0[k] })
      return [
        ObjectiveResult.Metric("rewards/\(name)/mean", spread.mean),
        ObjectiveResult.Metric("rewards/\(name)/std", spread.deviation),
      ]
    }
    let spread = Spread(totals)
    return own + [.init("reward", spread.mean), .init("reward_std", spread.deviation)]
  }
}
