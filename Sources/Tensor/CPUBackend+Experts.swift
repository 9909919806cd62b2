import CKernels

/// The primitives of mixtures of experts.
extension CPUBackend {
  public func route(_ weights: Tensor, _ scores: Tensor, bias: Tensor?, _ rule: RoutingRule) -> [Int32] {
    let experts = scores.width
    precondition(
      rule.choices > 0 && rule.groups > 0 && experts % rule.groups == 0
        && rule.choices <= experts / rule.groups * rule.keptGroups && rule.keptGroups <= rule.groups
        && weights.rows == scores.rows && weights.width == rule.choices && bias?.count ?? experts == experts,
      "\(rule) of scores \(scores.shape) with weights \(weights.shape)")
    var chosen = [Int32](repeating: 0, count: scores.rows * rule.choices)
    // What experts compete by, where that is not the scores themselves.
    let competes = rule.gate == .sigmoid || rule.groups > 1 || bias != nil
    let work = competes ? empty([scores.rows, experts + rule.groups], scores.dtype) : nil
    var routing = routing(rule, bias)
    guard computes else {
      ledger?.call()
      return inTurn(scores.rows, rule.choices, of: experts)
    }
    run(scores.dtype) {
      $0.route($1, p(weights), &chosen, p(work), p(scores), scores.rows, experts, &routing)
    }
    return chosen
  }

  /// Choices that use all experts alike, ascending for every token.
  private func inTurn(_ tokens: Int, _ choices: Int, of experts: Int) -> [Int32] {
    (0..<tokens).flatMap { token in
      (0..<choices).map { Int32((token * choices + $0) % experts) }.sorted()
    }
  }

  private func routing(_ rule: RoutingRule, _ bias: Tensor?) -> atk_routing {
    atk_routing(
      choices: rule.choices, groups: rule.groups, kept_groups: rule.keptGroups, group_best: rule.groupBest,
      sigmoid: rule.gate == .sigmoid, normalized: rule.normalized, scale: rule.scale, bias: bias.map { raw($0) })
  }

  public func routeBackward(
    _ dScores: Tensor, _ dWeights: Tensor, _ weights: Tensor, _ scores: Tensor, _ chosen: [Int32], _ rule: RoutingRule
  ) {
    precondition(
      dScores.count == scores.count && dWeights.count == weights.count && chosen.count == weights.count,
      "gradients \(dScores.shape) and \(dWeights.shape) for scores \(scores.shape)")
    var routing = routing(rule, nil)
    run(scores.dtype) {
      $0.route_backward(
        $1, p(dScores), p(dWeights), p(weights), p(scores), chosen, scores.rows, scores.width, &routing)
    }
  }

  public func gatherExpertRows(_ y: Tensor, _ x: Tensor, _ plan: ExpertPlan) {
    precondition(
      y.rows == plan.rowCount && x.rows == plan.tokenCount && y.width == x.width && y.dtype == x.dtype,
      "\(plan.rowCount) rows of \(x.shape) \(x.dtype) into \(y.shape) \(y.dtype)")
    run(x.gradientDType) { $0.expert_rows($1, raw(y), raw(x), plan.tokens, plan.rowCount, x.width * x.dtype.size) }
  }

  public func combineExperts(_ y: Tensor, _ rows: Tensor, _ weights: Tensor?, _ plan: ExpertPlan) {
    precondition(
      y.rows == plan.tokenCount && rows.rows == plan.rowCount && y.width == rows.width
        && weights?.count ?? plan.chosen.count == plan.chosen.count,
      "\(rows.shape) for \(plan.tokenCount) tokens and \(plan.rowCount) rows into \(y.shape)")
    run(y.dtype) { $0.combine($1, p(y), p(rows), p(weights), plan.places, y.rows, y.width, plan.choices) }
  }

  public func combineExpertsBackward(
    _ dRows: Tensor, _ dWeights: Tensor, _ dy: Tensor, _ rows: Tensor, _ weights: Tensor, _ plan: ExpertPlan
  ) {
    precondition(
      dRows.count == rows.count && dWeights.count == weights.count && dy.count == plan.tokenCount * rows.width,
      "gradients \(dRows.shape) and \(dWeights.shape) for rows \(rows.shape) and weights \(weights.shape)")
    run(rows.dtype) {
      $0.combine_backward(
        $1, p(dRows), p(dWeights), p(dy), p(rows), p(weights), plan.slots, rows.rows, rows.width, plan.choices)
    }
  }

  /// The addresses of the panels of experts that have rows, and one of these panels; nil if there are no rows.
  private func panels(_ packed: [PackedMatrix?], _ plan: ExpertPlan) -> ([UnsafeMutableRawPointer?], PackedMatrix)? {
    precondition(packed.count == plan.experts, "panels of \(packed.count) experts, the plan has \(plan.experts)")
    guard let some = plan.active.first, let first = packed[some] else {
      precondition(plan.active.isEmpty, "experts have rows and no panels")
      return nil
    }
    var bases = [UnsafeMutableRawPointer?](repeating: nil, count: plan.experts)
    for expert in plan.active {
      guard let matrix = packed[expert] else { preconditionFailure("expert \(expert) has rows and no panels") }
      precondition(
        matrix.k == first.k && matrix.n == first.n && matrix.precision == first.precision
          && matrix.format == first.format
          && matrix.dtype == first.dtype,
        "experts of one layer have the same sizes")
      bases[expert] = (matrix.storage as! HostStorage).pointer
    }
    return (bases, first)
  }

  public func matmulExperts(_ y: Tensor, _ x: Tensor, _ packed: [PackedMatrix?], _ plan: ExpertPlan) {
    guard let (bases, matrix) = panels(packed, plan) else { return }
    precondition(
      x.rows == plan.rowCount && y.rows == plan.rowCount && x.width == matrix.k && y.width == matrix.n,
      "product of \(x.shape) with [\(matrix.n), \(matrix.k)] transposed into \(y.shape)")
    // Codes have no product over all experts at once: one by one, with the same bits.
    if matrix.format != .plain {
      for expert in plan.active {
        let rows = plan.rows(of: expert)
        matmul(y.rowRange(rows).allColumns, x.rowRange(rows).allColumns, packed[expert]!, accumulate: false)
      }
      return
    }
    charge(product: plan.rowCount, matrix, matrices: plan.active.count)
    switch matrix.precision {
    case .full:
      precondition(x.dtype == matrix.dtype, "product of \(x.dtype) with \(matrix.dtype) panels")
      let bases = bases.map { UnsafePointer($0?.assumingMemoryBound(to: Float.self)) }
      run(matrix.dtype) {
        $0.matmul_experts(
          $1, p(y), matrix.n, p(x), matrix.k, bases, plan.offsets, plan.experts, matrix.n, matrix.k)
      }
    case .bf16:
      let bases = bases.map { UnsafePointer($0?.assumingMemoryBound(to: UInt32.self)) }
      withPairRows(x.allColumns) { a, stride in
        pairs {
          $0.matmul_experts(
            $1, p(y), matrix.n, a, stride, bases, plan.offsets, plan.experts, matrix.n, (matrix.k + 1) / 2)
        }
      }
    }
  }

  public func matmulExpertsTurned(_ dx: Tensor, _ dy: Tensor, _ packed: [PackedMatrix?], _ plan: ExpertPlan) {
    guard let (bases, matrix) = panels(packed, plan) else { return }
    precondition(
      dx.rows == plan.rowCount && dy.rows == plan.rowCount && dx.width == matrix.k && dy.width == matrix.n,
      "product of \(dy.shape) with [\(matrix.n), \(matrix.k)] into \(dx.shape)")
    if matrix.format != .plain {
      for expert in plan.active {
        let rows = plan.rows(of: expert)
        matmulTurned(dx.rowRange(rows), dy.rowRange(rows).allColumns, packed[expert]!, accumulate: false)
      }
      return
    }
    charge(product: plan.rowCount, matrix, matrices: plan.active.count)
    switch matrix.precision {
    case .full:
      let bases = bases.map { UnsafePointer($0?.assumingMemoryBound(to: Float.self)) }
      let scratch = turnedScratch(matrix)
      run(matrix.dtype) { table, pool in
        table.matmul_experts_turned(
          pool, p(dx), matrix.k, p(dy), matrix.n, bases, matrix.k, scratch.pointer.assumingMemoryBound(to: Float.self),
          plan.offsets, plan.experts, matrix.k, matrix.n)
      }
      withExtendedLifetime(scratch) {}
    case .bf16:
      let bases = bases.map { UnsafePointer($0?.assumingMemoryBound(to: UInt32.self)) }
      withPairRows(dy.allColumns) { a, stride in
        let scratch = turnedScratch(matrix)
        pairs { table, pool in
          table.matmul_experts_turned(
            pool, p(dx), matrix.k, a, stride, bases, (matrix.k + 1) / 2,
            scratch.pointer.assumingMemoryBound(to: UInt32.self), plan.offsets, plan.experts, matrix.k,
            (matrix.n + 1) / 2)
        }
        withExtendedLifetime(scratch) {}
      }
    }
  }
}
