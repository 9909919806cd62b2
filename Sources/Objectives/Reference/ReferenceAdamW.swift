import Core

/// AdamW (arXiv 1711.05101) written down plainly: what a fast optimizer step is compared with.
///
/// ```
/// p ← p·(1 − η·wd)
/// m ← β1·m + (1−β1)·g        v ← β2·v + (1−β2)·g²
/// p ← p − η/(1−β1^t) · m / (sqrt(v)/sqrt(1−β2^t) + eps)
/// ```
///
/// Parameters and state are float32, rounded once per line; everything between is Double. ε is added after the
/// bias-corrected root, decay is decoupled, uses the scheduled rate, and applies also where the gradient is 0.
public struct ReferenceAdamW: Sendable {
  public var beta1: Double
  public var beta2: Double
  public var epsilon: Double
  public var weightDecay: Double
  /// First moment `m`, one value per parameter.
  public private(set) var firstMoment: [Float]
  /// Second moment `v`.
  public private(set) var secondMoment: [Float]
  /// Steps taken.
  public private(set) var step = 0

  /// An optimizer of `count` parameters with empty state.
  public init(
    count: Int, beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8, weightDecay: Double = 0
  ) {
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    firstMoment = [Float](repeating: 0, count: count)
    secondMoment = firstMoment
  }

  /// Takes one step.
  ///
  /// - Parameters:
  ///   - parameters: changed in place; as many as the optimizer was made for.
  ///   - gradients: one per parameter, clipped already.
  ///   - learningRate: the scheduled rate of this step.
  public mutating func update(_ parameters: inout [Float], gradients: [Float], learningRate: Double) {
    precondition(
      parameters.count == firstMoment.count && gradients.count == firstMoment.count,
      "\(parameters.count) parameters and \(gradients.count) gradients for \(firstMoment.count) moments")
    step += 1
    let size = learningRate / (1 - power(beta1, step))
    let root = PortableMath.sqrt(1 - power(beta2, step))
    for i in parameters.indices {
      let g = Double(gradients[i])
      let m = Float(beta1 * Double(firstMoment[i]) + (1 - beta1) * g)
      let v = Float(beta2 * Double(secondMoment[i]) + (1 - beta2) * g * g)
      firstMoment[i] = m
      secondMoment[i] = v
      let decayed = Float(Double(parameters[i]) * (1 - learningRate * weightDecay))
      let denominator = PortableMath.sqrt(Double(v)) / root + epsilon
      parameters[i] = Float(Double(decayed) - size * Double(m) / denominator)
    }
  }

  private func power(_ base: Double, _ exponent: Int) -> Double {
    var result = 1.0
    var square = base
    var rest = exponent
    while rest > 0 {
      if rest & 1 == 1 { result *= square }
      square *= square
      rest >>= 1
    }
    return result
  }
}
