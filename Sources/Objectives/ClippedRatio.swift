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
}
