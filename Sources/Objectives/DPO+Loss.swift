import Core

extension DPO {
  /// Loss, gradients and metrics of one micro-batch of `N` pairs.
  ///
  /// - Parameters:
  ///   - streams: `2N` rows, chosen and rejected by turns; policy and reference logprobs, both at temperature 1. Also
  ///     log Σp² with `use_weighting`; entropies, mean logits and is-top-1 for the log.
  ///   - pairCount: pairs that the mean is taken over; nil counts those given. Set it when a batch comes in pieces.
  ///   - chosenTokenCount: the same for `sft`: tokens of the chosen completions.
  /// - Returns: losses of micro-batches are averaged, not added up: each is a mean of its own.
  /// - Throws: `AttuneError` for a bad configuration, a missing stream, or rows that make no pairs.
  public func evaluate(
    _ streams: TokenStreams, pairCount: Int? = nil, chosenTokenCount: Int? = nil
  ) throws -> ObjectiveResult {
    try configuration.validate()
    try streams.validate()
    let pairs = try pairs(streams)
    try validatePieces(pairs.count, pairCount: pairCount, chosenTokenCount: chosenTokenCount)
    let chosenTokens = pairs.reduce(0) { $0 + $1.chosen.tokens.count }
    let pairDivisor = Double(max(1, pairCount ?? pairs.count))
    let tokenDivisor = Double(max(1, chosenTokenCount ?? chosenTokens))

    var loss = 0.0
    // d loss / d X of every row, and what each token of a chosen completion gets beside it.
    var bySum = [Double](repeating: 0, count: streams.rowCount)
    var byChosenToken = 0.0
    for (type, weight) in configuration.mixture {
      if type == .sft {
        let sum = pairs.reduce(0.0) { $1.chosen.tokens.reduce($0) { $0 - Double(streams.policyLogprobs[$1]) } }
        loss += weight * sum / tokenDivisor
        byChosenToken -= weight / tokenDivisor
        continue
      }
      for (k, term) in terms(type, pairs).enumerated() {
        let factor = weight * pairs[k].weight / pairDivisor
        loss += factor * term.loss
        bySum[2 * k] += factor * term.byChosen
        bySum[2 * k + 1] += factor * term.byRejected
      }
    }

    var gradients = StreamGradients(logprob: [Float](repeating: 0, count: streams.tokenCount))
    for (k, pair) in pairs.enumerated() {
      for (t, weight) in zip(pair.chosen.tokens, pair.chosen.weights) {
        gradients.logprob[t] = Float(bySum[2 * k] * weight + byChosenToken)
      }
      for (t, weight) in zip(pair.rejected.tokens, pair.rejected.weights) {
        gradients.logprob[t] = Float(bySum[2 * k + 1] * weight)
      }
    }
    return ObjectiveResult(loss: loss, gradients: gradients, metrics: metrics(pairs, streams))
  }

  /// Rewards are `βu` whatever the divergence; logprob sums are weighed as in the loss.
  private func metrics(_ pairs: [Pair], _ streams: TokenStreams) -> [ObjectiveResult.Metric] {
    func mean(_ value: (Pair) -> Double) -> Double {
      pairs.reduce(0) { $0 + value($1) } / Double(max(1, pairs.count))
    }
    let beta = configuration.beta
    let weight = Double(pairs.count)
    var metrics: [ObjectiveResult.Metric] = [
      .init("rewards/chosen", mean { beta * $0.chosen.logRatio }, weight: weight),
      .init("rewards/rejected", mean { beta * $0.rejected.logRatio }, weight: weight),
      .init("rewards/margins", mean { beta * ($0.chosen.logRatio - $0.rejected.logRatio) }, weight: weight),
      .init("rewards/accuracies", mean { $0.chosen.logRatio > $0.rejected.logRatio ? 1 : 0 }, weight: weight),
      .init("logps/chosen", mean(\.chosen.policy), weight: weight),
      .init("logps/rejected", mean(\.rejected.policy), weight: weight),
    ]
    let chosenRows = stride(from: 0, to: streams.rowCount, by: 2)
    let chosenTokens = Double(pairs.reduce(0) { $0 + $1.chosen.tokens.count })
    if let entropies = streams.entropies { metrics.append(.init("entropy", streams.maskedMean(entropies))) }
    if let logits = streams.meanLogits {
      let rejectedRows = stride(from: 1, to: streams.rowCount, by: 2)
      let rejectedTokens = Double(pairs.reduce(0) { $0 + $1.rejected.tokens.count })
      metrics.append(.init("logits/chosen", streams.maskedMean(logits, rows: chosenRows), weight: chosenTokens))
      metrics.append(.init("logits/rejected", streams.maskedMean(logits, rows: rejectedRows), weight: rejectedTokens))
    }
    if let isTop1 = streams.isTop1 {
      let hits: [Float] = isTop1.map { $0 ? 1 : 0 }
      metrics.append(.init("mean_token_accuracy", streams.maskedMean(hits, rows: chosenRows), weight: chosenTokens))
    }
    return metrics
  }

  private func validatePieces(_ given: Int, pairCount: Int?, chosenTokenCount: Int?) throws {
    for (name, count) in [("pairs", pairCount), ("chosen tokens", chosenTokenCount)] {
      if let count, count < 1 { throw AttuneError.work("the number of \(name) is \(count); it must be at least 1") }
    }
    guard let pairCount, pairCount != given else { return }
    if let type = configuration.lossTypes.first(where: \.sorts) {
      throw AttuneError.work(
        "loss_type '\(type.rawValue)' sorts the whole batch and got \(given) of its \(pairCount) pairs")
    }
    if configuration.lossTypes.contains(.sft), chosenTokenCount == nil {
      throw AttuneError.work(
        "loss_type 'sft' on \(given) of \(pairCount) pairs needs the number of chosen tokens of the whole batch")
    }
  }
}
