import Core

extension GRPO {
  /// Sum of the entropies that the bonus acts on, and their number: what `AdaptiveEntropy.observe` wants.
  public func entropyStatistics(_ streams: TokenStreams) throws -> (sum: Double, count: Int) {
    let entropies = try streams.required(streams.entropies, "entropies", by: "the entropy bonus")
    let tokens = try highEntropyTokens(streams) ?? streams.mask
    var sum = 0.0
    var count = 0
    for t in entropies.indices where tokens[t] {
      sum += Double(entropies[t])
      count += 1
    }
    return (sum, count)
  }

  /// The tokens that the policy term keeps; nil if it keeps all.
  func highEntropyTokens(_ streams: TokenStreams) throws -> [Bool]? {
    guard configuration.topEntropyQuantile < 1 else { return nil }
    return EntropyQuantile.topTokens(
      share: configuration.topEntropyQuantile,
      entropies: try streams.required(streams.entropies, "entropies", by: "top_entropy_quantile"), mask: streams.mask)
  }

  /// Takes `c · H / accumulation` from the loss, H the mean entropy of the tokens that the policy term keeps.
  func addEntropyBonus(
    _ result: inout ObjectiveResult, _ streams: TokenStreams, kept: [Bool]?, coefficient: Double,
    _ normalization: Normalization
  ) throws {
    let policyLoss = result.loss * normalization.policyLossFactor(configuration.lossType)
    result.metrics.append(.init("policy_loss", policyLoss, reduction: .sum))
    let (sum, count) = try entropyStatistics(streams)
    let items = kept == nil ? normalization.microBatchTokens ?? count : count
    let divisor = Double(max(1, items)) * normalization.accumulation
    let tokens = kept ?? streams.mask
    result.gradients.entropy = tokens.map { $0 && coefficient != 0 ? Float(-coefficient / divisor) : 0 }
    result.loss -= coefficient == 0 ? 0 : coefficient * sum / divisor
    if configuration.adaptiveEntropy == nil, normalization.isTraining {
      result.metrics.append(.init("entropy_coef", coefficient))
    }
  }
}
