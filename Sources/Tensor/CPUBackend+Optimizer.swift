import CKernels

extension CPUBackend {
  public func sumOfSquares(_ x: Tensor) -> Double {
    let scratch = memory.allocate(byteCount: (x.count / 4096 + 1) * 8, for: .scratch)
    charge(x)
    let blocks = scratch.pointer.assumingMemoryBound(to: Double.self)
    var sum = 0.0
    run(x.dtype) { sum = $0.sum_squares($1, blocks, p(x), x.count) }
    withExtendedLifetime(scratch) {}
    return sum
  }

  public func adamW(_ parameter: Tensor, _ m: Tensor, _ v: Tensor, _ g: Tensor, _ step: AdamWStep) {
    precondition(
      parameter.count == m.count && m.count == v.count && v.count == g.count,
      "moments of another shape than the parameter")
    charge(parameter, parameter, m, m, v, v, g)
    let scalars = Scalars(step)
    run(parameter.dtype) {
      $0.adamw(
        $1, p(parameter), p(m), p(v), p(g), parameter.count, step.gradientScale, scalars.decay, step.beta1, step.beta2,
        scalars.rate, scalars.root, step.epsilon)
    }
  }

  public func adamWQuantized(_ parameter: Tensor, _ moments: QuantizedMoments, _ g: Tensor, _ step: AdamWStep) {
    let count = parameter.count
    precondition(moments.first.count == count && moments.second.count == count && g.count == count, "bytes of moments")
    precondition(
      moments.firstScales.count == QuantizedMoments.blocks(of: count)
        && moments.secondScales.count == QuantizedMoments.blocks(of: count), "scales of moments")
    charge(parameter, parameter, moments.first, moments.first, moments.second, moments.second, g)
    let scalars = Scalars(step)
    DynamicCode.signed.table.withUnsafeBufferPointer { signed in
      DynamicCode.unsigned.table.withUnsafeBufferPointer { unsigned in
        run(parameter.dtype) {
          $0.adamw8(
            $1, p(parameter), raw(moments.first).assumingMemoryBound(to: UInt8.self), p(moments.firstScales),
            raw(moments.second).assumingMemoryBound(to: UInt8.self), p(moments.secondScales), signed.baseAddress!,
            unsigned.baseAddress!, p(g), count, step.gradientScale, scalars.decay, step.beta1, step.beta2, scalars.rate,
            scalars.root, step.epsilon)
        }
      }
    }
  }

  public func sgd(_ parameter: Tensor, _ m: Tensor?, _ g: Tensor, _ step: SGDStep) {
    precondition(
      parameter.count == g.count && m?.count ?? g.count == g.count, "momentum of another shape than the parameter")
    charge(parameter, parameter, m ?? g, m ?? g, g)
    run(parameter.dtype) {
      $0.sgd(
        $1, p(parameter), p(m), p(g), parameter.count, step.gradientScale,
        step.couplesDecay ? 1 : 1 - step.learningRate * step.weightDecay, step.couplesDecay ? step.weightDecay : 0,
        step.momentum, step.nesterov, step.learningRate)
    }
  }

  public func orthonormalizeRows(_ x: Tensor) {
    let scratch = memory.allocate(byteCount: max(1, x.rows) * 8, for: .scratch)
    charge(x, x)
    run(x.dtype) {
      $0.orthonormal_rows($1, p(x), scratch.pointer.assumingMemoryBound(to: Double.self), x.rows, x.width)
    }
    withExtendedLifetime(scratch) {}
  }
}

/// What of an AdamW step is the same for all elements, in Double.
private struct Scalars {
  let decay: Double
  /// The learning rate over the first moment's bias.
  let rate: Double
  /// The root of the second moment's bias.
  let root: Double

  init(_ step: AdamWStep) {
    // The powers by repeated multiplication: the C library's pow differs by machine.
    decay = 1 - step.learningRate * step.weightDecay
    rate = step.learningRate / (1 - integerPower(step.beta1, step.step))
    root = (1 - integerPower(step.beta2, step.step)).squareRoot()
  }
}
