import CKernels

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// The primitives that move and norm rows.
extension CPUBackend {
  func check(_ index: [Int32], below limit: Int) {
    for i in index where i < 0 || Int(i) >= limit { preconditionFailure("row \(i) of \(limit)") }
  }

  public func gather(_ y: Tensor, _ x: Tensor, _ index: [Int32]) {
    precondition(y.rows == index.count && y.width == x.width, "\(index.count) rows of \(x.shape) into \(y.shape)")
    check(index, below: x.rows)
    charge(y, y)
    if !computes {
      // Halves are gathered before they are widened.
      if x.dtype == .f16 { _ = empty(y.shape, .f16) }
      return
    }
    if x.dtype == .bf16, y.dtype == .bf16 {
      for (r, i) in index.enumerated() {
        memcpy(raw(y) + r * x.width * 2, raw(x) + Int(i) * x.width * 2, x.width * 2)
      }
      return
    }
    if x.dtype == .f16 {
      let rows = empty(y.shape, .f16)
      for (r, i) in index.enumerated() {
        memcpy(raw(rows) + r * x.width * 2, raw(x) + Int(i) * x.width * 2, x.width * 2)
      }
      return convert(y, rows)
    }
    if x.dtype == .bf16 {
      pairs { $0.gather($1, p(y), raw(x).assumingMemoryBound(to: UInt16.self), index, index.count, y.width) }
      return
    }
    run(y.dtype) { $0.gather($1, p(y), p(x), index, index.count, y.width) }
  }
  public func scatter(_ x: Tensor, _ y: ColumnView, _ index: [Int32]) {
    precondition(y.rows == index.count && y.width == x.width, "\(index.count) rows of \(x.shape) from \(y)")
    check(index, below: x.rows)
    charge(bytes: 2 * y.rows * y.width * x.dtype.size)
    run(x.dtype) { $0.scatter($1, p(x), p(y), y.stride, index, index.count, y.width) }
  }
  public func scatterAdd(_ x: Tensor, _ y: Tensor, _ index: [Int32]) {
    precondition(y.rows == index.count && y.width == x.width, "\(index.count) rows of \(x.shape) from \(y.shape)")
    check(index, below: x.rows)
    charge(y, y, y)
    run(y.dtype) { $0.scatter_add($1, p(x), p(y), index, index.count, y.width, x.rows) }
  }
  public func copyColumns(_ y: ColumnView, _ x: ColumnView) {
    precondition(y.rows == x.rows && y.width == x.width, "\(x.rows) rows of \(x.width) into \(y.rows) of \(y.width)")
    charge(bytes: 2 * x.rows * x.width * x.tensor.dtype.size)
    run(y.tensor.dtype) { $0.copy_columns($1, p(y), y.stride, p(x), x.stride, x.rows, x.width) }
  }
  public func groupRows(_ y: Tensor, _ x: Tensor, _ index: [Int32], group: Int) {
    checkGroups(y, x, index, group)
    run(x.dtype) { $0.group_rows($1, p(y), p(x), index, y.rows, x.width, group) }
  }
  public func groupRowsBackward(_ dx: Tensor, _ dy: Tensor, _ index: [Int32], group: Int) {
    checkGroups(dy, dx, index, group)
    var slots = [Int32](repeating: -1, count: dx.rows)
    for (slot, row) in index.enumerated() where row >= 0 {
      precondition(slots[Int(row)] < 0, "row \(row) is in two groups")
      slots[Int(row)] = Int32(slot)
    }
    run(dx.dtype) { $0.ungroup_rows($1, p(dx), p(dy), slots, dx.rows, dx.width, group) }
  }
  private func checkGroups(_ y: Tensor, _ x: Tensor, _ index: [Int32], _ group: Int) {
    precondition(
      index.count == y.rows * group && y.width == x.width * group && index.allSatisfy { $0 < x.rows },
      "\(index.count) rows of \(x.shape) in groups of \(group) into \(y.shape)")
  }

  /// Rows of a norm: as wide as its weight.
  private func normRows(_ x: Tensor, _ w: Tensor) -> Int {
    precondition(x.count % w.count == 0, "norm of \(x.shape) by \(w.shape)")
    return x.count / w.count
  }
  public func rmsNorm(_ y: Tensor, _ x: Tensor, _ w: Tensor, _ epsilon: Double) {
    let rows = normRows(x, w)
    let (wide, narrow) = outputs(y)
    charge(y, x)
    run(x.dtype) { $0.rmsnorm($1, wide, narrow, p(x), p(w), rows, w.count, epsilon) }
  }
  public func rmsNormBackward(_ dx: Tensor, _ dw: Tensor?, _ dy: Tensor, _ x: Tensor, _ w: Tensor, _ epsilon: Double) {
    let rows = normRows(x, w)
    let scratch = empty([rows], dy.dtype)
    charge(dx, dy, x)
    run(dy.dtype) { $0.rmsnorm_backward($1, p(dx), p(dw), p(scratch), p(dy), p(x), p(w), rows, w.count, epsilon) }
  }
  public func layerNorm(_ y: Tensor, _ x: Tensor, _ w: Tensor, _ b: Tensor, _ epsilon: Double) {
    let rows = normRows(x, w)
    let (wide, narrow) = outputs(y)
    charge(y, x)
    run(x.dtype) { $0.layernorm($1, wide, narrow, p(x), p(w), p(b), rows, w.count, epsilon) }
  }
  public func layerNormBackward(
    _ dx: Tensor, _ dw: Tensor?, _ db: Tensor?, _ dy: Tensor, _ x: Tensor, _ w: Tensor, _ epsilon: Double
  ) {
    let rows = normRows(x, w)
    let scratch = empty([2 * rows], dy.dtype)
    charge(dx, dy, x)
    run(dy.dtype) {
      $0.layernorm_backward($1, p(dx), p(dw), p(db), p(scratch), p(dy), p(x), p(w), rows, w.count, epsilon)
    }
  }
}
