extension Tape {
  /// The columns of x as separate tensors, `widths` of them in order.
  public func split(_ x: Tensor, _ widths: [Int]) -> [Tensor] {
    precondition(widths.reduce(0, +) == x.width, "widths \(widths) of \(x.shape)")
    var from = 0
    return widths.map { width in
      let columns = from..<from + width
      from += width
      let y = backend.empty([x.rows, width], x.dtype)
      backend.copyColumns(y.allColumns, x.columns(columns))
      record(.split, inputs: [x], output: y) { tape, dy in
        // Each part adds its own columns.
        let dx = tape.backend.zeros(x.shape, x.gradientDType)
        tape.backend.copyColumns(dx.columns(columns), dy.reshaped([x.rows, width]).allColumns)
        tape.accumulate(dx, into: x)
      }
      return y
    }
  }

  /// Rows of x side by side, column by column: y[r, c · group + i] = x[index[r · group + i], c], zero where the index is
  /// negative.
  ///
  /// - Parameter index: `group` entries for each row of the result; no row of x twice.
  /// - Returns: `[index.count / group, width · group]`.
  public func groupRows(_ x: Tensor, _ index: [Int32], group: Int) -> Tensor {
    let y = backend.empty([index.count / group, x.width * group], x.dtype)
    backend.groupRows(y, x, index, group: group)
    record(.groupRows, inputs: [x], output: y) { tape, dy in
      let dx = tape.backend.empty(x.shape, x.gradientDType)
      tape.backend.groupRowsBackward(dx, dy.reshaped(y.shape), index, group: group)
      tape.accumulate(dx, into: x)
    }
    return y
  }

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
