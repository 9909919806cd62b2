import Core

/// REINFORCE leave-one-out (arXiv 2402.14740, eq. 3): a completion against the mean of the others of its prompt, all at the
/// level of sequences.
///
/// `ρ` is the weighted sum of rewards, clamped if asked for, minus `β·Σ m·(o − r)` where the KL stands in the reward;
/// `A_i = ρ_i − mean of the group's others`; `w_i = exp(Σ m·(x − o))`; the loss is
/// `−mean_i min(w_i·A_i, clip(w_i, 1−ε, 1+ε_high)·A_i)`, and with the KL in the loss `+ β·mean_i Σ m·k3(x, r)`.
///
/// Departures: (1) the paper has no clip; it is inert while `x = o`; (2) completions without any reward take no part.
public struct RLOO: PolicyObjective {
  public enum KLPlace: String, NamedChoice {
    case reward, loss
  }

  public static let name = "rloo"
  public static let summary = "REINFORCE leave-one-out: a completion against the mean of its prompt's others"
  public static let parameters: [ObjectiveParameter] = [
    .init("beta", .number, .value(0.05), in: .atLeast(0), "Weight of the KL term to the reference; 0 loads none."),
    .choice("kl_in", KLPlace.self, .reward, "Where the KL term stands."),
    .init("epsilon", .number, .value(0.2), in: .below(1), "Clip range below 1."),
    .init("epsilon_high", .number, .sameAs("epsilon"), in: .atLeast(0), "Clip range above 1."),
    .init("reward_clip_range", .numbers, .unset(meaning: "no clamp"), "Least and largest sum of rewards."),
    .init("normalize_advantages", .bool, .value(false), "Give the step's advantages mean 0 and deviation 1."),
  ]

  public let beta: Double
  public let klPlace: KLPlace
  public let normalizes: Bool
  public let range: ClosedRange<Double>?
  let clip: ClippedRatio

  public init(_ settings: ObjectiveSettings) throws {
    beta = settings.number("beta")
    klPlace = settings.choice("kl_in")
    normalizes = settings.bool("normalize_advantages")
    clip = ClippedRatio(lower: settings.number("epsilon"), upper: settings.number("epsilon_high"))
    let bounds = settings.optionalNumbers("reward_clip_range")
    guard bounds.map({ $0.count == 2 && $0[0] <= $0[1] }) ?? true else {
      throw AttuneError.request("reward_clip_range is \(bounds ?? []), expected two ascending numbers")
    }
    range = bounds.map { $0[0]...$0[1] }
  }

  public var usesReference: Bool { beta != 0 && klPlace == .loss }
  public var usesReferenceInReward: Bool { beta != 0 && klPlace == .reward }
  public var statistics: Set<TokenStatistic> { [.entropy] }
  public var movesWithoutAdvantage: Bool { usesReference }

  public func credit(_ rollouts: ScoredRollouts) throws -> Credit {
    let (streams, size) = (rollouts.streams, rollouts.groupSize)
    var (totals, metrics) = try rollouts.rewardTotals()
    try GroupAdvantages(.init(groupSize: size)).configuration.validate(generationBatch: totals.count)
    var scores = totals.map { total in range.map { PortableMath.clamp(total, $0.lowerBound, $0.upperBound) } ?? total }
    if usesReferenceInReward {
      let kl = try TokenCredit.kl(streams, .k1, isNeeded: true, by: "beta")
      for i in 0..<streams.rowCount { scores[i] -= beta * streams.row(i).reduce(0) { $0 + kl[$1] } }
      metrics.append(.init("kl", kl.reduce(0, +) / Double(max(1, streams.maskedCount))))
    }
    var advantages = Spread.leftOneOut(scores, size: size)
    if normalizes {
      // Their mean is 0 by construction.
      let scale = Spread(advantages).deviation + GroupAdvantages.deviationPadding
      advantages = advantages.map { $0 / scale }
    }
    // Completions without a score, or without another to compare with, move nothing.
    advantages = advantages.map { $0.isNaN ? 0 : $0 }
    for (i, extra) in rollouts.tokenRewards.enumerated() { advantages[i] += extra?.reduce(0, +) ?? 0 }
    metrics.append(.init("frac_reward_zero_std", Spread.flatShare(scores, size: size)))
    return Credit(
      advantages: .perRow(advantages), rewards: totals, groupIsFlat: Spread.flatGroups(scores, size: size),
      metrics: metrics)
  }

  public func evaluate(
    _ streams: TokenStreams, _ credit: Credit, _ totals: StepTotals, _ memory: [String: Double]
  ) throws -> ObjectiveResult {
    try streams.validate()
    try credit.advantages.validate(streams)
    let (x, rows) = (streams.policyLogprobs, Double(max(1, totals.rows)))
    let old = streams.oldLogprobs ?? x
    var result = ObjectiveResult(tokens: streams.tokenCount)
    var clips = ClipStatistics(sequenceLevel: true)
    for i in 0..<streams.rowCount {
      let tokens = streams.row(i).filter { streams.mask[$0] }
      let logRatio = tokens.reduce(0) { $0 + (Double(x[$1]) - Double(old[$1])) }
      let term = clip.term(weight: PortableMath.exp(logRatio), advantage: credit.advantages.rowValue(i) ?? 0)
      clips.beginRow()
      clips.add(low: term.low, high: term.high)
      result.loss += term.loss / rows
      for t in tokens { result.gradients.logprob[t] = Float(term.slope / rows) }
    }
    if usesReference {
      let reference = try streams.required(streams.referenceLogprobs, "reference logprobs", by: "beta")
      let kl = result.gradients.add(.k3, streams, reference: reference, coefficient: beta, divisor: rows)
      result.loss += beta * kl / rows
      result.metrics.append(.init("kl", kl / Double(max(1, streams.maskedCount))))
    }
    result.metrics += streams.entropyMetrics + clips.metrics
    return result
  }
}
