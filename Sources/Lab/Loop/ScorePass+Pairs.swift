import Core
import Models
import Objectives

/// A pair as a reward model reads it.
package struct ScoredPair {
  /// One tree of what its sequences share and of their rests, or one tree for each.
  package var trees: [PromptTree]
  var margin: Double?

  package init(trees: [PromptTree], margin: Double? = nil) {
    self.trees = trees
    self.margin = margin
  }

  /// Tokens of both sequences, shared ones once.
  var tokenCount: Int { trees.reduce(0) { $1.completions.reduce($0 + $1.prompt.ids.count) { $0 + $1.count } } }
  /// Tokens of the longer sequence.
  var longest: Int { trees.flatMap { tree in tree.completions.map { tree.prompt.ids.count + $0.count } }.max() ?? 0 }
}

extension ScorePass {
  /// Loss and metrics of a step's pairs; their gradients are added to the parameters'.
  ///
  /// No result depends on how the step is cut: at pairs, of which `microBatch` are computed at once, or for 0 as many as make
  /// about 512 rows.
  /// - Parameter recording: false computes no gradients.
  package func learn(
    _ pairs: [ScoredPair], _ objective: any ScoreObjective, microBatch: Int, clock: PhaseClock, recording: Bool = true
  ) throws -> StepSums {
    // A pair without a margin beside others that have one asks for none.
    let hasMargins = pairs.contains { $0.margin != nil }
    var sums = StepSums()
    for part in TrainingPass.microBatches(ofRows: pairs.map(\.tokenCount), size: microBatch) {
      let own = pairs[part]
      let forward = clock.measure("forward") { scores(own.flatMap(\.trees), recording: recording) }
      let result = try objective.evaluate(
        scores: forward.scores.map(Double.init), margins: hasMargins ? own.map { $0.margin ?? 0 } : nil,
        pairs: pairs.count)
      try sums.note(loss: result.loss, result.metrics, weight: Double(own.count))
      if recording { clock.measure("backward") { backward(forward, result.gradients.map { Float($0) }) } }
    }
    return sums
  }
}
