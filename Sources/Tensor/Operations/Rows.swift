extension Tape {
  /// y[r] = x[index[r]]; an index may repeat.
  public func gatherRows(_ x: Tensor, _ index: [Int32]) -> Tensor {
    let y = backend.empty([index.count, x.width], x.dtype)
    backend.gather(y, x, index)
    record(.gatherRows, inputs: [x], output: y) { tape, dy in
      let dx = tape.backend.zeros(x.shape, x.gradientDType)
      tape.backend.scatterAdd(dx, dy.reshaped([index.count, x.width]), index)
      tape.accumulate(dx, into: x)
    }
    return y
  }

  /// A copy of x with x[index[r]] replaced by rows[r]; indices are distinct.
  public func putRows(_ x: Tensor, _ rows: Tensor, at index: [Int32]) -> Tensor {
    let y = backend.empty(x.shape, x.dtype)
    backend.copy(y, x)
    backend.scatter(y, rows.allColumns, index)
    record(.putRows, inputs: [x, rows], output: y) { tape, dy in
      if tape.needsGradient(rows) {
        let dRows = tape.backend.empty(rows.shape, rows.dtype)
        tape.backend.gather(dRows, dy.reshaped(x.shape), index)
        tape.accumulate(dRows, into: rows)
      }
      if tape.needsGradient(x) {
        tape.backend.scatter(dy.reshaped(x.shape), tape.backend.zeros(rows.shape, rows.dtype).allColumns, index)
        tape.accumulate(dy, into: x)
      }
    }
    return y
  }

  /// A copy of x with rows[r] added to x[index[r]].
  public func addRows(_ x: Tensor, _ rows: Tensor, at index: [Int32]) -> Tensor {
    let y = backend.empty(x.shape, x.dtype)
    backend.copy(y, x)
    backend.scatterAdd(y, rows, index)
    record(.addRows, inputs: [x, rows], output: y) { tape, dy in
      if tape.needsGradient(rows) {
        let dRows = tape.backend.empty(rows.shape, rows.dtype)
        tape.backend.gather(dRows, dy.reshaped(x.shape), index)
        tape.accumulate(dRows, into: rows)
      }
      tape.accumulate(dy, into: x)
    }
    return y
  }
}
