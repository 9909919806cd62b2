import AttuneTensor
import Core
import Models
import Objectives

extension Trainer {
  /// One supervised step: the mean loss over all target tokens of the step.
  func supervisedStep(
    _ stage: Recipe.Stage, _ settings: Recipe.Stage.SFTSettings, _ rates: LearningRates, _ optimizer: Optimizer
  ) throws -> StepRecord {
    let started = monotonicSeconds()
    let trees = try nextSamples(stage, settings.batch).map { sample -> PromptTree in
      guard let completion = sample.completion else {
        throw AttuneError.request(
          "sample \(sample.id) of data \(stage.data) has no completion, which supervised training needs",
          hint: "name the column with `completion:` in the data source")
      }
      return PromptTree(prompt: try encode(sample).encoded, completions: [policy.target(of: completion)])
    }
    let objective = SFT(
      .init(lossType: settings.loss == .dft ? .dft : .nll, labelSmoothing: settings.labelSmoothing))
    var wanted: Set<HeadStream> = [.logprob, .entropy, .top1]
    if settings.labelSmoothing > 0 { wanted.formUnion([.meanLogit, .logSumExp]) }
    let pass = TrainingPass(model: policy.model, temperature: 1, wanted: wanted)
    let dropout =
      policy.model.adapter.map { $0.configuration.dropout > 0 } ?? false
      ? DropoutPass(seed: recipe.seed, step: position.globalStep) : nil
    let targetCount = trees.reduce(0) { $0 + $1.completions[0].count }
    var loss = 0.0
    var means = MetricMeans()
    for range in TrainingPass.microBatches(trees, size: stage.microBatch) {
      let part = Array(trees[range])
      let forward = clock.measure("forward") {
        pass.forward(part, recording: true, firstTree: range.lowerBound, dropout: dropout)
      }
      let result = try objective.evaluate(
        pass.streams(forward), targetCount: targetCount, processCount: 1,
        attendedTokenCount: part.reduce(0) { $0 + $1.prompt.ids.count + max(0, $1.completions[0].count - 1) })
      try checkFinite(result.loss, stage)
      loss += result.loss
      means.add(result.metrics.filter { $0.name != "num_tokens" }, weight: Double(forward.tokenCount))
      clock.measure("backward") { pass.backward(forward, result.gradients) }
    }
    let rate = rates.learningRate(at: position.step)
    let norm = try clock.measure("optimizer") { try optimizer.update(rates, at: position.step, stage.optimizer) }
    let metrics = [("loss", loss)] + means.values + [("learning_rate", rate), ("grad_norm", norm)]
    return StepRecord(
      stage: position.stage, step: position.step, stageSteps: stage.steps, metrics: metrics, prompts: [],
      trainedTokens: trees.reduce(0) { $0 + $1.prompt.ids.count + $1.completions[0].count }, sampledTokens: 0,
      seconds: (0, 0, monotonicSeconds() - started),
      headline: metrics.filter { ["loss", "mean_token_accuracy"].contains($0.0) }.map { ($0.0, $0.1) })
  }

  /// - Throws: `.work` naming the stage and step if the loss is not a number; the weights then stand as they were.
  func checkFinite(_ loss: Double, _ stage: Recipe.Stage) throws {
    guard loss.isFinite else {
      throw AttuneError.work(
        "the loss of stage \(stage.name), step \(position.step + 1), is \(loss); the weights were left as they were",
        hint: "lower optimizer.learning_rate, or resume from an earlier checkpoint")
    }
  }
}
