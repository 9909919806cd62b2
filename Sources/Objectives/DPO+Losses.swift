extension DPO {
  /// One pair's loss and its partial derivatives by the weighted logprob sums `X` of its two completions.
  struct PairTerm {
    var loss: Double
    var byChosen: Double
    var byRejected: Double
  }

  /// The terms of a batch under one loss type other than `sft`, one for each pair.
  func terms(_ type: LossType, _ pairs: [Pair]) -> [PairTerm] {
    type.sorts ? sortedTerms(type, pairs) : pairs.map { term(type, $0) }
  }

  /// The term of a pair that needs no other.
  func term(_ type: LossType, _ pair: Pair) -> PairTerm {
    guard type.takesDivergence else {
      return ratioTerm(type, chosen: pair.chosen.logRatio, rejected: pair.rejected.logRatio)
    }
    let (chosen, rejected) = (pair.chosen, pair.rejected)
    let lengths = type.isLengthNormalized ? (chosen.length, rejected.length) : (1, 1)
    let (loss, slope) = marginLoss(type, chosen.score / lengths.0 - rejected.score / lengths.1)
    return PairTerm(
      loss: loss, byChosen: slope * chosen.scoreSlope / lengths.0, byRejected: -slope * rejected.scoreSlope / lengths.1)
  }

  /// The losses that see only the margin `d` between the two scores, with their slope by `d`.
  private func marginLoss(_ type: LossType, _ d: Double) -> (loss: Double, slope: Double) {
    let beta = configuration.beta
    let epsilon = configuration.labelSmoothing
    let z = beta * d
    switch type {
    case .sigmoid, .sigmoidNorm: return (-PortableMath.logSigmoid(z), -beta * PortableMath.sigmoid(-z))
    case .hinge:
      // Compared so that NaN stays NaN.
      return 1 - z <= 0 ? (0, 0) : (1 - z, -beta)
    case .ipo:
      let gap = d - 1 / (2 * beta)
      return (gap * gap, 2 * gap)
    case .exoPair:
      let (q, p) = (PortableMath.sigmoid(z), PortableMath.sigmoid(-z))
      let logOdds = PortableMath.log(epsilon) - PortableMath.log(1 - epsilon)
      let right = q * (PortableMath.logSigmoid(z) - PortableMath.log(1 - epsilon))
      let wrong = p * (PortableMath.logSigmoid(-z) - PortableMath.log(epsilon))
      return (right + wrong, beta * q * p * (z + logOdds))
    case .robust:
      let (right, wrong) = (PortableMath.logSigmoid(z), PortableMath.logSigmoid(-z))
      let slope = -(1 - epsilon) * PortableMath.sigmoid(-z) - epsilon * PortableMath.sigmoid(z)
      let scale = 1 - 2 * epsilon
      return ((-(1 - epsilon) * right + epsilon * wrong) / scale, beta * slope / scale)
    case .discopop:
      let tau = configuration.discopopTemperature
      let (a, b) = (PortableMath.sigmoid(z / tau), PortableMath.sigmoid(-z / tau))
      let logistic = PortableMath.logSigmoid(z)
      // a·exp(−z) as one exponential: at a large negative z it would be 0 · ∞.
      let exponential = PortableMath.exp(PortableMath.logSigmoid(z / tau) - z)
      let slope = a * b / tau * logistic - b * PortableMath.sigmoid(-z) + exponential * (b / tau - 1)
      return (-b * logistic + exponential, beta * slope)
    case .sft, .ncaPair, .bcoPair, .sppoHard, .aot, .aotUnpaired, .apoZero, .apoDown:
      preconditionFailure("'\(type.rawValue)' is no loss of a margin")
    }
  }

  /// The losses that see where each completion's log-ratio lies, not only how far they are apart.
  private func ratioTerm(_ type: LossType, chosen: Double, rejected: Double) -> PairTerm {
    let beta = configuration.beta
    let (c, r) = (beta * chosen, beta * rejected)
    let (logSigmoid, sigmoid, slope) = (PortableMath.logSigmoid, PortableMath.sigmoid, PortableMath.sigmoidSlope)
    switch type {
    case .ncaPair:
      return PairTerm(
        loss: -logSigmoid(c) - 0.5 * logSigmoid(-c) - 0.5 * logSigmoid(-r),
        byChosen: beta * (0.5 * sigmoid(c) - sigmoid(-c)), byRejected: beta * 0.5 * sigmoid(r))
    case .bcoPair:
      return PairTerm(
        loss: -logSigmoid(c) - logSigmoid(-r), byChosen: -beta * sigmoid(-c), byRejected: beta * sigmoid(r))
    case .sppoHard:
      let (up, down) = (chosen - 1 / (2 * beta), rejected + 1 / (2 * beta))
      return PairTerm(loss: up * up + down * down, byChosen: 2 * up, byRejected: 2 * down)
    case .apoZero:
      return PairTerm(loss: sigmoid(-c) + sigmoid(r), byChosen: -beta * slope(c), byRejected: beta * slope(r))
    case .apoDown:
      let margin = slope(c - r)
      return PairTerm(
        loss: sigmoid(c) + sigmoid(r - c), byChosen: beta * (slope(c) - margin), byRejected: beta * margin)
    case .sigmoid, .sigmoidNorm, .hinge, .ipo, .exoPair, .robust, .discopop, .sft, .aot, .aotUnpaired:
      preconditionFailure("'\(type.rawValue)' is no loss of two log-ratios")
    }
  }

  /// Alignment by optimal transport: the k-th smallest value of one kind against the k-th smallest of another. A loss is
  /// listed with the pair that its first value is of; equal values keep the order of their pairs.
  private func sortedTerms(_ type: LossType, _ pairs: [Pair]) -> [PairTerm] {
    func ranked(_ values: [Double]) -> [Int] { values.indices.sorted { (values[$0], $0) < (values[$1], $1) } }
    let (beta, epsilon) = (configuration.beta, configuration.labelSmoothing)
    let isPaired = type == .aot
    let first = pairs.map { isPaired ? $0.chosen.policy - $0.rejected.policy : $0.chosen.logRatio }
    let second = pairs.map { isPaired ? $0.chosen.reference - $0.rejected.reference : $0.rejected.logRatio }
    var terms = [PairTerm](repeating: PairTerm(loss: 0, byChosen: 0, byRejected: 0), count: pairs.count)
    for (i, j) in zip(ranked(first), ranked(second)) {
      let z = beta * (first[i] - second[j])
      let slope = beta * (epsilon * PortableMath.sigmoid(z) - (1 - epsilon) * PortableMath.sigmoid(-z))
      terms[i].loss = -(1 - epsilon) * PortableMath.logSigmoid(z) - epsilon * PortableMath.logSigmoid(-z)
      terms[i].byChosen = slope
      terms[isPaired ? i : j].byRejected = -slope
    }
    return terms
  }
}
