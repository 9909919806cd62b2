import AttuneTensor
import Core
import Datasets
import Models
import Objectives

extension Trainer {
  /// One step on completions that are desirable or not.
  func unpairedStep(
    _ stage: Recipe.Stage, _ objective: any UnpairedObjective, _ rates: LearningRates, _ optimizer: Optimizer
  ) throws -> StepRecord {
    let started = monotonicSeconds()
    var labels: [Bool] = []
    let samples = try nextSamples(stage, stage.batch)
    let rows = try samples.map { sample -> LearnedRow in
      guard let label = sample.label else {
        throw AttuneError.request(
          "sample \(sample.id) of data \(stage.data) has no label, which learning from single completions needs",
          hint: "name the column with `label:` in the data source")
      }
      labels.append(label)
      return try row(sample, [completion(of: sample, stage, "learning from labels")], stage)
    }
    var gradients = stepGradients(stage, objective)
    let trees = rows.map(\.tree)
    try gradients.addLabelled(
      trees, desirable: labels, mismatched: objective.usesMismatched ? mismatched(trees, samples, stage) : [],
      objective,
      objective.usesReference ? loadReference() : nil, memory: position.memory)
    var record = try finishStep(
      stage, gradients.sums, rates, optimizer, since: started, more: cutMetrics(rows, stage),
      trainedTokens: rows.reduce(0) { $0 + $1.tokenCount }, headline: ["loss", "rewards/margins"])
    record.metrics.settleMargins()
    record.headline = record.metrics.filter { name, _ in record.headline.contains { $0.name == name } }
    return record
  }

  /// The step's prompts with completions of its other prompts: the whole step is one block, in the order of the data.
  func mismatched(_ trees: [PromptTree], _ samples: [Sample], _ stage: Recipe.Stage) throws -> [PromptTree] {
    let others = try KTO.mismatchedCompletions(count: trees.count, batchSize: trees.count)
    return try zip(trees, zip(samples, others)).map { tree, pair in
      let (sample, other) = pair
      return PromptTree(
        prompt: tree.prompt,
        completions: [try stage.fitting(trees[other].completions[0], behind: tree.prompt, of: sample)])
    }
  }

  /// Says so if one label outweighs the other by more than the method's authors advise.
  func noteLabelBalance(_ stage: Recipe.Stage) throws {
    guard position.step == 0, let objective = stage.objective as? any UnpairedObjective,
      let counts = streams[stage.data]?.source.labelCounts
    else { return }
    if let remark = objective.remark(desirable: counts.desirable, undesirable: counts.undesirable) {
      try emit(.note("stage \(stage.name): \(remark)"))
    }
  }
}

extension [(name: String, value: Double)] {
  /// A micro-batch may have completions of one label alone: the margin is that of the step's means.
  fileprivate mutating func settleMargins() {
    func value(_ name: String) -> Double? { first { $0.name == name }?.value }
    guard let chosen = value("rewards/chosen"), let rejected = value("rewards/rejected") else { return }
    let margin = (name: "rewards/margins", value: chosen - rejected)
    if let place = firstIndex(where: { $0.name == margin.name }) {
      self[place] = margin
    } else if let place = firstIndex(where: { $0.name == "rewards/rejected" }) {
      insert(margin, at: place + 1)
    }
  }
}
