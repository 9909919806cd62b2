import Core

/// Learns from completions that the policy itself wrote and rewards scored:
/// `rollouts → rewards → credit → loss`, each a plain value.
public protocol PolicyObjective: Objective {
  /// True if completions are compared within groups, so that a prompt needs at least two.
  var comparesGroups: Bool { get }
  /// True if each reward is normalised within its group before rewards are added.
  var normalizesRewardsFirst: Bool { get }
  /// True if it reads a critic's value at every token.
  var usesValues: Bool { get }
  /// True if reference log-probabilities are wanted before the loss, for a KL term in the reward.
  var usesReferenceInReward: Bool { get }
  /// False if a completion whose advantages are all zero moves nothing, so that it needs no way back.
  var movesWithoutAdvantage: Bool { get }

  /// What rewards alone make of a step's completions, without KL terms and critic: what watches over rewards look at.
  ///
  /// - Parameters:
  ///   - rewards: `[completion][reward]`, NaN where one does not apply; groups are runs of `groupSize` completions.
  func compare(
    rewards: [[Double]], names: [String], weights: [Double]?, groupSize: Int
  ) throws -> GroupAdvantages.Scores

  /// How good each completion, or each of its tokens, was.
  func credit(_ rollouts: ScoredRollouts) throws -> Credit

  /// Loss, gradients and metrics of one micro-batch.
  ///
  /// - Parameters:
  ///   - streams: one row per completion. Old log-probabilities unless the ratio is 1 by construction.
  ///   - credit: of these rows alone.
  ///   - totals: of the whole step.
  ///   - memory: what the objective keeps from step to step, as it stood when the step began.
  func evaluate(
    _ streams: TokenStreams, _ credit: Credit, _ totals: StepTotals, _ memory: [String: Double]
  ) throws -> ObjectiveResult
}

extension PolicyObjective {
  public var comparesGroups: Bool { true }
  public var normalizesRewardsFirst: Bool { false }
  public var usesValues: Bool { false }
  public var usesReferenceInReward: Bool { false }
  public var movesWithoutAdvantage: Bool { true }

  public func compare(
    rewards: [[Double]], names: [String], weights: [Double]?, groupSize: Int
  ) throws -> GroupAdvantages.Scores {
    try GroupAdvantages(
      // Without groups, completions are compared with all of their step.
      .init(groupSize: groupSize > 1 ? groupSize : max(2, rewards.count), rewardWeights: weights, scaling: .none)
    ).compute(rewards: rewards, names: names)
  }
}

/// The completions of a step with what rewards said of them; groups are runs of `groupSize` rows.
public struct ScoredRollouts: Sendable {
  public var groupSize: Int
  /// `[completion][reward]`; NaN: does not apply.
  public var rewards: [[Double]]
  /// One per reward, for the metrics.
  public var names: [String]
  /// One per reward; nil weighs each 1.
  public var weights: [Double]?
  /// Per completion what rewards add at each of its tokens; nil: nothing.
  public var tokenRewards: [[Double]?]
  /// False for a completion that hit the length limit.
  public var terminated: [Bool]
  /// The rows' tokens: `policyLogprobs` are those of the policy that sampled (old); the mask is that of the loss. Reference
  /// log-probabilities and values where the objective asks for them.
  public var streams: TokenStreams

  public init(
    groupSize: Int, rewards: [[Double]], names: [String], weights: [Double]? = nil, tokenRewards: [[Double]?] = [],
    terminated: [Bool] = [], streams: TokenStreams
  ) {
    self.groupSize = groupSize
    self.rewards = rewards
    self.names = names
    self.weights = weights
    self.tokenRewards = tokenRewards
    self.terminated = terminated
    self.streams = streams
  }
}

extension ScoredRollouts {
  /// The weighted sum `ρ` of each completion's rewards, and what is logged of them.
  /// - Throws: `AttuneError` if shapes disagree or a reward is infinite.
  func rewardTotals() throws -> (totals: [Double], metrics: [ObjectiveResult.Metric]) {
    let totals = try RewardTotals(rewards, names: names, weights: weights).values
    return (totals, RewardTotals.metrics(rewards, names: names, totals: totals))
  }

  /// Values per token with what rewards add at each of them.
  func adding(to values: [Double]) -> [Double] {
    var values = values
    for (i, extra) in tokenRewards.enumerated() {
      for (t, reward) in zip(streams.row(i), extra ?? []) { values[t] += reward }
    }
    return values
  }
}

/// What became of a step's rewards: advantages, and for a critic the returns that it should have foreseen.
public struct Credit: Sendable {
  public var advantages: Advantages
  /// Per token what the value should have been; nil without a critic.
  public var returns: [Double]?
  /// Per token what the critic said when the completions were sampled; nil without a critic.
  public var values: [Double]?
  /// Per token what its reward was, KL term included; nil where credit is not made of them.
  public var tokenRewards: [Double]?
  /// The weighted sum `ρ` per completion; NaN where no reward applies.
  public var rewards: [Double]
  /// One per group: true when its rewards give no signal.
  public var groupIsFlat: [Bool]
  public var metrics: [ObjectiveResult.Metric]

  public init(
    advantages: Advantages, returns: [Double]? = nil, values: [Double]? = nil, tokenRewards: [Double]? = nil,
    rewards: [Double], groupIsFlat: [Bool], metrics: [ObjectiveResult.Metric]
  ) {
    self.values = values
    self.tokenRewards = tokenRewards
    self.advantages = advantages
    self.returns = returns
    self.rewards = rewards
    self.groupIsFlat = groupIsFlat
    self.metrics = metrics
  }

  /// The credit of some rows of the step.
  ///
  /// - Parameters:
  ///   - rows: ascending or not, each a row of the step.
  ///   - offsets: the step's `rowOffsets`.
  public func of(rows: [Int], offsets: [Int]) -> Credit {
    var part = self
    let tokens = rows.flatMap { Array(offsets[$0]..<offsets[$0 + 1]) }
    switch advantages {
    case .perRow(let values): part.advantages = .perRow(rows.map { values[$0] })
    case .perToken(let values): part.advantages = .perToken(tokens.map { values[$0] })
    }
    part.returns = returns.map { all in tokens.map { all[$0] } }
    part.values = values.map { all in tokens.map { all[$0] } }
    part.tokenRewards = tokenRewards.map { all in tokens.map { all[$0] } }
    part.rewards = rows.map { rewards[$0] }
    return part
  }

  /// True if an advantage of row `row` is not zero.
  public func moves(row: Int, offsets: [Int]) -> Bool {
    switch advantages {
    case .perRow(let values): values[row] != 0
    case .perToken(let values): (offsets[row]..<offsets[row + 1]).contains { values[$0] != 0 }
    }
  }

  /// The mean advantage of a row's tokens that count, for the record.
  public func meanAdvantage(row: Int, _ streams: TokenStreams) -> Double {
    switch advantages {
    case .perRow(let values): return values[row]
    case .perToken(let values):
      let tokens = streams.row(row).filter { streams.mask[$0] }
      return tokens.reduce(0) { $0 + values[$1] } / Double(max(1, tokens.count))
    }
  }
}
