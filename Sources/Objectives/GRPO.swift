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
public struct GRPO: Sendable {
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

  /// What the sums of one micro-batch are divided by.
  public struct Normalization: Sendable, Equatable {
    /// `num_items_in_batch`: masked tokens of the whole generation batch over all ranks; nil counts this micro-batch.
    public var itemCount: Int?
    /// Rows over which row means are averaged; nil counts the rows given. Set it when a micro-batch comes in pieces.
    public var rowCount: Int?
    /// Masked tokens of the micro-batch, which `bnpo` divides by; nil counts those given. Set it when one comes in pieces.
    public var microBatchTokens: Int?
    /// Micro-batches in the present accumulation window.
    public var accumulationSteps: Int
    /// Micro-batches that the generation batch was split into.
    public var stepsPerGeneration: Int
    /// Ranks, whose gradients will be averaged.
    public var processCount: Int
    /// False in evaluation, which doesn't accumulate.
    public var isTraining: Bool

    public init(
      itemCount: Int? = nil, rowCount: Int? = nil, microBatchTokens: Int? = nil, accumulationSteps: Int = 1,
      stepsPerGeneration: Int = 1, processCount: Int = 1, isTraining: Bool = true
    ) {
      self.microBatchTokens = microBatchTokens
      self.itemCount = itemCount
      self.rowCount = rowCount
      self.accumulationSteps = accumulationSteps
      self.stepsPerGeneration = stepsPerGeneration
      self.processCount = processCount
      self.isTraining = isTraining
    }
  }

  public var configuration: Configuration

  public init(_ configuration: Configuration = .init()) { self.configuration = configuration }
}
