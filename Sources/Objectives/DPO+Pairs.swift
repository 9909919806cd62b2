import Core

extension DPO {
  /// One completion of a pair, summed over its tokens.
  struct Completion {
    /// The tokens that the loss sees, in ascending order.
    var tokens: [Int]
    /// What each of these tokens' logprobs are multiplied by: 1, and `ld_alpha` past the shared length.
    var weights: [Double]
    /// `X`, the weighted sum of the policy's logprobs.
    var policy: Double
    /// `R`, the same of the reference's.
    var reference: Double
    /// `g = F(u)`.
    var score: Double
    /// `F'(u)`.
    var scoreSlope: Double

    /// `u`.
    var logRatio: Double { policy - reference }
    /// `L`; an empty completion counts as one token.
    var length: Double { Double(max(1, tokens.count)) }
  }

  /// A chosen and a rejected completion.
  struct Pair {
    var chosen: Completion
    var rejected: Completion
    /// What the pair's loss is multiplied by: 1, or the weight of WPO. A constant for the gradient.
    var weight: Double
  }

  /// The pairs of a batch, from its rows.
  /// - Throws: `AttuneError` for an odd number of rows or a missing stream.
  func pairs(_ streams: TokenStreams) throws -> [Pair] {
    let completions = try streams.completionRows()
    let reference = try streams.required(streams.referenceLogprobs, "reference logprobs", by: "DPO")
    let squares =
      configuration.usesWeighting
      ? try streams.required(streams.logSumSquaredProbs, "log Σp²", by: "use_weighting") : nil
    return (0..<streams.rowCount / 2).map { k in
      let rows = [completions[2 * k].tokens, completions[2 * k + 1].tokens]
      let shared = min(rows[0].count, rows[1].count)
      let sides = rows.map { completion($0, shared: shared, streams.policyLogprobs, reference) }
      var pair = Pair(chosen: sides[0], rejected: sides[1], weight: 1)
      if let squares {
        let means = sides.map { side in
          side.tokens.reduce(0) { $0 + (Double(streams.policyLogprobs[$1]) - Double(squares[$1])) } / side.length
        }
        pair.weight = PortableMath.exp(means[0]) * PortableMath.exp(means[1])
      }
      return pair
    }
  }

  /// - Parameter shared: length of the pair's shorter completion: so many tokens count in full.
  private func completion(_ tokens: [Int], shared: Int, _ policy: [Float], _ reference: [Float]) -> Completion {
    let beyond = configuration.lengthDesensitization ?? 1
    let weights = tokens.indices.map { $0 < shared ? 1 : beyond }
    var (x, r) = (0.0, 0.0)
    // A weight of 0 selects: an infinite logprob must not become NaN by it.
    for (t, weight) in zip(tokens, weights) where weight != 0 {
      x += weight * Double(policy[t])
      r += weight * Double(reference[t])
    }
    let (score, slope) = score(x - r)
    return Completion(tokens: tokens, weights: weights, policy: x, reference: r, score: score, scoreSlope: slope)
  }

  /// `F(u)` of the divergence and its slope.
  func score(_ u: Double) -> (value: Double, slope: Double) {
    switch configuration.divergence {
    case .reverseKL: return (u, 1)
    case .forwardKL: return (-PortableMath.expm1(-u), PortableMath.exp(-u))
    case .jensenShannon: return (PortableMath.log(2) + PortableMath.logSigmoid(u), PortableMath.sigmoid(-u))
    case .alpha:
      let power = configuration.alpha - 1
      if abs(power) < 1e-6 { return (u, 1) }
      let exponent = power * u
      if exponent > 80 { return (PortableMath.expm1(80) / power, 0) }
      return (PortableMath.expm1(exponent) / power, PortableMath.exp(exponent))
    }
  }
}
