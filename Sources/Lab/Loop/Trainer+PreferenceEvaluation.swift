import Core
import Datasets
import Models
import Objectives

extension Trainer {
  /// What held-out pairs say of a stage that learns from preferences; nothing for other stages, or without such pairs.
  func evaluatePreferences() throws -> [(name: String, value: Double)] {
    guard recipe.stages.indices.contains(position.stage) else { return [] }
    let stage = recipe.stages[position.stage]
    if let objective = stage.objective as? any ScoreObjective {
      let pairs = try heldOutPairs().map { try scoredPair($0, stage) }
        .filter { stage.maxLength == 0 || $0.longest <= stage.maxLength }
      guard !pairs.isEmpty else { return [] }
      return try score(pairs, stage, objective, recording: false).evaluation(["accuracy", "margin"])
    }
    guard let held = try heldOutTrees(stage), !held.trees.isEmpty else { return [] }
    var gradients = stepGradients(stage, stage.objective)
    if let objective = stage.objective as? any PairObjective {
      try gradients.addPairs(held.trees, objective, objective.usesReference ? loadReference() : nil, recording: false)
      return gradients.sums.evaluation(["rewards/accuracies", "rewards/margins"])
    }
    guard let objective = stage.objective as? any UnpairedObjective else { return [] }
    var ratios: [Double] = []
    try gradients.addLabelled(
      held.trees, desirable: held.labels, mismatched: held.mismatched, objective,
      objective.usesReference ? loadReference() : nil, memory: position.memory, recording: false
    ) { streams in
      guard let references = streams.referenceLogprobs else { return }
      ratios = (0..<streams.rowCount).map { row in
        streams.row(row).reduce(0) { $0 + (Double(streams.policyLogprobs[$1]) - Double(references[$1])) }
      }
    }
    var metrics = gradients.sums.evaluation(["rewards/margins"])
    let wins = stride(from: 0, to: ratios.count, by: 2).count { ratios[$0] > ratios[$0 + 1] }
    metrics.insert(("eval/rewards/accuracies", Double(wins) / Double(max(1, ratios.count / 2))), at: 1)
    return metrics
  }

  /// Held-out pairs as a stage that learns from preferences reads them.
  ///
  /// - Returns: one tree a pair; for labelled completions two, chosen and rejected, with their labels and the trees of other
  ///   prompts' completions. nil without such pairs.
  func heldOutTrees(
    _ stage: Recipe.Stage
  ) throws -> (trees: [PromptTree], labels: [Bool], mismatched: [PromptTree])? {
    let samples = try heldOutPairs()
    guard !samples.isEmpty else { return nil }
    let pairs = try samples.map { try pair($0, stage).tree }
    guard let objective = stage.objective as? any UnpairedObjective else {
      return stage.objective is any PairObjective ? (pairs, [], []) : nil
    }
    let trees = pairs.flatMap { pair in pair.completions.map { PromptTree(prompt: pair.prompt, completions: [$0]) } }
    let twice = samples.flatMap { [$0, $0] }
    return (
      trees, trees.indices.map { $0 % 2 == 0 }, objective.usesMismatched ? try mismatched(trees, twice, stage) : []
    )
  }

  private func heldOutPairs() throws -> [Sample] {
    guard let name = recipe.evaluation.preferences, let source = streams[name]?.source else { return [] }
    let all = source.count ?? 0
    let count = recipe.evaluation.count > 0 ? min(recipe.evaluation.count, all) : all
    return try (0..<count).map { try source.sample(at: $0) }
  }
}

extension StepSums {
  /// The loss and some of the metrics, in this order, under the names that evaluations have.
  fileprivate func evaluation(_ names: [String]) -> [(name: String, value: Double)] {
    let values = means.values
    return [("eval/loss", loss)]
      + names.compactMap { name in values.first { $0.name == name }.map { ("eval/" + name, $0.value) } }
  }
}
