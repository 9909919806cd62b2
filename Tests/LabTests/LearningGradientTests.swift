import AttuneTensor
import Core
import Models
import Objectives
import TestSupport
import Testing

@testable import Lab

/// A prompt that is computed once for its completions gives the gradients of sequences that are computed one by one.
@Suite struct LearningGradientTests {
  private static let configurations: [JSON] = [TinyModels.qwen3, TinyModels.qwen3VL, TinyModels.llama]

  /// Prompts with two completions each, of 1 to 6 tokens.
  private func trees(_ model: LanguageModel) throws -> [PromptTree] {
    try PassSupport.trees(model, 5).enumerated().map { i, tree in
      PromptTree(
        prompt: tree.prompt,
        completions: (0..<2).map { j in
          PassSupport.numbers(1 + (i + 3 * j) % 6, 20 + j, i).map { Int32(abs($0) * 1000) % 90 }
        })
    }
  }

  private func alone(_ trees: [PromptTree]) -> [PromptTree] {
    trees.flatMap { tree in tree.completions.map { PromptTree(prompt: tree.prompt, completions: [$0]) } }
  }

  private func expectClose(_ a: [[Float]], _ b: [[Float]], _ label: String) {
    // Relative to the largest of a tensor: single entries may cancel.
    for (i, (x, y)) in zip(a, b).enumerated() {
      let scale = max(1e-6, y.map(abs).max() ?? 0)
      let worst = zip(x, y).map { abs($0 - $1) }.max() ?? 0
      #expect(worst <= 1e-5 * scale, "\(label), tensor \(i): \(worst) of \(scale)")
    }
  }

  private func gradients(_ model: LanguageModel, _ body: () throws -> Void) throws -> [[Float]] {
    for parameter in model.trainedParameters { parameter.clearGradient() }
    try body()
    return PassSupport.gradients(model.trainedParameters, on: model.backend)
  }

  private func step(_ model: LanguageModel, _ objective: any Objective) -> StepGradients {
    StepGradients(
      pass: TrainingPass(
        model: model, temperature: 1, wanted: TrainingPass.headStreams(objective.statistics),
        scoresPrompts: (objective as? any PairObjective)?.scoresPrompts ?? false),
      microBatch: 0, clock: PhaseClock(on: model.backend))
  }

  @Test(arguments: ["dpo", "cpo", "simpo", "orpo"], configurations)
  func ofPairs(name: String, configuration: JSON) throws {
    let model = try PassSupport.model(configuration)
    let trees = try trees(model)
    let objective = try #require(try ObjectiveRegistry.named(name)?.make(.init()) as? any PairObjective)
    let totals = StepTotals(ofPairs: trees)
    let count = trees.reduce(0) { $1.completions.reduce($0) { $0 + $1.count } }
    let references = PassSupport.numbers(count, 40, 0).map { -3 + 0.3 * $0 }
    let forest = try gradients(model) {
      var step = step(model, objective)
      var first = 0
      try step.add(trees, needsWholeStep: true) { _, streams in
        streams.referenceLogprobs = Array(references[first..<first + streams.tokenCount])
        first += streams.tokenCount
      } evaluate: { _, streams in
        try objective.evaluate(streams, totals)
      }
    }
    let apart = try gradients(model) {
      let pass = step(model, objective).pass
      let forward = pass.forward(alone(trees), recording: true)
      var streams = pass.streams(forward)
      streams.referenceLogprobs = references
      // The prompts of the rejected completions are the same once more.
      let all = streams.prompts
      streams.prompts = all.map { all in
        var once = PromptStreams(rowOffsets: [0], mask: [], policyLogprobs: [])
        for row in stride(from: 0, to: all.rowCount, by: 2) {
          once.mask += all.mask[all.row(row)]
          once.policyLogprobs += all.policyLogprobs[all.row(row)]
          once.rowOffsets.append(once.mask.count)
        }
        return once
      }
      var gradients = try objective.evaluate(streams, totals).gradients
      if let own = gradients.promptLogprob, let all, let once = streams.prompts {
        gradients.promptLogprob = (0..<all.rowCount).flatMap { row in
          row % 2 == 0 ? Array(own[once.row(row / 2)]) : [Float](repeating: 0, count: all.row(row).count)
        }
      }
      pass.backward(forward, gradients)
    }
    expectClose(forest, apart, name)
  }

  /// Two completions of a prompt with a label or a target each.
  @Test(arguments: ["sft", "kto", "bco"], configurations)
  func ofSingleCompletions(name: String, configuration: JSON) throws {
    let model = try PassSupport.model(configuration)
    let trees = try trees(model)
    let objective = try #require(try ObjectiveRegistry.named(name)?.make(.init()))
    let totals = StepTotals(of: trees)
    let references = PassSupport.numbers(totals.tokens, 40, 0).map { -3 + 0.3 * $0 }
    func run(_ trees: [PromptTree]) throws -> [[Float]] {
      try gradients(model) {
        var step = step(model, objective)
        try step.add(trees, needsWholeStep: true) { _, streams in
          streams.referenceLogprobs = references
        } evaluate: { _, streams in
          if let objective = objective as? any SupervisedObjective { return try objective.evaluate(streams, totals) }
          let unpaired = try #require(objective as? any UnpairedObjective)
          return try unpaired.evaluate(
            streams, desirable: (0..<streams.rowCount).map { $0 % 3 != 0 }, mismatchedLogRatios: [0.2, -0.1, 0.4],
            totals,
            [:])
        }
      }
    }
    expectClose(try run(trees), try run(alone(trees)), name)
  }

  @Test(arguments: configurations) func ofScores(configuration: JSON) throws {
    let model = try PassSupport.model(configuration, hasHead: false)
    let head = PassSupport.head(model)
    let trees = try trees(model)
    let objective = try RewardModelObjective.make()
    let pass = ScorePass(model: model, head: head)
    let clock = PhaseClock(on: model.backend)
    func run(_ pairs: [ScoredPair], microBatch: Int = 0) throws -> [[Float]] {
      head.parameters.forEach { $0.clearGradient() }
      let own = try gradients(model) { _ = try pass.learn(pairs, objective, microBatch: microBatch, clock: clock) }
      return own + PassSupport.gradients(head.parameters, on: model.backend)
    }
    let forest = trees.enumerated().map { ScoredPair(trees: [$1], margin: $0 == 1 ? nil : 0.1 * Double($0)) }
    let apart = zip(trees, forest).map { ScoredPair(trees: alone([$0]), margin: $1.margin) }
    let whole = try run(forest)
    expectClose(whole, try run(apart), "reward")
    for cut in [1, 2] { #expect(PassSupport.bits(try run(forest, microBatch: cut)) == PassSupport.bits(whole)) }
  }
}
