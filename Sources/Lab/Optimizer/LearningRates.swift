import Models

/// The learning rates of a stage: one curve for all parameters, others for the parts that have a rate of their own.
public struct LearningRates: Sendable, Equatable {
  public var common: LearningRateSchedule
  public var parts: [ModelPart: LearningRateSchedule]
  /// How many times faster the second factors of an adapter learn (LoRA+, 2402.12354).
  public var loraPlusRatio: Double

  public init(
    common: LearningRateSchedule, parts: [ModelPart: LearningRateSchedule] = [:], loraPlusRatio: Double = 1
  ) {
    self.common = common
    self.parts = parts
    self.loraPlusRatio = loraPlusRatio
  }

  /// The common rate of optimizer step `step`, from 0.
  public func learningRate(at step: Int) -> Double { common.learningRate(at: step) }

  /// The rate of a parameter.
  public func learningRate(of name: String, at step: Int) -> Double {
    let rate = (parts[ModelPart(of: name)] ?? common).learningRate(at: step)
    return name.hasSuffix(".lora_B.weight") ? rate * loraPlusRatio : rate
  }
}
