import AttuneTensor

/// How one parameter is updated, and what is kept for it between two steps.
protocol UpdateRule: Sendable {
  /// The tensors that are kept for a parameter of a shape and dtype; all begin as zeros.
  func slots(for shape: [Int], _ dtype: DType) -> [StateSlot]
  /// Updates the parameter in place from its gradient, and the state, which is in the order of `slots`.
  ///
  /// - Parameter step: rate, decay and clipping of this parameter; a rule without moments passes over the betas.
  func update(_ parameter: Parameter, _ state: [Tensor], _ step: AdamWStep, on backend: any Backend)
}

/// One tensor that is kept for a parameter; checkpoints name it `SLOT.PARAMETER`.
struct StateSlot: Equatable {
  let name: String
  let shape: [Int]
  let dtype: DType

  init(_ name: String, _ shape: [Int], _ dtype: DType) {
    self.name = name
    self.shape = shape
    self.dtype = dtype
  }

  var byteCount: Int { shape.reduce(dtype.size, *) }
}

/// AdamW (1711.05101), in one pass.
struct AdamWRule: UpdateRule {
  /// Multiplies the learning rate.
  var rateRatio = 1.0

  func slots(for shape: [Int], _ dtype: DType) -> [StateSlot] {
    [StateSlot("first", shape, dtype), StateSlot("second", shape, dtype)]
  }

  func update(_ parameter: Parameter, _ state: [Tensor], _ step: AdamWStep, on backend: any Backend) {
    var step = step
    step.learningRate *= rateRatio
    backend.adamW(parameter.value, state[0], state[1], parameter.gradient!, step)
  }
}

/// AdamW with its moments in 8 bits (2110.02861), for parameters that are large enough.
struct QuantizedAdamWRule: UpdateRule {
  /// Parameters with fewer elements keep moments in f32, as the paper has it.
  static let smallest = 4096

  func slots(for shape: [Int], _ dtype: DType) -> [StateSlot] {
    let blocks = [QuantizedMoments.blocks(of: shape.reduce(1, *))]
    return [
      StateSlot("first", shape, .u8), StateSlot("first_scales", blocks, dtype), StateSlot("second", shape, .u8),
      StateSlot("second_scales", blocks, dtype),
    ]
  }

  func update(_ parameter: Parameter, _ state: [Tensor], _ step: AdamWStep, on backend: any Backend) {
    backend.adamWQuantized(
      parameter.value,
      QuantizedMoments(first: state[0], firstScales: state[1], second: state[2], secondScales: state[3]),
      parameter.gradient!, step)
  }
}

/// Gradient descent; without momentum it keeps nothing.
struct SGDRule: UpdateRule {
  let settings: OptimizerMethod.SGD

  func slots(for shape: [Int], _ dtype: DType) -> [StateSlot] {
    settings.momentum == 0 ? [] : [StateSlot("momentum", shape, dtype)]
  }

  func update(_ parameter: Parameter, _ state: [Tensor], _ step: AdamWStep, on backend: any Backend) {
    backend.sgd(
      parameter.value, state.first, parameter.gradient!,
      SGDStep(
        gradientScale: step.gradientScale, learningRate: step.learningRate, momentum: settings.momentum,
        nesterov: settings.nesterov, weightDecay: step.weightDecay, couplesDecay: settings.couplesDecay))
  }
}
