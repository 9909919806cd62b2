import Core

extension GRPO {
  /// Geometric-mean policy optimization (arXiv 2507.20673): one weight per row, the geometric mean of its tokens'
  /// weights, each clipped in log space on the side that PPO's minimum would clip.
  ///
  /// `w_i = exp(mean_t clipped λ_t)`, `ℓ_i = −w_i·A_i + β·mean_t k3`, mean over rows. The bounds are on `λ`, not on the
  /// ratio; the paper takes 0.4 on both sides.
  func evaluateGMPO(
    _ streams: TokenStreams, advantages: Advantages, normalization: Normalization
  ) throws -> ObjectiveResult {
    guard case .perRow(let rowAdvantages) = advantages else {
      throw AttuneError.work("loss_type 'gmpo' has one weight per completion and can't take token advantages")
    }
    let c = configuration
    let x = streams.policyLogprobs
    let old = streams.oldLogprobs ?? x
    let reference = c.beta == 0 ? [] : try streams.required(streams.referenceLogprobs, "reference logprobs", by: "beta")
    let kept = try highEntropyTokens(streams)
    let maskedCount = streams.maskedCount
    var gradients = StreamGradients(logprob: [Float](repeating: 0, count: streams.tokenCount))
    var clip = ClipStatistics(sequenceLevel: false)
    var loss = 0.0
    var klSum = 0.0

    for i in 0..<streams.rowCount {
      let advantage = rowAdvantages[i]
      let tokens = streams.row(i).filter { streams.mask[$0] }
      let weighed = tokens.filter { kept?[$0] ?? true }
      let rowDivisor = normalization.divisor(
        .gmpo, length: 1, streams: streams, maskedCount: maskedCount, maxCompletionLength: c.maxCompletionLength)
      clip.beginRow()
      for t in tokens {
        let logRatio = Double(x[t]) - Double(old[t])
        clip.add(low: logRatio < -c.epsilon && advantage < 0, high: logRatio > c.upperEpsilon && advantage > 0)
      }
      // Clipped above where the advantage is positive, below where it isn't.
      func isClipped(_ logRatio: Double) -> Bool {
        advantage > 0 ? logRatio > c.upperEpsilon : logRatio < -c.epsilon
      }
      let bound = advantage > 0 ? c.upperEpsilon : -c.epsilon
      let sum = weighed.reduce(0.0) {
        let logRatio = Double(x[$1]) - Double(old[$1])
        return $0 + (isClipped(logRatio) ? bound : logRatio)
      }
      let count = Double(max(1, weighed.count))
      let rowLoss = -PortableMath.exp(sum / count) * advantage
      for t in weighed where !isClipped(Double(x[t]) - Double(old[t])) {
        gradients.logprob[t] = Float(rowLoss / (count * rowDivisor))
      }
      var rowKL = 0.0
      let length = Double(max(1, tokens.count))
      if c.beta != 0 {
        for t in tokens {
          let d = Double(reference[t]) - Double(x[t])
          let e = PortableMath.expm1(d)
          rowKL += e - d
          gradients.logprob[t] += Float(-c.beta * e / (length * rowDivisor))
        }
      }
      klSum += rowKL
      loss += (rowLoss + c.beta * rowKL / length) / rowDivisor
    }

    var metrics: [ObjectiveResult.Metric] = []
    if c.beta != 0 { metrics.append(.init("kl", klSum / Double(max(1, maskedCount)))) }
    if let entropies = streams.entropies { metrics.append(.init("entropy", streams.maskedMean(entropies))) }
    return ObjectiveResult(loss: loss, gradients: gradients, metrics: metrics + clip.metrics)
  }
}
