import Models

extension Recipe {
  /// AdamW and its learning rate.
  public struct Optimizer: Sendable, Equatable {
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
      learningRate = values.number("learning_rate")
      partLearningRates = fallback?.partLearningRates ?? [:]
      for part in ModelPart.allCases {
        if let rate = values.optionalNumber(part.rawValue + "_learning_rate") { partLearningRates[part] = rate }
      }
      loraPlusRatio = values.number("lora_plus_ratio")
      beta1 = values.number("beta1")
      beta2 = values.number("beta2")
      epsilon = values.number("epsilon")
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
