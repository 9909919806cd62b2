/// The scalars of one AdamW update.
public struct AdamWStep: Sendable {
  /// Multiplies the gradient before anything else (clipping).
  public var gradientScale: Double
  public var learningRate: Double
  public var beta1: Double
  public var beta2: Double
  public var epsilon: Double
  public var weightDecay: Double
  /// Step number, from 1.
  public var step: Int

  public init(
    gradientScale: Double = 1, learningRate: Double, beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8,
    weightDecay: Double = 0, step: Int
  ) {
    self.gradientScale = gradientScale
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    self.step = step
  }
}

/// The scalars of one step of gradient descent with momentum, in torch's order.
public struct SGDStep: Sendable {
  /// Multiplies the gradient before anything else (clipping).
  public var gradientScale: Double
  public var learningRate: Double
  public var momentum: Double
  /// The step looks one update of the momentum ahead.
  public var nesterov: Bool
  public var weightDecay: Double
  /// Decay is part of the gradient (L2) and goes through the momentum, instead of shrinking the parameter by itself.
  public var couplesDecay: Bool

  public init(
    gradientScale: Double = 1, learningRate: Double, momentum: Double = 0, nesterov: Bool = false,
    weightDecay: Double = 0, couplesDecay: Bool = true
  ) {
    self.gradientScale = gradientScale
    self.learningRate = learningRate
    self.momentum = momentum
    self.nesterov = nesterov
    self.weightDecay = weightDecay
    self.couplesDecay = couplesDecay
  }
}

/// Both moments of AdamW in 8 bits (2110.02861): blocks of 256 values, a byte each, and one scale per block, the largest
/// magnitude in it. A value is its code times the scale.
public struct QuantizedMoments: Sendable {
  /// Values that share a scale.
  public static let blockSize = 256

  /// Bytes of the first moment by `DynamicCode.signed`, one for each parameter.
  public let first: Tensor
  /// `[ceil(count / 256)]`, of the parameter's dtype.
  public let firstScales: Tensor
  /// Bytes of the second moment by `DynamicCode.unsigned`.
  public let second: Tensor
  public let secondScales: Tensor

  public init(first: Tensor, firstScales: Tensor, second: Tensor, secondScales: Tensor) {
    self.first = first
    self.firstScales = firstScales
    self.second = second
    self.secondScales = secondScales
  }

  /// Scales of so many values.
  public static func blocks(of count: Int) -> Int { (count + blockSize - 1) / blockSize }
}
