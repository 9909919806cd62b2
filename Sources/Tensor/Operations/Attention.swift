/// What happens to query and key heads before they meet: an RMS norm of each head where given, then the rotary turn.
public struct HeadTransform {
  public var queryNorm: Parameter?
  public var keyNorm: Parameter?
  public var epsilon: Double
  /// Nil where positions turn nothing; there is no norm then either.
  public var angles: RotaryAngles?

  public init(queryNorm: Parameter? = nil, keyNorm: Parameter? = nil, epsilon: Double = 0, angles: RotaryAngles?) {
    precondition(angles != nil || (queryNorm == nil && keyNorm == nil), "norms of heads that are not turned")
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
  /// `[pages * 64, kvHeads * valueSize]`.
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
  ///   - qkv: `[tokens, heads * size + kvHeads * size + kvHeads * valueSize]`: queries, keys and values side by side.
  ///   - plan: over the batch's own tokens, or over the pages of `cache`.
  ///   - precision: of the product that reads the result; it is stored rounded to bf16 if that reads bf16.
  /// - Returns: `[tokens, heads * valueSize]`. Queries and keys are computed again on the way back instead of being kept.
  public func attention(
    _ qkv: Tensor, _ transform: HeadTransform, _ plan: AttentionPlan, _ heads: AttentionHeads,
    for precision: Precision = .full, cache: KeyValuePages? = nil
  ) -> Tensor {
    let norms = [transform.queryNorm, transform.keyNorm]
    let wanted = isRecording && (needsGradient(qkv) || norms.contains { $0?.isTrainable ?? false })
    let (q, k) = transformed(qkv, transform, heads)
    let (y, lse) = attend(
      q, k, qkv.columns(heads.valueColumns), plan, heads, to: qkv.operandDType(precision), cache, keepsSums: wanted)
    record(.attention, inputs: [qkv], parameters: norms, output: y) { tape, dy in
      tape.attentionBackward(qkv, dy.reshaped(y.shape), lse!, transform, plan, heads)
    }
    return y
  }

  /// Multi-head latent attention (DeepSeek-V2, 2405.04434, section 2.1) once keys and values are expanded from their latents.
  ///
  /// - Parameters:
  ///   - query: `[tokens, heads * (plain + turned)]`.
  ///   - keyValue: `[tokens, heads * (plain + value)]`, for every head the plain columns of its key, then its value.
  ///   - key: `[tokens, turned]`, the columns that all keys have in common.
  ///   - plan, precision, cache: as in `attention`; pages hold the expanded keys and values.
  /// - Returns: `[tokens, heads * value]`.
  public func latentAttention(
    _ query: Tensor, _ keyValue: Tensor, _ key: Tensor, _ angles: RotaryAngles, _ plan: AttentionPlan,
    _ heads: LatentHeads, for precision: Precision = .full, cache: KeyValuePages? = nil
  ) -> Tensor {
    let inputs = [query, keyValue, key]
    let wanted = isRecording && inputs.contains { needsGradient($0) }
    let shape = heads.attention
    let backend = backend
    func gathered() -> (q: Tensor, k: Tensor, v: Tensor) {
      let (q, k) = (backend.empty(query.shape, query.dtype), backend.empty(query.shape, query.dtype))
      let v = backend.empty([query.rows, heads.heads * heads.value], query.dtype)
      backend.latentHeads(q, k, v, query, keyValue, key.allColumns, angles, heads)
      return (q, k, v)
    }
    let (q, k, v) = gathered()
    let (y, lse) = attend(
      q, k, v.allColumns, plan, shape, to: query.operandDType(precision), cache, keepsSums: wanted)
    record(.latentAttention, inputs: inputs, output: y) { tape, dy in
      let backend = tape.backend
      let (q, k, v) = gathered()
      let dv = backend.empty(v.shape, v.dtype)
      let (dq, dk) = tape.attendBackward(
        dv.allColumns, dy.reshaped(y.shape), lse!, q, k, v.allColumns, plan, shape)
      let d = inputs.map { backend.empty($0.shape, $0.dtype) }
      backend.latentHeadsBackward(d[0], d[1], d[2].allColumns, dq, dk, dv, angles, heads)
      for (gradient, input) in zip(d, inputs) { tape.accumulate(gradient, into: input) }
    }
    return y
  }

  /// Attention of heads that are ready to meet.
  ///
  /// - Returns: the result, and the logarithms of its sums `[tokens, heads]` if they are kept.
  private func attend(
    _ q: Tensor, _ k: Tensor, _ v: ColumnView, _ plan: AttentionPlan, _ heads: AttentionHeads, to dtype: DType,
    _ cache: KeyValuePages?, keepsSums: Bool
  ) -> (Tensor, Tensor?) {
    let y = backend.empty([q.rows, heads.heads * heads.valueSize], dtype)
    if let cache {
      precondition(!isRecording, "attention over cached pages has no gradient")
      backend.toPages(cache.keys, k.allColumns, cache.slots)
      backend.scatter(cache.values, v, cache.slots)
      backend.attention(y, nil, q, cache.keys, cache.values.allColumns, plan, heads)
      return (y, nil)
    }
    let lse = keepsSums ? backend.empty([q.rows, heads.heads], q.dtype) : nil
    let pages = backend.empty(heads.pages(of: q.rows, size: heads.size), q.dtype)
    backend.toPages(pages, k.allColumns, nil)
    backend.attention(y, lse, q, pages, v, plan, heads)
    return (y, lse)
  }

  /// Gradients of `attend`; dv is written.
  private func attendBackward(
    _ dv: ColumnView, _ dy: Tensor, _ lse: Tensor, _ q: Tensor, _ k: Tensor, _ v: ColumnView, _ plan: AttentionPlan,
    _ heads: AttentionHeads
  ) -> (dq: Tensor, dk: Tensor) {
    let keyPages = backend.empty(heads.pages(of: q.rows, size: heads.size), q.dtype)
    let valuePages = backend.empty(heads.pages(of: q.rows, size: heads.valueSize), q.dtype)
    backend.toPages(keyPages, k.allColumns, nil)
    backend.toPages(valuePages, v, nil)
    let dq = backend.empty(q.shape, q.dtype)
    let dk = backend.empty(k.shape, k.dtype)
    backend.attentionBackward(dq, dk, dv, dy, lse, q, k, keyPages, valuePages, plan, heads)
    return (dq, dk)
  }

  private func transformed(_ qkv: Tensor, _ transform: HeadTransform, _ heads: AttentionHeads) -> (q: Tensor, k: Tensor)
  {
    let q = backend.empty([qkv.rows, heads.heads * heads.size], qkv.dtype)
    let k = backend.empty([qkv.rows, heads.kvHeads * heads.size], qkv.dtype)
    for (y, columns, norm) in [
      (q, heads.queryColumns, transform.queryNorm), (k, heads.keyColumns, transform.keyNorm),
    ] {
      guard let angles = transform.angles else {
        backend.copyColumns(y.allColumns, qkv.columns(columns))
        continue
      }
      backend.transformHeads(
        y.allColumns, qkv.columns(columns), norm?.value, transform.epsilon, angles, size: heads.size, backwards: false)
    }
    return (q, k)
  }

  private func attentionBackward(
    _ qkv: Tensor, _ dy: Tensor, _ lse: Tensor, _ transform: HeadTransform, _ plan: AttentionPlan,
    _ heads: AttentionHeads
  ) {
    let (q, k) = transformed(qkv, transform, heads)
    let d = backend.empty(qkv.shape, qkv.dtype)
    let (dq, dk) = attendBackward(
      d.columns(heads.valueColumns), dy, lse, q, k, qkv.columns(heads.valueColumns), plan, heads)
    for (dHeads, columns, norm) in [
      (dq, heads.queryColumns, transform.queryNorm), (dk, heads.keyColumns, transform.keyNorm),
    ] {
      guard let angles = transform.angles else {
        backend.copyColumns(d.columns(columns), dHeads.allColumns)
        continue
      }
      // The turn goes back in place where a norm follows, else straight to its columns.
      let to = norm == nil ? d.columns(columns) : dHeads.allColumns
      backend.transformHeads(to, dHeads.allColumns, nil, 0, angles, size: heads.size, backwards: true)
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
  public var valueColumns: Range<Int> {
    let from = (heads + kvHeads) * size
    return from..<from + kvHeads * valueSize
  }

  /// Shape of the pages that hold `rows` keys or values.
  func pages(of rows: Int, size: Int) -> [Int] {
    [(rows + KeyPiece.pageSize - 1) / KeyPiece.pageSize, kvHeads, size, KeyPiece.pageSize]
  }
}
