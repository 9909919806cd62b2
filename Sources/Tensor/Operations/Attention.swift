/// What happens to query and key heads before they meet: an RMS norm of each head where given, then the rotary turn.
public struct HeadTransform {
  public var queryNorm: Parameter?
  public var keyNorm: Parameter?
  public var epsilon: Double
  public var angles: RotaryAngles

  public init(queryNorm: Parameter? = nil, keyNorm: Parameter? = nil, epsilon: Double = 0, angles: RotaryAngles) {
    self.queryNorm = queryNorm
    self.keyNorm = keyNorm
    self.epsilon = epsilon
    self.angles = angles
  }
}

/// Cosine and sine of every token's rotary angles, each `[tokens, size/2]`.
public struct RotaryAngles: Sendable {
  public let cosine: Tensor
  public let sine: Tensor

  public init(cosine: Tensor, sine: Tensor) {
    self.cosine = cosine
    self.sine = sine
  }
}

/// Keys and values of one layer that outlive a batch: the batch's own go to their slots, attention reads them all.
public struct KeyValuePages {
  /// `[pages, kvHeads, size, 64]`.
  public var keys: Tensor
  /// `[pages * 64, kvHeads * size]`.
  public var values: Tensor
  /// One for each token of the batch.
  public var slots: [Int32]

  public init(keys: Tensor, values: Tensor, slots: [Int32]) {
    self.keys = keys
    self.values = values
    self.slots = slots
  }
}

extension Tape {
  /// softmax(scale q kᵀ) v along the paths of a plan (1706.03762), q and k transformed first.
  ///
  /// - Parameters:
  ///   - qkv: `[tokens, (heads + 2 kvHeads) * size]`: queries, keys and values side by side.
  ///   - plan: over the batch's own tokens, or over the pages of `cache`.
  ///   - precision: of the product that reads the result; it is stored rounded to bf16 if that reads bf16.
  /// - Returns: `[tokens, heads * size]`. Queries and keys are computed again on the way back instead of being kept.
  public func attention(
    _ qkv: Tensor, _ transform: HeadTransform, _ plan: AttentionPlan, _ heads: AttentionHeads,
    for precision: Precision = .full, cache: KeyValuePages? = nil
  ) -> Tensor {
    let backend = backend
    let (q, k) = transformed(qkv, transform, heads)
    let v = qkv.columns(heads.valueColumns)
    let y = backend.empty([qkv.rows, heads.heads * heads.size], qkv.operandDType(precision))
    if let cache {
      precondition(!isRecording, "attention over cached pages has no gradient")
      backend.toPages(cache.keys, k.allColumns, cache.slots, heads)
      backend.scatter(cache.values, v, cache.slots)
      backend.attention(y, nil, q, cache.keys, cache.values.allColumns, plan, heads)
      return y
    }
    let norms = [transform.queryNorm, transform.keyNorm]
    let wanted = isRecording && (needsGradient(qkv) || norms.contains { $0?.isTrainable ?? false })
    let lse = wanted ? backend.empty([qkv.rows, heads.heads], qkv.dtype) : nil
    let pages = backend.empty(heads.pages(of: qkv.rows), qkv.dtype)
    backend.toPages(pages, k.allColumns, nil, heads)
    backend.attention(y, lse, q, pages, v, plan, heads)
    record(.attention, inputs: [qkv], parameters: norms, output: y) { tape, dy in
      tape.attentionBackward(qkv, dy.reshaped(y.shape), lse!, transform, plan, heads)
    }
    return y
  }

  private func transformed(_ qkv: Tensor, _ transform: HeadTransform, _ heads: AttentionHeads) -> (q: Tensor, k: Tensor)
  {
    let q = backend.empty([qkv.rows, heads.heads * heads.size], qkv.dtype)
    let k = backend.empty([qkv.rows, heads.kvHeads * heads.size], qkv.dtype)
    for (y, columns, norm) in [
      (q, heads.queryColumns, transform.queryNorm), (k, heads.keyColumns, transform.keyNorm),
    ] {
      backend.transformHeads(
        y.allColumns, qkv.columns(columns), norm?.value, transform.epsilon, transform.angles, size: heads.size,
        backwards: false)
    }
    return (q, k)
  }

  private func attentionBackward(
    _ qkv: Tensor, _ dy: Tensor, _ lse: Tensor, _ transform: HeadTransform, _ plan: AttentionPlan,
    _ heads: AttentionHeads
  ) {
    let (q, k) = transformed(qkv, transform, heads)
    let v = qkv.columns(heads.valueColumns)
    let keyPages = backend.empty(heads.pages(of: qkv.rows), qkv.dtype)
    let valuePages = backend.empty(keyPages.shape, qkv.dtype)
    backend.toPages(keyPages, k.allColumns, nil, heads)
    backend.toPages(valuePages, v, nil, heads)
    let d = backend.empty(qkv.shape, qkv.dtype)
    let dq = backend.empty(q.shape, q.dtype)
    let dk = backend.empty(k.shape, k.dtype)
    backend.attentionBackward(
      dq, dk, d.columns(heads.valueColumns), dy, lse, q, k, keyPages, valuePages, plan, heads)
    for (dHeads, columns, norm) in [
      (dq, heads.queryColumns, transform.queryNorm), (dk, heads.keyColumns, transform.keyNorm),
    ] {
      // The turn goes back in place where a norm follows, else straight to its columns.
      let to = norm == nil ? d.columns(columns) : dHeads.allColumns
      backend.transformHeads(
        to, dHeads.allColumns, nil, 0, transform.angles, size: heads.size, backwards: true)
      if let norm {
        backend.headNormBackward(
          d.columns(columns), norm.accumulator, dHeads, qkv.columns(columns), norm.value, transform.epsilon)
      }
    }
    accumulate(d, into: qkv)
  }
}

extension AttentionHeads {
  public var queryColumns: Range<Int> { 0..<heads * size }
  public var keyColumns: Range<Int> { heads * size..<(heads + kvHeads) * size }
  public var valueColumns: Range<Int> { (heads + kvHeads) * size..<(heads + 2 * kvHeads) * size }

  /// Shape of the pages that hold `rows` keys.
  func pages(of rows: Int) -> [Int] {
    [(rows + KeyPiece.pageSize - 1) / KeyPiece.pageSize, kvHeads, size, KeyPiece.pageSize]
  }
}
