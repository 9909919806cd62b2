import AttuneTensor
import Core
import Models
import Objectives

extension Trainer {
  /// The gradients of a step, to be filled.
  ///
  /// - Parameter valueHead: of a critic on the policy's trunk.
  func stepGradients(
    _ stage: Recipe.Stage, _ objective: any Objective, temperature: Double = 1, valueHead: ScoreHead? = nil
  ) -> StepGradients {
    // On-policy objectives are refused with dropout, so what is dropped never differs from what was sampled.
    let dropout =
      policy.model.adapter.map { $0.configuration.dropout > 0 } ?? false
      ? DropoutPass(seed: recipe.seed, step: position.globalStep) : nil
    // The entropy of a policy that samples is watched whatever the objective is.
    let wanted = objective.statistics.union(stage.rollouts == nil ? [] : [.entropy])
    return StepGradients(
      pass: TrainingPass(
        model: policy.model, temperature: temperature, wanted: TrainingPass.headStreams(wanted), valueHead: valueHead),
      microBatch: stage.microBatch, dropout: dropout, clock: clock)
  }

  /// Updates the weights, and makes the record of a step that learns from data.
  ///
  /// - Parameter headline: names of the metrics that progress lines show.
  func finishStep(
    _ stage: Recipe.Stage, _ gradients: StepGradients, _ rates: LearningRates, _ optimizer: Optimizer,
    since started: Double, trainedTokens: Int, headline: [String]
  ) throws -> StepRecord {
    let rate = rates.learningRate(at: position.step)
    let norm = try clock.measure("optimizer") { try optimizer.update(rates, at: position.step, stage.optimizer) }
    stage.objective.finishStep(gradients.tallies, &position.memory)
    let metrics =
      [("loss", gradients.loss)] + gradients.means.values + [("learning_rate", rate), ("grad_norm", norm)]
    return StepRecord(
      stage: position.stage, step: position.step, stageSteps: stage.steps, metrics: metrics, prompts: [],
      trainedTokens: trainedTokens, sampledTokens: 0, seconds: (0, 0, monotonicSeconds() - started),
      headline: metrics.filter { headline.contains($0.0) }.map { ($0.0, $0.1) })
  }
}
