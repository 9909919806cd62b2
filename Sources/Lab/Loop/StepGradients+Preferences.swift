import AttuneTensor
import Core
import Models
import Objectives

extension StepGradients {
  /// Adds the gradients of preference pairs.
  ///
  /// - Parameters:
  ///   - trees: all of the step, a chosen and a rejected completion each.
  ///   - reference: of objectives that read one.
  package mutating func addPairs(
    _ trees: [PromptTree], _ objective: any PairObjective, _ reference: ReferencePolicy?, recording: Bool = true
  ) throws {
    let totals = StepTotals(ofPairs: trees)
    let microBatch = microBatch
    try add(trees, recording: recording, needsWholeStep: objective.needsWholeStep) { part, streams in
      streams.referenceLogprobs = try reference?.logprobs(Array(trees[part]), temperature: 1, microBatch: microBatch)
    } evaluate: { _, streams in
      try objective.evaluate(streams, totals)
    }
  }

  /// Adds the gradients of completions that are desirable or not.
  ///
  /// - Parameters:
  ///   - trees: all of the step, one completion each.
  ///   - mismatched: prompts with completions of other prompts; none where the objective asks for none.
  ///   - reference: of objectives that read one.
  ///   - memory: what the objective keeps, as it stood when the step began.
  ///   - see: gets the streams of the completions, all at once where nothing is recorded.
  package mutating func addLabelled(
    _ trees: [PromptTree], desirable: [Bool], mismatched: [PromptTree], _ objective: any UnpairedObjective,
    _ reference: ReferencePolicy?, memory: [String: Double], recording: Bool = true,
    see: (TokenStreams) -> Void = { _ in }
  ) throws {
    let totals = StepTotals(of: trees)
    let microBatch = microBatch
    let ratios = try reference.map { try logRatios(mismatched, to: $0) } ?? []
    try add(trees, recording: recording, needsWholeStep: objective.needsWholeStep || !recording) { part, streams in
      streams.referenceLogprobs = try reference?.logprobs(Array(trees[part]), temperature: 1, microBatch: microBatch)
    } evaluate: { part, streams in
      see(streams)
      return try objective.evaluate(
        streams, desirable: Array(desirable[part]), mismatchedLogRatios: ratios, totals, memory)
    }
  }

  /// `Σ (x − r)` of each completion: policy against reference, without a way back.
  private func logRatios(_ trees: [PromptTree], to reference: ReferencePolicy) throws -> [Double] {
    try TrainingPass.microBatches(trees, size: microBatch).flatMap { part -> [Double] in
      let own = Array(trees[part])
      let policy = clock.measure("mismatched") { pass.forward(own, recording: false).stream(.logprob) }
      let references = try reference.logprobs(own, temperature: pass.temperature, microBatch: microBatch)
      var first = 0
      return own.flatMap(\.completions).map { completion in
        let range = first..<first + completion.count
        first = range.upperBound
        return range.reduce(0) { $0 + (Double(policy[$1]) - Double(references[$1])) }
      }
    }
  }
}

extension StepTotals {
  /// Of trees with one row for each completion.
  init(of trees: [PromptTree]) {
    self.init(
      rows: trees.reduce(0) { $0 + $1.completions.count },
      tokens: trees.reduce(0) { $1.completions.reduce($0) { $0 + $1.count } })
  }

  /// Of trees with a chosen and a rejected completion each.
  init(ofPairs trees: [PromptTree]) {
    self.init(of: trees)
    chosenTokens = trees.reduce(0) { $0 + $1.completions[0].count }
    promptTokens = trees.reduce(0) { $0 + TrainingPass.textMask($1.prompt).count { $0 } }
  }
}
