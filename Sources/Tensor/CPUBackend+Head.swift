import CKernels

/// The primitives of the language-model head, and of drawing from it.
extension CPUBackend {
  private func streams(_ t: Tensor, _ firstRow: Int, _ wanted: Set<HeadStream>) -> atk_head_streams_f32 {
    func at(_ stream: HeadStream) -> UnsafeMutablePointer<Float>? {
      guard wanted.contains(stream) else { return nil }
      return (raw(t) + (stream.rawValue * t.width + firstRow) * t.dtype.size).assumingMemoryBound(to: Float.self)
    }
    return atk_head_streams_f32(
      logprob: at(.logprob), entropy: at(.entropy), lse: at(.logSumExp), mean: at(.meanLogit),
      log_square: at(.logSumSquares), top1: at(.top1))
  }

  public func head(
    _ streams: Tensor, firstRow: Int, _ logits: Tensor, _ targets: ArraySlice<Int32>, _ temperature: Double,
    _ wanted: Set<HeadStream>
  ) {
    precondition(targets.count == logits.rows, "\(targets.count) targets for \(logits.rows) rows")
    check(Array(targets), below: logits.width)
    charge(logits, logits)
    guard computes else { return rehearse(streams, firstRow, targets.count, vocabulary: logits.width) }
    var out = self.streams(streams, firstRow, wanted)
    targets.withUnsafeBufferPointer { targets in
      run(logits.dtype) {
        $0.head($1, &out, p(logits), logits.width, targets.baseAddress!, logits.rows, logits.width, temperature)
      }
    }
  }

  /// The streams of equal logits, which are written in a rehearsal too: an objective may have no finite loss for others.
  private func rehearse(_ streams: Tensor, _ firstRow: Int, _ rows: Int, vocabulary: Int) {
    ledger?.call()
    guard streams.dtype == .f32 else { return }
    let spread = Float(PortableMath.log(Double(vocabulary)))
    for (stream, value) in [
      (HeadStream.logprob, -spread), (.entropy, spread), (.logSumExp, spread), (.meanLogit, 0),
      (.logSumSquares, -spread), (.top1, 0),
    ] {
      (p(streams) + stream.rawValue * streams.width + firstRow).update(repeating: value, count: rows)
    }
  }

  public func headBackward(
    _ logits: Tensor, _ dStreams: Tensor, firstRow: Int, _ targets: ArraySlice<Int32>, _ temperature: Double,
    _ wanted: Set<HeadStream>
  ) {
    charge(logits, logits)
    var d = streams(dStreams, firstRow, wanted.subtracting([.top1]))
    targets.withUnsafeBufferPointer { targets in
      run(logits.dtype) {
        $0.head_backward($1, p(logits), logits.width, &d, targets.baseAddress!, logits.rows, logits.width, temperature)
      }
    }
  }

  public func sample(_ logits: Tensor, _ uniforms: [Double], _ temperature: Double) -> (ids: [Int32], logprobs: [Float])
  {
    precondition(uniforms.count == logits.rows, "\(uniforms.count) numbers for \(logits.rows) rows")
    var ids = [Int32](repeating: 0, count: logits.rows)
    let logprobs = empty([logits.rows], logits.dtype)
    let scratch = scratch((logits.width + 255) / 256, 8)
    charge(logits, logits)
    run(logits.dtype) {
      $0.sample(
        $1, &ids, p(logprobs), scratch.pointer.assumingMemoryBound(to: Double.self), p(logits), logits.width, uniforms,
        logits.rows, logits.width, temperature)
    }
    withExtendedLifetime(scratch) {}
    guard computes else {
      // What equal logits give.
      let logprob = -Float(PortableMath.log(Double(logits.width)))
      return (uniforms.map { Int32($0 * Double(logits.width)) }, uniforms.map { _ in logprob })
    }
    return (ids, logprobs.dtype == .f64 ? doubles(logprobs).map { Float($0) } : floats(logprobs))
  }

  public func likeliest(_ logits: Tensor) -> [Int32] {
    var ids = [Int32](repeating: 0, count: logits.rows)
    run(logits.dtype) { $0.likeliest($1, &ids, p(logits), logits.width, logits.rows, logits.width) }
    return ids
  }

  public func exponentials(_ y: Tensor, _ x: Tensor, _ temperature: Double) {
    run(x.dtype) { $0.exponentials($1, p(y), p(x), x.rows, x.width, temperature) }
  }
}
