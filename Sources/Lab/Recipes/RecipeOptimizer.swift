import AttuneTensor
import Models

extension Recipe {
  /// How gradients become steps, and the learning rate.
  public struct Optimizer: Sendable, Equatable {
    public var method: OptimizerMethod
    public var learningRate: Double
    /// Rates of parts that have their own.
    public var partLearningRates: [ModelPart: Double]
    /// How many times faster the second factors of an adapter learn (LoRA+, 2402.12354).
    public var loraPlusRatio: Double
    public var beta1: Double
    public var beta2: Double
    public var epsilon: Double
    public var weightDecay: Double
    /// 0 leaves gradients as they are.
    public var maxGradNorm: Double
    public var schedule: LearningRateSchedule.Shape
    /// Below 1 a fraction of the stage's steps.
    public var warmupSteps: Double
    public var minLRRate: Double
    public var numCycles: Double?
    public var power: Double
    public var endLearningRate: Double
    /// Below 1 a fraction of the stage's steps.
    public var decaySteps: Double
    public var decay: LearningRateSchedule.Decay
    public var timescale: Double?

    /// The learning rates of a stage of `steps` steps.
    public func learningRates(steps: Int) -> LearningRates {
      LearningRates(
        common: learningRates(steps: steps, base: learningRate),
        parts: partLearningRates.mapValues { learningRates(steps: steps, base: $0) }, loraPlusRatio: loraPlusRatio)
    }

    private func learningRates(steps: Int, base: Double) -> LearningRateSchedule {
      LearningRateSchedule(
        schedule, base: base, steps: steps,
        warmupSteps: LearningRateSchedule.wholeSteps(warmupSteps, of: steps), cycles: numCycles, power: power,
        end: endLearningRate, minimum: minLRRate,
        decaySteps: LearningRateSchedule.wholeSteps(decaySteps, of: steps), decay: decay, timescale: timescale)
    }

    /// `fallback` gives what has no default and is not set here.
    init(_ values: RecipeValues, fallback: Optimizer?) {
      method = OptimizerMethod(values)
      learningRate = values.number("learning_rate")
      partLearningRates = fallback?.partLearningRates ?? [:]
      for part in ModelPart.allCases {
        if let rate = values.optionalNumber(part.rawValue + "_learning_rate") { partLearningRates[part] = rate }
      }
      loraPlusRatio = values.number("lora_plus_ratio")
      // A kind without moments has no such keys, and passes over the values.
      let moments = AdamWStep(learningRate: 0, step: 0)
      beta1 = values.optionalNumber("beta1") ?? moments.beta1
      beta2 = values.optionalNumber("beta2") ?? moments.beta2
      epsilon = values.optionalNumber("epsilon") ?? moments.epsilon
      weightDecay = values.number("weight_decay")
      maxGradNorm = values.number("max_grad_norm")
      schedule = values.choice("schedule")
      warmupSteps = values.number("warmup_steps")
      minLRRate = values.number("min_lr_rate")
      numCycles = values.optionalNumber("num_cycles") ?? fallback?.numCycles
      power = values.number("power")
      endLearningRate = values.number("end_learning_rate")
      decaySteps = values.number("decay_steps")
      decay = values.choice("decay")
      timescale = values.optionalNumber("timescale") ?? fallback?.timescale
    }
  }
}

extension OptimizerMethod {
  fileprivate init(_ values: RecipeValues) {
    self.init(values.choice("kind"))
    switch self {
    case .adamW, .adamW8Bit: break
    case .sgd(var settings):
      settings.momentum = values.number("momentum")
      settings.nesterov = values.bool("nesterov")
      settings.couplesDecay = values.bool("coupled_weight_decay")
      self = .sgd(settings)
    case .muon(var settings):
      settings.momentum = values.number("momentum")
      settings.nesterov = values.bool("nesterov")
      settings.steps = values.int("newton_schulz_steps")
      settings.scale = values.choice("update_scale")
      settings.adamWRateRatio = values.number("adamw_rate_ratio")
      self = .muon(settings)
    case .galore(var settings):
      settings.rank = values.int("rank")
      settings.gap = values.int("update_proj_gap")
      settings.scale = values.number("projection_scale")
      self = .galore(settings)
    }
  }
}
