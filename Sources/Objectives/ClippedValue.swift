/// The clipped loss of a critic's value: half the larger square of what the value, and the value held within `range` of what it was,
/// miss.
struct ClippedValue {
  var range: Double

  /// The loss, its slope by the value, and whether the bound was felt.
  ///
  /// - Parameters:
  ///   - before: the value when the completions were sampled.
  ///   - wanted: the return.
  func term(_ value: Double, before: Double, wanted: Double) -> (loss: Double, slope: Double, isClipped: Bool) {
    let bounded = PortableMath.clamp(value, before - range, before + range)
    let (plain, cut) = ((value - wanted) * (value - wanted), (bounded - wanted) * (bounded - wanted))
    guard cut > plain else { return (0.5 * plain, value - wanted, false) }
    return (0.5 * cut, bounded == value ? value - wanted : 0, true)
  }

  /// Adds the term of every token, times `weight` and divided by `divisor`, to the loss and the gradient by the values.
  ///
  /// - Returns: the sum of the terms, and how often the bound was felt.
  func addTokens(
    to result: inout ObjectiveResult, _ streams: TokenStreams, before: [Double], wanted: [Double], weight: Double,
    divisor: Double
  ) throws -> (loss: Double, clipped: Double) {
    let values = try streams.required(streams.values, "values", by: "the critic's loss")
    var gradient = [Float](repeating: 0, count: streams.tokenCount)
    var sums = (loss: 0.0, clipped: 0.0)
    for t in 0..<streams.tokenCount where streams.mask[t] {
      let term = term(Double(values[t]), before: before[t], wanted: wanted[t])
      gradient[t] = Float(weight * term.slope / divisor)
      sums.loss += term.loss
      if term.isClipped { sums.clipped += 1 }
    }
    result.loss += weight * sums.loss / divisor
    result.gradients.value = gradient
    return sums
  }
}
