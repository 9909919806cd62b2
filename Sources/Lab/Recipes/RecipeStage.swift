extension Recipe {
  /// One part of a run: an objective, its data and its steps.
  public struct Stage: Sendable, Equatable {
    public enum ObjectiveName: String, Sendable, CaseIterable { case sft, grpo }

    /// What is optimized, with its settings.
    public enum Objective: Sendable, Equatable {
      case sft(SFTSettings)
      case grpo(GRPOSettings)

      public var name: ObjectiveName {
        switch self {
        case .sft: .sft
        case .grpo: .grpo
        }
      }
    }

    public var name: String
    public var objective: Objective
    public var steps: Int
    /// Name of the data source.
    public var data: String
    /// Trees that are computed at once; 0 is all.
    public var microBatch: Int
    public var optimizer: Optimizer

    /// Settings of supervised fine-tuning.
    public struct SFTSettings: Sendable, Equatable {
      public enum Loss: String, Sendable, CaseIterable { case nll, dft }

      /// Sequences in one step.
      public var batch: Int
      public var loss: Loss
      public var labelSmoothing: Double

      init(stage: RecipeValues) {
        let values = stage.section("sft")
        batch = stage.int("batch")
        loss = values.choice("loss")
        labelSmoothing = values.number("label_smoothing")
      }
    }

    /// Settings of group-relative policy optimization and of its rollouts.
    public struct GRPOSettings: Sendable, Equatable {
      public enum LossType: String, Sendable, CaseIterable { case dapo, grpo }
      public enum RewardScale: String, Sendable, CaseIterable { case group, batch, none }
      public enum ImportanceLevel: String, Sendable, CaseIterable { case token, sequence }
      public enum RewardCombination: String, Sendable, CaseIterable {
        case sumThenNormalize = "sum_then_normalize"
        case normalizeThenSum = "normalize_then_sum"
      }

      /// Prompts in one step.
      public var prompts: Int
      /// Completions of each prompt.
      public var generations: Int
      public var maxNewTokens: Int
      public var temperature: Double
      /// 0 samples from all ids.
      public var topK: Int
      public var topP: Double
      public var minP: Double
      /// Optimizer passes over each batch of rollouts.
      public var iterations: Int
      public var lossType: LossType
      public var beta: Double
      public var epsilon: Double
      public var epsilonHigh: Double
      public var delta: Double?
      public var scaleRewards: RewardScale
      public var importanceSamplingLevel: ImportanceLevel
      public var multiObjective: RewardCombination
      public var maskTruncatedCompletions: Bool
      public var useBiasCorrectionKL: Bool
      public var topEntropyQuantile: Double
      public var entropyCoef: Double

      init(stage: RecipeValues) {
        let values = stage.section("grpo")
        prompts = stage.int("prompts")
        generations = stage.int("generations")
        maxNewTokens = stage.int("max_new_tokens")
        temperature = stage.number("temperature")
        topK = stage.int("top_k")
        topP = stage.number("top_p")
        minP = stage.number("min_p")
        iterations = stage.int("iterations")
        lossType = values.choice("loss_type")
        beta = values.number("beta")
        epsilon = values.number("epsilon")
        epsilonHigh = values.number("epsilon_high")
        delta = values.optionalNumber("delta")
        scaleRewards = values.choice("scale_rewards")
        importanceSamplingLevel = values.choice("importance_sampling_level")
        multiObjective = values.choice("multi_objective")
        maskTruncatedCompletions = values.bool("mask_truncated_completions")
        useBiasCorrectionKL = values.bool("use_bias_correction_kl")
        topEntropyQuantile = values.number("top_entropy_quantile")
        entropyCoef = values.number("entropy_coef")
      }
    }

    init(_ values: RecipeValues, optimizer: Optimizer) {
      name = values.string("name")
      let kind: ObjectiveName = values.choice("objective")
      switch kind {
      case .sft: objective = .sft(SFTSettings(stage: values))
      case .grpo: objective = .grpo(GRPOSettings(stage: values))
      }
      steps = values.int("steps")
      data = values.string("data")
      microBatch = values.int("micro_batch")
      self.optimizer = Optimizer(values.section("optimizer"), fallback: optimizer)
    }
  }
}
