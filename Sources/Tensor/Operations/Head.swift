extension Tape {
  /// Rows of logits that exist at a time. Even, so that the pairs of a bf16 sum over tokens never straddle two blocks.
  static let headBlock = 512

  /// The language-model head fused with log-softmax: per token the streams of its distribution, never all logits at once.
  ///
  /// - Parameters:
  ///   - hidden: `[rows, width]`, one row per token to be predicted.
  ///   - weight: `[vocabulary, width]`.
  ///   - targets: one id per row.
  ///   - temperature: logits are divided by it.
  ///   - wanted: the streams to compute; others hold undefined values.
  /// - Returns: `[6, rows]` in the order of `HeadStream`. Gradients are taken for all streams but top1.
  public func head(
    _ hidden: Tensor, _ weight: Parameter, targets: [Int32], temperature: Double, wanted: Set<HeadStream>
  ) -> Tensor {
    let rows = hidden.rows
    precondition(targets.count == rows, "\(targets.count) targets for \(rows) rows")
    let streams = backend.zeros([HeadStream.allCases.count, rows], hidden.dtype)
    for block in Tape.blocks(of: rows) {
      let logits = logits(hidden.rowRange(block), weight)
      backend.head(streams, firstRow: block.lowerBound, logits, targets[block], temperature, wanted)
    }
    record(.head, inputs: [hidden], parameters: [weight], output: streams) { tape, dStreams in
      let backend = tape.backend
      let dHidden = tape.needsGradient(hidden) ? backend.empty(hidden.shape, hidden.dtype) : nil
      let seeds = dStreams.reshaped(streams.shape)
      for block in Tape.blocks(of: rows) {
        let hiddenBlock = hidden.rowRange(block)
        let logits = tape.logits(hiddenBlock, weight)
        backend.headBackward(logits, seeds, firstRow: block.lowerBound, targets[block], temperature, wanted)
        if let gradient = weight.gradient {
          backend.matmulWeightGradient(gradient, logits, hiddenBlock, weight.precision)
        }
        if let dHidden { backend.matmul(dHidden.rowRange(block), logits, weight.backwardPanels, accumulate: false) }
      }
      if let dHidden { tape.accumulate(dHidden, into: hidden) }
    }
    return streams
  }

  /// hidden wᵀ `[rows, vocabulary]`: the very products that `head` reads, for sampling.
  public func logits(_ hidden: Tensor, _ weight: Parameter) -> Tensor {
    let logits = backend.empty([hidden.rows, weight.shape[0]], hidden.dtype)
    backend.matmul(logits, hidden, weight.forwardPanels, accumulate: false)
    return logits
  }

  private static func blocks(of rows: Int) -> [Range<Int>] {
    stride(from: 0, to: rows, by: headBlock).map { $0..<min($0 + headBlock, rows) }
  }
}
