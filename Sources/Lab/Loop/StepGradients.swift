import AttuneTensor
import Core
import Models
import Objectives

/// From trees to gradients: micro-batches through the model, an objective, and back.
///
/// No result depends on how a step is cut. An objective that needs the whole step at once gets all of its streams from a pass
/// without a way back first; each micro-batch is then computed again and takes its share of the gradients.
package struct StepGradients {
  let pass: TrainingPass
  /// Trees that are computed at once; 0 as many as make about 512 rows.
  let microBatch: Int
  var dropout: DropoutPass?
  let clock: PhaseClock
  package private(set) var sums = StepSums()
  package var loss: Double { sums.loss }

  package init(pass: TrainingPass, microBatch: Int, dropout: DropoutPass? = nil, clock: PhaseClock) {
    self.pass = pass
    self.microBatch = microBatch
    self.dropout = dropout
    self.clock = clock
  }

  /// Adds the gradients of some trees.
  ///
  /// - Parameters:
  ///   - values: a critic with a model of its own, and the same trees as it reads them: its values are put into the streams, and
  ///     their gradients go back through it.
  ///   - recording: false computes the loss and no gradients.
  ///   - needsWholeStep: `evaluate` must see all trees at once.
  ///   - prepare: puts the streams that do not come from the policy into those of a run of trees.
  ///   - evaluate: the loss of a run of trees.
  package mutating func add(
    _ trees: [PromptTree], values: (pass: ScorePass, trees: [PromptTree])? = nil, recording: Bool = true,
    needsWholeStep: Bool = false,
    prepare: (Range<Int>, inout TokenStreams) throws -> Void,
    evaluate: (Range<Int>, TokenStreams) throws -> ObjectiveResult
  ) throws {
    let parts = TrainingPass.microBatches(trees, size: microBatch)
    guard needsWholeStep, parts.count > 1 else {
      for part in parts {
        let forward = self.forward(trees, part, recording: recording)
        let critic = self.values(values, part, recording: recording)
        var streams = pass.streams(forward)
        if let critic { streams.values = critic.scores }
        try prepare(part, &streams)
        let result = try evaluate(part, streams)
        try note(result, tokens: streams.maskedCount)
        if recording { backward(forward, critic, values?.pass, result.gradients) }
      }
      return
    }
    var whole: TokenStreams?
    for part in parts {
      var streams = pass.streams(forward(trees, part, recording: false))
      if let critic = self.values(values, part, recording: false) { streams.values = critic.scores }
      if whole == nil { whole = streams } else { whole?.append(streams) }
    }
    guard var whole else { return }
    try prepare(trees.indices, &whole)
    let result = try evaluate(trees.indices, whole)
    try note(result, tokens: whole.maskedCount)
    guard recording else { return }
    var (first, firstOfPrompts) = (0, 0)
    for part in parts {
      let forward = self.forward(trees, part, recording: true)
      let own = first..<first + forward.tokenCount
      let prompts = firstOfPrompts..<firstOfPrompts + (forward.promptLogprobs?.count ?? 0)
      backward(
        forward, self.values(values, part, recording: true), values?.pass,
        result.gradients.slice(own, prompts: prompts))
      (first, firstOfPrompts) = (own.upperBound, prompts.upperBound)
    }
  }

  private func forward(_ trees: [PromptTree], _ part: Range<Int>, recording: Bool) -> TrainingPass.Forward {
    clock.measure("forward") {
      pass.forward(Array(trees[part]), recording: recording, firstTree: part.lowerBound, dropout: dropout)
    }
  }

  private func values(
    _ values: (pass: ScorePass, trees: [PromptTree])?, _ part: Range<Int>, recording: Bool
  ) -> ScorePass.Forward? {
    values.map { values in
      clock.measure("critic") {
        values.pass.values(Array(values.trees[part]), recording: recording, firstTree: part.lowerBound)
      }
    }
  }

  private func backward(
    _ forward: TrainingPass.Forward, _ critic: ScorePass.Forward?, _ criticPass: ScorePass?,
    _ gradients: StreamGradients
  ) {
    clock.measure("backward") {
      pass.backward(forward, gradients)
      if let critic, let criticPass, let values = gradients.value { criticPass.backward(critic, values) }
    }
  }

  private mutating func note(_ result: ObjectiveResult, tokens: Int) throws {
    try sums.note(loss: result.loss, result.metrics, weight: Double(tokens))
    for (name, value) in result.tallies { sums.tallies[name, default: 0] += value }
  }
}

/// What the micro-batches of a step add up to beside gradients.
package struct StepSums {
  package private(set) var loss = 0.0
  private(set) var means = MetricMeans()
  /// Sums of what the objective wants to see of the whole step.
  package var tallies: [String: Double] = [:]

  /// Adds a micro-batch.
  ///
  /// - Parameter weight: of metrics that have none of their own.
  mutating func note(loss: Double, _ metrics: [ObjectiveResult.Metric], weight: Double) throws {
    guard loss.isFinite else { throw NonFiniteLoss(value: loss) }
    self.loss += loss
    means.add(metrics, weight: weight)
  }
}

/// A loss that is no number; the weights stand as they were.
struct NonFiniteLoss: Error {
  let value: Double
}

extension TrainingPass {
  /// What an objective reads of the policy.
  package static func headStreams(_ statistics: Set<TokenStatistic>) -> Set<HeadStream> {
    Set(
      statistics.map { statistic -> HeadStream in
        switch statistic {
        case .entropy: .entropy
        case .logSumExp: .logSumExp
        case .meanLogit: .meanLogit
        case .logSumSquaredProbs: .logSumSquares
        case .isTop1: .top1
        }
      }
    ).union([.logprob])
  }
}
