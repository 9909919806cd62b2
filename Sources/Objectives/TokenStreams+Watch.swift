/// What is watched of a step whatever its objective is.
extension TokenStreams {
  /// Mean entropy of the tokens that the loss sees, nats; NaN without any, or without the stream.
  public var meanEntropy: Double {
    guard let entropies, mask.contains(true) else { return .nan }
    return maskedMean(entropies)
  }

  /// The k3 estimate of KL(p ‖ q) from tokens that `p` drew, `mean of q/p − 1 − log q/p` over those that the loss sees, nats a token;
  /// never below 0 (J. Schulman, *Approximating KL divergence*, 2020). NaN without any.
  ///
  /// - Parameters:
  ///   - p: log-probabilities of the policy that drew the tokens, one per token.
  ///   - q: of the other one.
  public func meanKL(of p: [Float], to q: [Float]) -> Double {
    var sum = 0.0
    var count = 0
    for t in 0..<tokenCount where mask[t] {
      sum += KLEstimator.k3.value(Double(p[t]) - Double(q[t]))
      count += 1
    }
    return count == 0 ? .nan : sum / Double(count)
  }

  /// How much of the returns' variance the values foresee: 1 − Var(returns − values) / Var(returns) over the tokens that the loss sees;
  /// NaN where returns do not vary, or there are no values.
  public func explainedVariance(of returns: [Double]) -> Double {
    guard let values else { return .nan }
    let seen = (0..<tokenCount).filter { mask[$0] }
    func variance(_ x: (Int) -> Double) -> Double {
      let mean = seen.reduce(0) { $0 + x($1) } / Double(max(1, seen.count))
      return seen.reduce(0) { $0 + (x($1) - mean) * (x($1) - mean) }
    }
    let all = variance { returns[$0] }
    return all > 0 ? 1 - variance { returns[$0] - Double(values[$0]) } / all : .nan
  }
}
