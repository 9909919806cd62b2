extension GRPO {
  /// What the tokens of a completion share.
  struct Sequence {
    /// Those that the loss sees.
    var tokens: [Int]
    /// `L`; an empty completion counts as one token.
    var length: Double
    /// `exp` of the mean log-ratio.
    var weight: Double
    /// `log W` of VESPO; 0 elsewhere.
    var logWeight: Double
    /// How far the policy has moved, for `off_policy_mask_threshold`; 0 without one.
    var drift: Double
  }

  /// - Parameter sampler: weights of the sampler correction, one per token.
  func sequence(_ i: Int, _ streams: TokenStreams, sampler: [Double]?) -> Sequence {
    let (x, old) = (streams.policyLogprobs, streams.oldLogprobs ?? streams.policyLogprobs)
    let tokens = streams.row(i).filter { streams.mask[$0] }
    let length = Double(max(1, tokens.count))
    let meanLogRatio = tokens.reduce(0) { $0 + (Double(x[$1]) - Double(old[$1])) } / length
    return Sequence(
      tokens: tokens, length: length, weight: PortableMath.exp(meanLogRatio),
      logWeight: configuration.lossType == .vespo ? logSequenceRatio(tokens, x, old, sampler: sampler) : 0,
      drift: configuration.offPolicyMaskThreshold == nil ? 0 : meanDrift(streams, tokens))
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
