import AttuneTensor
import Models

/// The seam between a reward model or critic and its objective: numbers out of a packed batch, and their gradients back into it.
package struct ScorePass {
  let model: LanguageModel
  let head: ScoreHead
  /// A token at which no sequence is read unless it has no other.
  let padding: Int32?
  /// Keep only each layer's input for the way back: less memory, a third more work.
  let recomputesLayers: Bool

  package init(model: LanguageModel, head: ScoreHead, padding: Int32? = nil, recomputesLayers: Bool = false) {
    precondition(head.labelCount == 1, "a head of \(head.labelCount) labels has no one score")
    self.model = model
    self.head = head
    self.padding = padding
    self.recomputesLayers = recomputesLayers
  }

  /// What one forward pass left: its numbers, and the tape to go back on.
  package struct Forward {
    let tape: Tape
    /// `[rows, 1]`.
    let output: Tensor
    /// Where in `output` the numbers stand.
    let ranges: [Range<Int>]
    package let batch: TrainingBatch
    /// One per completion, or one per completion token.
    package let scores: [Float]
  }

  /// One score per completion: the head at the last token of prompt and completion.
  ///
  /// - Parameters:
  ///   - firstTree: the first tree's number within the update.
  ///   - dropout: what an adapter's dropout draws from; nil computes without.
  package func scores(
    _ trees: [PromptTree], recording: Bool, firstTree: Int = 0, dropout: DropoutPass? = nil
  ) -> Forward {
    let batch = TrainingBatch(trees, firstTree: firstTree, readsLastTokens: true, padding: padding)
    return forward(batch, rows: batch.lastRows, [0..<batch.lastRows.count], recording: recording, dropout)
  }

  /// One value per completion token: the head at the token before it, whose state the token is chosen in.
  package func values(
    _ trees: [PromptTree], recording: Bool, firstTree: Int = 0, dropout: DropoutPass? = nil
  ) -> Forward {
    let batch = TrainingBatch(trees, firstTree: firstTree)
    return forward(batch, rows: batch.predictingRows, batch.completionRanges, recording: recording, dropout)
  }

  private func forward(
    _ batch: TrainingBatch, rows: [Int32], _ ranges: [Range<Int>], recording: Bool, _ dropout: DropoutPass?
  ) -> Forward {
    let tape = Tape(model.backend, recording: recording)
    var options = PassOptions(recomputesLayers: recomputesLayers)
    options.dropout = dropout
    let states = tape.gatherRows(model.hidden(tape, batch.batch, options), rows)
    let output = head.scores(tape, states)
    let all = model.backend.floats(output)
    return Forward(
      tape: tape, output: output, ranges: ranges, batch: batch, scores: ranges.flatMap { all[$0] })
  }

  /// Adds the gradients of the scores, one each in their order, to the parameters' gradients.
  package func backward(_ forward: Forward, _ gradients: [Float]) {
    var seed = [Float](repeating: 0, count: forward.output.count)
    TrainingPass.put(gradients, into: &seed, at: forward.ranges)
    forward.tape.backward(from: forward.output, seed: model.backend.upload(seed, forward.output.shape))
  }
}
