extension Tape {
  /// Rows of a table mixed by constant weights: y = mix · table.
  ///
  /// For learned position tables that are resampled to another grid. Computed at full precision.
  /// - Parameters:
  ///   - table: `[entries, width]`.
  ///   - mix: `[rows, entries]`.
  /// - Returns: `[rows, width]`. Gradient: table += mixᵀ dy.
  public func mixRows(_ table: Parameter, by mix: Tensor) -> Tensor {
    let y = backend.empty([mix.rows, table.value.width], mix.dtype)
    backend.matmulTurned(y, mix.allColumns, backend.pack([table.value], for: .full), accumulate: false)
    record(.mixRows, inputs: [], parameters: [table], output: y) { tape, dy in
      if let gradient = table.accumulator {
        tape.backend.matmulWeightGradient(gradient, mix.allColumns, dy.reshaped(y.shape).allColumns, .full)
      }
    }
    return y
  }
}
