import Core

extension DPO {
  public enum LossType: String, NamedChoice {
    case sigmoid, hinge, ipo
    case exoPair = "exo_pair"
    case ncaPair = "nca_pair"
    case robust
    case bcoPair = "bco_pair"
    case sppoHard = "sppo_hard"
    case aot
    case aotUnpaired = "aot_unpaired"
    case apoZero = "apo_zero"
    case apoDown = "apo_down"
    case discopop, sft
    case sigmoidNorm = "sigmoid_norm"

    /// True if the loss goes through the divergence's score, or reads no log-ratio at all.
    var takesDivergence: Bool {
      switch self {
      case .sigmoid, .sigmoidNorm, .hinge, .ipo, .exoPair, .robust, .discopop, .sft: true
      case .ncaPair, .bcoPair, .sppoHard, .aot, .aotUnpaired, .apoZero, .apoDown: false
      }
    }
    /// True if the formula has an ε.
    var takesLabelSmoothing: Bool { self == .exoPair || self == .robust || sorts }
    /// True if a log-ratio counts per token of its completion.
    var isLengthNormalized: Bool { self == .ipo || self == .sigmoidNorm }
    /// True if pairs meet others of their batch, so that the batch can't come in pieces.
    var sorts: Bool { self == .aot || self == .aotUnpaired }
  }

  /// The f-divergence that the reference model is a penalty under (f-DPO, arXiv 2309.16240).
  public enum Divergence: String, NamedChoice {
    /// `F(u) = u`.
    case reverseKL = "reverse_kl"
    /// `F(u) = 1 − exp(−u)`.
    case forwardKL = "forward_kl"
    /// `F(u) = log 2 + logσ(u)`.
    case jensenShannon = "js_divergence"
    /// `F(u) = (exp(min((α−1)·u, 80)) − 1)/(α−1)`; `u` for α within 1e-6 of 1.
    case alpha = "alpha_divergence"
  }

  /// The hyper-parameters; recipe keys are the names in snake case that each comment gives.
  public struct Configuration: Sendable, Equatable {
    /// `loss_type`: at least one.
    public var lossTypes: [LossType] = [.sigmoid]
    /// `loss_weights`: one for each type; nil is 1 for all.
    public var lossWeights: [Double]?
    /// `beta`: how strongly the reference holds the policy; positive. The paper's τ in `ipo`, 1/η in `sppo_hard`.
    public var beta: Double = 0.1
    /// `label_smoothing`: share ε of pairs believed to be labelled the wrong way round, in 0 ..< 1.
    public var labelSmoothing: Double = 0
    /// `f_divergence_type`.
    public var divergence: Divergence = .reverseKL
    /// `f_alpha_divergence_coef`: α, read by the α-divergence alone.
    public var alpha: Double = 0.5
    /// `ld_alpha`: weight, in 0 ... 1, of the tokens past the length of the pair's shorter completion (LD-DPO,
    /// arXiv 2409.06411); nil weighs them like the others.
    public var lengthDesensitization: Double?
    /// `use_weighting`: weigh pairs by how probable their completions are under the policy (WPO, arXiv 2406.11827).
    public var usesWeighting: Bool = false
    /// `discopop_tau`: temperature τ of the blend; positive.
    public var discopopTemperature: Double = 0.05

    public init(_ lossTypes: LossType...) { if !lossTypes.isEmpty { self.lossTypes = lossTypes } }

    /// Each type with its weight.
    var mixture: [(type: LossType, weight: Double)] {
      let weights = lossWeights ?? [Double](repeating: 1, count: lossTypes.count)
      return zip(lossTypes, weights).map { ($0, $1) }
    }
  }

  public static let parameters: [ObjectiveParameter] = [
    .init(
      "loss_type", .oneOrMore(LossType.allCases.map(\.rawValue)), .value("sigmoid"),
      "Loss of a pair, or several that are added up."),
    .init("loss_weights", .numbers, .unset(meaning: "1 for each type"), "One weight for each loss type."),
    .init("beta", .number, .value(0.1), in: .above(0), "How strongly the reference holds the policy."),
    .init(
      "label_smoothing", .number, .value(0), in: .below(1),
      "Share of pairs believed to be labelled the wrong way round; for exo_pair, robust, aot, aot_unpaired."),
    .choice("f_divergence_type", Divergence.self, .reverseKL, "The divergence that the reference is a penalty under."),
    .init("f_alpha_divergence_coef", .number, .value(0.5), "The order of alpha_divergence."),
    .init(
      "ld_alpha", .number, .unset(meaning: "like the others"), in: .within(0, 1),
      "Weight of tokens past the length of the pair's shorter completion (LD-DPO)."),
    .init(
      "use_weighting", .bool, .value(false), "Weigh pairs by how probable the policy finds their completions (WPO)."),
    .init("discopop_tau", .number, .value(0.05), in: .above(0), "Temperature of discopop's blend."),
  ]
}

extension DPO.Configuration {
  init(_ settings: ObjectiveSettings) throws {
    lossTypes = settings.choices("loss_type")
    lossWeights = settings.optionalNumbers("loss_weights")
    beta = settings.number("beta")
    labelSmoothing = settings.number("label_smoothing")
    divergence = settings.choice("f_divergence_type")
    alpha = settings.number("f_alpha_divergence_coef")
    lengthDesensitization = settings.optionalNumber("ld_alpha")
    usesWeighting = settings.bool("use_weighting")
    discopopTemperature = settings.number("discopop_tau")
    try validate()
    guard labelSmoothing == 0 || settings.isLenient || lossTypes.contains(where: \.takesLabelSmoothing) else {
      let names = DPO.LossType.allCases.filter(\.takesLabelSmoothing).map(\.rawValue)
      throw AttuneError.request(
        "label_smoothing \(labelSmoothing) has no meaning with loss_type '\(lossTypes[0].rawValue)'",
        hint: "leave it at 0, or use one of \(names.joined(separator: ", ")); 'robust' is smoothed 'sigmoid', debiased")
    }
  }

  /// Checks the combinations; single values are in the bounds of the parameters.
  /// - Throws: `AttuneError` that names the key, its value and what it may be.
  func validate() throws {
    if let lossWeights, lossWeights.count != lossTypes.count {
      throw AttuneError.request(
        "loss_weights has \(lossWeights.count) values for \(lossTypes.count) entries of loss_type; it must have one for each"
      )
    }
    for type in lossTypes { try validateCombination(type) }
  }

  private func validateCombination(_ type: DPO.LossType) throws {
    let name = type.rawValue
    if divergence != .reverseKL, !type.takesDivergence {
      let names = DPO.LossType.allCases.filter(\.takesDivergence).map(\.rawValue)
      throw AttuneError.request(
        "f_divergence_type '\(divergence.rawValue)' can't be combined with loss_type '\(name)', whose formula has the "
          + "plain log-ratio", hint: "use 'reverse_kl', or one of \(names.joined(separator: ", "))")
    }
    if type == .exoPair, labelSmoothing == 0 {
      throw AttuneError.request(
        "loss_type 'exo_pair' needs a label_smoothing above 0; it is 0, whose logarithm the loss would take",
        hint: "0.001 is usual")
    }
    if type == .robust, labelSmoothing >= 0.5 {
      throw AttuneError.request(
        "loss_type 'robust' needs a label_smoothing below 0.5; it is \(labelSmoothing), and with half of the labels "
          + "flipped nothing can be learned from them")
    }
    if usesWeighting, type.sorts || type == .sft {
      throw AttuneError.request(
        "use_weighting can't be combined with loss_type '\(name)', which has no loss of a single pair to weigh",
        hint: "remove '\(name)' or use_weighting")
    }
  }
}
