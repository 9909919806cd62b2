import Core

/// Credit that reaches back from a completion's score to its tokens.
enum TokenCredit {
  /// The estimate of the KL to the reference at each token of the policy that sampled; 0 where the mask is false, and without a
  /// reference that is not needed.
  static func kl(
    _ streams: TokenStreams, _ estimator: KLEstimator, isNeeded: Bool, by user: String
  ) throws -> [Double] {
    if !isNeeded, streams.referenceLogprobs == nil { return [Double](repeating: 0, count: streams.tokenCount) }
    let reference = try streams.required(streams.referenceLogprobs, "reference logprobs", by: user)
    return streams.mask.indices.map {
      streams.mask[$0] ? estimator.value(Double(streams.policyLogprobs[$0]) - Double(reference[$0])) : 0
    }
  }

  /// Per token `−coefficient · KL`, and the score on top of the last token that counts (arXiv 2203.02155, eq. 2).
  ///
  /// - Parameter scores: one per row; NaN adds nothing.
  static func rewards(_ streams: TokenStreams, scores: [Double], kl: [Double], coefficient: Double) -> [Double] {
    var rewards = kl.map { coefficient == 0 ? 0 : -coefficient * $0 }
    for i in 0..<streams.rowCount where !scores[i].isNaN {
      if let last = streams.row(i).last(where: { streams.mask[$0] }) { rewards[last] += scores[i] }
    }
    return rewards
  }

  /// Generalized advantages (arXiv 1506.02438, eq. 16), right to left over the tokens that count:
  /// `δ_t = r_t + γ·V_{t+1} − V_t`, `Â_t = δ_t + γλ·Â_{t+1}`; the value after the last token is 0.
  ///
  /// - Parameter values: nil without a critic: with λ = 1 the result is then the discounted sum of rewards.
  static func advantages(
    _ streams: TokenStreams, rewards: [Double], values: [Double]?, gamma: Double, lambda: Double
  ) -> [Double] {
    var advantages = [Double](repeating: 0, count: rewards.count)
    for i in 0..<streams.rowCount {
      var (next, later) = (0.0, 0.0)
      for t in streams.row(i).reversed() where streams.mask[t] {
        let value = values?[t] ?? 0
        later = rewards[t] + gamma * next - value + gamma * lambda * later
        (advantages[t], next) = (later, value)
      }
    }
    return advantages
  }

  /// The values that count with mean 0 and deviation 1.
  ///
  /// - Parameters:
  ///   - isUnbiased: the n − 1 variance plus 1e-8 (verl); else the n variance, at least 1e-8 (OpenRLHF).
  ///   - keepsMean: their mean stays.
  /// - Returns: 0 where the mask is false.
  static func whitened(_ values: [Double], mask: [Bool], isUnbiased: Bool = true, keepsMean: Bool = false) -> [Double] {
    let tokens = mask.indices.filter { mask[$0] }
    let count = Double(tokens.count)
    guard count > 1 || (count == 1 && !isUnbiased) else { return mask.indices.map { mask[$0] ? values[$0] : 0 } }
    let mean = tokens.reduce(0) { $0 + values[$1] } / count
    let squares = tokens.reduce(0) { $0 + (values[$1] - mean) * (values[$1] - mean) }
    let variance = isUnbiased ? squares / (count - 1) + 1e-8 : max(squares / count, 1e-8)
    let scale = 1 / PortableMath.sqrt(variance)
    return mask.indices.map { mask[$0] ? (values[$0] - mean) * scale + (keepsMean ? mean : 0) : 0 }
  }
}
