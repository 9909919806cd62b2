import AttuneTensor
import Core
import Datasets
import Models
import Objectives

extension Trainer {
  /// One step on preference pairs: each a prompt with its chosen and its rejected completion, computed as one tree.
  func pairStep(
    _ stage: Recipe.Stage, _ objective: any PairObjective, _ rates: LearningRates, _ optimizer: Optimizer
  ) throws -> StepRecord {
    let started = monotonicSeconds()
    let rows = try nextSamples(stage, stage.batch).map { try pair($0, stage) }
    var gradients = stepGradients(stage, objective)
    try gradients.addPairs(rows.map(\.tree), objective, objective.usesReference ? loadReference() : nil)
    return try finishStep(
      stage, gradients.sums, rates, optimizer, since: started, more: cutMetrics(rows, stage),
      trainedTokens: rows.reduce(0) { $0 + $1.tokenCount }, headline: ["loss", "rewards/accuracies"])
  }

  /// A pair's tree: the chosen completion, then the rejected one.
  func pair(_ sample: Sample, _ stage: Recipe.Stage) throws -> LearnedRow {
    let chosen = try completion(of: sample, stage, "learning from pairs")
    guard let rejected = sample.rejected else {
      throw AttuneError.request(
        "sample \(sample.id) of data \(stage.data) has no rejected completion, which learning from pairs needs",
        hint: "name the column with `rejected:` in the data source")
    }
    return try row(sample, [chosen, rejected], stage)
  }
}
