extension GRPO {
  /// One token's policy loss and its two partial derivatives: by the log of its importance weight, and by its own
  /// logprob where that stands in the formula directly.
  struct PolicyTerm {
    var loss: Double
    var byLogWeight: Double
    var byLogprob: Double

    static let zero = PolicyTerm(loss: 0, byLogWeight: 0, byLogprob: 0)

    func scaled(by c: Double) -> PolicyTerm {
      PolicyTerm(loss: loss * c, byLogWeight: byLogWeight * c, byLogprob: byLogprob * c)
    }

    func adding(_ other: PolicyTerm, times c: Double) -> PolicyTerm {
      PolicyTerm(
        loss: loss + c * other.loss, byLogWeight: byLogWeight + c * other.byLogWeight,
        byLogprob: byLogprob + c * other.byLogprob)
    }
  }

  /// The term of a token.
  ///
  /// - Parameters:
  ///   - w: importance weight.
  ///   - advantage: exactly 0 gives the zero term, whatever `w` is.
  ///   - x: the token's policy logprob.
  ///   - logSequenceWeight: `log W` of VESPO, otherwise unused.
  func policyTerm(weight w: Double, advantage: Double, logprob x: Double, logSequenceWeight: Double) -> PolicyTerm {
    if advantage == 0 { return .zero }
    let c = configuration
    switch c.lossType {
    case .grpo, .bnpo, .drGRPO, .dapo, .luspo:
      return clippedTerm(weight: w, advantage: advantage)
    case .cispo:
      let slope = -PortableMath.clamp(w, -.infinity, c.upperEpsilon) * advantage
      return PolicyTerm(loss: slope * x, byLogWeight: 0, byLogprob: slope)
    case .sapo:
      let temperature = advantage > 0 ? c.sapoTemperaturePositive : c.sapoTemperatureNegative
      let gate = PortableMath.sigmoid(temperature * (w - 1))
      // 1 − σ(z) as σ(−z): at a huge weight the gate is flat and its slope exactly 0, not 0 · ∞.
      let slope = gate * PortableMath.sigmoid(-temperature * (w - 1))
      return PolicyTerm(
        loss: -4 / temperature * gate * advantage, byLogWeight: slope == 0 ? 0 : -4 * slope * w * advantage,
        byLogprob: 0)
    case .vespo:
      let slope = -sequencePhi(logWeight: logSequenceWeight, advantage: advantage) * advantage
      return PolicyTerm(loss: slope * x, byLogWeight: 0, byLogprob: slope)
    case .gmpo:
      preconditionFailure("gmpo has no per-token term")
    }
  }

  /// PPO's clipped objective, with the upper bound `delta` on its unclipped branch.
  private func clippedTerm(weight w: Double, advantage: Double) -> PolicyTerm {
    let low = 1 - configuration.epsilon
    let high = 1 + configuration.upperEpsilon
    let bound = configuration.delta ?? .infinity
    let free = PortableMath.clamp(w, -.infinity, bound) * advantage
    let clipped = PortableMath.clamp(w, low, high) * advantage
    let slope = -w * advantage
    if clipped < free { return PolicyTerm(loss: -clipped, byLogWeight: w < low || w > high ? 0 : slope, byLogprob: 0) }
    return PolicyTerm(loss: -free, byLogWeight: w > bound ? 0 : slope, byLogprob: 0)
  }

  /// VESPO's weight `φ(W) = exp(λ + k·log W − λ·W)`, which is 1 at `W = 1`; 0 where it isn't finite.
  func sequencePhi(logWeight: Double, advantage: Double) -> Double {
    let c = configuration
    let power = advantage >= 0 ? c.vespoPowerPositive : c.vespoPowerNegative
    let decay = max(advantage >= 0 ? c.vespoDecayPositive : c.vespoDecayNegative, 1e-4)
    let phi = PortableMath.exp(decay + power * logWeight - decay * PortableMath.exp(logWeight))
    return phi.isFinite ? phi : 0
  }

  /// `k3 = e^d − 1 − d` with `d = r − x`, times the importance weight if the configuration says so.
  func klTerm(reference: Double, policy: Double, weight: Double) -> PolicyTerm {
    let d = reference - policy
    // From expm1, so that a small d keeps its digits.
    let e = PortableMath.expm1(d)
    guard configuration.biasCorrectedKL else { return PolicyTerm(loss: e - d, byLogWeight: 0, byLogprob: -e) }
    return PolicyTerm(loss: (e - d) * weight, byLogWeight: (e - d) * weight, byLogprob: -e * weight)
  }
}
