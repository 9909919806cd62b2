import Core

/// Binary classifier optimization (arXiv 2404.04656, eq. 8): completions that are desirable or not, told apart by the logit of
/// their reward against a running mean.
///
/// With `u = Σ m·(x − r)` and `δ` the mean of `βu` over all completions seen so far, this step's included and without
/// gradient: `−logσ(βu − δ)` for a desirable completion, `−logσ(δ − βu)` for another; the mean over completions.
///
/// Departure: the paper's reweighting by prompt density is left out.
public struct BCO: UnpairedObjective {
  public static let name = "bco"
  public static let summary = "binary classifier optimization: labelled completions against a running mean of rewards"
  public static let parameters: [ObjectiveParameter] = [
    .init("beta", .number, .value(0.1), in: .above(0), "How strongly the reference holds the policy.")
  ]

  public let beta: Double

  public init(_ settings: ObjectiveSettings) throws { beta = settings.number("beta") }

  public var usesReference: Bool { true }
  public var usesMismatched: Bool { false }
  /// The running mean takes in the whole step.
  public var needsWholeStep: Bool { true }
  public var statistics: Set<TokenStatistic> { [.entropy] }

  public func evaluate(
    _ streams: TokenStreams, desirable: [Bool], mismatchedLogRatios: [Double], _ totals: StepTotals,
    _ memory: [String: Double]
  ) throws -> ObjectiveResult {
    try streams.validate()
    guard desirable.count == streams.rowCount else {
      throw AttuneError.work("\(desirable.count) labels for \(streams.rowCount) completions")
    }
    let rewards = try streams.logRatios(by: "BCO").map { beta * $0 }
    let (sum, count) = (rewards.reduce(0, +), Double(rewards.count))
    let (mean, seen) = (memory["reward_mean"] ?? 0, memory["reward_count"] ?? 0)
    let delta = count == 0 ? mean : mean + (sum / count - mean) * count / (seen + count)

    var result = ObjectiveResult(tokens: streams.tokenCount)
    let rows = Double(max(1, totals.rows))
    for i in 0..<streams.rowCount {
      let sign = desirable[i] ? 1.0 : -1.0
      let z = sign * (rewards[i] - delta)
      result.loss -= PortableMath.logSigmoid(z) / rows
      let slope = Float(-sign * beta * PortableMath.sigmoid(-z) / rows)
      for t in streams.row(i) where streams.mask[t] { result.gradients.logprob[t] = slope }
    }
    result.tallies = ["reward_mean": delta, "reward_count": count]
    result.metrics = streams.labelMetrics(desirable: desirable, rewards: rewards)
    result.metrics.append(.init("delta", delta, weight: count))
    return result
  }

  public func finishStep(_ tallies: [String: Double], _ memory: inout [String: Double]) {
    guard let mean = tallies["reward_mean"], let count = tallies["reward_count"] else { return }
    memory = ["reward_mean": mean, "reward_count": (memory["reward_count"] ?? 0) + count]
  }
}
