import CKernels

/// What low-rank adapters need besides products.
extension CPUBackend {
  /// A view's first element.
  private func first(_ view: ColumnView) -> UnsafeMutablePointer<Float> {
    (raw(view.tensor) + view.from * view.tensor.dtype.size).assumingMemoryBound(to: Float.self)
  }

  public func scaleByColumn(_ y: ColumnView, _ x: ColumnView, _ w: Tensor) {
    precondition(
      y.rows == x.rows && y.width == x.width && w.count == x.width && y.tensor.dtype == x.tensor.dtype,
      "[\(x.rows), \(x.width)] by \(w.shape) into [\(y.rows), \(y.width)]")
    run(x.tensor.dtype) { $0.scale_by_column($1, first(y), y.stride, first(x), x.stride, p(w), x.rows, x.width) }
  }

  public func divide(_ y: Tensor, _ a: Tensor, _ b: Tensor) {
    precondition(y.count == a.count && a.count == b.count, "\(a.shape) over \(b.shape) into \(y.shape)")
    run(y.dtype) { $0.quotient($1, p(y), p(a), p(b), y.count) }
  }

  public func columnProducts(_ dw: Tensor, _ dy: ColumnView, _ v: ColumnView, _ d: Tensor) {
    precondition(
      dy.rows == v.rows && dy.width == v.width && dw.count == v.width && d.count == v.width,
      "products of [\(dy.rows), \(dy.width)] and [\(v.rows), \(v.width)] into \(dw.shape)")
    run(dw.dtype) {
      $0.column_products($1, p(dw), first(dy), dy.stride, first(v), v.stride, p(d), v.rows, v.width)
    }
  }

  public func rowNorms(_ y: Tensor, _ x: Tensor) {
    precondition(y.count == x.rows, "\(x.rows) norms into \(y.shape)")
    run(x.dtype) { $0.row_norms($1, p(y), p(x), x.rows, x.width) }
  }

  public func dropout(_ y: Tensor, _ x: Tensor, _ mask: DropoutMask) {
    precondition(
      y.shape == x.shape && y.dtype == x.dtype && mask.rows.count == x.rows,
      "\(x.shape) into \(y.shape) with \(mask.rows.count) rows of a mask")
    mask.rows.withUnsafeBytes { places in
      let pairs = places.bindMemory(to: UInt32.self).baseAddress
      guard let pairs else { return }
      run(.f32) {
        $0.dropout(
          $1, raw(y), raw(x), x.dtype.size, pairs, mask.key.0, mask.key.1, mask.threshold, x.rows, x.width)
      }
    }
  }
}
