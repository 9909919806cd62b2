extension Tape {
  /// y = x wᵀ + b.
  ///
  /// - Parameters:
  ///   - x: `[tokens, in]`.
  ///   - weight: `[out, in]`.
  ///   - bias: `[out]`.
  /// - Returns: `[tokens, out]`. Gradients: dx = dy w, dw += dyᵀ x, db += column sums of dy.
  public func linear(_ x: Tensor, _ weight: Parameter, bias: Parameter? = nil) -> Tensor {
    let out = weight.shape[0]
    let y = backend.empty([x.rows, out], x.dtype)
    backend.matmul(y, x, weight.forwardPanels, accumulate: false)
    if let bias { backend.addBias(y, bias.value) }
    record(.linear, inputs: [x], parameters: [weight, bias], output: y) { tape, dy in
      if let gradient = weight.gradient {
        tape.backend.matmulWeightGradient(gradient, dy.reshaped([x.rows, out]), x, weight.precision)
      }
      if let gradient = bias?.gradient { tape.backend.biasGradient(gradient, dy.reshaped([x.rows, out])) }
      if tape.needsGradient(x) {
        let dx = tape.backend.empty(x.shape, x.dtype)
        tape.backend.matmul(dx, dy.reshaped([x.rows, out]), weight.backwardPanels, accumulate: false)
        tape.accumulate(dx, into: x)
      }
    }
    return y
  }

  /// Rows of a table: y[t] = table[ids[t]].
  ///
  /// - Returns: `[tokens, width]`. Gradient: table[id] += dy[t], tokens ascending.
  public func embedding(_ table: Parameter, _ ids: [Int32]) -> Tensor {
    let y = backend.empty([ids.count, table.value.width], table.value.dtype == .f64 ? .f64 : .f32)
    backend.gather(y, table.value, ids)
    record(.embedding, inputs: [], parameters: [table], output: y) { tape, dy in
      if let gradient = table.gradient {
        tape.backend.scatterAdd(gradient, dy.reshaped([ids.count, gradient.width]), ids)
      }
    }
    return y
  }
}
