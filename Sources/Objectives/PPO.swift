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

  public let klCoefficient, gamma, lambda, valueClip, valueWeight: Double
  public let estimator: KLEstimator
  public let whitensRewards, whitensAdvantages: Bool
  public let missingEndPenalty: Double?
  let clip: ClippedRatio

  public init(_ settings: ObjectiveSettings) throws {
    klCoefficient = settings.number("kl_coef")
    estimator = settings.choice("kl_estimator")
    gamma = settings.number("gamma")
    lambda = settings.number("lam")
    valueClip = settings.number("cliprange_value")
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
    let totals = try RewardTotals(rollouts.rewards, names: rollouts.names, weights: rollouts.weights).values
    let scores = totals.indices.map { i in
      let ended = rollouts.terminated.isEmpty || rollouts.terminated[i]
      return (totals[i].isNaN ? 0 : totals[i]) - (ended ? 0 : missingEndPenalty ?? 0)
    }
    let kl = try TokenCredit.kl(streams, estimator, isNeeded: klCoefficient != 0, by: "kl_coef")
    let raw = TokenCredit.rewards(streams, scores: scores, kl: kl, coefficient: klCoefficient)
    let rewards = whitensRewards ? TokenCredit.whitened(raw, mask: streams.mask, keepsMean: true) : raw
    var (advantages, returns) = (
      [Double](repeating: 0, count: raw.count), [Double](repeating: 0, count: raw.count)
    )
    for i in 0..<streams.rowCount {
      var (next, later) = (0.0, 0.0)
      for t in streams.row(i).reversed() where streams.mask[t] {
        let extra = rollouts.tokenRewards.isEmpty ? 0 : rollouts.tokenRewards[i]?[t - streams.rowOffsets[i]] ?? 0
        later = rewards[t] + extra + gamma * next - values[t] + gamma * lambda * later
        (advantages[t], returns[t], next) = (later, later + values[t], values[t])
      }
    }
    let rows = Double(max(1, totals.count))
    let (divergence, mean) = (kl.reduce(0, +) / rows, scores.reduce(0, +) / rows)
    let penalty = klCoefficient == 0 ? 0 : -klCoefficient * divergence
    var metrics = RewardTotals.metrics(rollouts.rewards, names: rollouts.names, totals: totals)
    metrics += [
      .init("objective/kl", divergence, weight: rows), .init("objective/non_score_reward", penalty, weight: rows),
      .init("objective/scores", mean, weight: rows), .init("objective/rlhf_reward", penalty + mean, weight: rows),
    ]
    return Credit(
      advantages: .perToken(
        whitensAdvantages ? TokenCredit.whitened(advantages, mask: streams.mask) : advantages),
      returns: returns, values: values, tokenRewards: raw, rewards: totals,
      groupIsFlat: stride(from: 0, to: totals.count, by: max(1, rollouts.groupSize)).map { _ in false },
      metrics: metrics)
  }

  public func evaluate(
    _ streams: TokenStreams, _ credit: Credit, _ totals: StepTotals, _ memory: [String: Double]
  ) throws -> ObjectiveResult {
    try streams.validate()
    try credit.advantages.validate(streams)
    let values = try streams.required(streams.values, "values", by: "PPO")
    guard let before = credit.values, let returns = credit.returns else {
      throw AttuneError.work("PPO's loss needs the values and returns of the credit, which were not given")
    }
    let (x, tokens) = (streams.policyLogprobs, Double(max(1, totals.tokens)))
    let old = streams.oldLogprobs ?? x
    var result = ObjectiveResult(tokens: streams.tokenCount)
    var byValue = [Float](repeating: 0, count: streams.tokenCount)
    var (policy, value, drift, ratio, clipped, clippedValues) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    for i in 0..<streams.rowCount {
      for t in streams.row(i) where streams.mask[t] {
        let logRatio = Double(x[t]) - Double(old[t])
        let w = PortableMath.exp(logRatio)
        let term = clip.term(weight: w, advantage: credit.advantages.value(row: i, token: t))
        result.gradients.logprob[t] = Float(term.slope / tokens)
        let v = Double(values[t])
        let bounded = PortableMath.clamp(v, before[t] - valueClip, before[t] + valueClip)
        let (plain, cut) = ((v - returns[t]) * (v - returns[t]), (bounded - returns[t]) * (bounded - returns[t]))
        let slope = cut > plain ? (bounded == v ? v - returns[t] : 0) : v - returns[t]
        byValue[t] = Float(valueWeight * slope / tokens)
        policy += term.loss
        value += 0.5 * max(plain, cut)
        drift += 0.5 * logRatio * logRatio
        ratio += w
        if term.low || term.high { clipped += 1 }
        if cut > plain { clippedValues += 1 }
      }
    }
    result.loss = policy / tokens + valueWeight * value / tokens
    result.gradients.value = byValue
    let count = Double(max(1, streams.maskedCount))
    result.metrics = [
      .init("loss/policy_avg", policy / count), .init("loss/value_avg", value / count),
      .init("policy/clipfrac_avg", clipped / count), .init("policy/approxkl_avg", drift / count),
      .init("val/clipfrac_avg", clippedValues / count), .init("val/ratio", ratio / count),
    ]
    if let entropies = streams.entropies {
      result.metrics += [
        .init("entropy", streams.maskedMean(entropies)), .init("policy/entropy_avg", streams.maskedMean(entropies)),
      ]
    }
    return result
  }
}
