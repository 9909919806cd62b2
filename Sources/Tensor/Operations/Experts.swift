/// Mixtures of experts (2101.03961): scores choose a few experts for every token, each computes on the rows of its tokens
/// alone, and a token's results are summed by weight. Between `expertRows` and `combineExperts` rows are sorted by expert.
extension Tape {
  /// The experts with the largest scores of every token, and their weights.
  ///
  /// The choice itself has no gradient, and so none for the bias. Ties go to the lowest id.
  /// - Parameters:
  ///   - scores: `[tokens, experts]`.
  ///   - bias: `[experts]`, added to what experts compete by and not to their weights (2408.15664).
  /// - Returns: weights `[tokens, choices]` and ids, ascending for every token. Gradient: with p the weights by softmax,
  ///   ds = p (dp − Σ p dp), where dp is 0 for an expert that was not chosen; by sigmoid ds = p (1 − p) dp.
  public func route(_ scores: Tensor, bias: Tensor? = nil, _ rule: RoutingRule) -> (weights: Tensor, chosen: [Int32]) {
    let weights = backend.empty([scores.rows, rule.choices], scores.dtype)
    let chosen = backend.route(weights, scores, bias: bias, rule)
    record(.route, inputs: [scores], output: weights) { tape, dWeights in
      let dScores = tape.backend.empty(scores.shape, scores.dtype)
      tape.backend.routeBackward(dScores, dWeights, weights, scores, chosen, rule)
      tape.accumulate(dScores, into: scores)
    }
    return (weights, chosen)
  }

  /// The tokens' rows sorted by expert: y[r] = x[plan.tokens[r]], zero for a row of no token.
  ///
  /// - Returns: `[plan.rowCount, width]`. Gradient: dx[t] is the sum over the token's experts, ascending.
  public func expertRows(_ x: Tensor, _ plan: ExpertPlan) -> Tensor {
    let y = backend.empty([plan.rowCount, x.width], x.dtype)
    backend.gatherExpertRows(y, x, plan)
    record(.expertRows, inputs: [x], output: y) { tape, dy in
      let dx = tape.backend.empty(x.shape, x.gradientDType)
      tape.backend.combineExperts(dx, dy.reshaped(y.shape), nil, plan)
      tape.accumulate(dx, into: x)
    }
    return y
  }

  /// y = x wᵀ with each expert's own matrices on its rows, side by side as in `linear`, with low-rank updates where given.
  ///
  /// - Parameters:
  ///   - x: `[plan.rowCount, in]`.
  ///   - groups: one for each expert, all of the same sizes and precision.
  ///   - lowRank: for each expert its updates or nil; empty for none. Their ranks may differ.
  /// - Returns: `[plan.rowCount, Σ out_i]`. Gradients: those of `linear` on the rows of each expert. With bf16 products
  ///   those of the weights add tokens in pairs: see `ExpertPlan.init`.
  public func expertLinear(
    _ x: Tensor, _ groups: [WeightGroup], _ plan: ExpertPlan, lowRank: [LowRankGroup?] = []
  ) -> Tensor {
    precondition(groups.count == plan.experts, "\(groups.count) experts, the plan has \(plan.experts)")
    let backend = backend
    let y = backend.empty([plan.rowCount, groups[0].out], x.gradientDType)
    backend.matmulExperts(y, x, panels(groups, plan), plan)
    var updates: [Int: LowRankUpdate] = [:]
    for (expert, update) in lowRank.enumerated() {
      let rows = plan.rows(of: expert)
      guard let update, !rows.isEmpty else { continue }
      updates[expert] = addLowRank(
        y.rowRange(rows), x.rowRange(rows), update, beside: groups[expert],
        dropout.map { $0.gathered(plan.tokens[rows]) })
    }
    // While decoding, a list of all experts' parameters would cost more than their products.
    guard isRecording else { return y }
    let factors = lowRank.flatMap { $0?.parameters ?? [] }
    record(.expertLinear, inputs: [x], parameters: groups.flatMap(\.weights) + factors, output: y) { tape, dy in
      tape.expertLinearBackward(x, dy.reshaped(y.shape), groups, plan, updates)
    }
    return y
  }

  /// Panels of the experts that have rows.
  private func panels(_ groups: [WeightGroup], _ plan: ExpertPlan) -> [PackedMatrix?] {
    var panels = [PackedMatrix?](repeating: nil, count: groups.count)
    for expert in plan.active { panels[expert] = groups[expert].panels(on: backend) }
    return panels
  }

  private func expertLinearBackward(
    _ x: Tensor, _ dy: Tensor, _ groups: [WeightGroup], _ plan: ExpertPlan, _ updates: [Int: LowRankUpdate]
  ) {
    var dy = dy
    if updates.values.contains(where: { $0.magnitudes != nil }) {
      // The gradient may be somebody else's too: what magnitudes scale is a copy.
      let scaled = backend.empty(dy.shape, x.gradientDType)
      backend.copy(scaled, widened(dy))
      dy = scaled
      for (expert, update) in updates {
        let own = dy.rowRange(plan.rows(of: expert))
        backend.copy(own, magnitudeBackward(own, update))
      }
    }
    let operand = backend.operand(dy, for: groups[0].precision)
    let dx = needsGradient(x) ? backend.empty(x.shape, x.gradientDType) : nil
    if let dx { backend.matmulExpertsTurned(dx, operand, panels(groups, plan), plan) }
    for expert in plan.active {
      let rows = plan.rows(of: expert)
      let (own, input) = (operand.rowRange(rows), x.rowRange(rows))
      var from = 0
      for weight in groups[expert].weights {
        let columns = from..<from + weight.shape[0]
        if let gradient = weight.accumulator {
          backend.matmulWeightGradient(gradient, own.columns(columns), input.allColumns, weight.precision)
        }
        from = columns.upperBound
      }
      if let update = updates[expert] {
        lowRankBackward(
          input, dy.rowRange(rows), own, update, beside: groups[expert], dx?.rowRange(rows))
      }
    }
    if let dx { accumulate(dx, into: x) }
  }

  /// y[t] = Σ weights[t, j] · rows[plan.places[t, j]]: the token's experts by weight, ascending.
  ///
  /// - Parameters:
  ///   - rows: `[plan.rowCount, width]`.
  ///   - weights: `[tokens, choices]`.
  /// - Returns: `[tokens, width]`. Gradients: drows = weight · dy of the row's token, dweight = dy · row.
  public func combineExperts(_ rows: Tensor, _ weights: Tensor, _ plan: ExpertPlan) -> Tensor {
    let y = backend.empty([plan.tokenCount, rows.width], rows.dtype)
    backend.combineExperts(y, rows, weights, plan)
    record(.combineExperts, inputs: [rows, weights], output: y) { tape, dy in
      let dRows = tape.backend.empty(rows.shape, rows.dtype)
      let dWeights = tape.backend.empty(weights.shape, weights.dtype)
      tape.backend.combineExpertsBackward(dRows, dWeights, dy, rows, weights, plan)
      tape.accumulate(dRows, into: rows)
      tape.accumulate(dWeights, into: weights)
    }
    return y
  }
}
