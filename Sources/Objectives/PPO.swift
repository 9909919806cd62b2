import Core

/// Proximal policy optimization (arXiv 1707.06347) with a critic: generalized advantages (1506.02438, eq. 16) of token rewards,
/// the clipped policy term (eq. 7) and a clipped value loss.
///
/// Token rewards are `−kl_coef·KL` and on the last token the score. With values `V` of the critic as it was when the
/// completions were sampled, right to left: `δ_t = r_t + γ·V_{t+1} − V_t`, `Â_t = δ_t + γλ·Â_{t+1}`, `ret = Â + V`; `Â` is then
/// whitened. The policy's loss is the token mean of `max(−Â·w, −Â·clip(w, 1−ε, 1+ε))`, the critic's half the token mean of
/// `max((v − ret)², (clip(v, V ± ε_v) − ret)²)`, and `loss = policy + vf_coef·value`.
///
/// Departures: (1) the score stands on the last token of a completion, not behind it; (2) a score that no reward gives is 0.
public struct PPO: PolicyObjective {
  public static let name = "ppo"
  public static let summary = "proximal policy optimization with a critic"
  public static let parameters: [ObjectiveParameter] = [
    .init(
      "kl_coef", .number, .value(0.05), in: .atLeast(0), "Weight of the KL in token rewards; 0 loads no reference."),
    .choice("kl_estimator", KLEstimator.self, .k1, "Estimate of the KL."),
    .init("gamma", .number, .value(1), in: .within(0, 1), "Discount of later rewards."),
    .init("lam", .number, .value(0.95), in: .within(0, 1), "How far advantages look ahead: from one token to the end."),
    .init("cliprange", .number, .value(0.2), in: .below(1), "Clip range of the ratio."),
    .init("cliprange_value", .number, .value(0.2), in: .above(0), "How far a value may move in a step."),
    .init("vf_coef", .number, .value(0.1), in: .atLeast(0), "Weight of the critic's loss."),
    .init(
      "dual_clip", .number, .unset(meaning: "no bound"), in: .above(1), "Bound of the ratio for negative advantages."),
    .init("whiten_rewards", .bool, .value(false), "Give token rewards a deviation of 1."),
    .init("whiten_advantages", .bool, .value(true), "Give advantages mean 0 and deviation 1."),
    .init(
      "missing_eos_penalty", .number, .unset(meaning: "none"), in: .atLeast(0),
      "Taken from the score of a completion that hit the length limit."),
  ]

  public let klCoefficient, gamma, lambda, valueWeight: Double
  public let estimator: KLEstimator
  public let whitensRewards, whitensAdvantages: Bool
  public let missingEndPenalty: Double?
  let clip: ClippedRatio
  let clippedValue: ClippedValue

  public init(_ settings: ObjectiveSettings) throws {
    klCoefficient = settings.number("kl_coef")
    estimator = settings.choice("kl_estimator")
    gamma = settings.number("gamma")
    lambda = settings.number("lam")
    clippedValue = ClippedValue(range: settings.number("cliprange_value"))
    valueWeight = settings.number("vf_coef")
    whitensRewards = settings.bool("whiten_rewards")
    whitensAdvantages = settings.bool("whiten_advantages")
    missingEndPenalty = settings.optionalNumber("missing_eos_penalty")
    let range = settings.number("cliprange")
    clip = ClippedRatio(lower: range, upper: range, dualClip: settings.optionalNumber("dual_clip"))
  }

  public var comparesGroups: Bool { false }
  public var usesValues: Bool { true }
  public var usesReferenceInReward: Bool { klCoefficient != 0 }
  public var statistics: Set<TokenStatistic> { [.entropy] }

  public func credit(_ rollouts: ScoredRollouts) throws -> Credit {
    let streams = rollouts.streams
    let values = try streams.required(streams.values, "values", by: "PPO").map(Double.init)
    var (totals, metrics) = try rollouts.rewardTotals()
    let penalty = missingEndPenalty ?? 0
    let scores = totals.indices.map { i in
      (totals[i].isNaN ? 0 : totals[i]) - (rollouts.terminated.isEmpty || rollouts.terminated[i] ? 0 : penalty)
    }
    let kl = try TokenCredit.kl(streams, estimator, isNeeded: klCoefficient != 0, by: "kl_coef")
    let raw = TokenCredit.rewards(streams, scores: scores, kl: kl, coefficient: klCoefficient)
    let rewards = whitensRewards ? TokenCredit.whitened(raw, mask: streams.mask, keepsMean: true) : raw
    let advantages = TokenCredit.advantages(
      streams, rewards: rollouts.adding(to: rewards), values: values, gamma: gamma, lambda: lambda)
    let rows = Double(max(1, totals.count))
    let (divergence, mean) = (kl.reduce(0, +) / rows, scores.reduce(0, +) / rows)
    let cost = klCoefficient == 0 ? 0 : -klCoefficient * divergence
    metrics += [
      .init("objective/kl", divergence, weight: rows), .init("objective/non_score_reward", cost, weight: rows),
      .init("objective/scores", mean, weight: rows), .init("objective/rlhf_reward", cost + mean, weight: rows),
    ]
    let used = whitensAdvantages ? TokenCredit.whitened(advantages, mask: streams.mask) : advantages
    return Credit(
      advantages: .perToken(used), returns: zip(advantages, values).map(+), values: values, tokenRewards: raw,
      rewards: totals, groupIsFlat: Spread.flatGroups(totals, size: rollouts.groupSize).map { _ in false },
      metrics: metrics)
  }

  public func evaluate(
    _ streams: TokenStreams, _ credit: Credit, _ totals: StepTotals, _ memory: [String: Double]
  ) throws -> ObjectiveResult {
    guard let before = credit.values, let returns = credit.returns else {
      throw AttuneError.work("PPO's loss needs the values and returns of the credit, which were not given")
    }
    let tokens = Double(max(1, totals.tokens))
    var result = ObjectiveResult(tokens: streams.tokenCount)
    let policy = try clip.addTokens(to: &result, streams, credit.advantages, divisor: tokens)
    let value = try clippedValue.addTokens(
      to: &result, streams, before: before, wanted: returns, weight: valueWeight, divisor: tokens)
    let count = Double(max(1, streams.maskedCount))
    result.metrics = [
      .init("loss/policy_avg", policy.loss / count), .init("loss/value_avg", value.loss / count),
      .init("policy/clipfrac_avg", policy.clips.lowMean + policy.clips.highMean),
      .init("policy/approxkl_avg", policy.drift / count), .init("val/clipfrac_avg", value.clipped / count),
      .init("val/ratio", policy.ratio / count),
    ]
    let entropy = streams.entropyMetrics
    result.metrics += entropy + entropy.map { .init("policy/entropy_avg", $0.value) }
    return result
  }
}
