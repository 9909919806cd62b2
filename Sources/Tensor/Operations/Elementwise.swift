extension Tape {
  /// a + b, of one shape.
  public func add(_ a: Tensor, _ b: Tensor) -> Tensor {
    let y = backend.empty(a.shape, a.dtype)
    backend.add(y, a, b)
    record(.add, inputs: [a, b], output: y) { tape, dy in
      tape.accumulateCopy(dy, into: b)
      tape.accumulate(dy, into: a)
    }
    return y
  }

  /// silu(gate) · up (SwiGLU, 2002.05202).
  ///
  /// - Parameters:
  ///   - gateUp: `[tokens, 2 n]`, gates in the first half of each row.
  ///   - precision: of the product that reads the result.
  /// - Returns: `[tokens, n]`.
  public func swiGLU(_ gateUp: Tensor, for precision: Precision = .full) -> Tensor {
    let y = backend.empty([gateUp.rows, gateUp.width / 2], gateUp.operandDType(precision))
    backend.swiGLU(y, gateUp)
    record(.swiGLU, inputs: [gateUp], output: y) { tape, dy in
      // The product that made gates and ups reads their gradient in the precision of its kin.
      let d = tape.backend.empty(gateUp.shape, gateUp.operandDType(precision))
      tape.backend.swiGLUBackward(d, dy, gateUp)
      tape.accumulate(d, into: gateUp)
    }
    return y
  }

  /// GELU (1606.08415) in either form.
  public func gelu(_ x: Tensor, _ form: GELUForm, for precision: Precision = .full) -> Tensor {
    let y = backend.empty(x.shape, x.operandDType(precision))
    backend.gelu(y, x, form)
    record(.gelu, inputs: [x], output: y) { tape, dy in
      let dx = tape.backend.empty(x.shape, x.dtype)
      tape.backend.geluBackward(dx, dy, x, form)
      tape.accumulate(dx, into: x)
    }
    return y
  }

  /// Accumulates a gradient that is passed on to more than one tensor.
  func accumulateCopy(_ gradient: Tensor, into tensor: Tensor) {
    guard needsGradient(tensor) else { return }
    let own = backend.empty(tensor.shape, gradient.dtype)
    backend.copy(own, gradient)
    accumulate(own, into: tensor)
  }
}
