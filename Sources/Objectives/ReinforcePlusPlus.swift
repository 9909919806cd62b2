import Core

/// REINFORCE++ (arXiv 2501.03262): policy gradients without a critic, advantages whitened over the whole batch.
///
/// | `flavour` | advantage | KL |
/// | --- | --- | --- |
/// | `token` | the discounted sum of token rewards, whitened over all tokens | in the token rewards |
/// | `baseline` | score − mean of the group, on every token, whitened over all tokens | `kl_coef · mean k2(x, r)` in the loss |
/// | `sequence` | score − kl_coef·Σ KL − mean of the group, over the batch's deviation | in the score |
///
/// and the token mean of PPO's clipped term.
///
/// Departures: (1) completions without any reward take no part in means and deviations.
public struct ReinforcePlusPlus: PolicyObjective {
  public enum Flavour: String, NamedChoice {
    case token, baseline, sequence
  }

  public static let name = "reinforce_pp"
  public static let summary = "REINFORCE++: clipped policy gradients with advantages whitened over the batch"
  public static let parameters: [ObjectiveParameter] = [
    .choice("flavour", Flavour.self, .token, "What an advantage is: of tokens, against the group, or of sequences."),
    .init("kl_coef", .number, .value(0.01), in: .atLeast(0), "Weight of the KL term; 0 loads no reference."),
    .choice("kl_estimator", KLEstimator.self, .k1, "Estimate of the KL that stands in the reward."),
    .init("gamma", .number, .value(1), in: .within(0, 1), "Discount of later rewards; token alone."),
    .init("epsilon", .number, .value(0.2), in: .below(1), "Clip range below 1."),
    .init("epsilon_high", .number, .sameAs("epsilon"), in: .atLeast(0), "Clip range above 1."),
    .init("unbiased_std", .bool, .value(true), "Whiten with the n - 1 variance."),
    .init(
      "num_generations", .int, .value(1), in: .atLeast(1), place: .stage("generations"), "Completions of a prompt."),
  ]

  public let flavour: Flavour
  public let klCoefficient, gamma: Double
  public let estimator: KLEstimator
  public let isUnbiased: Bool
  let clip: ClippedRatio

  public init(_ settings: ObjectiveSettings) throws {
    flavour = settings.choice("flavour")
    klCoefficient = settings.number("kl_coef")
    estimator = settings.choice("kl_estimator")
    gamma = settings.number("gamma")
    isUnbiased = settings.bool("unbiased_std")
    clip = ClippedRatio(lower: settings.number("epsilon"), upper: settings.number("epsilon_high"))
  }

  public var comparesGroups: Bool { flavour != .token }
  public var usesReference: Bool { flavour == .baseline && klCoefficient != 0 }
  public var usesReferenceInReward: Bool { flavour != .baseline && klCoefficient != 0 }
  public var statistics: Set<TokenStatistic> { [.entropy] }
  public var movesWithoutAdvantage: Bool { usesReference }

  public func credit(_ rollouts: ScoredRollouts) throws -> Credit {
    let streams = rollouts.streams
    let (totals, metrics) = try rollouts.rewardTotals()
    let isKnown = totals.map { !$0.isNaN }
    var mask = streams.mask
    for i in 0..<streams.rowCount where !isKnown[i] { for t in streams.row(i) { mask[t] = false } }
    let kl = try TokenCredit.kl(streams, estimator, isNeeded: usesReferenceInReward, by: "kl_coef")
    var (rewards, returns): ([Double]?, [Double]?)
    var advantages = [Double](repeating: 0, count: streams.tokenCount)
    switch flavour {
    case .token:
      let own = TokenCredit.rewards(streams, scores: totals, kl: kl, coefficient: klCoefficient)
      let sums = TokenCredit.advantages(streams, rewards: own, values: nil, gamma: gamma, lambda: 1)
      (rewards, returns) = (own, sums)
      advantages = TokenCredit.whitened(sums, mask: mask, isUnbiased: isUnbiased)
    case .baseline:
      let centred = Spread.centred(totals, size: rollouts.groupSize)
      for i in 0..<streams.rowCount { for t in streams.row(i) { advantages[t] = centred[i] } }
      advantages = TokenCredit.whitened(advantages, mask: mask, isUnbiased: isUnbiased)
    case .sequence:
      let scores = (0..<streams.rowCount).map { i in
        totals[i] - (klCoefficient == 0 ? 0 : klCoefficient * streams.row(i).reduce(0) { $0 + kl[$1] })
      }
      let centred = Spread.centred(scores, size: rollouts.groupSize)
      let deviation = Spread(centred.indices.map { isKnown[$0] ? centred[$0] : .nan }).deviation
      guard !deviation.isNaN else { break }
      for i in 0..<streams.rowCount {
        for t in streams.row(i) where mask[t] {
          advantages[t] = centred[i] / (deviation + GroupAdvantages.deviationPadding)
        }
      }
    }
    return Credit(
      advantages: Advantages.perToken(advantages).adding(rollouts.tokenRewards, streams),
      returns: returns, tokenRewards: rewards, rewards: totals,
      groupIsFlat: Spread.flatGroups(totals, size: rollouts.groupSize),
      metrics: metrics)
  }

  public func evaluate(
    _ streams: TokenStreams, _ credit: Credit, _ totals: StepTotals, _ memory: [String: Double]
  ) throws -> ObjectiveResult {
    let tokens = Double(max(1, totals.tokens))
    var result = ObjectiveResult(tokens: streams.tokenCount)
    let policy = try clip.addTokens(to: &result, streams, credit.advantages, divisor: tokens)
    if usesReference {
      let reference = try streams.required(streams.referenceLogprobs, "reference logprobs", by: "kl_coef")
      let kl = result.gradients.add(
        .k2, streams, reference: reference, coefficient: klCoefficient, divisor: tokens)
      result.loss += klCoefficient * kl / tokens
      result.metrics.append(.init("kl", kl / Double(max(1, streams.maskedCount))))
    }
    result.metrics += streams.entropyMetrics + policy.clips.metrics
    return result
  }
}
