import AttuneTensor
import Core
import Models

/// The frozen model that KL terms and log-ratios are taken against.
///
/// With an adapter it is the policy with the adapter off; with full training a frozen copy of the weights as they were when
/// the stage began.
package final class ReferencePolicy {
  private let policy: LanguageModel
  /// nil: the policy with its adapter off.
  private let copy: LanguageModel?
  private let clock: PhaseClock

  package init(policy: LanguageModel, copy: LanguageModel?, clock: PhaseClock) {
    self.policy = policy
    self.copy = copy
    self.clock = clock
  }

  /// Log-probabilities of the completions' tokens, tree after tree.
  ///
  /// - Parameter microBatch: trees that are computed at once; 0 as many as make about 512 rows.
  package func logprobs(_ trees: [PromptTree], temperature: Double, microBatch: Int = 0) throws -> [Float] {
    let adapter = copy == nil ? policy.adapter : nil
    adapter?.isEnabled = false
    defer { adapter?.isEnabled = true }
    let pass = TrainingPass(model: copy ?? policy, temperature: temperature, wanted: [.logprob])
    return clock.measure("reference") {
      TrainingPass.microBatches(trees, size: microBatch).flatMap {
        pass.forward(Array(trees[$0]), recording: false).stream(.logprob)
      }
    }
  }
}
