import AttuneTensor
import Core
import Models
import Objectives

extension Trainer {
  /// One supervised step: the mean loss over all target tokens of the step.
  func supervisedStep(
    _ stage: Recipe.Stage, _ objective: any SupervisedObjective, _ rates: LearningRates, _ optimizer: Optimizer
  ) throws -> StepRecord {
    let started = monotonicSeconds()
    let rows = try nextSamples(stage, stage.batch).map {
      try row($0, [completion(of: $0, stage, "supervised training")], stage)
    }
    let trees = rows.map(\.tree)
    let totals = StepTotals(of: trees)
    var gradients = stepGradients(stage, objective)
    try gradients.add(trees) { _, _ in
    } evaluate: { _, streams in
      try objective.evaluate(streams, totals)
    }
    return try finishStep(
      stage, gradients.sums, rates, optimizer, since: started, more: cutMetrics(rows, stage),
      trainedTokens: rows.reduce(0) { $0 + $1.tokenCount }, headline: ["loss", "mean_token_accuracy"])
  }
}
