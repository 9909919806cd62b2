import Core

extension GRPO {
  public enum LossType: String, NamedChoice {
    case grpo, bnpo
    case drGRPO = "dr_grpo"
    case dapo, luspo, cispo, sapo, vespo, gmpo

    /// True where the loss is PPO's clipped objective.
    var clips: Bool { self == .grpo || self == .bnpo || self == .drGRPO || self == .dapo || self == .luspo }
  }

  /// What has one importance weight.
  public enum ImportanceLevel: String, NamedChoice {
    /// Every token its own.
    case token
    /// The sequence: `exp` of its mean `λ` (GSPO, arXiv 2507.18071).
    case sequence
    /// The value of the sequence's weight, the gradient of the token's own (GSPO-token, ibid. §4.3).
    case sequenceToken = "sequence_token"
  }

  /// The hyper-parameters; recipe keys are the names in snake case that each comment gives.
  public struct Configuration: Sendable, Equatable {
    /// `loss_type`.
    public var lossType: LossType = .dapo
    /// `importance_sampling_level`.
    public var importanceLevel: ImportanceLevel = .token
    /// `epsilon`: clip range below 1.
    public var epsilon: Double = 0.2
    /// `epsilon_high`: clip range above 1; nil means `epsilon`.
    public var epsilonHigh: Double?
    /// `delta`: upper bound of the unclipped branch, felt where `A < 0` (arXiv 2505.07291); above `1 + ε_high`.
    public var delta: Double?
    /// `beta`: coefficient of the KL term; 0 needs no reference model.
    public var beta: Double = 0
    /// `use_bias_correction_kl`: multiply the KL term by the importance weight (arXiv 2512.02556).
    public var biasCorrectedKL: Bool = true
    /// `top_entropy_quantile`: share of tokens, the most uncertain ones, that the policy term keeps; 1 is off.
    public var topEntropyQuantile: Double = 1
    /// `entropy_coef`: coefficient of the entropy bonus. `adaptiveEntropy` replaces it where that is set.
    public var entropyCoefficient: Double = 0
    /// `use_adaptive_entropy` and its keys.
    public var adaptiveEntropy: AdaptiveEntropy.Configuration?
    /// `off_policy_mask_threshold`: drop rows with `A < 0` whose mean drift exceeds this (arXiv 2512.02556).
    public var offPolicyMaskThreshold: Double?
    /// `scale_rewards`: whose deviation divides the advantages.
    public var scaling: GroupAdvantages.Scaling = .group
    /// `multi_objective_aggregation`.
    public var aggregation: GroupAdvantages.Aggregation = .sumThenNormalize
    /// `sampler_correction*`; nil when the trainer's own forward pass sampled.
    public var samplerCorrection: SamplerCorrection?
    /// `max_completion_length`: the divisor of `dr_grpo`.
    public var maxCompletionLength: Int = 512
    /// `sapo_temperature_pos`.
    public var sapoTemperaturePositive: Double = 1
    /// `sapo_temperature_neg`.
    public var sapoTemperatureNegative: Double = 1.05
    /// `vespo_k_pos`.
    public var vespoPowerPositive: Double = 2
    /// `vespo_lambda_pos`.
    public var vespoDecayPositive: Double = 3
    /// `vespo_k_neg`.
    public var vespoPowerNegative: Double = 3
    /// `vespo_lambda_neg`.
    public var vespoDecayNegative: Double = 2

    public init(lossType: LossType = .dapo) { self.lossType = lossType }

    /// The clip range above 1.
    public var upperEpsilon: Double { epsilonHigh ?? epsilon }
    /// True if the loss has an entropy term, even one that pauses.
    public var hasEntropyBonus: Bool { entropyCoefficient != 0 || adaptiveEntropy != nil }
  }

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
}

extension GRPO.Configuration {
  init(_ settings: ObjectiveSettings) throws {
    self.init(lossType: settings.choice("loss_type"))
    importanceLevel = settings.choice("importance_sampling_level")
    epsilon = settings.number("epsilon")
    epsilonHigh = settings.number("epsilon_high")
    delta = settings.optionalNumber("delta")
    beta = settings.number("beta")
    biasCorrectedKL = settings.bool("use_bias_correction_kl")
    topEntropyQuantile = settings.number("top_entropy_quantile")
    entropyCoefficient = settings.number("entropy_coef")
    offPolicyMaskThreshold = settings.optionalNumber("off_policy_mask_threshold")
    maxCompletionLength = settings.int("max_completion_length")
    sapoTemperaturePositive = settings.number("sapo_temperature_pos")
    sapoTemperatureNegative = settings.number("sapo_temperature_neg")
    vespoPowerPositive = settings.number("vespo_k_pos")
    vespoDecayPositive = settings.number("vespo_lambda_pos")
    vespoPowerNegative = settings.number("vespo_k_neg")
    vespoDecayNegative = settings.number("vespo_lambda_neg")
    scaling = settings.choice("scale_rewards")
    aggregation = settings.choice("multi_objective_aggregation")
    if settings.bool("use_adaptive_entropy") {
      var entropy = AdaptiveEntropy.Configuration(initial: entropyCoefficient)
      entropy.delta = settings.number("entropy_coef_delta")
      entropy.minimum = settings.number("entropy_coef_min")
      entropy.maximum = settings.number("entropy_coef_max")
      entropy.target = settings.number("entropy_target")
      adaptiveEntropy = entropy
    }
    if settings.bool("sampler_correction") {
      samplerCorrection = SamplerCorrection(
        mode: settings.choice("sampler_correction_mode"),
        clipMax: settings.optionalNumber("sampler_correction_clip_max"),
        clipMin: settings.optionalNumber("sampler_correction_clip_min"))
    }
    if settings.isLenient, lossType == .gmpo {
      (importanceLevel, delta, offPolicyMaskThreshold, samplerCorrection) = (.token, nil, nil, nil)
      (adaptiveEntropy, entropyCoefficient) = (nil, 0)
    }
    try validate()
  }

  /// Checks the combinations; single values are in the bounds of the parameters.
  /// - Throws: `AttuneError` that names the key, its value and what it may be.
  public func validate() throws {
    try adaptiveEntropy?.validate()
    try samplerCorrection?.validate()
    if lossType == .vespo, let mode = samplerCorrection?.mode, mode.isSequenceLevel {
      throw AttuneError.request(
        "loss_type 'vespo' weighs sequences itself and takes no sampler_correction_mode '\(mode.rawValue)'",
        hint: "use 'token_truncate' or 'token_mask'")
    }
    guard lossType == .gmpo else { return }
    let clashes: [(String, Bool)] = [
      ("importance_sampling_level", importanceLevel != .token), ("delta", delta != nil),
      ("off_policy_mask_threshold", offPolicyMaskThreshold != nil), ("sampler_correction", samplerCorrection != nil),
      ("entropy_coef", hasEntropyBonus),
    ]
    for case (let key, true) in clashes {
      throw AttuneError.request(
        "loss_type 'gmpo' takes no \(key)", hint: "remove \(key), or use loss_type 'grpo' with its reduction")
    }
  }
}
