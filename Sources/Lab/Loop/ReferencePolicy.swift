import AttuneTensor
import Core
import Models

/// The frozen model that KL terms and log-ratios are taken against.
///
/// With an adapter it is the policy with the adapter off; with full training a frozen copy of the weights as they were when
/// the stage began.
final class ReferencePolicy {
  private let policy: LanguageModel
  /// nil: the policy with its adapter off.
  private let copy: LanguageModel?
  private let clock: PhaseClock

  init(policy: LanguageModel, copy: LanguageModel?, clock: PhaseClock) {
    self.policy = policy
    self.copy = copy
    self.clock = clock
  }

  /// Log-probabilities of the completions' tokens, tree after tree.
  func logprobs(_ trees: [PromptTree], temperature: Double) -> [Float] {
    let adapter = copy == nil ? policy.adapter : nil
    adapter?.isEnabled = false
    defer { adapter?.isEnabled = true }
    let pass = TrainingPass(model: copy ?? policy, temperature: temperature, wanted: [.logprob])
    return clock.measure("reference") { pass.forward(trees, recording: false).stream(.logprob) }
  }
}
