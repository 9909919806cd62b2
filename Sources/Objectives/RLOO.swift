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
    let totals = try RewardTotals(rollouts.rewards, names: rollouts.names, weights: rollouts.weights).values
    try GroupAdvantages(.init(groupSize: size)).configuration.validate(generationBatch: totals.count)
    var metrics = RewardTotals.metrics(rollouts.rewards, names: rollouts.names, totals: totals)
    var scores = totals.map { total in range.map { PortableMath.clamp(total, $0.lowerBound, $0.upperBound) } ?? total }
    if usesReferenceInReward {
      let reference = try streams.required(streams.referenceLogprobs, "reference logprobs", by: "beta")
      let kl = zip(streams.policyLogprobs, reference).map { Double($0) - Double($1) }
      for i in 0..<streams.rowCount {
        scores[i] -= beta * streams.row(i).reduce(0) { streams.mask[$1] ? $0 + kl[$1] : $0 }
      }
      let sum = streams.mask.indices.reduce(0) { streams.mask[$1] ? $0 + kl[$1] : $0 }
      metrics.append(.init("kl", sum / Double(max(1, streams.maskedCount))))
    }
    let (advantages, flat) = leaveOneOut(scores, size: size)
    let tokens = rollouts.tokenRewards.map { $0?.reduce(0, +) ?? 0 }
    metrics.append(.init("frac_reward_zero_std", Double(flat.filter { $0 }.count) / Double(max(1, flat.count))))
    return Credit(
      advantages: .perRow(advantages.indices.map { advantages[$0] + (tokens.isEmpty ? 0 : tokens[$0]) }),
      rewards: totals, groupIsFlat: flat, metrics: metrics)
  }

  /// Each scorable completion against the mean of its group's others.
  private func leaveOneOut(_ scores: [Double], size: Int) -> (advantages: [Double], flat: [Bool]) {
    var advantages = [Double](repeating: 0, count: scores.count)
    var flat: [Bool] = []
    for start in stride(from: 0, to: scores.count, by: size) {
      let known = (start..<start + size).filter { !scores[$0].isNaN }
      let sum = known.reduce(0) { $0 + scores[$1] }
      flat.append(known.count > 1 && Spread(known.map { scores[$0] }).isFlat)
      guard known.count > 1 else { continue }
      for i in known { advantages[i] = scores[i] - (sum - scores[i]) / Double(known.count - 1) }
    }
    guard normalizes else { return (advantages, flat) }
    let known = scores.indices.filter { !scores[$0].isNaN }
    let spread = Spread(known.map { advantages[$0] })
    for i in known {
      let scaled = (advantages[i] - spread.mean) / (spread.deviation + GroupAdvantages.deviationPadding)
      advantages[i] = scaled.isNaN ? 0 : scaled
    }
    return (advantages, flat)
  }

  public func evaluate(
    _ streams: TokenStreams, _ credit: Credit, _ totals: StepTotals, _ memory: [String: Double]
  ) throws -> ObjectiveResult {
    try streams.validate()
    try credit.advantages.validate(streams)
    let (x, rows) = (streams.policyLogprobs, Double(max(1, totals.rows)))
    let old = streams.oldLogprobs ?? x
    let reference =
      usesReference ? try streams.required(streams.referenceLogprobs, "reference logprobs", by: "beta") : []
    var result = ObjectiveResult(tokens: streams.tokenCount)
    var clips = ClipStatistics(sequenceLevel: true)
    var kl = 0.0
    for i in 0..<streams.rowCount {
      let tokens = streams.row(i).filter { streams.mask[$0] }
      let logRatio = tokens.reduce(0) { $0 + (Double(x[$1]) - Double(old[$1])) }
      let term = clip.term(weight: PortableMath.exp(logRatio), advantage: credit.advantages.value(row: i, token: 0))
      clips.beginRow()
      clips.add(low: term.low, high: term.high)
      result.loss += term.loss / rows
      for t in tokens {
        var slope = term.slope
        if usesReference {
          let d = Double(x[t]) - Double(reference[t])
          kl += KLEstimator.k3.value(d)
          slope += beta * KLEstimator.k3.slope(d)
        }
        result.gradients.logprob[t] = Float(slope / rows)
      }
    }
    result.loss += beta * kl / rows
    if usesReference { result.metrics.append(.init("kl", kl / Double(max(1, streams.maskedCount)))) }
    if let entropies = streams.entropies { result.metrics.append(.init("entropy", streams.maskedMean(entropies))) }
    result.metrics += clips.metrics
    return result
  }
}
