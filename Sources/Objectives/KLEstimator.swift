/// An estimate of the KL divergence of the policy from the reference at one sampled token (Schulman, "Approximating KL
/// divergence", 2020), of `d = x − r`, with its slope by `x`.
public enum KLEstimator: String, NamedChoice {
  /// `d`: unbiased, may be negative.
  case k1
  /// `|d|`.
  case abs
  /// `d² / 2`.
  case k2
  /// `e^(−d) − 1 + d`: unbiased, never negative.
  case k3

  public func value(_ d: Double) -> Double {
    switch self {
    case .k1: d
    case .abs: Swift.abs(d)
    case .k2: 0.5 * d * d
    case .k3: PortableMath.expm1(-d) + d
    }
  }

  public func slope(_ d: Double) -> Double {
    switch self {
    case .k1: 1
    case .abs: d > 0 ? 1 : d < 0 ? -1 : 0
    case .k2: d
    case .k3: -PortableMath.expm1(-d)
    }
  }
}

extension StreamGradients {
  /// Adds the slope of `coefficient · KL / divisor` at every token that the loss sees.
  ///
  /// - Returns: the sum of the estimates.
  mutating func add(
    _ estimator: KLEstimator, _ streams: TokenStreams, reference: [Float], coefficient: Double, divisor: Double
  ) -> Double {
    var sum = 0.0
    for t in 0..<streams.tokenCount where streams.mask[t] {
      let d = Double(streams.policyLogprobs[t]) - Double(reference[t])
      sum += estimator.value(d)
      logprob[t] += Float(coefficient * estimator.slope(d) / divisor)
    }
    return sum
  }
}
