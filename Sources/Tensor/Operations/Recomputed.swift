extension Tape {
  /// Runs part of a model without keeping what is inside it; on the way back it is run again.
  ///
  /// The second run repeats the first bit for bit, so gradients are those of the plain part; what is kept is `x` alone.
  /// - Parameters:
  ///   - also: other inputs that gradients flow into.
  ///   - parameters: the trained parameters inside.
  public func recomputed(
    _ x: Tensor, also: [Tensor] = [], parameters: [Parameter], _ part: @escaping (Tape, Tensor) -> Tensor
  ) -> Tensor {
    guard isRecording else { return part(self, x) }
    let dropout = dropout
    func runs(recording: Bool) -> Tape {
      let inner = Tape(backend, recording: recording)
      inner.dropout = dropout
      return inner
    }
    let y = part(runs(recording: false), x)
    record(.recomputed, inputs: [x] + also, parameters: parameters, output: y) { tape, dy in
      let inner = runs(recording: true)
      for input in [x] + also where tape.needsGradient(input) { inner.watch(input) }
      let again = part(inner, x)
      inner.accumulate(dy.reshaped(again.shape), into: again)
      inner.backward()
      for input in [x] + also {
        if let gradient = inner.gradient(of: input) { tape.accumulate(gradient, into: input) }
      }
    }
    return y
  }
}
