import Core

/// Group relative policy optimization (arXiv 2402.03300) and its kin: from advantages to the loss.
///
/// With `λ = x − o` (policy minus old logprob), weight `w = exp λ` and advantage `A`:
///
/// | `loss_type` | per token | reduction | source |
/// | --- | --- | --- | --- |
/// | `grpo` | PPO clip | mean over rows of the row's token mean | arXiv 2402.03300 |
/// | `bnpo` | PPO clip | token mean of the micro-batch | |
/// | `dr_grpo` | PPO clip | sum / (rows · `max_completion_length`) | arXiv 2503.20783 |
/// | `dapo` | PPO clip | sum / tokens of the whole step | arXiv 2503.14476 |
/// | `luspo` | PPO clip | mean over rows of the row's sum | arXiv 2602.05261 |
/// | `cispo` | `−sg(min(w, ε_high))·A·x` | as `dapo` | arXiv 2506.13585 |
/// | `sapo` | `−(4/τ)·σ(τ(w−1))·A` | as `grpo` | arXiv 2511.20347 |
/// | `vespo` | `−sg(φ)·A·x` | as `dapo` | arXiv 2602.10693 |
/// | `gmpo` | `−exp(mean of clipped λ)·A` per row | mean over rows | arXiv 2507.20673 |
///
/// PPO clip: `−min(min(w, δ)·A, clip(w, 1−ε, 1+ε_high)·A)`.
///
/// Departures: (1) the KL term of 2402.03300 is multiplied by `w` unless `use_bias_correction_kl` is off; (2) the
/// default reduction is DAPO's, not the paper's; (3) the cap of `cispo` is `ε_high` itself, not `1 + ε_high`;
/// (4) `β` is 0 by default.
public struct GRPO: PolicyObjective {
  public static let name = "grpo"
  public static let summary = "group relative policy optimization: completions of a prompt compared with each other"

  public var configuration: Configuration

  public init(_ configuration: Configuration = .init()) { self.configuration = configuration }
  public init(_ settings: ObjectiveSettings) throws { configuration = try Configuration(settings) }

  public func compare(
    rewards: [[Double]], names: [String], weights: [Double]?, groupSize: Int
  ) throws -> GroupAdvantages.Scores {
    try GroupAdvantages(
      .init(
        groupSize: groupSize, rewardWeights: weights, scaling: configuration.scaling,
        aggregation: configuration.aggregation)
    ).compute(rewards: rewards, names: names)
  }

  public func credit(_ rollouts: ScoredRollouts) throws -> Credit {
    let scores = try compare(
      rewards: rollouts.rewards, names: rollouts.names, weights: rollouts.weights, groupSize: rollouts.groupSize)
    return Credit(
      advantages: Advantages.perRow(scores.advantages).adding(rollouts.tokenRewards, rollouts.streams),
      rewards: scores.rewards, groupIsFlat: scores.groupIsFlat, metrics: scores.metrics)
  }

  /// Loss, gradients and metrics of one micro-batch.
  ///
  /// - Parameters:
  ///   - streams: one row per completion; policy logprobs. Also old logprobs unless on-policy, reference logprobs if
  ///     `beta` is not 0, sampling logprobs with sampler correction, entropies for the bonus, the quantile or the log.
  ///   - advantages: without gradient.
  ///   - normalization: what the sums are divided by.
  ///   - entropyCoefficient: the coefficient of the bonus now; nil takes the configuration's. With adaptive entropy
  ///     pass `AdaptiveEntropy.appliedCoefficient`.
  /// - Throws: `AttuneError` for a bad combination, a missing stream, or shapes that disagree.
  public func evaluate(
    _ streams: TokenStreams, advantages: Advantages, normalization: Normalization = .init(),
    entropyCoefficient: Double? = nil
  ) throws -> ObjectiveResult {
    let c = configuration
    try validate(streams, advantages, normalization, entropyCoefficient)
    if c.lossType == .gmpo {
      return try evaluateGMPO(streams, advantages: advantages, normalization: normalization)
    }
    let x = streams.policyLogprobs
    let old = streams.oldLogprobs ?? x
    let reference = c.beta == 0 ? [] : try streams.required(streams.referenceLogprobs, "reference logprobs", by: "beta")
    let sampler = try c.samplerCorrection?.weights(streams)
    let kept = try highEntropyTokens(streams)
    let maskedCount = streams.maskedCount
    var result = ObjectiveResult(tokens: streams.tokenCount)
    var watch = Watch(clip: ClipStatistics(sequenceLevel: c.importanceLevel == .sequence && advantages.isPerRow))

    for i in 0..<streams.rowCount {
      let row = sequence(i, streams, sampler: sampler?.perToken)
      let divisor = normalization.divisor(
        c.lossType, length: row.tokens.count, streams: streams, maskedCount: maskedCount,
        maxCompletionLength: c.maxCompletionLength)
      watch.begin(row, advantages.rowValue(i), c)
      var (rowLoss, rowByLogWeight, direct) = (0.0, 0.0, [Double]())
      for t in row.tokens {
        let advantage = advantages.value(row: i, token: t)
        let logprob = Double(x[t])
        let w = c.importanceLevel == .token ? PortableMath.exp(logprob - Double(old[t])) : row.weight
        var term = policyTerm(weight: w, advantage: advantage, logprob: logprob, logSequenceWeight: row.logWeight)
        watch.add(weight: w, row, advantage, isPerRow: advantages.isPerRow, c)
        let dropped = c.offPolicyMaskThreshold.map { advantage < 0 && !(row.drift <= $0) } ?? false
        let keep = !dropped && kept?[t] ?? true
        // VESPO has the sampler's weight inside its own.
        let samplerWeight = c.lossType == .vespo ? 1 : sampler?.perToken[t] ?? 1
        term = keep && samplerWeight != 0 ? term.scaled(by: samplerWeight) : .zero
        if c.beta != 0 {
          let kl = klTerm(reference: Double(reference[t]), policy: logprob, weight: w)
          watch.kl += kl.loss
          term = term.adding(kl, times: c.beta)
        }
        rowLoss += term.loss
        rowByLogWeight += term.byLogWeight
        direct.append(term.byLogprob + (c.importanceLevel == .sequence ? 0 : term.byLogWeight))
      }
      result.loss += rowLoss / divisor
      // A sequence's weight moves with the mean of its logprobs.
      let shared = c.importanceLevel == .sequence ? rowByLogWeight / row.length : 0
      for (t, own) in zip(row.tokens, direct) { result.gradients.logprob[t] = Float((own + shared) / divisor) }
    }
    result.metrics = (sampler?.metrics ?? []) + watch.metrics(streams, c)
    if c.hasEntropyBonus {
      let coefficient = entropyCoefficient ?? c.entropyCoefficient
      try addEntropyBonus(&result, streams, kept: kept, coefficient: coefficient, normalization)
    }
    return result
  }
}
