import Core

extension GRPO: PolicyObjective {
  public static let name = "grpo"
  public static let summary = "group relative policy optimization: completions of a prompt compared with each other"
  public static let parameters: [ObjectiveParameter] = [
    .choice("loss_type", LossType.self, .dapo, "The policy term, and how its token losses are averaged."),
    .init("beta", .number, .value(0), in: .atLeast(0), "Weight of the KL term to the reference model; 0 loads none."),
    .init("epsilon", .number, .value(0.2), in: .below(1), "Clip range below 1."),
    .init("epsilon_high", .number, .sameAs("epsilon"), in: .atLeast(0), "Clip range above 1."),
    .init(
      "delta", .number, .unset(meaning: "no bound"), in: .above(1), "Upper bound of the ratio for negative advantages."),
    .choice(
      "scale_rewards", GroupAdvantages.Scaling.self, .group, "Whose standard deviation divides the advantages."
    ).taking(true, as: "group").taking(false, as: "none"),
    .choice(
      "importance_sampling_level", ImportanceLevel.self, .token,
      "One ratio a token, one a completion (GSPO), or the completion's value with the token's gradient."),
    .choice(
      "multi_objective_aggregation", GroupAdvantages.Aggregation.self, .sumThenNormalize,
      "Whether several rewards are added before or after they are normalised."),
    .init("use_bias_correction_kl", .bool, .value(true), "Multiply the KL term by the ratio."),
    .init(
      "top_entropy_quantile", .number, .value(1), in: .within(0, 1),
      "Learn from this fraction of tokens, highest entropy first."),
    .init("entropy_coef", .number, .value(0), "Weight of the entropy bonus."),
    .init("use_adaptive_entropy", .bool, .value(false), "Steer the entropy bonus towards a target."),
    .init("entropy_coef_delta", .number, .value(0.005), in: .atLeast(0), "How far one step moves the steered weight."),
    .init("entropy_coef_min", .number, .value(0), "Least steered weight."),
    .init("entropy_coef_max", .number, .value(1), "Largest steered weight."),
    .init("entropy_target", .number, .value(0.2), "Entropy to steer towards, nats a token."),
    .init(
      "off_policy_mask_threshold", .number, .unset(meaning: "none is dropped"),
      "Drop completions with a negative advantage that drifted further than this from the policy that wrote them."),
    .init("sapo_temperature_pos", .number, .value(1), in: .above(0), "Gate of sapo for positive advantages."),
    .init("sapo_temperature_neg", .number, .value(1.05), in: .above(0), "Gate of sapo for negative advantages."),
    .init("vespo_k_pos", .number, .value(2), "Power of vespo's weight for positive advantages."),
    .init("vespo_lambda_pos", .number, .value(3), "Decay of vespo's weight for positive advantages."),
    .init("vespo_k_neg", .number, .value(3), "Power of vespo's weight for negative advantages."),
    .init("vespo_lambda_neg", .number, .value(2), "Decay of vespo's weight for negative advantages."),
    .init(
      "max_completion_length", .int, .value(512), in: .atLeast(1), place: .stage("max_new_tokens"),
      "The divisor of dr_grpo."),
    .init("sampler_correction", .bool, .value(false), place: .suites, "Correct for a sampler that is not the trainer."),
    .choice("sampler_correction_mode", SamplerCorrection.Mode.self, .sequenceMask, place: .suites, "How."),
    .init("sampler_correction_clip_max", .number, .unset(meaning: "no bound"), place: .suites, "Upper bound."),
    .init("sampler_correction_clip_min", .number, .unset(meaning: "no bound"), place: .suites, "Lower bound."),
  ]

  public init(_ settings: ObjectiveSettings) throws {
    var c = Configuration(lossType: settings.choice("loss_type"))
    c.importanceLevel = settings.choice("importance_sampling_level")
    c.epsilon = settings.number("epsilon")
    c.epsilonHigh = settings.number("epsilon_high")
    c.delta = settings.optionalNumber("delta")
    c.beta = settings.number("beta")
    c.biasCorrectedKL = settings.bool("use_bias_correction_kl")
    c.topEntropyQuantile = settings.number("top_entropy_quantile")
    c.entropyCoefficient = settings.number("entropy_coef")
    c.offPolicyMaskThreshold = settings.optionalNumber("off_policy_mask_threshold")
    c.maxCompletionLength = settings.int("max_completion_length")
    c.sapoTemperaturePositive = settings.number("sapo_temperature_pos")
    c.sapoTemperatureNegative = settings.number("sapo_temperature_neg")
    c.vespoPowerPositive = settings.number("vespo_k_pos")
    c.vespoDecayPositive = settings.number("vespo_lambda_pos")
    c.vespoPowerNegative = settings.number("vespo_k_neg")
    c.vespoDecayNegative = settings.number("vespo_lambda_neg")
    c.scaling = settings.choice("scale_rewards")
    c.aggregation = settings.choice("multi_objective_aggregation")
    if settings.bool("use_adaptive_entropy") {
      var entropy = AdaptiveEntropy.Configuration(initial: c.entropyCoefficient)
      entropy.delta = settings.number("entropy_coef_delta")
      entropy.minimum = settings.number("entropy_coef_min")
      entropy.maximum = settings.number("entropy_coef_max")
      entropy.target = settings.number("entropy_target")
      c.adaptiveEntropy = entropy
    }
    if settings.bool("sampler_correction") {
      c.samplerCorrection = SamplerCorrection(
        mode: settings.choice("sampler_correction_mode"),
        clipMax: settings.optionalNumber("sampler_correction_clip_max"),
        clipMin: settings.optionalNumber("sampler_correction_clip_min"))
    }
    self.init(c)
    try c.validate()
  }

  public var usesReference: Bool { configuration.beta != 0 }
  public var statistics: Set<TokenStatistic> { [.entropy] }
  /// The threshold of the quantile is the step's.
  public var needsWholeStep: Bool { configuration.topEntropyQuantile < 1 }
  public var movesWithoutAdvantage: Bool {
    configuration.beta != 0 || configuration.hasEntropyBonus || configuration.topEntropyQuantile != 1
  }

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

  public func evaluate(
    _ streams: TokenStreams, _ credit: Credit, _ totals: StepTotals, _ memory: [String: Double]
  ) throws -> ObjectiveResult {
    var result = try evaluate(
      streams, advantages: credit.advantages,
      normalization: Normalization(itemCount: totals.tokens, rowCount: totals.rows, microBatchTokens: totals.tokens),
      entropyCoefficient: controller(memory)?.appliedCoefficient)
    if configuration.adaptiveEntropy != nil {
      let (sum, count) = try entropyStatistics(streams)
      result.tallies = ["entropy_sum": sum, "entropy_count": Double(count)]
    }
    return result
  }

  public func finishStep(_ tallies: [String: Double], _ memory: inout [String: Double]) {
    guard var controller = controller(memory), let sum = tallies["entropy_sum"], let count = tallies["entropy_count"]
    else { return }
    controller.observe(entropySum: sum, count: Int(count))
    controller.finishStep()
    memory = ["entropy_coef": controller.coefficient, "last_entropy": controller.lastEntropy]
  }

  /// The controller of the entropy bonus as it stands; nil where the bonus is not steered.
  private func controller(_ memory: [String: Double]) -> AdaptiveEntropy? {
    configuration.adaptiveEntropy.map {
      AdaptiveEntropy($0, coefficient: memory["entropy_coef"], lastEntropy: memory["last_entropy"] ?? .infinity)
    }
  }
}
