/// PPO's clipped policy term of one token or one completion (arXiv 1707.06347, eq. 7): `−min(w·A, clip(w, 1−ε, 1+ε_high)·A)`.
struct ClippedRatio {
  var lower: Double
  var upper: Double
  /// Bounds the loss where `A < 0` by `−c·A` (dual clip, arXiv 1912.09729, eq. 5); nil: no bound.
  var dualClip: Double?

  /// The loss, its slope by `log w`, and on which side the ratio was cut.
  func term(weight w: Double, advantage: Double) -> (loss: Double, slope: Double, low: Bool, high: Bool) {
    let clipped = PortableMath.clamp(w, 1 - lower, 1 + upper)
    let low = w < 1 - lower && advantage < 0
    let high = w > 1 + upper && advantage > 0
    var loss = -advantage * w
    var slope = -advantage * w
    if -advantage * clipped > loss { (loss, slope) = (-advantage * clipped, 0) }
    if let dualClip, advantage < 0, -advantage * dualClip < loss { (loss, slope) = (-advantage * dualClip, 0) }
    return (loss, slope, low, high)
  }

  /// Sums over the tokens that the loss sees.
  struct Sums {
    var loss = 0.0
    /// Of `w`.
    var ratio = 0.0
    /// Of `½(x − o)²`.
    var drift = 0.0
    var clips = ClipStatistics(sequenceLevel: false)
  }

  /// Adds the term of every token, divided by `divisor`, to the loss and its gradient.
  func addTokens(
    to result: inout ObjectiveResult, _ streams: TokenStreams, _ advantages: Advantages, divisor: Double
  ) throws -> Sums {
    try streams.validate()
    try advantages.validate(streams)
    let (x, old) = (streams.policyLogprobs, streams.oldLogprobs ?? streams.policyLogprobs)
    var sums = Sums()
    for i in 0..<streams.rowCount {
      sums.clips.beginRow()
      for t in streams.row(i) where streams.mask[t] {
        let logRatio = Double(x[t]) - Double(old[t])
        let w = PortableMath.exp(logRatio)
        let term = term(weight: w, advantage: advantages.value(row: i, token: t))
        sums.clips.add(low: term.low, high: term.high)
        sums.loss += term.loss
        sums.ratio += w
        sums.drift += 0.5 * logRatio * logRatio
        result.gradients.logprob[t] = Float(term.slope / divisor)
      }
    }
    result.loss += sums.loss / divisor
    return sums
  }
}
