import Core

extension GRPO {
  /// Loss, gradients and metrics of one micro-batch.
  ///
  /// - Parameters:
  ///   - streams: one row per completion; policy logprobs. Also old logprobs unless on-policy, reference logprobs if
  ///     `beta` is not 0, sampling logprobs with sampler correction, entropies for the bonus, the quantile or the log.
  ///   - advantages: without gradient.
  ///   - normalization: what the sums are divided by.
  ///   - entropyCoefficient: the coefficient of the bonus now; nil takes the configuration's. With adaptive entropy
  ///     pass `AdaptiveEntropy.appliedCoefficient`.
  /// - Throws: `AttuneError` for a bad configuration, a missing stream, or shapes that disagree.
  public func evaluate(
    _ streams: TokenStreams, advantages: Advantages, normalization: Normalization = .init(),
    entropyCoefficient: Double? = nil
  ) throws -> ObjectiveResult {
    try configuration.validate()
    try normalization.validate()
    try streams.validate()
    try advantages.validate(streams)
    guard configuration.adaptiveEntropy == nil || entropyCoefficient != nil else {
      throw AttuneError.work("adaptive entropy needs the coefficient that its controller applies in this step")
    }
    if configuration.lossType == .gmpo {
      return try evaluateGMPO(streams, advantages: advantages, normalization: normalization)
    }
    let c = configuration
    let x = streams.policyLogprobs
    let old = streams.oldLogprobs ?? x
    let reference = c.beta == 0 ? [] : try streams.required(streams.referenceLogprobs, "reference logprobs", by: "beta")
    let sampler = try c.samplerCorrection?.weights(streams)
    let kept = try highEntropyTokens(streams)
    let maskedCount = streams.maskedCount

    var gradients = StreamGradients(logprob: [Float](repeating: 0, count: streams.tokenCount))
    var direct: [Double] = []
    var loss = 0.0
    var klSum = 0.0
    var clip = ClipStatistics(sequenceLevel: c.importanceLevel == .sequence && advantages.isPerRow)
    var phi = PhiStatistics()

    for i in 0..<streams.rowCount {
      let row = streams.row(i)
      let tokens = row.filter { streams.mask[$0] }
      let length = Double(max(1, tokens.count))
      let meanLogRatio = tokens.reduce(0) { $0 + (Double(x[$1]) - Double(old[$1])) } / length
      let sequenceWeight = PortableMath.exp(meanLogRatio)
      let logSequenceWeight =
        c.lossType == .vespo ? logSequenceRatio(tokens, x, old, sampler: sampler?.perToken) : 0
      let drift = c.offPolicyMaskThreshold == nil ? 0 : meanDrift(streams, tokens)
      let divisor = normalization.divisor(
        c.lossType, length: tokens.count, streams: streams, maskedCount: maskedCount,
        maxCompletionLength: c.maxCompletionLength)
      clip.beginRow()
      if case .perRow(let values) = advantages {
        if clip.sequenceLevel { clip.add(weight: sequenceWeight, advantage: values[i], c) }
        if c.lossType == .vespo { phi.add(sequencePhi(logWeight: logSequenceWeight, advantage: values[i])) }
      }

      var rowLoss = 0.0
      var rowByLogWeight = 0.0
      direct.removeAll(keepingCapacity: true)
      for t in tokens {
        let advantage = advantages.value(row: i, token: t)
        let logprob = Double(x[t])
        let w = c.importanceLevel == .token ? PortableMath.exp(logprob - Double(old[t])) : sequenceWeight
        var term = policyTerm(
          weight: w, advantage: advantage, logprob: logprob, logSequenceWeight: logSequenceWeight)
        if !clip.sequenceLevel { clip.add(weight: w, advantage: advantage, c) }
        if c.lossType == .vespo, !advantages.isPerRow {
          phi.add(sequencePhi(logWeight: logSequenceWeight, advantage: advantage))
        }
        let dropped = c.offPolicyMaskThreshold.map { advantage < 0 && !(drift <= $0) } ?? false
        let keep = !dropped && kept?[t] ?? true
        // VESPO has the sampler's weight inside its own.
        let samplerWeight = c.lossType == .vespo ? 1 : sampler?.perToken[t] ?? 1
        term = keep && samplerWeight != 0 ? term.scaled(by: samplerWeight) : .zero
        if c.beta != 0 {
          let kl = klTerm(reference: Double(reference[t]), policy: logprob, weight: w)
          klSum += kl.loss
          term = term.adding(kl, times: c.beta)
        }
        rowLoss += term.loss
        rowByLogWeight += term.byLogWeight
        direct.append(term.byLogprob + (c.importanceLevel == .sequence ? 0 : term.byLogWeight))
      }
      loss += rowLoss / divisor
      // A sequence's weight moves with the mean of its logprobs.
      let shared = c.importanceLevel == .sequence ? rowByLogWeight / length : 0
      for (t, own) in zip(tokens, direct) { gradients.logprob[t] = Float((own + shared) / divisor) }
    }

    var metrics = sampler?.metrics ?? []
    if c.beta != 0 { metrics.append(.init("kl", klSum / Double(max(1, maskedCount)))) }
    if let entropies = streams.entropies { metrics.append(.init("entropy", streams.maskedMean(entropies))) }
    switch c.lossType {
    case .cispo: metrics.append(.init("cispo_clip_ratio", clip.highMean, weight: clip.counted))
    case .vespo: metrics.append(.init("vespo/phi_seq_mean", phi.mean, weight: Double(phi.count)))
    case .sapo: break
    default: metrics += clip.metrics
    }
    if c.hasEntropyBonus {
      metrics.append(
        .init("policy_loss", loss * normalization.policyLossFactor(c.lossType), reduction: .sum))
      let coefficient = entropyCoefficient ?? c.entropyCoefficient
      loss -= try addEntropyBonus(&gradients, streams, kept: kept, coefficient: coefficient, normalization)
      if c.adaptiveEntropy == nil, normalization.isTraining { metrics.append(.init("entropy_coef", coefficient)) }
    }
    return ObjectiveResult(loss: loss, gradients: gradients, metrics: metrics)
  }

  /// `k3 = e^d − 1 − d` with `d = r − x`, times the importance weight if the configuration says so.
  private func klTerm(reference: Double, policy: Double, weight: Double) -> PolicyTerm {
    let d = reference - policy
    // From expm1, so that a small d keeps its digits.
    let e = PortableMath.expm1(d)
    guard configuration.biasCorrectedKL else { return PolicyTerm(loss: e - d, byLogWeight: 0, byLogprob: -e) }
    return PolicyTerm(loss: (e - d) * weight, byLogWeight: (e - d) * weight, byLogprob: -e * weight)
  }

  /// Sum of the entropies that the bonus acts on, and their number: what `AdaptiveEntropy.observe` wants.
  public func entropyStatistics(_ streams: TokenStreams) throws -> (sum: Double, count: Int) {
    let entropies = try streams.required(streams.entropies, "entropies", by: "the entropy bonus")
    let tokens = try highEntropyTokens(streams) ?? streams.mask
    var sum = 0.0
    var count = 0
    for t in entropies.indices where tokens[t] {
      sum += Double(entropies[t])
      count += 1
    }
    return (sum, count)
  }

  /// The tokens that the policy term keeps; nil if it keeps all.
  func highEntropyTokens(_ streams: TokenStreams) throws -> [Bool]? {
    guard configuration.topEntropyQuantile < 1 else { return nil }
    return EntropyQuantile.topTokens(
      share: configuration.topEntropyQuantile,
      entropies: try streams.required(streams.entropies, "entropies", by: "top_entropy_quantile"), mask: streams.mask)
  }

  /// `c · H / accumulation`, H the mean entropy of the tokens that the policy term keeps; adds its gradient.
  private func addEntropyBonus(
    _ gradients: inout StreamGradients, _ streams: TokenStreams, kept: [Bool]?, coefficient: Double,
    _ normalization: Normalization
  ) throws -> Double {
    let (sum, count) = try entropyStatistics(streams)
    let items = kept == nil ? normalization.microBatchTokens ?? count : count
    let divisor = Double(max(1, items)) * normalization.accumulation
    let tokens = kept ?? streams.mask
    gradients.entropy = tokens.map { $0 && coefficient != 0 ? Float(-coefficient / divisor) : 0 }
    return coefficient == 0 ? 0 : coefficient * sum / divisor
  }

  /// VESPO's `log W`: the sum, not the mean, of the row's log-ratios, every step of it clamped.
  private func logSequenceRatio(_ tokens: [Int], _ x: [Float], _ old: [Float], sampler: [Double]?) -> Double {
    let floor = PortableMath.log(1e-8)
    var sum = 0.0
    for t in tokens {
      sum += PortableMath.clamp(Double(x[t]) - Double(old[t]), -20, 20)
      if let sampler { sum += PortableMath.clamp(PortableMath.log(sampler[t]), floor, 20) }
    }
    return PortableMath.clamp(sum, floor, 20)
  }

  /// Mean of `sampling − policy` (`old − policy` without sampling logprobs) over the row; unknown tokens count as 0.
  private func meanDrift(_ streams: TokenStreams, _ tokens: [Int]) -> Double {
    guard let base = streams.samplingLogprobs ?? streams.oldLogprobs else { return 0 }
    var sum = 0.0
    for t in tokens {
      let difference = Double(base[t]) - Double(streams.policyLogprobs[t])
      if !difference.isNaN { sum += difference }
    }
    return sum / Double(max(1, tokens.count))
  }
}
