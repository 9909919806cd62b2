/// What the way back needs of a low-rank update that was added to a product.
struct LowRankUpdate {
  let group: LowRankGroup
  let mask: DropoutMask?
  /// scale · x aᵀ as the second product reads it.
  let inner: Tensor
  let magnitudes: LowRankGroup.Magnitudes?
  /// x w'ᵀ before it is multiplied by magnitudes, where those are trained.
  let direction: Tensor?

  /// What the inputs that a mask keeps are multiplied by.
  var inflation: Double { mask == nil ? 1 : 1 / (1 - group.dropout) }
}

extension Tape {
  /// Turns y = x wᵀ into what the layer computes with its low-rank update, biases aside.
  ///
  /// With a mask x̂ = x · mask / (1 − p) is what the update reads: y = x wᵀ + scale · x̂ aᵀ bᵀ, and with magnitudes as PEFT
  /// has it y = x wᵀ + (r − 1) x̂ wᵀ + r scale · x̂ aᵀ bᵀ with r = m / ‖w'‖, a constant on the way back (2402.09353, 4.3).
  func addLowRank(
    _ y: Tensor, _ x: Tensor, _ group: LowRankGroup, beside weights: WeightGroup, _ dropout: DropoutPass? = nil
  ) -> LowRankUpdate {
    let mask =
      group.dropout > 0
      ? (dropout ?? self.dropout)?.mask(layer: group.layer, probability: group.dropout, rows: x.rows) : nil
    let input = masked(x, mask)
    let inflation = mask == nil ? 1 : 1 / (1 - group.dropout)
    let keepsDirection = isRecording && group.trainsMagnitudes
    guard let magnitudes = group.magnitudes(beside: weights, on: backend) else {
      let inner = addFactors(y, input, group, inflation)
      return LowRankUpdate(group: group, mask: mask, inner: inner, magnitudes: nil, direction: nil)
    }
    var direction: Tensor?
    let inner: Tensor
    if mask == nil {
      inner = addFactors(y, input, group, 1)
      if keepsDirection {
        direction = backend.empty(y.shape, y.dtype)
        backend.copy(direction!, y)
      }
      backend.scaleByColumn(y.allColumns, y.allColumns, magnitudes.ratios)
    } else {
      let plain = backend.empty(y.shape, y.dtype)
      backend.matmul(plain.allColumns, input.allColumns, weights.panels(on: backend), accumulate: false)
      let update = backend.zeros(y.shape, y.dtype)
      inner = addFactors(update, input, group, 1)
      if keepsDirection {
        direction = backend.empty(y.shape, y.dtype)
        backend.add(direction!, plain, update)
      }
      backend.scaleByColumn(plain.allColumns, plain.allColumns, magnitudes.excess)
      backend.addScaled(y, plain, inflation)
      backend.scaleByColumn(update.allColumns, update.allColumns, magnitudes.ratios)
      backend.addScaled(y, update, inflation)
    }
    return LowRankUpdate(group: group, mask: mask, inner: inner, magnitudes: magnitudes, direction: direction)
  }

  private func masked(_ x: Tensor, _ mask: DropoutMask?) -> Tensor {
    guard let mask else { return x }
    let kept = backend.empty(x.shape, x.dtype)
    backend.dropout(kept, x, mask)
    return kept
  }

  /// y += factor · scale · x aᵀ bᵀ (+ scale · bias); returns factor · scale · x aᵀ as the second product reads it.
  private func addFactors(_ y: Tensor, _ x: Tensor, _ group: LowRankGroup, _ factor: Double) -> Tensor {
    let panels = group.a.panels(on: backend)
    let plain = backend.empty([x.rows, panels.n], x.gradientDType)
    backend.matmul(plain.allColumns, x.allColumns, panels, accumulate: false)
    let scaled = backend.empty(plain.shape, x.operandDType(group.a.precision))
    for member in group.members {
      backend.scaleColumns(scaled, plain, member.ranks, factor * member.factors.scale)
    }
    for member in group.members {
      backend.matmul(
        y.columns(member.columns), scaled.columns(member.ranks), member.b.panels(on: backend), accumulate: true)
      if let bias = member.factors.bias {
        let share = backend.empty(bias.shape, bias.value.dtype)
        backend.scale(share, bias.value, member.factors.scale)
        backend.addBias(y.columns(member.columns), share)
      }
    }
    return scaled
  }

  // MARK: The way back

  /// Gradients of magnitudes; returns what reaches the product x wᵀ.
  func magnitudeBackward(_ dy: Tensor, _ update: LowRankUpdate) -> Tensor {
    guard let magnitudes = update.magnitudes else { return dy }
    let wide = widened(dy)
    let scaled = backend.empty(wide.shape, wide.dtype)
    if let direction = update.direction {
      var reaching = wide
      if update.mask != nil {
        backend.scale(scaled, wide, update.inflation)
        reaching = scaled
      }
      for (member, norms) in zip(update.group.members, magnitudes.norms) {
        guard let gradient = member.factors.magnitude?.accumulator else { continue }
        backend.columnProducts(
          gradient, reaching.columns(member.columns), direction.columns(member.columns), norms)
      }
    }
    // With a mask the plain product stands beside the scaled ones.
    guard update.mask == nil else { return dy }
    backend.scaleByColumn(scaled.allColumns, wide.allColumns, magnitudes.ratios)
    return scaled
  }

  /// Gradients of the factors, and what reaches x through them, added to dx. `dy` is what reaches the product, `operand` the
  /// same as products read it.
  func lowRankBackward(
    _ x: Tensor, _ dy: Tensor, _ operand: Tensor, _ update: LowRankUpdate, beside weights: WeightGroup, _ dx: Tensor?
  ) {
    guard let mask = update.mask else {
      factorsBackward(x, operand, update, 1, dx, accumulate: true)
      return
    }
    let input = masked(x, mask)
    let dInput = dx.map { backend.empty($0.shape, $0.dtype) }
    if let magnitudes = update.magnitudes {
      let inflated = backend.empty(dy.shape, x.gradientDType)
      backend.scale(inflated, widened(dy), update.inflation)
      let part = backend.empty(inflated.shape, inflated.dtype)
      if let dInput {
        backend.scaleByColumn(part.allColumns, inflated.allColumns, magnitudes.excess)
        weights.turned(dInput, part, operand: backend.operand(part, for: weights.precision), on: backend)
      }
      backend.scaleByColumn(part.allColumns, inflated.allColumns, magnitudes.ratios)
      factorsBackward(
        input, backend.operand(part, for: weights.precision), update, 1, dInput, accumulate: true)
    } else {
      factorsBackward(input, operand, update, update.inflation, dInput, accumulate: false)
    }
    if let dx, let dInput {
      backend.dropout(dInput, dInput, mask)
      backend.add(dx, dx, dInput)
    }
  }

  /// Gradients of what `addFactors` added, dy given as `operand`.
  private func factorsBackward(
    _ x: Tensor, _ operand: Tensor, _ update: LowRankUpdate, _ factor: Double, _ dx: Tensor?, accumulate: Bool
  ) {
    let (group, inner) = (update.group, update.inner)
    let dInner = backend.empty(inner.shape, x.gradientDType)
    for member in group.members {
      let part = backend.empty([x.rows, member.ranks.count], x.gradientDType)
      let own = operand.columns(member.columns)
      backend.matmulTurned(part, own, member.b.panels(on: backend), accumulate: false)
      backend.scale(part, part, factor * member.factors.scale)
      backend.copyColumns(dInner.columns(member.ranks), part.allColumns)
      if let gradient = member.factors.b.accumulator {
        backend.matmulWeightGradient(gradient, own, inner.columns(member.ranks), group.a.precision)
      }
      if let gradient = member.factors.bias?.accumulator {
        let scaled = backend.empty(operand.shape, x.gradientDType)
        backend.scale(scaled, widened(operand), member.factors.scale)
        backend.biasGradient(gradient, scaled.columns(member.columns))
      }
    }
    let dOperand = backend.operand(dInner, for: group.a.precision)
    for member in group.members {
      if let gradient = member.factors.a.accumulator {
        backend.matmulWeightGradient(gradient, dOperand.columns(member.ranks), x.allColumns, group.a.precision)
      }
    }
    if let dx { backend.matmulTurned(dx, dOperand.allColumns, group.a.panels(on: backend), accumulate: accumulate) }
  }
}
