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
    let trees = try nextSamples(stage, stage.batch).map { sample -> PromptTree in
      guard let completion = sample.completion else {
        throw AttuneError.request(
          "sample \(sample.id) of data \(stage.data) has no completion, which supervised training needs",
          hint: "name the column with `completion:` in the data source")
      }
      return PromptTree(prompt: try encode(sample).encoded, completions: [policy.target(of: completion)])
    }
    let totals = StepTotals(rows: trees.count, tokens: trees.reduce(0) { $0 + $1.completions[0].count })
    var gradients = stepGradients(stage, objective)
    try gradients.add(trees) { _, _ in
    } evaluate: { _, streams in
      try objective.evaluate(streams, totals)
    }
    return try finishStep(
      stage, gradients, rates, optimizer, since: started,
      trainedTokens: trees.reduce(0) { $0 + $1.prompt.ids.count + $1.completions[0].count },
      headline: ["loss", "mean_token_accuracy"])
  }
}
