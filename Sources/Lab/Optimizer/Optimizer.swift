import AttuneTensor
import Core

/// The optimizer of a stage over a set of parameters: the state of its method, clipping by the norm of all gradients together.
///
/// Decay applies to matrices only, not to biases and norms, as transformers' trainer does.
package final class Optimizer {
  let parameters: [Parameter]
  package let method: OptimizerMethod
  private let rules: [any UpdateRule]
  /// What each rule keeps, in the order of its slots.
  private var tensors: [[Tensor]]
  /// Updates made so far.
  private(set) var step = 0
  private let backend: any Backend

  /// AdamW.
  package convenience init(_ parameters: [Parameter], on backend: any Backend) {
    self.init(parameters, .adamW, on: backend)
  }

  /// - Parameter seed: of what a method draws: GaLore's first guesses at a subspace.
  package init(_ parameters: [Parameter], _ method: OptimizerMethod, seed: UInt64 = 0, on backend: any Backend) {
    self.parameters = parameters
    self.method = method
    self.backend = backend
    rules = parameters.map { method.rule(for: $0.name, $0.shape, seed: seed) }
    let made = zip(parameters, rules)
    tensors = backend.making(.optimizer) {
      made.map { parameter, rule in
        rule.slots(for: parameter.shape, parameter.value.dtype).map { backend.zeros($0.shape, $0.dtype) }
      }
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
      rules[i].update(parameter, tensors[i], own, on: backend)
      parameter.valueChanged()
      parameter.clearGradient()
    }
    return norm
  }

  /// Forgets gradients that are not to be followed.
  func clearGradients() {
    for parameter in parameters { parameter.clearGradient() }
  }

  // MARK: State

  /// Bytes of the state.
  package var stateBytes: Int { tensors.joined().reduce(0) { $0 + $1.count * $1.dtype.size } }

  /// What is kept, by slot and parameter, for a checkpoint.
  var state: [(name: String, tensor: Tensor)] {
    slots().enumerated().flatMap { i, slots in
      zip(slots, tensors[i]).map { ("\($0.name).\(parameters[i].name)", $1) }
    }
  }

  /// What a checkpoint's file says of the state.
  var metadata: [String: String] { ["optimizer": method.kind.rawValue] }

  private func slots() -> [[StateSlot]] {
    zip(parameters, rules).map { $1.slots(for: $0.shape, $0.value.dtype) }
  }

  /// Puts back what `state` gave.
  ///
  /// - Throws: `.request` naming the file if it holds the state of another kind, or of other parameters.
  func restore(_ saved: SafeTensors, step: Int) throws {
    // Files without the word are AdamW's: there was no other.
    let kind = saved.metadata["optimizer"] ?? OptimizerMethod.Kind.adamW.rawValue
    guard kind == method.kind.rawValue else {
      throw AttuneError.request(
        "the checkpoint holds the state of the optimizer \(kind), this stage's is \(method.kind.rawValue)",
        at: .init(file: saved.path), hint: "set optimizer.kind to \(kind), or begin the stage anew")
    }
    let slots = slots()
    var restored = tensors
    var expected: Set<String> = []
    for (i, parameter) in parameters.enumerated() {
      for (j, slot) in slots[i].enumerated() {
        let name = "\(slot.name).\(parameter.name)"
        expected.insert(name)
        restored[i][j] = try saved.tensor(name, slot.shape, slot.dtype, on: backend)
      }
    }
    if let other = saved.entries.first(where: { !expected.contains($0.name) }) {
      throw AttuneError.request(
        "tensor \(other.name) belongs to no parameter that this stage trains with \(kind)",
        at: .init(file: saved.path), hint: "resume with the recipe's optimizer, adapter and frozen parts as they were")
    }
    tensors = restored
    self.step = step
  }
}
