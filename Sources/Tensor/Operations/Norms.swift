extension Tape {
  /// x / sqrt(mean(x²) + ε) · w over rows as wide as the weight (1910.07467).
  public func rmsNorm(_ x: Tensor, _ weight: Parameter, epsilon: Double) -> Tensor {
    let y = backend.empty(x.shape, x.dtype)
    backend.rmsNorm(y, x, weight.value, epsilon)
    record(.rmsNorm, inputs: [x], parameters: [weight], output: y) { tape, dy in
      let dx = tape.backend.empty(x.shape, x.dtype)
      tape.backend.rmsNormBackward(dx, weight.gradient, dy, x, weight.value, epsilon)
      tape.accumulate(dx, into: x)
    }
    return y
  }

  /// (x − mean) / sqrt(variance + ε) · w + b over rows as wide as the weight (1607.06450).
  public func layerNorm(_ x: Tensor, _ weight: Parameter, _ bias: Parameter, epsilon: Double) -> Tensor {
    let y = backend.empty(x.shape, x.dtype)
    backend.layerNorm(y, x, weight.value, bias.value, epsilon)
    record(.layerNorm, inputs: [x], parameters: [weight, bias], output: y) { tape, dy in
      let dx = tape.backend.empty(x.shape, x.dtype)
      tape.backend.layerNormBackward(
        dx, weight.gradient, bias.gradient, dy.reshaped([dy.count / bias.shape[0], bias.shape[0]]), x, weight.value,
        epsilon)
      tape.accumulate(dx, into: x)
    }
    return y
  }

  /// Rotary position embedding (2104.09864), pairs (i, i + size/2) of each head.
  ///
  /// - Parameters:
  ///   - x: `[tokens, heads * size]`.
  ///   - angles: cosine and sine `[tokens, size/2]`.
  public func rotary(_ x: Tensor, _ angles: RotaryAngles, size: Int) -> Tensor {
    let y = backend.empty(x.shape, x.dtype)
    backend.rotary(y, x, angles.cosine, angles.sine, size: size, backwards: false)
    record(.rotary, inputs: [x], output: y) { tape, dy in
      let dx = tape.backend.empty(x.shape, x.dtype)
      tape.backend.rotary(dx, dy.reshaped(x.shape), angles.cosine, angles.sine, size: size, backwards: true)
      tape.accumulate(dx, into: x)
    }
    return y
  }
}

/// Cosine and sine of every token's rotary angles, each `[tokens, size/2]`.
public struct RotaryAngles: Sendable {
  public let cosine: Tensor
  public let sine: Tensor

  public init(cosine: Tensor, sine: Tensor) {
    self.cosine = cosine
    self.sine = sine
  }
}
