import CKernels

/// The primitives of attention: heads, pages, and the paths of a plan.
extension CPUBackend {
  public func transformHeads(
    _ y: ColumnView, _ x: ColumnView, _ norm: Tensor?, _ epsilon: Double, _ angles: RotaryAngles, size: Int,
    backwards: Bool
  ) {
    precondition(
      angles.cosine.rows == x.rows && angles.cosine.width * 2 == size && y.width == x.width && x.width % size == 0,
      "angles \(angles.cosine.shape) for heads of \(size)")
    charge(bytes: 2 * x.rows * x.width * x.tensor.dtype.size)
    run(x.tensor.dtype) {
      $0.heads(
        $1, p(y), y.stride, p(x), x.stride, p(norm), p(angles.cosine), p(angles.sine), x.rows, x.width / size, size,
        epsilon, backwards ? -1 : 1)
    }
  }

  public func latentHeads(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, _ query: Tensor, _ keyValue: Tensor, _ key: ColumnView,
    _ angles: RotaryAngles, _ heads: LatentHeads
  ) {
    var shape = latentShape(q, k, v, query, keyValue, key, angles, heads)
    run(q.dtype) {
      $0.latent_heads(
        $1, p(q), p(k), p(v), p(query), p(keyValue), p(key), key.stride, p(angles.cosine), p(angles.sine), q.rows,
        &shape)
    }
  }

  public func latentHeadsBackward(
    _ dQuery: Tensor, _ dKeyValue: Tensor, _ dKey: ColumnView, _ dq: Tensor, _ dk: Tensor, _ dv: Tensor,
    _ angles: RotaryAngles, _ heads: LatentHeads
  ) {
    var shape = latentShape(dq, dk, dv, dQuery, dKeyValue, dKey, angles, heads)
    run(dq.dtype) {
      $0.latent_heads_backward(
        $1, p(dQuery), p(dKeyValue), p(dKey), dKey.stride, p(dq), p(dk), p(dv), p(angles.cosine), p(angles.sine),
        dq.rows,
        &shape)
    }
  }

  private func latentShape(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, _ query: Tensor, _ keyValue: Tensor, _ key: ColumnView,
    _ angles: RotaryAngles, _ heads: LatentHeads
  ) -> atk_latent_heads {
    let wide = q.rows * heads.heads
    precondition(
      q.count == wide * (heads.plain + heads.turned) && k.count == q.count && query.count == q.count
        && v.count == wide * heads.value && keyValue.count == wide * (heads.plain + heads.value)
        && key.rows == q.rows && key.width == heads.turned && angles.cosine.count == q.rows * heads.turned / 2,
      "q \(q.shape), key and value \(keyValue.shape), angles \(angles.cosine.shape) for \(heads)")
    return atk_latent_heads(heads: heads.heads, plain: heads.plain, turned: heads.turned, value: heads.value)
  }

  public func headNormBackward(
    _ dx: ColumnView, _ dw: Tensor?, _ dy: Tensor, _ x: ColumnView, _ norm: Tensor, _ epsilon: Double
  ) {
    let heads = x.width / norm.count
    let scratch = empty([x.rows * heads], dy.dtype)
    run(dy.dtype) {
      $0.heads_backward(
        $1, p(dx), dx.stride, p(dw), p(scratch), p(dy), p(x), x.stride, p(norm), x.rows, heads, norm.count, epsilon)
    }
  }

  private func withPlan(_ plan: AttentionPlan, _ body: (UnsafePointer<atk_forest>) -> Void) {
    if let ledger { return ledger.call() }
    // Empty arrays have no address, so all of them stand in one.
    let parts = [
      plan.treeRuns, plan.runQuery, plan.runRows, plan.runSeen, plan.runPath, plan.piecePage, plan.pieceLane,
      plan.pieceRows, plan.blockRun, plan.blockRow, plan.blockRuns, plan.blockShared,
    ]
    var all: [Int32] = []
    all.reserveCapacity(parts.reduce(1) { $0 + $1.count })
    let starts = parts.map { part -> Int in
      defer { all += part }
      return all.count
    }
    all.append(0)
    all.withUnsafeBufferPointer { buffer in
      let base = buffer.baseAddress!
      var forest = atk_forest(
        tree_count: plan.treeCount, block_count: plan.blockCount, tree_runs: base + starts[0],
        run_query: base + starts[1], run_rows: base + starts[2], run_seen: base + starts[3], run_path: base + starts[4],
        piece_page: base + starts[5], piece_lane: base + starts[6], piece_rows: base + starts[7],
        block_run: base + starts[8], block_row: base + starts[9], block_runs: base + starts[10],
        block_shared: base + starts[11], causal: plan.causal)
      body(&forest)
    }
  }

  private func shape(_ heads: AttentionHeads, _ plan: AttentionPlan) -> atk_attention_shape {
    precondition(heads.window == nil || plan.causal, "a window needs a causal plan")
    let (wide, narrow, values) = (
      heads.heads * heads.size, heads.kvHeads * heads.size, heads.kvHeads * heads.valueSize
    )
    return atk_attention_shape(
      heads: heads.heads, kv_heads: heads.kvHeads, size: heads.size, value_size: heads.valueSize,
      window: heads.window ?? 0, q_stride: wide, k_stride: narrow, v_stride: values, dq_stride: wide, dk_stride: narrow,
      dv_stride: values, longest_path: plan.longestPath, scale: heads.scale)
  }

  public func toPages(_ pages: Tensor, _ x: ColumnView, _ slots: [Int32]?) {
    let (kvHeads, size) = (pages.shape[1], pages.shape[2])
    precondition(x.width == kvHeads * size, "rows of \(x.width) for pages \(pages.shape)")
    if let slots { check(slots, below: pages.rows * KeyPiece.pageSize) }
    precondition(
      slots.map { $0.count == x.rows } ?? (x.rows <= pages.rows * KeyPiece.pageSize),
      "\(x.rows) rows for \(pages.rows) pages")
    charge(bytes: 2 * x.rows * x.width * x.tensor.dtype.size)
    run(x.tensor.dtype) {
      $0.to_pages($1, p(pages), p(x), x.stride, slots, x.rows, kvHeads, size)
    }
  }

  public func attention(
    _ output: Tensor, _ lse: Tensor?, _ q: Tensor, _ keys: Tensor, _ values: ColumnView, _ plan: AttentionPlan,
    _ heads: AttentionHeads
  ) {
    precondition(
      q.width == heads.heads * heads.size && output.count == q.rows * heads.heads * heads.valueSize,
      "heads of \(q.shape) for \(output.shape)")
    precondition(
      plan.piecePage.allSatisfy { $0 >= 0 && Int($0) < keys.rows }, "a path leads beyond the \(keys.rows) pages")
    var shape = shape(heads, plan)
    shape.v_stride = values.stride
    let (wide, narrow) = outputs(output)
    let scratch = attentionScratch(q.dtype, &shape, backward: false)
    charge(plan, heads, products: 2)
    withPlan(plan) { forest in
      run(q.dtype) { table, pool in
        table.attention(
          pool, wide, narrow, p(lse), scratch.pointer.assumingMemoryBound(to: Float.self), p(q), p(keys), p(values),
          forest, &shape)
      }
    }
    withExtendedLifetime(scratch) {}
  }

  public func attentionBackward(
    _ dq: Tensor, _ dk: Tensor, _ dv: ColumnView, _ dOutput: Tensor, _ lse: Tensor, _ q: Tensor, _ k: Tensor,
    _ keyPages: Tensor, _ valuePages: Tensor, _ plan: AttentionPlan, _ heads: AttentionHeads
  ) {
    var shape = shape(heads, plan)
    shape.dv_stride = dv.stride
    let scratch = attentionScratch(q.dtype, &shape, backward: true)
    charge(plan, heads, products: 5)
    withPlan(plan) { forest in
      run(q.dtype) { table, pool in
        table.attention_backward(
          pool, p(dq), p(dk), p(dv), scratch.pointer.assumingMemoryBound(to: Float.self), p(dOutput), p(lse), p(q),
          p(k), p(keyPages), p(valuePages), forest, &shape)
      }
    }
    withExtendedLifetime(scratch) {}
  }
}
