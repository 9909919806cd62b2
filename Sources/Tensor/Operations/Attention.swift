extension Tape {
  /// softmax(scale q kᵀ) v along the paths of a plan (1706.03762).
  ///
  /// - Parameters:
  ///   - q: `[tokens, heads * size]`.
  ///   - k, v: `[tokens, kvHeads * size]`; every row belongs to exactly one span of the plan.
  /// - Returns: `[tokens, heads * size]`.
  public func attention(_ q: Tensor, _ k: Tensor, _ v: Tensor, _ plan: AttentionPlan, _ heads: AttentionHeads) -> Tensor
  {
    let y = backend.empty(q.shape, q.dtype)
    let wanted = isRecording && [q, k, v].contains(where: needsGradient)
    let lse = wanted ? backend.empty([q.rows, heads.heads], q.dtype) : nil
    backend.attention(y, lse, q, k, v, plan, heads)
    record(.attention, inputs: [q, k, v], output: y) { tape, dy in
      let dq = tape.backend.empty(q.shape, q.dtype)
      let dk = tape.backend.empty(k.shape, k.dtype)
      let dv = tape.backend.empty(v.shape, v.dtype)
      tape.backend.attentionBackward(dq, dk, dv, dy, y, lse!, q, k, v, plan, heads)
      tape.accumulate(dq, into: q)
      tape.accumulate(dk, into: k)
      tape.accumulate(dv, into: v)
    }
    return y
  }
}
