import Core

extension GRPO {
  public var usesReference: Bool { configuration.beta != 0 }
  public var statistics: Set<TokenStatistic> { [.entropy] }
  /// The threshold of the quantile is the step's.
  public var needsWholeStep: Bool { configuration.topEntropyQuantile < 1 }
  public var normalizesRewardsFirst: Bool { configuration.aggregation == .normalizeThenSum }

  /// A bound of the ratio inside the clip range would take away what the clip leaves.
  public func checkForTraining() throws {
    let c = configuration
    guard let delta = c.delta, delta <= 1 + c.upperEpsilon else { return }
    throw AttuneError.request("delta is \(delta), expected more than 1 + epsilon_high = \(1 + c.upperEpsilon)")
  }

  public var movesWithoutAdvantage: Bool {
    configuration.beta != 0 || configuration.hasEntropyBonus || configuration.topEntropyQuantile != 1
  }

  public func evaluate(
    _ streams: TokenStreams, _ credit: Credit, _ totals: StepTotals, _ memory: [String: Double]
  ) throws -> ObjectiveResult {
    var result = try evaluate(
      streams, advantages: credit.advantages,
      normalization: Normalization(itemCount: totals.tokens, rowCount: totals.rows, microBatchTokens: totals.tokens),
      entropyCoefficient: controller(memory)?.appliedCoefficient)
    if configuration.adaptiveEntropy != nil {
      let (sum, count) = try entropyStatistics(streams)
      result.tallies = ["entropy_sum": sum, "entropy_count": Double(count)]
    }
    return result
  }

  public func finishStep(_ tallies: [String: Double], _ memory: inout [String: Double]) {
    guard var controller = controller(memory), let sum = tallies["entropy_sum"], let count = tallies["entropy_count"]
    else { return }
    controller.observe(entropySum: sum, count: Int(count))
    controller.finishStep()
    memory = ["entropy_coef": controller.coefficient, "last_entropy": controller.lastEntropy]
  }

  /// The controller of the entropy bonus as it stands; nil where the bonus is not steered.
  private func controller(_ memory: [String: Double]) -> AdaptiveEntropy? {
    configuration.adaptiveEntropy.map {
      AdaptiveEntropy($0, coefficient: memory["entropy_coef"], lastEntropy: memory["last_entropy"] ?? .infinity)
    }
  }

  func validate(
    _ streams: TokenStreams, _ advantages: Advantages, _ normalization: Normalization, _ entropyCoefficient: Double?
  ) throws {
    try configuration.validate()
    try normalization.validate()
    try streams.validate()
    try advantages.validate(streams)
    guard configuration.adaptiveEntropy == nil || entropyCoefficient != nil else {
      throw AttuneError.work("adaptive entropy needs the coefficient that its controller applies in this step")
    }
  }
}
