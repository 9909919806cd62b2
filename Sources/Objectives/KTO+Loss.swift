import Core

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
    return try logRatios(mismatched).reduce(0, +) / Double(mismatched.rowCount)
  }

  /// Loss, gradients and metrics of one micro-batch, with the estimate taken from its mismatched completions.
  public func evaluate(
    _ streams: TokenStreams, desirable: [Bool], mismatched: TokenStreams
  ) throws -> ObjectiveResult {
    try evaluate(streams, desirable: desirable, klEstimate: KTO.klEstimate(mismatched))
  }

  /// Loss, gradients and metrics of one micro-batch.
  ///
  /// - Parameters:
  ///   - streams: one row per completion; policy and reference logprobs, both at temperature 1. Entropies and mean logits
  ///     for the log.
  ///   - desirable: label of each row.
  ///   - klEstimate: `KTO.klEstimate` of the whole micro-batch; `apo_zero_unpaired` doesn't read it.
  ///   - rowCount: rows that the mean is taken over; nil counts those given. Set it when a batch comes in pieces.
  /// - Returns: losses of micro-batches are averaged, not added up. Metrics of a label that no row has are left out.
  /// - Throws: `AttuneError` for a bad configuration, a missing stream or estimate, or labels that don't fit.
  public func evaluate(
    _ streams: TokenStreams, desirable: [Bool], klEstimate: Double? = nil, rowCount: Int? = nil
  ) throws -> ObjectiveResult {
    try configuration.validate()
    try streams.validate()
    guard desirable.count == streams.rowCount else {
      throw AttuneError.work("\(desirable.count) labels for \(streams.rowCount) completions")
    }
    if let rowCount, rowCount < 1 { throw AttuneError.work("the number of rows is \(rowCount); it must be at least 1") }
    let referencePoint = try referencePoint(klEstimate)
    let ratios = try KTO.logRatios(streams)
    let divisor = Double(rowCount ?? max(1, streams.rowCount))
    let beta = configuration.beta

    var gradients = StreamGradients(logprob: [Float](repeating: 0, count: streams.tokenCount))
    var loss = 0.0
    for i in 0..<streams.rowCount {
      let z = beta * (ratios[i] - referencePoint)
      // 1 − σ(z) as σ(−z), which keeps its digits.
      let (weight, sign) =
        desirable[i] ? (configuration.desirableWeight, -1.0) : (configuration.undesirableWeight, 1.0)
      loss += weight * PortableMath.sigmoid(sign * z) / divisor
      let slope = Float(sign * weight * beta * PortableMath.sigmoidSlope(z) / divisor)
      for t in streams.row(i) where streams.mask[t] { gradients.logprob[t] = slope }
    }
    let metrics =
      [.init("kl", referencePoint, weight: Double(desirable.count))]
      + KTO.labelMetrics(streams, desirable: desirable, rewards: ratios.map { beta * $0 })
    return ObjectiveResult(loss: loss, gradients: gradients, metrics: metrics)
  }

  /// `z0`.
  private func referencePoint(_ estimate: Double?) throws -> Double {
    guard configuration.lossType.usesReferencePoint else { return 0 }
    guard let estimate else {
      throw AttuneError.work(
        "loss_type 'kto' needs the KL estimate from mismatched completions, which was not given",
        hint: "'apo_zero_unpaired' needs none")
    }
    // Not max(0, …), which would drop a NaN.
    return estimate < 0 ? 0 : estimate
  }

  /// `u` of every row.
  static func logRatios(_ streams: TokenStreams) throws -> [Double] {
    let reference = try streams.required(streams.referenceLogprobs, "reference logprobs", by: "KTO")
    return (0..<streams.rowCount).map { i in
      streams.row(i).reduce(0) {
        streams.mask[$1] ? $0 + (Double(streams.policyLogprobs[$1]) - Double(reference[$1])) : $0
      }
    }
  }

  /// What objectives of labelled completions log; a label that no row has is left out.
  ///
  /// - Parameter rewards: `βu`, one per row.
  static func labelMetrics(
    _ streams: TokenStreams, desirable: [Bool], rewards: [Double]
  ) -> [ObjectiveResult.Metric] {
    var metrics: [ObjectiveResult.Metric] = []
    var means: [Double] = []
    for (name, label) in [("chosen", true), ("rejected", false)] {
      let rows = desirable.indices.filter { desirable[$0] == label }
      guard !rows.isEmpty else { continue }
      let count = Double(rows.count)
      means.append(rows.reduce(0) { $0 + rewards[$1] } / count)
      metrics.append(.init("rewards/\(name)", means[means.count - 1], weight: count))
      let sums = rows.reduce(0.0) { sum, i in
        sum + streams.row(i).reduce(0) { streams.mask[$1] ? $0 + Double(streams.policyLogprobs[$1]) : $0 }
      }
      metrics.append(.init("logps/\(name)", sums / count, weight: count))
      if let logits = streams.meanLogits {
        let tokens = rows.reduce(0) { $0 + streams.maskedCount(inRow: $1) }
        metrics.append(
          .init("logits/\(name)", streams.maskedMean(logits, rows: rows), weight: Double(max(1, tokens))))
      }
    }
    if means.count == 2 {
      metrics.append(.init("rewards/margins", means[0] - means[1], weight: Double(desirable.count)))
    }
    if let entropies = streams.entropies { metrics.append(.init("entropy", streams.maskedMean(entropies))) }
    return metrics
  }
}
