import Core

/// Cases of objectives that learn from pairs, labels and scores: tensors `[rows, T]`, whose every row becomes `T` tokens.
extension ObjectiveSuite {
  /// The streams of a case.
  ///
  /// - Parameters:
  ///   - order: which row of the tensors each row of the streams is.
  ///   - prefix: stands before the names of logprobs and mask.
  ///   - suffix: stands behind every name.
  private static func streams(
    _ c: SuiteCase, _ objective: any Objective, order: [Int]? = nil, prefix: String = "", suffix: String = ""
  ) throws -> TokenStreams {
    let policy = try c.tensor("\(prefix)policy_logps\(suffix)", rank: 2)
    let (shape, width) = (policy.shape, policy.shape[1])
    let order = order ?? Array(0..<shape[0])
    func arranged<T>(_ values: [T]) -> [T] { order.flatMap { values[$0 * width..<($0 + 1) * width] } }
    func optional(_ name: String) throws -> [Float]? {
      try c.optionalTensor(name + suffix, shape: shape).map { arranged($0.floats) }
    }
    var streams = TokenStreams(
      rowOffsets: TokenStreams.offsets(ofLengths: order.map { _ in width }),
      mask: arranged(try c.tensor("\(prefix)completion_mask\(suffix)", shape: shape).bools),
      policyLogprobs: arranged(policy.floats))
    if objective.usesReference {
      streams.referenceLogprobs = arranged(try c.tensor("\(prefix)ref_logps\(suffix)", shape: shape).floats)
    }
    guard prefix.isEmpty else { return streams }
    streams.entropies = try optional("token_entropy")
    streams.meanLogits = try optional("token_mean_logits")
    streams.logSumSquaredProbs = try optional("token_log_sum_sq_probs")
    streams.isTop1 = try c.optionalTensor("token_is_top1\(suffix)", shape: shape).map { arranged($0.bools) }
    return streams
  }

  /// Tensors `[2N, T]` hold all chosen rows, then all rejected ones; a batch of pairs has them by turns. Where prompts are
  /// targets, `attention_mask` tells their tokens from padding.
  static func pairs(_ c: SuiteCase, _ objective: any PairObjective) throws -> SuiteOutputs {
    let policy = try c.tensor("policy_logps", rank: 2)
    let (shape, width) = (policy.shape, policy.shape[1])
    guard shape[0] % 2 == 0 else {
      throw AttuneError.request("'policy_logps' has \(shape[0]) rows; it must be N chosen and then N rejected ones")
    }
    let order = (0..<shape[0]).map { $0 / 2 + ($0 % 2) * (shape[0] / 2) }
    var streams = try streams(c, objective, order: order)
    let chosen = 0..<shape[0] / 2 * width
    if objective.scoresPrompts {
      let completions = try c.tensor("completion_mask", shape: shape).bools
      let attended = try c.tensor("attention_mask", shape: shape).bools
      streams.prompts = PromptStreams(
        rowOffsets: TokenStreams.offsets(ofLengths: [Int](repeating: width, count: shape[0] / 2)),
        mask: chosen.map { attended[$0] && !completions[$0] }, policyLogprobs: Array(policy.floats[chosen]))
    }
    let result = try objective.evaluate(streams, StepTotals(of: streams))
    var gradient = [Float](repeating: 0, count: policy.data.count)
    for (i, source) in order.enumerated() {
      for t in 0..<width { gradient[source * width + t] = result.gradients.logprob[i * width + t] }
    }
    if let prompts = result.gradients.promptLogprob { for t in chosen { gradient[t] += prompts[t] } }
    return SuiteOutputs(
      loss: result.loss, gradients: [("policy_logps", SuiteTensor(shape, gradient))], metrics: result.metrics)
  }

  /// Inputs named `…_step0`, `…_step1` are consecutive steps, between which the objective keeps its memory.
  static func unpaired(_ c: SuiteCase, _ objective: any UnpairedObjective) throws -> SuiteOutputs {
    let hasSteps = c.has("policy_logps_step0")
    var suffixes = [""]
    if hasSteps { suffixes = (0..<c.inputNames.count).map { "_step\($0)" }.filter { c.has("policy_logps\($0)") } }
    var memory: [String: Double] = [:]
    var outputs = SuiteOutputs()
    var (losses, means): ([Double], [Double]) = ([], [])
    for suffix in suffixes {
      let streams = try streams(c, objective, suffix: suffix)
      var mismatched: [Double] = []
      if objective.usesMismatched {
        let others = try self.streams(c, objective, prefix: "kl_", suffix: suffix)
        mismatched = try others.logRatios(by: "the KL estimate")
      }
      let result = try objective.evaluate(
        streams, desirable: c.tensor("label\(suffix)", shape: [streams.rowCount]).bools,
        mismatchedLogRatios: mismatched, StepTotals(of: streams), memory)
      objective.finishStep(result.tallies, &memory)
      let shape = [streams.rowCount, streams.tokenCount / streams.rowCount]
      outputs.gradients.append(("policy_logps\(suffix)", SuiteTensor(shape, result.gradients.logprob)))
      outputs.loss = result.loss
      losses.append(result.loss)
      if let mean = result[metric: "delta"] { means.append(mean) }
      if !hasSteps { outputs.metrics = result.metrics }
    }
    if hasSteps {
      outputs.values = [("loss_per_step", SuiteTensor(.f32, [losses.count], losses).json)]
      if !means.isEmpty { outputs.values.append(("delta_per_step", SuiteTensor(.f32, [means.count], means).json)) }
    }
    return outputs
  }

  static func scores(_ c: SuiteCase, _ objective: any ScoreObjective) throws -> SuiteOutputs {
    let chosen = try c.tensor("chosen_rewards", rank: 1)
    let rejected = try c.tensor("rejected_rewards", shape: chosen.shape)
    let margins = try c.optionalTensor("margin", shape: chosen.shape)
    let result = try objective.evaluate(
      scores: zip(chosen.data, rejected.data).flatMap { [$0, $1] }, margins: margins?.data, pairs: chosen.shape[0])
    func gradient(from first: Int) -> SuiteTensor {
      SuiteTensor(
        .f32, chosen.shape, stride(from: first, to: result.gradients.count, by: 2).map { result.gradients[$0] })
    }
    return SuiteOutputs(
      loss: result.loss,
      gradients: [("chosen_rewards", gradient(from: 0)), ("rejected_rewards", gradient(from: 1))],
      metrics: result.metrics)
  }
}
