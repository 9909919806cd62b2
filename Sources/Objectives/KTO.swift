import Core

/// Kahneman–Tversky optimization (arXiv 2402.01306, eq. 8): completions that are labelled one by one, without pairs.
///
/// With `u = Σ m·(x − r)` of a completion and the reference point `z0`,
///
/// | label | loss of the completion |
/// | --- | --- |
/// | desirable | `w_D·(1 − σ(β(u − z0)))` |
/// | undesirable | `w_U·(1 − σ(β(z0 − u)))` |
///
/// and the mean over all completions. `kto` takes `z0 = max(0, mean of u over mismatched completions)`, an estimate of
/// the policy's KL divergence from the reference that carries no gradient: prompts with completions of other prompts.
/// `apo_zero_unpaired` (arXiv 2408.06266) is the same with `z0 = 0` and needs no mismatched completions.
///
/// Departures: (1) the paper writes `λ_y − v`, whose constant `λ_y` is the weight here: the losses are the same;
/// (2) a prompt is matched with the completion before its own in the batch, in the paper with the one after.
public struct KTO: UnpairedObjective {
  public enum LossType: String, NamedChoice {
    case kto
    case apoZeroUnpaired = "apo_zero_unpaired"

    /// True if the loss needs mismatched completions. They tie the completions of a batch together, so that a data set
    /// must then be read in the order in which it was matched.
    public var usesReferencePoint: Bool { self == .kto }
  }

  /// Recipe keys in snake case; the defaults are those of the reference implementation.
  public struct Configuration: Sendable, Equatable {
    /// `loss_type`.
    public var lossType: LossType
    /// `beta`: how strongly the reference holds the policy; positive.
    public var beta: Double
    /// `desirable_weight`, `w_D`. Of use with labels out of balance: `w_D·n_D / (w_U·n_U)` is best in 1 ... 4/3.
    public var desirableWeight: Double
    /// `undesirable_weight`, `w_U`.
    public var undesirableWeight: Double

    public init(
      lossType: LossType = .kto, beta: Double = 0.1, desirableWeight: Double = 1, undesirableWeight: Double = 1
    ) {
      self.lossType = lossType
      self.beta = beta
      self.desirableWeight = desirableWeight
      self.undesirableWeight = undesirableWeight
    }
  }

  public static let name = "kto"
  public static let summary = "Kahneman-Tversky optimization: completions that are desirable or not, without pairs"
  public static let parameters: [ObjectiveParameter] = [
    .choice("loss_type", LossType.self, .kto, "With the KL estimate as reference point, or with 0."),
    .init("beta", .number, .value(0.1), in: .above(0), "How strongly the reference holds the policy."),
    .init("desirable_weight", .number, .value(1), in: .atLeast(0), "Weight of desirable completions."),
    .init("undesirable_weight", .number, .value(1), in: .atLeast(0), "Weight of undesirable completions."),
  ]

  public var configuration: Configuration

  public init(_ configuration: Configuration = .init()) { self.configuration = configuration }

  public init(_ settings: ObjectiveSettings) throws {
    configuration = Configuration(
      lossType: settings.choice("loss_type"), beta: settings.number("beta"),
      desirableWeight: settings.number("desirable_weight"), undesirableWeight: settings.number("undesirable_weight"))
  }

  public var usesReference: Bool { true }
  public var statistics: Set<TokenStatistic> { [.entropy, .meanLogit] }
  public var usesMismatched: Bool { configuration.lossType.usesReferencePoint }

  public func evaluate(
    _ streams: TokenStreams, desirable: [Bool], mismatchedLogRatios: [Double], _ totals: StepTotals,
    _ memory: [String: Double]
  ) throws -> ObjectiveResult {
    let estimate = mismatchedLogRatios.reduce(0, +) / Double(max(1, mismatchedLogRatios.count))
    return try evaluate(
      streams, desirable: desirable, klEstimate: usesMismatched ? estimate : nil, rowCount: max(1, totals.rows))
  }

  /// Loss, gradients and metrics of one micro-batch.
  ///
  /// - Parameters:
  ///   - streams: one row per completion; policy and reference logprobs, both at temperature 1. Entropies and mean logits
  ///     for the log.
  ///   - desirable: label of each row.
  ///   - klEstimate: `KTO.klEstimate` of the whole micro-batch; `apo_zero_unpaired` doesn't read it.
  ///   - rowCount: rows that the mean is taken over; nil counts those given. Set it when a batch comes in pieces.
  /// - Returns: losses of micro-batches are averaged, not added up. Metrics of a label that no row has are left out.
  /// - Throws: `AttuneError` for a bad configuration, a missing stream or estimate, or labels that don't fit.
  public func evaluate(_ streams: TokenStreams, desirable: [Bool], klEstimate: Double? = nil, rowCount: Int? = nil)
    throws -> ObjectiveResult
  {
    try streams.validate()
    guard desirable.count == streams.rowCount else {
      throw AttuneError.work("\(desirable.count) labels for \(streams.rowCount) completions")
    }
    if let rowCount, rowCount < 1 { throw AttuneError.work("the number of rows is \(rowCount); it must be at least 1") }
    let referencePoint = try referencePoint(klEstimate)
    let ratios = try streams.logRatios(by: "KTO")
    let divisor = Double(rowCount ?? max(1, streams.rowCount))
    let beta = configuration.beta

    var gradients = StreamGradients(logprob: [Float](repeating: 0, count: streams.tokenCount))
    var loss = 0.0
    for i in 0..<streams.rowCount {
      let z = beta * (ratios[i] - referencePoint)
      // 1 − σ(z) as σ(−z), which keeps its digits.
      let (weight, sign) = desirable[i] ? (configuration.desirableWeight, -1.0) : (configuration.undesirableWeight, 1.0)
      loss += weight * PortableMath.sigmoid(sign * z) / divisor
      let slope = Float(sign * weight * beta * PortableMath.sigmoidSlope(z) / divisor)
      for t in streams.row(i) where streams.mask[t] { gradients.logprob[t] = slope }
    }
    let metrics =
      [.init("kl", referencePoint, weight: Double(desirable.count))]
      + streams.labelMetrics(desirable: desirable, rewards: ratios.map { beta * $0 })
    return ObjectiveResult(loss: loss, gradients: gradients, metrics: metrics)
  }

  /// `z0`.
  private func referencePoint(_ estimate: Double?) throws -> Double {
    guard configuration.lossType.usesReferencePoint else { return 0 }
    guard let estimate else {
      throw AttuneError.work(
        "loss_type 'kto' needs the KL estimate from mismatched completions, which was not given",
        hint: "'apo_zero_unpaired' needs none")
    }
    // Not max(0, …), which would drop a NaN.
    return estimate < 0 ? 0 : estimate
  }
}
