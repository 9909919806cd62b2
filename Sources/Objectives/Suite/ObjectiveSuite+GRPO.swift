import Core

/// Cases of group-relative policy optimization. Their tensors are `[B, T]`; every row becomes `T` tokens, and the mask
/// does the rest.
extension ObjectiveSuite {
  static func group(_ c: SuiteCase, _ grpo: GRPO) throws -> SuiteOutputs {
    if c.variant == "advantages" { return try groupAdvantages(c, grpo) }
    if c.variant.hasPrefix("step:") { return try groupStep(c, grpo) }
    return try groupLoss(c, grpo)
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
  private static func streams(_ c: SuiteCase, mask: SuiteTensor? = nil) throws -> TokenStreams {
    let policy = try c.tensor("policy_logps", rank: 2)
    let shape = policy.shape
    let given = try mask ?? c.tensor("completion_mask", shape: shape)
    guard given.shape == shape else {
      throw AttuneError.request("'completion_mask' has shape \(given.shape), expected \(shape)")
    }
    var effective = given.bools
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
  private static func score(
    _ c: SuiteCase, _ grpo: GRPO
  ) throws -> (scores: GroupAdvantages.Scores, mask: SuiteTensor, count: Int) {
    let size = try c.integer("num_generations") ?? 8
    let mask = try effectiveMask(c)
    let rewards = try Rewards(c, rows: mask.shape[0])
    let scores = try grpo.compare(
      rewards: rewards.values, names: rewards.names, weights: c.numbers("reward_weights"), groupSize: size)
    return (scores, mask, mask.bools.reduce(0) { $1 ? $0 + 1 : $0 })
  }

  // MARK: Cases

  private static func groupAdvantages(_ c: SuiteCase, _ grpo: GRPO) throws -> SuiteOutputs {
    let (scores, mask, count) = try score(c, grpo)
    return SuiteOutputs(
      metrics: scores.metrics,
      values: [
        ("advantages", SuiteTensor(.f32, [scores.advantages.count], scores.advantages).json),
        ("completion_mask", mask.json), ("num_items_in_batch", .int(count)),
      ])
  }

  private static func groupStep(_ c: SuiteCase, _ grpo: GRPO) throws -> SuiteOutputs {
    let (scores, mask, count) = try score(c, grpo)
    let streams = try streams(c, mask: mask)
    let result = try grpo.evaluate(
      streams, advantages: .perRow(scores.advantages), normalization: normalization(c, itemCount: count))
    return SuiteOutputs(
      loss: result.loss, gradients: [("policy_logps", SuiteTensor(mask.shape, result.gradients.logprob))],
      metrics: scores.metrics + result.metrics,
      values: [
        ("advantages", SuiteTensor(.f32, [scores.advantages.count], scores.advantages).json),
        ("effective_mask", mask.json), ("num_items_in_batch", .int(count)),
      ])
  }

  private static func groupLoss(_ c: SuiteCase, _ grpo: GRPO) throws -> SuiteOutputs {
    let configuration = grpo.configuration
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
      // Evaluation leaves the controller alone.
      if controller != nil, normalization.isTraining {
        let (sum, count) = try grpo.entropyStatistics(streams)
        controller?.observe(entropySum: sum, count: count)
        controller?.finishStep()
      }
      coefficients.append(controller?.coefficient ?? configuration.entropyCoefficient)
    } while losses.count < steps(c, adaptive: controller != nil)

    // The suite of GSPO-token lists loss and gradient alone; in evaluation the reference lists no sampler's.
    let metrics = result.metrics.filter { normalization.isTraining || !$0.name.hasPrefix("sampling/") }
    var outputs = SuiteOutputs(loss: result.loss, metrics: c.variant == "gspo_token" ? [] : metrics)
    outputs.gradients = [("policy_logps", SuiteTensor(shape, result.gradients.logprob))]
    if let entropy = result.gradients.entropy {
      outputs.gradients.append(("token_entropy", SuiteTensor(shape, entropy)))
    }
    if let controller, normalization.isTraining {
      outputs.metrics.append(.init("entropy_coef", controller.coefficient))
    }
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
    let configured = c.configuration["steps"]?.int
    return min(1000, written ?? configured ?? (adaptive ? 3 : 1))
  }
}

extension GRPO {
  /// A case's configuration; suites call two of GRPO's kin by their variant.
  static func settings(of c: SuiteCase) -> JSON.Object {
    var settings = c.configuration
    guard c.objective == name else { return settings }
    if c.variant == "gmpo" { settings["loss_type"] = "gmpo" }
    if c.variant == "gspo_token" {
      settings["loss_type"] = "grpo"
      settings["importance_sampling_level"] = "sequence_token"
    }
    return settings
  }
}
