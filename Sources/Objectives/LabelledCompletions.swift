import Core

extension TokenStreams {
  /// `u = Σ m·(x − r)` of every row.
  func logRatios(by user: String) throws -> [Double] {
    let reference = try required(referenceLogprobs, "reference logprobs", by: user)
    return (0..<rowCount).map { i in
      row(i).reduce(0) { mask[$1] ? $0 + (Double(policyLogprobs[$1]) - Double(reference[$1])) : $0 }
    }
  }

  /// What objectives of labelled completions log; a label that no row has is left out.
  ///
  /// - Parameter rewards: `βu`, one per row.
  func labelMetrics(desirable: [Bool], rewards: [Double]) -> [ObjectiveResult.Metric] {
    var metrics: [ObjectiveResult.Metric] = []
    var means: [Double] = []
    for (name, label) in [("chosen", true), ("rejected", false)] {
      let rows = desirable.indices.filter { desirable[$0] == label }
      guard !rows.isEmpty else { continue }
      let count = Double(rows.count)
      means.append(rows.reduce(0) { $0 + rewards[$1] } / count)
      metrics.append(.init("rewards/\(name)", means[means.count - 1], weight: count))
      let sums = rows.reduce(0.0) { sum, i in sum + row(i).reduce(0) { mask[$1] ? $0 + Double(policyLogprobs[$1]) : $0 }
      }
      metrics.append(.init("logps/\(name)", sums / count, weight: count))
      let tokens = rows.reduce(0) { $0 + maskedCount(inRow: $1) }
      if let meanLogits, tokens > 0 {
        metrics.append(.init("logits/\(name)", maskedMean(meanLogits, rows: rows), weight: Double(tokens)))
      }
    }
    if means.count == 2 {
      metrics.append(.init("rewards/margins", means[0] - means[1], weight: Double(desirable.count)))
    }
    return metrics + entropyMetrics
  }
}

extension KTO {
  /// Mean over rows of `Σ m·(x − r)` on mismatched completions: the estimate that `z0` is the positive part of.
  ///
  /// It may be negative; `evaluate` clamps it, so estimates of several ranks or pieces can be averaged before.
  ///
  /// - Parameter mismatched: policy and reference logprobs of prompts with other prompts' completions.
  /// - Throws: `AttuneError` if there is no row, or a stream is missing or does not fit.
  public static func klEstimate(_ mismatched: TokenStreams) throws -> Double {
    try mismatched.validate()
    guard mismatched.rowCount > 0 else {
      throw AttuneError.work("the KL estimate of KTO needs mismatched completions, and there are none")
    }
    return try mismatched.logRatios(by: "KTO").reduce(0, +) / Double(mismatched.rowCount)
  }

  /// Loss, gradients and metrics of one micro-batch, with the estimate taken from its mismatched completions.
  public func evaluate(_ streams: TokenStreams, desirable: [Bool], mismatched: TokenStreams) throws -> ObjectiveResult {
    try evaluate(streams, desirable: desirable, klEstimate: KTO.klEstimate(mismatched))
  }

  /// What a person should know of labels that are out of balance; nil where `w_D·n_D / (w_U·n_U)` is in 1 ... 4/3, as the paper
  /// advises (§4.3), or one label is missing or of weight 0.
  public func remark(desirable: Int, undesirable: Int) -> String? {
    let own = configuration.desirableWeight * Double(desirable)
    let other = configuration.undesirableWeight * Double(undesirable)
    guard own > 0, other > 0, own < other || own > other * 4 / 3 else { return nil }
    func shown(_ x: Double) -> Double { (x * 1000).rounded() / 1000 }
    let balanced = other / Double(desirable)
    return
      "\(desirable) completions are desirable and \(undesirable) are not: weighted they stand \(shown(own / other)) to 1, "
      + "where 1 to 1.333 is advised; a desirable_weight in \(shown(balanced)) ... \(shown(balanced * 4 / 3)) does it"
  }

  /// Whose completion each prompt is matched with for the estimate: inside every block of `batchSize` consecutive
  /// samples that of the sample before it, the first that of the last. A block of one, at the end, keeps its own.
  ///
  /// - Parameters:
  ///   - count: samples in the data set.
  ///   - batchSize: samples of a micro-batch, at least 2.
  /// - Throws: `AttuneError` for smaller batches: their completions would all keep their own prompts.
  public static func mismatchedCompletions(count: Int, batchSize: Int) throws -> [Int] {
    guard batchSize >= 2 else {
      throw AttuneError.request(
        "KTO estimates its KL term from completions of other prompts in the batch, and the batch has \(batchSize)",
        hint: "take batches of 2 or more, or loss_type 'apo_zero_unpaired'")
    }
    return (0..<count).map { i in
      let start = i - i % batchSize
      return i > start ? i - 1 : min(start + batchSize, count) - 1
    }
  }
}
