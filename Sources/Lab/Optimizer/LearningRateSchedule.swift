/// The learning rate of every optimizer step: `base · f(k)` for step `k` = 0, 1, … in the shapes of the Transformers
/// library's `get_scheduler`.
///
/// With warm-up the first step's rate is 0 (except for `warmup_stable_decay`, which starts at its minimum). Computed
/// in Double without the C library: the same bits on every machine.
public struct LearningRateSchedule: Sendable, Equatable {
  /// The curve after the warm-up.
  public enum Shape: String, Sendable, CaseIterable {
    /// The base rate; the warm-up is ignored.
    case constant
    case constantWithWarmup = "constant_with_warmup"
    /// Down to 0 at the last step.
    case linear
    /// Half a cosine wave per half cycle, down to 0 with the default of half a cycle.
    case cosine
    /// Cosine waves that start anew, hard.
    case cosineWithRestarts = "cosine_with_restarts"
    /// Down to `end` as a power of what is left.
    case polynomial
    case inverseSqrt = "inverse_sqrt"
    /// Half a cosine wave down to `minimum` of the base rate.
    case cosineWithMinLR = "cosine_with_min_lr"
    /// The base rate until the last `decaySteps` steps, then down to `minimum` of it.
    case warmupStableDecay = "warmup_stable_decay"
  }

  /// How `warmup_stable_decay` falls.
  public enum Decay: String, Sendable, CaseIterable {
    case linear
    case cosine
    case oneMinusSqrt = "1-sqrt"
  }

  public var shape: Shape
  /// The rate that the curve scales.
  public var base: Double
  /// All steps of the stage, warm-up included.
  public var steps: Int
  public var warmupSteps: Int
  /// Waves of the cosine shapes; nil is 0.5 for `cosine` and 1 for `cosine_with_restarts`.
  public var cycles: Double?
  /// Exponent of `polynomial`.
  public var power: Double
  /// Rate at the end of `polynomial`.
  public var end: Double
  /// The least rate as a fraction of `base`, for `cosine_with_min_lr` and `warmup_stable_decay`.
  public var minimum: Double
  /// Steps of the fall of `warmup_stable_decay`.
  public var decaySteps: Int
  public var decay: Decay
  /// Steps over which `inverse_sqrt` falls to 1/√2; nil is the warm-up, or 10 000 without one.
  public var timescale: Double?

  public init(
    _ shape: Shape, base: Double, steps: Int, warmupSteps: Int = 0, cycles: Double? = nil, power: Double = 1,
    end: Double = 1e-7, minimum: Double = 0, decaySteps: Int = 0, decay: Decay = .linear, timescale: Double? = nil
  ) {
    precondition(
      steps >= 0 && warmupSteps >= 0 && decaySteps >= 0,
      "a schedule of \(steps) steps with \(warmupSteps) of warm-up and \(decaySteps) of decay")
    self.shape = shape
    self.base = base
    self.steps = steps
    self.warmupSteps = warmupSteps
    self.cycles = cycles
    self.power = power
    self.end = end
    self.minimum = minimum
    self.decaySteps = decaySteps
    self.decay = decay
    self.timescale = timescale
  }

  /// A number of steps that is given as such, or, below 1, as a fraction of `steps`, rounded up.
  public static func wholeSteps(_ setting: Double, of steps: Int) -> Int {
    guard setting > 0 else { return 0 }
    return setting < 1
      ? Int((Double(steps) * setting).rounded(.up)) : Int(exactly: setting.rounded(.up)) ?? .max
  }

  /// The rate of optimizer step `step`, from 0. Steps past the end are allowed.
  public func learningRate(at step: Int) -> Double { base * factor(Double(max(0, step))) }

  private func factor(_ k: Double) -> Double {
    let warmup = Double(warmupSteps)
    if shape == .constant { return 1 }
    if k < warmup {
      let rising = k / max(1, warmup)
      return shape == .warmupStableDecay ? rising * (1 - minimum) + minimum : rising
    }
    let total = Double(steps)
    let span = max(1, total - warmup)
    let progress = (k - warmup) / span
    switch shape {
    case .constant, .constantWithWarmup: return 1
    case .linear: return max(0, (total - k) / span)
    case .cosine: return max(0, 0.5 * (1 + ScheduleMath.cos(.pi * (cycles ?? 0.5) * 2 * progress)))
    case .cosineWithRestarts:
      if progress >= 1 { return 0 }
      let wave = (cycles ?? 1) * progress
      return max(0, 0.5 * (1 + ScheduleMath.cos(.pi * (wave - wave.rounded(.down)))))
    case .polynomial:
      guard base > 0 else { return 0 }
      if k > total { return end / base }
      return ((base - end) * ScheduleMath.power(max(0, 1 - progress), power) + end) / base
    case .inverseSqrt:
      let scale = timescale ?? (warmup > 0 ? warmup : 10_000)
      return 1 / ((k + (scale - warmup)) / scale).squareRoot()
    case .cosineWithMinLR:
      return max(0, 0.5 * (1 + ScheduleMath.cos(.pi * progress)) * (1 - minimum) + minimum)
    case .warmupStableDecay: return stableThenDecay(k, total)
    }
  }

  private func stableThenDecay(_ k: Double, _ total: Double) -> Double {
    let start = total - Double(decaySteps)
    if k < start { return 1 }
    if k >= total { return minimum }
    let progress = (k - start) / max(1, Double(decaySteps))
    let falling: Double
    switch decay {
    case .linear: falling = 1 - progress
    case .cosine: falling = 0.5 * (1 + ScheduleMath.cos(.pi * (cycles ?? 0.5) * 2 * progress))
    case .oneMinusSqrt: falling = 1 - progress.squareRoot()
    }
    return max(0, falling * (1 - minimum) + minimum)
  }
}
