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
public struct KTO: Sendable {
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

    /// - Throws: `AttuneError` for a `beta` that isn't positive, or a weight that is negative.
    public func validate() throws {
      guard beta > 0, beta.isFinite else {
        throw AttuneError.request("beta is \(beta); it must be a finite number above 0")
      }
      let weights = [("desirable_weight", desirableWeight), ("undesirable_weight", undesirableWeight)]
      for (key, weight) in weights where !(weight >= 0 && weight.isFinite) {
        throw AttuneError.request("\(key) is \(weight); it must be a finite number of at least 0")
      }
    }
  }

  public var configuration: Configuration

  public init(_ configuration: Configuration = .init()) { self.configuration = configuration }

  /// What a person should know of labels that are out of balance; nil where `w_D·n_D / (w_U·n_U)` is in 1 ... 4/3, as the paper
  /// advises (§4.3), or one label is missing or of weight 0.
  public func remark(desirable: Int, undesirable: Int) -> String? {
    let own = configuration.desirableWeight * Double(desirable)
    let other = configuration.undesirableWeight * Double(undesirable)
    guard own > 0, other > 0, own < other || own > other * 4 / 3 else { return nil }
    func shown(_ x: Double) -> Double { (x * 1000).rounded() / 1000 }
    let balanced = other / Double(desirable)
    return
      "\(desirable) completions are desirable and \(undesirable) are not: weighted they stand \(shown(own / other)) to 1, "
      + "where 1 to 1.333 is advised; a desirable_weight in \(shown(balanced)) ... \(shown(balanced * 4 / 3)) does it"
  }

  /// Whose completion each prompt is matched with for the estimate: inside every block of `batchSize` consecutive
  /// samples that of the sample before it, the first that of the last. A block of one, at the end, keeps its own.
  ///
  /// - Parameters:
  ///   - count: samples in the data set.
  ///   - batchSize: samples of a micro-batch, at least 2.
  /// - Throws: `AttuneError` for smaller batches: their completions would all keep their own prompts.
  public static func mismatchedCompletions(count: Int, batchSize: Int) throws -> [Int] {
    guard batchSize >= 2 else {
      throw AttuneError.request(
        "KTO estimates its KL term from completions of other prompts in the batch, and the batch has \(batchSize)",
        hint: "take batches of 2 or more, or loss_type 'apo_zero_unpaired'")
    }
    return (0..<count).map { i in
      let start = i - i % batchSize
      return i > start ? i - 1 : min(start + batchSize, count) - 1
    }
  }
}

extension KTO: UnpairedObjective {
  public static let name = "kto"
  public static let summary = "Kahneman-Tversky optimization: completions that are desirable or not, without pairs"
  public static let parameters: [ObjectiveParameter] = [
    .choice("loss_type", LossType.self, .kto, "With the KL estimate as reference point, or with 0."),
    .init("beta", .number, .value(0.1), in: .above(0), "How strongly the reference holds the policy."),
    .init("desirable_weight", .number, .value(1), in: .atLeast(0), "Weight of desirable completions."),
    .init("undesirable_weight", .number, .value(1), in: .atLeast(0), "Weight of undesirable completions."),
  ]

  public init(_ settings: ObjectiveSettings) throws {
    self.init(
      .init(
        lossType: settings.choice("loss_type"), beta: settings.number("beta"),
        desirableWeight: settings.number("desirable_weight"),
        undesirableWeight: settings.number("undesirable_weight")))
    try configuration.validate()
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
}
