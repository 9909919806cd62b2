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
    // Imitation alone drops inputs: preferences are computed without, as the log-ratio to a reference would be noise, and
    // on-policy objectives are refused with it.
    let dropout =
      objective is any SupervisedObjective && policy.model.adapter.map { $0.configuration.dropout > 0 } ?? false
      ? DropoutPass(seed: recipe.seed, step: position.globalStep) : nil
    // The entropy of a policy that samples is watched whatever the objective is.
    let wanted = objective.statistics.union(stage.rollouts == nil ? [] : [.entropy])
    return StepGradients(
      pass: TrainingPass(
        model: policy.model, temperature: temperature, wanted: TrainingPass.headStreams(wanted),
        recomputesLayers: stage.recomputes, valueHead: valueHead,
        scoresPrompts: (objective as? any PairObjective)?.scoresPrompts ?? false),
      microBatch: stage.microBatch, dropout: dropout, clock: clock)
  }

  /// Updates the weights, and makes the record of a step that learns from data.
  ///
  /// - Parameters:
  ///   - more: metrics beside the objective's.
  ///   - headline: names of the metrics that progress lines show.
  func finishStep(
    _ stage: Recipe.Stage, _ sums: StepSums, _ rates: LearningRates, _ optimizer: Optimizer,
    since started: Double, more: [(name: String, value: Double)] = [], trainedTokens: Int, headline: [String]
  ) throws -> StepRecord {
    let rate = rates.learningRate(at: position.step)
    let norm = try clock.measure("optimizer") { try optimizer.update(rates, at: position.step, stage.optimizer) }
    stage.objective.finishStep(sums.tallies, &position.memory)
    var metrics: [(name: String, value: Double)] = [("loss", sums.loss)]
    metrics += sums.means.values + more
    metrics += [("learning_rate", rate), ("grad_norm", norm)]
    return StepRecord(
      stage: position.stage, step: position.step, stageSteps: stage.steps, metrics: metrics, prompts: [],
      trainedTokens: trainedTokens, sampledTokens: 0, seconds: (0, 0, monotonicSeconds() - started),
      headline: metrics.filter { headline.contains($0.0) }.map { ($0.0, $0.1) })
  }
}
