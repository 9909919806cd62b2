import Core

/// Direct preference optimization (arXiv 2305.18290, eq. 7) and its kin: from pairs of completions to the loss.
///
/// **Layout.** Rows `2k` and `2k + 1` of the streams are the chosen and the rejected completion of pair `k`: neighbours,
/// so that a pair is a prompt's tree with two children. A row holds the completion; whatever of the prompt or a template
/// comes with it is masked.
///
/// With `X = Σ m·x`, `R = Σ m·r`, `u = X − R` of a completion, its score `g = F(u)` under the divergence, and
/// `d = g_c − g_r`, a pair's loss is
///
/// | `loss_type` | per pair | source |
/// | --- | --- | --- |
/// | `sigmoid` | `−logσ(βd)` | arXiv 2305.18290 |
/// | `hinge` | `max(0, 1 − βd)` | arXiv 2305.10425, 2309.06657 |
/// | `ipo` | `(g_c/L_c − g_r/L_r − 1/(2β))²` | arXiv 2310.12036, eq. 17 |
/// | `exo_pair` | `q·log(q/(1−ε)) + (1−q)·log((1−q)/ε)`, `q = σ(βd)` | arXiv 2402.00856 |
/// | `robust` | `(−(1−ε)·logσ(βd) + ε·logσ(−βd)) / (1−2ε)` | arXiv 2403.00409 |
/// | `discopop` | `−(1−a)·logσ(βd) + a·exp(−βd)`, `a = σ(βd/τ)` | arXiv 2406.08414 |
/// | `sigmoid_norm` | `−logσ(β·(g_c/L_c − g_r/L_r))` | arXiv 2411.15124 |
/// | `nca_pair` | `−logσ(βu_c) − ½·logσ(−βu_c) − ½·logσ(−βu_r)` | arXiv 2402.05369 |
/// | `bco_pair` | `−logσ(βu_c) − logσ(−βu_r)` | arXiv 2404.04656 |
/// | `sppo_hard` | `(u_c − 1/(2β))² + (u_r + 1/(2β))²` | arXiv 2405.00675 |
/// | `apo_zero` | `1 − σ(βu_c) + σ(βu_r)` | arXiv 2408.06266, eq. 7 |
/// | `apo_down` | `σ(βu_c) + 1 − σ(β(u_c − u_r))` | arXiv 2408.06266, eq. 8 |
/// | `aot` | `−(1−ε)·logσ(βq) − ε·logσ(−βq)`, `q = sort(X_c − X_r) − sort(R_c − R_r)` | arXiv 2406.05882 |
/// | `aot_unpaired` | the same with `q = sort(u_c) − sort(u_r)` | arXiv 2406.05882 |
/// | `sft` | `−Σ x / Σ L_c` over the chosen completions of the batch: a token mean | |
///
/// The loss is the mean over pairs; a list of types is their weighted sum (MPO, arXiv 2411.10442; RPO, 2404.19733).
///
/// Departures, all of them the reference implementation's: (1) `sigmoid` has no label smoothing; `robust` is the
/// debiased form of it; (2) `ipo` divides each completion's log-ratio by its length, eq. 17 does not; (3) `bco_pair`
/// subtracts no running mean of the rewards; (4) `ld_alpha` weighs the reference's logprobs as it does the policy's;
/// (5) α of the α-divergence is `1 − α` of arXiv 2309.16240; (6) `aot` sorts the batch it is given, not the data set.
public struct DPO: Sendable {
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

  public var configuration: Configuration

  public init(_ configuration: Configuration = .init()) { self.configuration = configuration }
}

extension DPO: PairObjective {
  public static let name = "dpo"
  public static let summary = "direct preference optimization: pairs against a reference model"
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

  public init(_ settings: ObjectiveSettings) throws {
    var c = Configuration()
    c.lossTypes = settings.choices("loss_type")
    c.lossWeights = settings.optionalNumbers("loss_weights")
    c.beta = settings.number("beta")
    c.labelSmoothing = settings.number("label_smoothing")
    c.divergence = settings.choice("f_divergence_type")
    c.alpha = settings.number("f_alpha_divergence_coef")
    c.lengthDesensitization = settings.optionalNumber("ld_alpha")
    c.usesWeighting = settings.bool("use_weighting")
    c.discopopTemperature = settings.number("discopop_tau")
    self.init(c)
    try c.validate()
  }

  public var usesReference: Bool { true }
  public var needsWholeStep: Bool { configuration.lossTypes.contains(where: \.sorts) }
  public var statistics: Set<TokenStatistic> {
    configuration.usesWeighting
      ? [.entropy, .meanLogit, .isTop1, .logSumSquaredProbs] : [.entropy, .meanLogit, .isTop1]
  }

  public func evaluate(_ streams: TokenStreams, _ totals: StepTotals) throws -> ObjectiveResult {
    try evaluate(streams, pairCount: max(1, totals.pairs), chosenTokenCount: max(1, totals.chosenTokens))
  }
}
