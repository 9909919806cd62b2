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

  package init(model: LanguageModel, temperature: Double, wanted: Set<HeadStream>, recomputesLayers: Bool = false) {
    self.model = model
    self.temperature = temperature
    self.wanted = wanted
    self.recomputesLayers = recomputesLayers
  }

  /// Rows of a forward pass that keep products at full speed; more only take memory.
  private static let tokensAtOnce = 512

  /// Trees divided into batches of at most `size` trees, or for 0 of as many as make about 512 rows. Neither results nor
  /// gradients depend on it, down to the last bit.
  package static func microBatches(_ trees: [PromptTree], size: Int) -> [Range<Int>] {
    var parts: [Range<Int>] = []
    var first = 0
    var rows = 0
    for (i, tree) in trees.enumerated() {
      let own = tree.prompt.ids.count + tree.completions.reduce(0) { $0 + max(0, $1.count - 1) }
      let isFull = size > 0 ? i - first == size : rows > 0 && rows + own > tokensAtOnce
      if isFull {
        parts.append(first..<i)
        first = i
        rows = 0
      }
      rows += own
    }
    if first < trees.count { parts.append(first..<trees.count) }
    return parts
  }

  /// What one forward pass left: numbers for the objective, and the tape to go back on.
  package struct Forward {
    let tape: Tape
    let output: Tensor
    package let batch: TrainingBatch
    let values: [Float]

    /// One value per completion token.
    package func stream(_ stream: HeadStream) -> [Float] {
      let first = stream.rawValue * batch.targets.count
      return batch.completionRanges.flatMap { values[first + $0.lowerBound..<first + $0.upperBound] }
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
    let batch = TrainingBatch(trees, firstTree: firstTree)
    let tape = Tape(model.backend, recording: recording)
    var options = PassOptions(recomputesLayers: recomputesLayers)
    options.dropout = dropout
    let output = model.streams(tape, batch, temperature: temperature, wanted: wanted, options)
    return Forward(tape: tape, output: output, batch: batch, values: model.backend.floats(output))
  }

  /// The streams as an objective reads them; every completion token counts unless `mask` says otherwise.
  package func streams(_ forward: Forward, mask: [Bool]? = nil) -> TokenStreams {
    let lengths = forward.batch.completionRanges.map(\.count)
    func optional(_ stream: HeadStream) -> [Float]? { wanted.contains(stream) ? forward.stream(stream) : nil }
    return TokenStreams(
      rowOffsets: TokenStreams.offsets(ofLengths: lengths),
      mask: mask ?? [Bool](repeating: true, count: forward.tokenCount),
      policyLogprobs: forward.stream(.logprob), entropies: optional(.entropy), logSumExps: optional(.logSumExp),
      meanLogits: optional(.meanLogit), logSumSquaredProbs: optional(.logSumSquares),
      isTop1: optional(.top1)?.map { $0 != 0 })
  }

  /// Adds the gradients of the streams to the parameters' gradients.
  package func backward(_ forward: Forward, _ gradients: StreamGradients) {
    let count = forward.batch.targets.count
    var seed = [Float](repeating: 0, count: HeadStream.allCases.count * count)
    func put(_ stream: HeadStream, _ values: [Float]?) {
      guard let values else { return }
      var from = 0
      for range in forward.batch.completionRanges {
        let first = stream.rawValue * count + range.lowerBound
        seed.replaceSubrange(first..<first + range.count, with: values[from..<from + range.count])
        from += range.count
      }
    }
    put(.logprob, gradients.logprob)
    put(.entropy, gradients.entropy)
    put(.logSumExp, gradients.logSumExp)
    put(.meanLogit, gradients.meanLogit)
    forward.tape.backward(
      from: forward.output, seed: model.backend.upload(seed, [HeadStream.allCases.count, count]))
  }
}

/// Sums metrics over micro-batches and gives their means, in the order of first appearance; NaN entries are left out.
struct MetricMeans {
  private var names: [String] = []
  private var sums: [String: (sum: Double, weight: Double)] = [:]

  /// - Parameter weight: of metrics that have none of their own.
  mutating func add(_ metrics: [ObjectiveResult.Metric], weight: Double = 1) {
    for metric in metrics { add(metric.name, metric.value, weight: metric.weight ?? weight) }
  }

  mutating func add(_ other: MetricMeans) {
    for name in other.names { if let own = other.sums[name] { add(name, own.sum / own.weight, weight: own.weight) } }
  }

  mutating func add(_ name: String, _ value: Double, weight: Double = 1) {
    guard !value.isNaN, weight > 0 else { return }
    if sums[name] == nil { names.append(name) }
    let old = sums[name] ?? (0, 0)
    sums[name] = (old.sum + value * weight, old.weight + weight)
  }

  var values: [(name: String, value: Double)] { names.map { ($0, sums[$0]!.sum / sums[$0]!.weight) } }
}
