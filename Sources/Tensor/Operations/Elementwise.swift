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

  /// a + s b, of one shape; s is a constant.
  public func addScaled(_ a: Tensor, _ b: Tensor, by s: Double) -> Tensor {
    let y = backend.empty(a.shape, a.dtype)
    backend.copy(y, a)
    backend.addScaled(y, b, s)
    record(.addScaled, inputs: [a, b], output: y) { tape, dy in
      if tape.needsGradient(b) {
        let db = tape.backend.empty(b.shape, b.dtype)
        tape.backend.scale(db, dy, s)
        tape.accumulate(db, into: b)
      }
      tape.accumulate(dy, into: a)
    }
    return y
  }

  /// silu(gate) · up, of one shape (SwiGLU, 2002.05202).
  public func swiGLU(gate: Tensor, up: Tensor) -> Tensor {
    let y = backend.empty(gate.shape, gate.dtype)
    backend.swiGLU(y, gate, up)
    record(.swiGLU, inputs: [gate, up], output: y) { tape, dy in
      let dGate = tape.backend.empty(gate.shape, gate.dtype)
      let dUp = tape.backend.empty(up.shape, up.dtype)
      tape.backend.swiGLUBackward(dGate, dUp, dy, gate, up)
      tape.accumulate(dGate, into: gate)
      tape.accumulate(dUp, into: up)
    }
    return y
  }

  /// GELU (1606.08415) in either form.
  public func gelu(_ x: Tensor, _ form: GELUForm) -> Tensor {
    let y = backend.empty(x.shape, x.dtype)
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
