import Core

/// Steers the coefficient of the entropy bonus towards a target entropy (arXiv 2505.22312).
///
/// The bonus of an optimizer step uses what was known at the end of the *previous* one: it applies if the entropy was
/// at most the target, so never in the first step. The state is small and belongs into every checkpoint.
///
/// One optimizer step: `evaluate` with `appliedCoefficient` then `observe` for every micro-batch, `finishStep` once.
public struct AdaptiveEntropy: Sendable, Equatable {
  public struct Configuration: Sendable, Equatable {
    /// `entropy_coef`: the coefficient to begin with.
    public var initial: Double
    /// `entropy_coef_delta`: how far one step moves it.
    public var delta: Double
    /// `entropy_coef_min`.
    public var minimum: Double
    /// `entropy_coef_max`.
    public var maximum: Double
    /// `entropy_target`, nats per token.
    public var target: Double

    public init(
      initial: Double = 0, delta: Double = 0.005, minimum: Double = 0, maximum: Double = 1, target: Double = 0.2
    ) {
      self.initial = initial
      self.delta = delta
      self.minimum = minimum
      self.maximum = maximum
      self.target = target
    }

    /// - Throws: `AttuneError` for values that aren't finite, a negative step, bounds that cross.
    public func validate() throws {
      let entries = [
        ("entropy_coef", initial), ("entropy_coef_delta", delta), ("entropy_coef_min", minimum),
        ("entropy_coef_max", maximum), ("entropy_target", target),
      ]
      for (key, value) in entries where !value.isFinite {
        throw AttuneError.request("\(key) is \(value); it must be a finite number")
      }
      guard delta >= 0 else { throw AttuneError.request("entropy_coef_delta is \(delta); it can't be negative") }
      guard minimum <= maximum else {
        throw AttuneError.request("entropy_coef_min \(minimum) is above entropy_coef_max \(maximum)")
      }
    }
  }

  public let configuration: Configuration
  /// The coefficient now, also while the bonus pauses. Logged as `entropy_coef` after each step.
  public var coefficient: Double
  /// Mean entropy over the previous step's tokens; infinite before the first.
  public var lastEntropy: Double
  private var windowSum = 0.0
  private var windowCount = 0

  /// - Parameters:
  ///   - coefficient: the saved coefficient, when a run resumes.
  ///   - lastEntropy: the saved entropy, when a run resumes.
  public init(_ configuration: Configuration, coefficient: Double? = nil, lastEntropy: Double = .infinity) {
    self.configuration = configuration
    self.coefficient = coefficient ?? configuration.initial
    self.lastEntropy = lastEntropy
  }

  /// What every micro-batch of the present step multiplies its entropy with.
  public var appliedCoefficient: Double { lastEntropy <= configuration.target ? coefficient : 0 }

  /// Adds a micro-batch to the present step.
  ///
  /// - Parameters:
  ///   - entropySum: sum over the tokens that the bonus acts on, see `GRPO.entropyStatistics`.
  ///   - count: how many those are.
  public mutating func observe(entropySum: Double, count: Int) {
    windowSum += entropySum
    windowCount += count
  }

  /// Moves the coefficient for the next step; call once after the last micro-batch of each optimizer step.
  public mutating func finishStep() {
    let entropy = windowSum / Double(max(1, windowCount))
    if entropy <= configuration.target {
      coefficient = min(coefficient + configuration.delta, configuration.maximum)
    } else {
      coefficient = max(coefficient - configuration.delta, configuration.minimum)
    }
    lastEntropy = entropy
    windowSum = 0
    windowCount = 0
  }
}
