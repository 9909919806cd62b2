import AttuneTensor
import Core
import Models
import Objectives

/// The seam between model and objective: streams of numbers out of a packed batch, and their gradients back into it.
package struct TrainingPass {
  let model: LanguageModel
  let temperature: Double
  let wanted: Set<HeadStream>
  /// Keep only each layer's input for the way back: less memory, a third more work.
  let recomputesLayers: Bool
  /// Reads a value at every completion token off the hidden state that predicts it: policy and critic share their trunk.
  let valueHead: ScoreHead?
  /// Scores the prompts' own tokens too.
  let scoresPrompts: Bool

  package init(
    model: LanguageModel, temperature: Double, wanted: Set<HeadStream>, recomputesLayers: Bool = false,
    valueHead: ScoreHead? = nil, scoresPrompts: Bool = false
  ) {
    self.model = model
    self.temperature = temperature
    self.wanted = wanted
    self.recomputesLayers = recomputesLayers
    self.valueHead = valueHead
    self.scoresPrompts = scoresPrompts
  }

  /// Rows of a forward pass that keep products at full speed; more only take memory.
  private static let tokensAtOnce = 512

  /// Trees divided into batches of at most `size` trees, or for 0 of as many as make about 512 rows. Neither results nor
  /// gradients depend on it, down to the last bit.
  package static func microBatches(_ trees: [PromptTree], size: Int) -> [Range<Int>] {
    microBatches(
      ofRows: trees.map { $0.prompt.ids.count + $0.completions.reduce(0) { $0 + max(0, $1.count - 1) } }, size: size)
  }

  /// The same of anything that takes so many rows.
  static func microBatches(ofRows rows: [Int], size: Int) -> [Range<Int>] {
    var parts: [Range<Int>] = []
    var first = 0
    var sum = 0
    for (i, own) in rows.enumerated() {
      let isFull = size > 0 ? i - first == size : sum > 0 && sum + own > tokensAtOnce
      if isFull {
        parts.append(first..<i)
        first = i
        sum = 0
      }
      sum += own
    }
    if first < rows.count { parts.append(first..<rows.count) }
    return parts
  }

  /// What one forward pass left: numbers for the objective, and the tape to go back on.
  package struct Forward {
    let tape: Tape
    let output: Tensor
    package let batch: TrainingBatch
    /// `[6, targets]`.
    let numbers: [Float]
    /// `[targets, 1]`.
    let valueOutput: Tensor?
    /// One per completion token, of the state before it; nil without a value head.
    package let values: [Float]?
    /// False at places of pictures, one per scored token of a prompt.
    let promptMask: [Bool]

    /// One value per completion token.
    package func stream(_ stream: HeadStream) -> [Float] { numbers(stream, at: batch.completionRanges) }

    /// One per token of the prompts from each one's second on; nil unless prompts are scored.
    package var promptLogprobs: [Float]? {
      batch.promptRanges.isEmpty ? nil : numbers(.logprob, at: batch.promptRanges)
    }

    private func numbers(_ stream: HeadStream, at ranges: [Range<Int>]) -> [Float] {
      let first = stream.rawValue * batch.targets.count
      return ranges.flatMap { numbers[first + $0.lowerBound..<first + $0.upperBound] }
    }

    /// Completion tokens.
    var tokenCount: Int { batch.completionRanges.reduce(0) { $0 + $1.count } }
  }

  /// - Parameters:
  ///   - firstTree: the first tree's number within the update.
  ///   - dropout: what an adapter's dropout draws from; nil computes without.
  package func forward(
    _ trees: [PromptTree], recording: Bool, firstTree: Int = 0, dropout: DropoutPass? = nil
  ) -> Forward {
    let batch = TrainingBatch(trees, firstTree: firstTree, scoresPrompts: scoresPrompts)
    let tape = Tape(model.backend, recording: recording)
    var options = PassOptions(recomputesLayers: recomputesLayers)
    options.dropout = dropout
    let states = model.predictingStates(tape, batch, options)
    let output = model.streams(
      tape, states, targets: batch.targets, temperature: temperature, wanted: wanted)
    let valueOutput = valueHead?.scores(tape, states)
    return Forward(
      tape: tape, output: output, batch: batch, numbers: model.backend.floats(output), valueOutput: valueOutput,
      values: valueOutput.map { output in
        let all = model.backend.floats(output)
        return batch.completionRanges.flatMap { all[$0] }
      }, promptMask: scoresPrompts ? trees.flatMap { Self.textMask($0.prompt) } : [])
  }

  /// True at the tokens of a prompt from its second on that stand for no place of a picture.
  static func textMask(_ prompt: EncodedPrompt) -> [Bool] {
    var mask = [Bool](repeating: true, count: prompt.ids.count)
    for row in prompt.pictureRows { mask[Int(row)] = false }
    return Array(mask.dropFirst())
  }

  /// The streams as an objective reads them; every completion token counts unless `mask` says otherwise, and of scored prompts
  /// every token that is no place of a picture.
  package func streams(_ forward: Forward, mask: [Bool]? = nil) -> TokenStreams {
    let lengths = forward.batch.completionRanges.map(\.count)
    func optional(_ stream: HeadStream) -> [Float]? { wanted.contains(stream) ? forward.stream(stream) : nil }
    return TokenStreams(
      rowOffsets: TokenStreams.offsets(ofLengths: lengths),
      mask: mask ?? [Bool](repeating: true, count: forward.tokenCount),
      policyLogprobs: forward.stream(.logprob), entropies: optional(.entropy), logSumExps: optional(.logSumExp),
      meanLogits: optional(.meanLogit), logSumSquaredProbs: optional(.logSumSquares),
      isTop1: optional(.top1)?.map { $0 != 0 }, values: forward.values,
      prompts: forward.promptLogprobs.map { logprobs in
        PromptStreams(
          rowOffsets: TokenStreams.offsets(ofLengths: forward.batch.promptRanges.map(\.count)),
          mask: forward.promptMask, policyLogprobs: logprobs)
      })
  }

  /// Adds the gradients of the streams to the parameters' gradients, those of values and prompts in the same way back.
  package func backward(_ forward: Forward, _ gradients: StreamGradients) {
    let batch = forward.batch
    let count = batch.targets.count
    var seed = [Float](repeating: 0, count: HeadStream.allCases.count * count)
    func put(_ stream: HeadStream, _ values: [Float]?, at ranges: [Range<Int>]) {
      guard let values else { return }
      Self.put(values, into: &seed, at: ranges, from: stream.rawValue * count)
    }
    put(.logprob, gradients.logprob, at: batch.completionRanges)
    put(.entropy, gradients.entropy, at: batch.completionRanges)
    put(.logSumExp, gradients.logSumExp, at: batch.completionRanges)
    put(.meanLogit, gradients.meanLogit, at: batch.completionRanges)
    if !batch.promptRanges.isEmpty { put(.logprob, gradients.promptLogprob, at: batch.promptRanges) }
    forward.tape.seed(
      forward.output, with: model.backend.upload(seed, [HeadStream.allCases.count, count]))
    if let output = forward.valueOutput, let values = gradients.value {
      var seed = [Float](repeating: 0, count: count)
      Self.put(values, into: &seed, at: batch.completionRanges)
      forward.tape.seed(output, with: model.backend.upload(seed, output.shape))
    }
    forward.tape.backward()
  }

  /// Puts values, one range's behind the other's, to those ranges of a stream that begins at `start`.
  static func put(_ values: [Float], into seed: inout [Float], at ranges: [Range<Int>], from start: Int = 0) {
    var from = 0
    for range in ranges {
      let first = start + range.lowerBound
      seed.replaceSubrange(first..<first + range.count, with: values[from..<from + range.count])
      from += range.count
    }
    precondition(from == values.count, "\(values.count) gradients for \(from) tokens")
  }
}

/// Puts metrics of micro-batches together, by their means unless they say otherwise, in the order of first appearance; NaN entries
/// are left out.
struct MetricMeans {
  private struct Entry {
    var sum = 0.0
    var weight = 0.0
    var lowest = Double.infinity
    var highest = -Double.infinity
    var reduction: ObjectiveResult.Metric.Reduction

    var value: Double {
      switch reduction {
      case .mean: sum / weight
      case .sum: sum
      case .lowest: lowest
      case .highest: highest
      }
    }
  }

  private var names: [String] = []
  private var entries: [String: Entry] = [:]

  /// - Parameter weight: of metrics that have none of their own.
  mutating func add(_ metrics: [ObjectiveResult.Metric], weight: Double = 1) {
    for metric in metrics {
      add(metric.name, metric.value, weight: metric.weight ?? weight, reduction: metric.reduction)
    }
  }

  func has(_ name: String) -> Bool { entries[name] != nil }

  /// Adds what others come to, by its means.
  mutating func add(_ other: MetricMeans) {
    for name in other.names { if let own = other.entries[name] { add(name, own.value, weight: own.weight) } }
  }

  mutating func add(
    _ name: String, _ value: Double, weight: Double = 1, reduction: ObjectiveResult.Metric.Reduction = .mean
  ) {
    guard !value.isNaN, weight > 0 else { return }
    if entries[name] == nil { names.append(name) }
    var entry = entries[name] ?? Entry(reduction: reduction)
    entry.sum += reduction == .sum ? value : value * weight
    entry.weight += weight
    entry.lowest = min(entry.lowest, value)
    entry.highest = max(entry.highest, value)
    entries[name] = entry
  }

  var values: [(name: String, value: Double)] { names.map { ($0, entries[$0]!.value) } }
}
