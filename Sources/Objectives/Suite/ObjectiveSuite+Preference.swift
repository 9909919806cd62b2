import Core

/// Cases of preference objectives: tensors `[rows, T]`, whose every row becomes `T` tokens.
extension ObjectiveSuite {
  /// The streams of a case.
  ///
  /// - Parameters:
  ///   - order: which row of the tensors each row of the streams is.
  ///   - prefix: stands before the names of logprobs and mask.
  private static func streams(_ c: SuiteCase, order: [Int], shape: [Int], prefix: String = "") throws -> TokenStreams {
    let width = shape[1]
    func arranged<T>(_ values: [T]) -> [T] { order.flatMap { values[$0 * width..<($0 + 1) * width] } }
    func optional(_ name: String) throws -> [Float]? {
      try c.optionalTensor(name, shape: shape).map { arranged($0.floats) }
    }
    var streams = TokenStreams(
      rowOffsets: TokenStreams.offsets(ofLengths: order.map { _ in width }),
      mask: arranged(try c.tensor(prefix + "completion_mask", shape: shape).bools),
      policyLogprobs: arranged(try c.tensor(prefix + "policy_logps", shape: shape).floats),
      referenceLogprobs: arranged(try c.tensor(prefix + "ref_logps", shape: shape).floats))
    guard prefix.isEmpty else { return streams }
    streams.entropies = try optional("token_entropy")
    streams.meanLogits = try optional("token_mean_logits")
    streams.logSumSquaredProbs = try optional("token_log_sum_sq_probs")
    streams.isTop1 = try c.optionalTensor("token_is_top1", shape: shape).map { arranged($0.bools) }
    return streams
  }

  // MARK: DPO

  private static func pairConfiguration(_ c: SuiteCase) throws -> DPO.Configuration {
    var d = DPO.Configuration()
    if let types: [DPO.LossType] = try c.choices("loss_type") { d.lossTypes = types }
    d.lossWeights = try c.numbers("loss_weights")
    if let x = try c.number("beta") { d.beta = x }
    if let x = try c.number("label_smoothing") { d.labelSmoothing = x }
    if let divergence: DPO.Divergence = try c.choice("f_divergence_type") { d.divergence = divergence }
    if let x = try c.number("f_alpha_divergence_coef") { d.alpha = x }
    d.lengthDesensitization = try c.number("ld_alpha")
    if let x = try c.flag("use_weighting") { d.usesWeighting = x }
    if let x = try c.number("discopop_tau") { d.discopopTemperature = x }
    return d
  }

  /// Tensors `[2N, T]` hold all chosen rows, then all rejected ones; a batch of pairs has them by turns.
  static func pairLoss(_ c: SuiteCase) throws -> SuiteOutputs {
    let shape = try c.tensor("policy_logps", rank: 2).shape
    guard shape[0] % 2 == 0 else {
      throw AttuneError.request("'policy_logps' has \(shape[0]) rows; it must be N chosen and then N rejected ones")
    }
    let order = (0..<shape[0]).map { $0 / 2 + ($0 % 2) * (shape[0] / 2) }
    let result = try DPO(pairConfiguration(c)).evaluate(streams(c, order: order, shape: shape))
    var gradient = [Float](repeating: 0, count: result.gradients.logprob.count)
    for (i, source) in order.enumerated() {
      for t in 0..<shape[1] { gradient[source * shape[1] + t] = result.gradients.logprob[i * shape[1] + t] }
    }
    return SuiteOutputs(
      loss: result.loss, gradients: [("policy_logps", SuiteTensor(shape, gradient))], metrics: result.metrics)
  }

  // MARK: KTO

  static func unpairedLoss(_ c: SuiteCase) throws -> SuiteOutputs {
    var configuration = KTO.Configuration()
    if let type: KTO.LossType = try c.choice("loss_type") { configuration.lossType = type }
    if let x = try c.number("beta") { configuration.beta = x }
    if let x = try c.number("desirable_weight") { configuration.desirableWeight = x }
    if let x = try c.number("undesirable_weight") { configuration.undesirableWeight = x }
    let shape = try c.tensor("policy_logps", rank: 2).shape
    var estimate: Double?
    if configuration.lossType.usesReferencePoint {
      let mismatched = try c.tensor("kl_policy_logps", rank: 2).shape
      estimate = try KTO.klEstimate(
        streams(c, order: Array(0..<mismatched[0]), shape: mismatched, prefix: "kl_"))
    }
    let result = try KTO(configuration).evaluate(
      streams(c, order: Array(0..<shape[0]), shape: shape), desirable: c.tensor("label", shape: [shape[0]]).bools,
      klEstimate: estimate)
    return SuiteOutputs(
      loss: result.loss, gradients: [("policy_logps", SuiteTensor(shape, result.gradients.logprob))],
      metrics: result.metrics)
  }
}
