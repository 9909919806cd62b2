import Core

/// One completion of a batch: the tokens that the loss sees.
struct CompletionRow {
  /// In ascending order.
  var tokens: [Int]

  /// An empty completion counts as one token.
  var length: Double { Double(max(1, tokens.count)) }

  func sum(_ stream: [Float]) -> Double { tokens.reduce(0) { $0 + Double(stream[$1]) } }
}

extension TokenStreams {
  /// The rows of a batch of pairs, chosen and rejected by turns.
  /// - Throws: `AttuneError` for streams that do not fit, or an odd number of rows.
  func completionRows() throws -> [CompletionRow] {
    try validate()
    guard rowCount % 2 == 0 else {
      throw AttuneError.work("a batch of pairs has \(rowCount) rows; it must be chosen and rejected by turns")
    }
    return (0..<rowCount).map { i in CompletionRow(tokens: row(i).filter { mask[$0] }) }
  }

  /// `entropy`, where the stream is there.
  var entropyMetrics: [ObjectiveResult.Metric] { entropies.map { [.init("entropy", maskedMean($0))] } ?? [] }

  /// What every objective of pairs logs: implicit rewards, sums of log-probabilities, token statistics.
  func pairMetrics(rewards: [Double], logprobs: [Double]) -> [ObjectiveResult.Metric] {
    let pairs = rowCount / 2
    func mean(_ value: (Int) -> Double) -> Double { (0..<pairs).reduce(0) { $0 + value($1) } / Double(max(1, pairs)) }
    func metric(_ name: String, _ value: (Int) -> Double) -> ObjectiveResult.Metric {
      .init(name, mean(value), weight: Double(pairs))
    }
    let chosenRows = stride(from: 0, to: rowCount, by: 2)
    var metrics = [
      metric("rewards/chosen") { rewards[2 * $0] }, metric("rewards/rejected") { rewards[2 * $0 + 1] },
      metric("rewards/margins") { rewards[2 * $0] - rewards[2 * $0 + 1] },
      metric("rewards/accuracies") { rewards[2 * $0] > rewards[2 * $0 + 1] ? 1 : 0 },
      metric("logps/chosen") { logprobs[2 * $0] }, metric("logps/rejected") { logprobs[2 * $0 + 1] },
    ]
    metrics += entropyMetrics
    let chosenTokens = Double(chosenRows.reduce(0) { $0 + maskedCount(inRow: $1) })
    if let meanLogits {
      let rejectedRows = stride(from: 1, to: rowCount, by: 2)
      metrics.append(.init("logits/chosen", maskedMean(meanLogits, rows: chosenRows), weight: chosenTokens))
      metrics.append(
        .init("logits/rejected", maskedMean(meanLogits, rows: rejectedRows), weight: Double(maskedCount) - chosenTokens)
      )
    }
    if let isTop1 {
      metrics.append(
        .init("mean_token_accuracy", maskedMean(isTop1.map { $0 ? 1 : 0 }, rows: chosenRows), weight: chosenTokens))
    }
    return metrics
  }
}
