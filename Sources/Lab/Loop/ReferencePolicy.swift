import AttuneTensor
import Core
import Models

/// The frozen model that KL terms and log-ratios are taken against, in one of its forms.
package final class ReferencePolicy {
  private enum Form {
    /// The policy's weights without its adapter.
    case adapterOff
    /// The policy with other values of its adapter's parameters.
    case adapter([(parameter: Parameter, value: Tensor)])
    /// A model of its own.
    case model(LanguageModel)
    /// No model: numbers that one computed before.
    case cached(ReferenceCache)
  }

  private let policy: LanguageModel
  private let form: Form
  private let clock: PhaseClock

  private init(_ policy: LanguageModel, _ form: Form, _ clock: PhaseClock) {
    self.policy = policy
    self.form = form
    self.clock = clock
  }

  /// - Parameter copy: a model with the frozen weights; nil takes the policy with its adapter off.
  package convenience init(policy: LanguageModel, copy: LanguageModel?, clock: PhaseClock) {
    self.init(policy, copy.map { .model($0) } ?? .adapterOff, clock)
  }

  /// The policy with an adapter's parameters as they were: one value each, in their order.
  convenience init(policy: LanguageModel, adapter values: [(parameter: Parameter, value: Tensor)], clock: PhaseClock) {
    self.init(policy, .adapter(values), clock)
  }

  /// What a model with these weights computed before; there is no model in memory.
  convenience init(policy: LanguageModel, cache: ReferenceCache, clock: PhaseClock) {
    self.init(policy, .cached(cache), clock)
  }

  /// Log-probabilities of the completions' tokens, tree after tree.
  ///
  /// - Parameter microBatch: trees that are computed at once; 0 as many as make about 512 rows.
  /// - Throws: `.work` if a cache does not hold them.
  package func logprobs(_ trees: [PromptTree], temperature: Double, microBatch: Int = 0) throws -> [Float] {
    switch form {
    case .adapterOff:
      let adapter = policy.adapter
      adapter?.isEnabled = false
      defer { adapter?.isEnabled = true }
      return compute(policy, trees, temperature, microBatch)
    case .adapter(let frozen):
      let own = frozen.map(\.parameter.value)
      for (parameter, value) in frozen { parameter.setValue(value) }
      defer { for (entry, value) in zip(frozen, own) { entry.parameter.setValue(value) } }
      return compute(policy, trees, temperature, microBatch)
    case .model(let model): return compute(model, trees, temperature, microBatch)
    case .cached(let cache):
      return try clock.measure("reference") {
        try ReferenceCache.keys(trees, temperature: temperature).flatMap { try cache.logprobs($0) }
      }
    }
  }

  private func compute(
    _ model: LanguageModel, _ trees: [PromptTree], _ temperature: Double, _ microBatch: Int
  ) -> [Float] {
    let pass = TrainingPass(model: model, temperature: temperature, wanted: [.logprob])
    return clock.measure("reference") {
      TrainingPass.microBatches(trees, size: microBatch).flatMap {
        pass.forward(Array(trees[$0]), recording: false).stream(.logprob)
      }
    }
  }

  // MARK: Synchronisation

  /// Moves the frozen weights towards the policy's (TR-DPO, arXiv 2404.09656, eq. 5): `α·policy + (1 − α)·reference`. Parts that
  /// are not trained are the same in both and stay.
  func mix(_ alpha: Double) {
    for (own, frozen) in synchronized {
      frozen.setValue(Self.mixed(frozen.value, own.value, alpha, on: policy.backend))
    }
  }

  /// `α·policy + (1 − α)·reference` in f32.
  static func mixed(_ reference: Tensor, _ policy: Tensor, _ alpha: Double, on backend: any Backend) -> Tensor {
    let result = backend.empty(reference.shape, .f32)
    backend.convert(result, reference)
    backend.scale(result, result, 1 - alpha)
    backend.addScaled(result, policy, alpha)
    return result
  }

  /// The frozen weights that synchronisation changes, for a checkpoint.
  var synchronizedWeights: [(name: String, tensor: Tensor)] { synchronized.map { ($0.frozen.name, $0.frozen.value) } }

  /// Puts back what `synchronizedWeights` gave.
  func restore(_ weights: SafeTensors) throws {
    for (_, frozen) in synchronized { frozen.setValue(try weights.tensor(frozen.name, on: policy.backend)) }
  }

  private var synchronized: [(own: Parameter, frozen: Parameter)] {
    guard case .model(let model) = form else { return [] }
    return zip(policy.parameters, model.parameters).filter { $0.0.isTrainable }.map { ($0, $1) }
  }
}
