import Core
import Rewards

extension Recipe {
  /// What rewards are told of the run.
  ///
  /// - Parameter globalStep: over all stages, from 0.
  func rewardContext(globalStep: Int, phase: RewardContext.Phase) -> RewardContext {
    var context = RewardContext()
    context.phase = phase
    context.step = globalStep
    context.totalSteps = stages.reduce(0) { $0 + $1.steps }
    context.policyVersion = UInt64(globalStep)
    context.seed = seed
    context.recipe = name
    return context
  }
}

extension RewardSpecification {
  init(_ settings: Recipe.Reward, file: String) {
    self.init(
      name: settings.name, source: settings.source, parameters: settings.parameters.object ?? .init(),
      weight: settings.weight, isolation: settings.isolation == .inline ? .inline : .worker,
      timeoutSeconds: settings.timeout, failure: settings.failure,
      limits: WorkerLimits(
        memoryMiB: settings.memoryMiB, allowsNetwork: settings.allowsNetwork,
        writableFolders: settings.writableFolders),
      file: file)
  }
}
