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
