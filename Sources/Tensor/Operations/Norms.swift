extension Tape {
  /// x / sqrt(mean(x²) + ε) · w over rows as wide as the weight (1910.07467).
  ///
  /// - Parameter precision: of the product that reads the result; it is stored rounded to bf16 if that reads bf16.
  public func rmsNorm(_ x: Tensor, _ weight: Parameter, epsilon: Double, for precision: Precision = .full) -> Tensor {
    let y = backend.empty(x.shape, x.operandDType(precision))
    backend.rmsNorm(y, x, weight.value, epsilon)
    record(.rmsNorm, inputs: [x], parameters: [weight], output: y) { tape, dy in
      let dx = tape.backend.empty(x.shape, x.dtype)
      tape.backend.rmsNormBackward(dx, weight.accumulator, dy, x, weight.value, epsilon)
      tape.accumulate(dx, into: x)
    }
    return y
  }

  /// (x − mean) / sqrt(variance + ε) · w + b over rows as wide as the weight (1607.06450).
  public func layerNorm(
    _ x: Tensor, _ weight: Parameter, _ bias: Parameter, epsilon: Double, for precision: Precision = .full
  ) -> Tensor {
    let y = backend.empty(x.shape, x.operandDType(precision))
    backend.layerNorm(y, x, weight.value, bias.value, epsilon)
    record(.layerNorm, inputs: [x], parameters: [weight, bias], output: y) { tape, dy in
      let dx = tape.backend.empty(x.shape, x.dtype)
      tape.backend.layerNormBackward(
        dx, weight.accumulator, bias.accumulator, dy.reshaped([dy.count / bias.shape[0], bias.shape[0]]), x,
        weight.value,
        epsilon)
      tape.accumulate(dx, into: x)
    }
    return y
  }
}
