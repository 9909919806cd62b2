extension Tape {
  /// Bytes of logits that exist at a time.
  static let headBytes = 48 << 20

  /// The language-model head fused with log-softmax: per token the streams of its distribution, never all logits at once.
  ///
  /// - Parameters:
  ///   - hidden: `[rows, width]`, one row per token to be predicted.
  ///   - group: one weight `[vocabulary, width]`.
  ///   - targets: one id per row.
  ///   - temperature: logits are divided by it.
  ///   - wanted: the streams to compute; others hold undefined values.
  /// - Returns: `[6, rows]` in the order of `HeadStream`. Gradients are taken for all streams but top1. A batch whose
  ///   logits fit the block keeps them for the way back; a larger one computes them again, block by block.
  public func head(
    _ hidden: Tensor, _ group: WeightGroup, targets: [Int32], temperature: Double, wanted: Set<HeadStream>
  ) -> Tensor {
    let rows = hidden.rows
    precondition(targets.count == rows, "\(targets.count) targets for \(rows) rows")
    let weight = group.weights[0]
    let streams = backend.zeros([HeadStream.allCases.count, rows], hidden.gradientDType)
    let blocks = Tape.blocks(of: rows, vocabulary: weight.shape[0])
    let isWanted = isRecording && (needsGradient(hidden) || weight.isTrainable)
    var kept: Tensor?
    for block in blocks {
      let logits = logits(hidden.rowRange(block), group)
      backend.head(streams, firstRow: block.lowerBound, logits, targets[block], temperature, wanted)
      if isWanted, blocks.count == 1 { kept = logits }
    }
    record(.head, inputs: [hidden], parameters: [weight], output: streams) { tape, dStreams in
      let backend = tape.backend
      let dHidden = tape.needsGradient(hidden) ? backend.empty(hidden.shape, hidden.gradientDType) : nil
      let seeds = dStreams.reshaped(streams.shape)
      for block in blocks {
        let hiddenBlock = hidden.rowRange(block)
        let logits = kept ?? tape.logits(hiddenBlock, group)
        backend.headBackward(logits, seeds, firstRow: block.lowerBound, targets[block], temperature, wanted)
        let operand = backend.making(.logits) { backend.operand(logits, for: group.precision) }
        if let gradient = weight.accumulator {
          backend.matmulWeightGradient(gradient, operand.allColumns, hiddenBlock.allColumns, group.precision)
        }
        if let dHidden { group.turned(dHidden.rowRange(block), logits, operand: operand, on: backend) }
      }
      if let dHidden { tape.accumulate(dHidden, into: hidden) }
    }
    return streams
  }

  /// hidden wᵀ `[rows, vocabulary]`: the very products that `head` reads, for sampling.
  public func logits(_ hidden: Tensor, _ group: WeightGroup) -> Tensor {
    let logits = backend.making(.logits) { backend.empty([hidden.rows, group.out], hidden.gradientDType) }
    backend.matmul(logits.allColumns, hidden.allColumns, group.panels(on: backend), accumulate: false)
    return logits
  }

  /// Even, so that the pairs of a bf16 sum over tokens never straddle two blocks.
  private static func blocks(of rows: Int, vocabulary: Int) -> [Range<Int>] {
    let most = max(12, headBytes / (4 * vocabulary) / 12 * 12)
    return stride(from: 0, to: rows, by: most).map { $0..<min($0 + most, rows) }
  }
}
