import AttuneTensor
import Core

/// AdamW over a set of parameters: moments in f32, clipping by the norm of all gradients together.
///
/// Decay applies to matrices only, not to biases and norms, as transformers' trainer does.
package final class Optimizer {
  let parameters: [Parameter]
  private(set) var first: [Tensor]
  private(set) var second: [Tensor]
  /// Updates made so far.
  private(set) var step = 0
  private let backend: any Backend

  package init(_ parameters: [Parameter], on backend: any Backend) {
    self.parameters = parameters
    self.backend = backend
    (first, second) = backend.making(.optimizer) {
      (parameters.map { backend.zeros($0.shape, .f32) }, parameters.map { backend.zeros($0.shape, .f32) })
    }
  }

  /// Norm of all gradients together.
  func gradientNorm() -> Double {
    parameters.reduce(0) { $0 + backend.sumOfSquares($1.gradient!) }.squareRoot()
  }

  /// Updates every parameter from its gradient and clears the gradients.
  ///
  /// - Returns: the norm before clipping.
  /// - Throws: `.work` naming the first parameter whose gradient is not finite; nothing is updated then.
  func update(_ rates: LearningRates, at step: Int, _ settings: Recipe.Optimizer) throws -> Double {
    try update(
      AdamWStep(
        learningRate: 0, beta1: settings.beta1, beta2: settings.beta2, epsilon: settings.epsilon,
        weightDecay: settings.weightDecay, step: 0), maxNorm: settings.maxGradNorm
    ) { rates.learningRate(of: $0.name, at: step) }
  }

  /// The same with the scalars given; the step number is counted here, decay reaches matrices alone.
  ///
  /// - Parameter rate: the learning rate of a parameter; nil takes that of `scalars` for all.
  package func update(
    _ scalars: AdamWStep, maxNorm limit: Double, rate: ((Parameter) -> Double)? = nil
  ) throws -> Double {
    let norm = gradientNorm()
    guard norm.isFinite else {
      let bad = parameters.first { !backend.sumOfSquares($0.gradient!).isFinite }
      throw AttuneError.work(
        "the gradient of \(bad?.name ?? "the model") is not finite; the weights were left as they were",
        hint: "lower optimizer.learning_rate, or look at the rewards of this step with `attune runs samples`")
    }
    step += 1
    let scale = limit > 0 ? min(1, limit / (norm + 1e-6)) : 1
    for (i, parameter) in parameters.enumerated() {
      let decays = parameter.shape.count > 1
      var own = scalars
      if let rate { own.learningRate = rate(parameter) }
      own.gradientScale = scale
      own.weightDecay = decays ? scalars.weightDecay : 0
      own.step = step
      backend.adamW(parameter.value, first[i], second[i], parameter.gradient!, own)
      parameter.valueChanged()
      parameter.clearGradient()
    }
    return norm
  }

  /// Forgets gradients that are not to be followed.
  func clearGradients() {
    for parameter in parameters { parameter.clearGradient() }
  }

  /// Moments by parameter name, for a checkpoint.
  var state: [(name: String, tensor: Tensor)] {
    parameters.indices.flatMap {
      [("first.\(parameters[$0].name)", first[$0]), ("second.\(parameters[$0].name)", second[$0])]
    }
  }

  /// Puts back what `state` gave.
  func restore(_ tensors: SafeTensors, step: Int) throws {
    for (i, parameter) in parameters.enumerated() {
      for (prefix, isFirst) in [("first", true), ("second", false)] {
        let name = "\(prefix).\(parameter.name)"
        let entry = try tensors.require(name)
        guard entry.shape == parameter.shape else {
          throw AttuneError.request(
            "tensor \(name) has shape \(entry.shape), \(parameter.shape) was expected", at: .init(file: tensors.path))
        }
        let value = try tensors.tensor(name, on: backend)
        if isFirst { first[i] = value } else { second[i] = value }
      }
    }
    self.step = step
  }
}
