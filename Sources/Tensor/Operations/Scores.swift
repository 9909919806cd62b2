extension Tape {
  /// y = x wᵀ + b for outputs that are read as numbers, such as rewards and values: products in f64, added in ascending order,
  /// rounded once.
  ///
  /// - Parameters:
  ///   - x: `[rows, in]`, f32, bf16 (taken as it is: the product is no bf16 one) or f64.
  ///   - weight: `[outputs, in]`, of full precision.
  ///   - bias: `[outputs]`.
  /// - Returns: `[rows, outputs]`, f32 (f64 for f64). Gradients: dx = dy w, dw += dyᵀ x and db += column sums of dy, rows ascending
  ///   into the gradient itself.
  public func scores(_ x: Tensor, _ weight: Parameter, bias: Parameter? = nil) -> Tensor {
    precondition(weight.precision == .full, "scores of \(weight.precision) products")
    let y = backend.empty([x.rows, weight.shape[0]], x.gradientDType)
    backend.convert(y, backend.wideScores(x, weight.value, bias: bias?.value))
    record(.scores, inputs: [x], parameters: [weight, bias], output: y) { tape, dy in
      let backend = tape.backend
      let dy = dy.reshaped(y.shape)
      if let gradient = bias?.accumulator { backend.biasGradient(gradient, dy.allColumns) }
      if let gradient = weight.accumulator {
        backend.matmulWeightGradient(gradient, dy.allColumns, tape.widened(x).allColumns, .full)
      }
      guard tape.needsGradient(x) else { return }
      let dx = backend.empty(x.shape, x.gradientDType)
      let panels = backend.pack([weight.value], for: .full)
      backend.matmulTurned(dx, dy.allColumns, panels, accumulate: false)
      tape.accumulate(dx, into: x)
    }
    return y
  }
}

extension Backend {
  /// The scores of `Tape.scores` before they are rounded: `[rows, outputs]`, f64.
  public func wideScores(_ x: Tensor, _ weight: Tensor, bias: Tensor?) -> Tensor {
    func wide(_ tensor: Tensor) -> Tensor {
      guard tensor.dtype != .f64 else { return tensor }
      let converted = empty(tensor.shape, .f64)
      convert(converted, tensor)
      return converted
    }
    let y = empty([x.rows, weight.rows], .f64)
    matmul(y.allColumns, wide(x).allColumns, pack([wide(weight)], for: .full), accumulate: false)
    if let bias { addBias(y.allColumns, wide(bias)) }
    return y
  }
}
