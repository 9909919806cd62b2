import Core

/// Cases of group-relative policy optimization. Their tensors are `[B, T]`; every row becomes `T` tokens, and the mask
/// does the rest.
extension ObjectiveSuite {
  // MARK: Configuration

  private static func advantageConfiguration(_ c: SuiteCase) throws -> GroupAdvantages.Configuration {
    var configuration = GroupAdvantages.Configuration()
    if let size = try c.integer("num_generations") { configuration.groupSize = size }
    configuration.rewardWeights = try c.numbers("reward_weights")
    if let scaling: GroupAdvantages.Scaling = try c.choice("scale_rewards") { configuration.scaling = scaling }
    if let aggregation: GroupAdvantages.Aggregation = try c.choice("multi_objective_aggregation") {
      configuration.aggregation = aggregation
    }
    return configuration
  }

  private static func lossConfiguration(_ c: SuiteCase) throws -> GRPO.Configuration {
    var g = GRPO.Configuration()
    if let type: GRPO.LossType = try c.choice("loss_type") { g.lossType = type }
    if let level: GRPO.ImportanceLevel = try c.choice("importance_sampling_level") { g.importanceLevel = level }
    // The suites call these two by their variant.
    if c.variant == "gmpo" { g.lossType = .gmpo }
    if c.variant == "gspo_token" { (g.lossType, g.importanceLevel) = (.grpo, .sequenceToken) }
    if let x = try c.number("epsilon") { g.epsilon = x }
    g.epsilonHigh = try c.number("epsilon_high")
    g.delta = try c.number("delta")
    if let x = try c.number("beta") { g.beta = x }
    if let x = try c.flag("use_bias_correction_kl") { g.biasCorrectedKL = x }
    if let x = try c.number("top_entropy_quantile") { g.topEntropyQuantile = x }
    if let x = try c.number("entropy_coef") { g.entropyCoefficient = x }
    g.offPolicyMaskThreshold = try c.number("off_policy_mask_threshold")
    if let x = try c.integer("max_completion_length") { g.maxCompletionLength = x }
    if let x = try c.number("sapo_temperature_pos") { g.sapoTemperaturePositive = x }
    if let x = try c.number("sapo_temperature_neg") { g.sapoTemperatureNegative = x }
    if let x = try c.number("vespo_k_pos") { g.vespoPowerPositive = x }
    if let x = try c.number("vespo_lambda_pos") { g.vespoDecayPositive = x }
    if let x = try c.number("vespo_k_neg") { g.vespoPowerNegative = x }
    if let x = try c.number("vespo_lambda_neg") { g.vespoDecayNegative = x }
    if try c.flag("use_adaptive_entropy") == true {
      var entropy = AdaptiveEntropy.Configuration(initial: g.entropyCoefficient)
      if let x = try c.number("entropy_coef_delta") { entropy.delta = x }
      if let x = try c.number("entropy_coef_min") { entropy.minimum = x }
      if let x = try c.number("entropy_coef_max") { entropy.maximum = x }
      if let x = try c.number("entropy_target") { entropy.target = x }
      g.adaptiveEntropy = entropy
    }
    if try c.flag("sampler_correction") == true {
      g.samplerCorrection = SamplerCorrection(
        mode: try c.choice("sampler_correction_mode") ?? .sequenceMask,
        clipMax: try c.number("sampler_correction_clip_max"), clipMin: try c.number("sampler_correction_clip_min"))
    }
    return g
  }

  private static func normalization(_ c: SuiteCase, itemCount: Int?) throws -> GRPO.Normalization {
    let mode = try c.word("mode") ?? "train"
    guard mode == "train" || mode == "eval" else {
      throw AttuneError.request("mode is '\(mode)'; it can be train, eval")
    }
    return GRPO.Normalization(
      itemCount: itemCount, accumulationSteps: try c.integer("current_gradient_accumulation_steps") ?? 1,
      stepsPerGeneration: try c.integer("steps_per_generation") ?? 1,
      processCount: try c.integer("num_processes") ?? 1, isTraining: mode == "train")
  }

  // MARK: Inputs

  /// The streams of a case; `mask` replaces its completion mask.
  private static func streams(_ c: SuiteCase, mask: [Bool]? = nil) throws -> TokenStreams {
    let policy = try c.tensor("policy_logps", rank: 2)
    let shape = policy.shape
    var effective = try mask ?? c.tensor("completion_mask", shape: shape).bools
    if let environment = try c.optionalTensor("env_mask", shape: shape)?.bools {
      for t in effective.indices where !environment[t] { effective[t] = false }
    }
    return TokenStreams(
      rowOffsets: TokenStreams.offsets(ofLengths: [Int](repeating: shape[1], count: shape[0])), mask: effective,
      policyLogprobs: policy.floats, entropies: try c.optionalTensor("token_entropy", shape: shape)?.floats,
      oldLogprobs: try c.optionalTensor("old_logps", shape: shape)?.floats,
      samplingLogprobs: try c.optionalTensor("sampler_logps", shape: shape)?.floats,
      referenceLogprobs: try c.optionalTensor("ref_logps", shape: shape)?.floats)
  }

  /// Scores, effective mask and its token count.
  private static func score(_ c: SuiteCase) throws -> (scores: GroupAdvantages.Scores, mask: SuiteTensor, count: Int) {
    let rewards = try c.tensor("rewards_per_func", rank: 2)
    let (rows, functions) = (rewards.shape[0], rewards.shape[1])
    let scores = try GroupAdvantages(advantageConfiguration(c)).compute(
      rewards: (0..<rows).map { Array(rewards.data[$0 * functions..<($0 + 1) * functions]) },
      names: (0..<functions).map { "f\($0)" })
    var completions = try c.tensor("completion_mask", rank: 2)
    guard completions.shape[0] == rows else {
      throw AttuneError.request("'completion_mask' has \(completions.shape[0]) rows for \(rows) rewards")
    }
    var mask = completions.bools
    if try c.flag("mask_truncated_completions") == true {
      let width = [Int](repeating: completions.shape[1], count: rows)
      CompletionStatistics(lengths: width, terminated: try c.tensor("terminated", shape: [rows]).bools)
        .maskTruncated(&mask, rowOffsets: TokenStreams.offsets(ofLengths: width))
    }
    completions = SuiteTensor(.i64, completions.shape, mask.map { $0 ? 1 : 0 })
    return (scores, completions, mask.reduce(0) { $1 ? $0 + 1 : $0 })
  }

  // MARK: Cases

  static func groupAdvantages(_ c: SuiteCase) throws -> SuiteOutputs {
    let (scores, mask, count) = try score(c)
    return SuiteOutputs(
      metrics: scores.metrics,
      values: [
        ("advantages", SuiteTensor(.f32, [scores.advantages.count], scores.advantages).json),
        ("completion_mask", mask.json), ("num_items_in_batch", .int(count)),
      ])
  }

  static func groupStep(_ c: SuiteCase) throws -> SuiteOutputs {
    let (scores, mask, count) = try score(c)
    let streams = try streams(c, mask: mask.bools)
    let result = try GRPO(lossConfiguration(c)).evaluate(
      streams, advantages: .perRow(scores.advantages), normalization: normalization(c, itemCount: count))
    return SuiteOutputs(
      loss: result.loss, gradients: [("policy_logps", SuiteTensor(mask.shape, result.gradients.logprob))],
      metrics: scores.metrics + result.metrics,
      values: [
        ("advantages", SuiteTensor(.f32, [scores.advantages.count], scores.advantages).json),
        ("effective_mask", mask.json), ("num_items_in_batch", .int(count)),
      ])
  }

  static func groupLoss(_ c: SuiteCase) throws -> SuiteOutputs {
    let configuration = try lossConfiguration(c)
    let grpo = GRPO(configuration)
    let streams = try streams(c)
    let shape = try c.tensor("policy_logps", rank: 2).shape
    let given = try c.tensor("advantages")
    guard given.shape == [shape[0]] || given.shape == shape else {
      throw AttuneError.request("'advantages' has shape \(given.shape), expected [\(shape[0])] or \(shape)")
    }
    let advantages: Advantages = given.shape == shape ? .perToken(given.data) : .perRow(given.data)
    let normalization = try normalization(c, itemCount: c.inputInteger("num_items_in_batch"))

    var controller = configuration.adaptiveEntropy.map { AdaptiveEntropy($0) }
    var losses: [Double] = []
    var coefficients: [Double] = []
    var result: ObjectiveResult
    repeat {
      result = try grpo.evaluate(
        streams, advantages: advantages, normalization: normalization,
        entropyCoefficient: controller?.appliedCoefficient)
      losses.append(result.loss)
      if controller != nil {
        let (sum, count) = try grpo.entropyStatistics(streams)
        controller?.observe(entropySum: sum, count: count)
        controller?.finishStep()
      }
      coefficients.append(controller?.coefficient ?? configuration.entropyCoefficient)
    } while losses.count < steps(c, adaptive: controller != nil)

    // The suite of GSPO-token lists loss and gradient alone.
    var outputs = SuiteOutputs(loss: result.loss, metrics: c.variant == "gspo_token" ? [] : result.metrics)
    outputs.gradients = [("policy_logps", SuiteTensor(shape, result.gradients.logprob))]
    if let entropy = result.gradients.entropy {
      outputs.gradients.append(("token_entropy", SuiteTensor(shape, entropy)))
    }
    if let controller { outputs.metrics.append(.init("entropy_coef", controller.coefficient)) }
    if let weights = try configuration.samplerCorrection?.weights(streams) {
      let perRow = !weights.perRow.isEmpty
      let ratio = SuiteTensor(.f32, perRow ? [shape[0], 1] : shape, perRow ? weights.perRow : weights.perToken)
      outputs.values.append(("importance_sampling_ratio", ratio.json))
    }
    if losses.count > 1 {
      outputs.values.append(("loss_per_step", SuiteTensor(.f32, [losses.count], losses).json))
      outputs.values.append(("entropy_coef_after_step", SuiteTensor(.f32, [losses.count], coefficients).json))
    }
    return outputs
  }

  /// How often the micro-batch is fed. The schema keeps the number in the outputs alone, as the length of
  /// `loss_per_step`; a case without outputs says it as `steps` in its config, and a controller is watched for three steps otherwise.
  private static func steps(_ c: SuiteCase, adaptive: Bool) -> Int {
    let written = c.json["outputs"]?["values"]?["loss_per_step"]?["shape"]?[0]?.int
    let configured = c.configurationJSON["steps"]?.int
    return min(1000, written ?? configured ?? (adaptive ? 3 : 1))
  }
}
