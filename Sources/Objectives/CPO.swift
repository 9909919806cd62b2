import Core

/// Contrastive preference optimization (arXiv 2401.08417, eq. 3), SimPO (2405.14734, eq. 6) and AlphaPO (2501.03884): pairs
/// without a reference model.
///
/// With `P = Σ m·x` of a completion (for `ipo` and `simpo` divided by its length), `ρ = (1 − e^(−αP))/α` (`P` for α = 0) and
/// `z = ρ_c − ρ_r`, a pair's loss is
///
/// | `loss_type` | per pair |
/// | --- | --- |
/// | `sigmoid` | `−(1−ε)·logσ(βz) − ε·logσ(−βz)` |
/// | `simpo` | the same of `z − γ/β`: the margin γ stands inside σ |
/// | `hinge` | `max(0, 1 − βz)` |
/// | `ipo` | `(z − 1/(2β))²` |
///
/// and the loss `mean over pairs + cpo_alpha · NLL`, the token mean of `−x` over all chosen completions.
///
/// Departures: (1) the paper's NLL is the sequences' log-likelihood, here the tokens'; (2) SimPO has no NLL: its entry sets
/// `cpo_alpha` to 0.
public struct CPO: PairObjective {
  public enum LossType: String, NamedChoice {
    case sigmoid, hinge, ipo, simpo

    var isLengthNormalized: Bool { self == .ipo || self == .simpo }
  }

  public static let name = "cpo"
  public static let summary = "contrastive preference optimization: pairs without a reference model"
  public static let parameters: [ObjectiveParameter] = [
    .choice("loss_type", LossType.self, .sigmoid, "Loss of a pair."),
    .init("beta", .number, .value(0.1), in: .above(0), "Scale of the margin between the two completions."),
    .init(
      "label_smoothing", .number, .value(0), in: .below(1),
      "Share of pairs believed to be labelled the wrong way round; for sigmoid and simpo."),
    .init("cpo_alpha", .number, .value(1), in: .atLeast(0), "Weight of the chosen completions' log-likelihood."),
    .init("simpo_gamma", .number, .value(0.5), in: .atLeast(0), "Margin that simpo asks for."),
    .init("alpha", .number, .value(0), "Shape of AlphaPO's reward; 0 is the log-probability itself."),
  ]

  public let lossType: LossType
  public let beta, labelSmoothing, likelihoodWeight, margin, alpha: Double

  public init(_ settings: ObjectiveSettings) throws {
    lossType = settings.choice("loss_type")
    beta = settings.number("beta")
    labelSmoothing = settings.number("label_smoothing")
    likelihoodWeight = settings.number("cpo_alpha")
    margin = settings.number("simpo_gamma")
    alpha = settings.number("alpha")
  }

  public var statistics: Set<TokenStatistic> { [.entropy, .isTop1] }

  public func evaluate(_ streams: TokenStreams, _ totals: StepTotals) throws -> ObjectiveResult {
    let rows = try streams.completionRows()
    let (pairs, tokens) = (Double(max(1, totals.pairs)), Double(max(1, totals.chosenTokens)))
    let sums = rows.map { $0.sum(streams.policyLogprobs) / (lossType.isLengthNormalized ? $0.length : 1) }
    let rewards = sums.map { alpha == 0 ? $0 : -PortableMath.expm1(-alpha * $0) / alpha }
    let slopes = sums.map { alpha == 0 ? 1 : PortableMath.exp(-alpha * $0) }

    var result = ObjectiveResult(tokens: streams.tokenCount)
    var likelihood = 0.0
    for k in 0..<rows.count / 2 {
      let (c, r) = (2 * k, 2 * k + 1)
      let (loss, slope) = pairLoss(rewards[c] - rewards[r])
      result.loss += loss / pairs
      likelihood -= rows[c].sum(streams.policyLogprobs)
      for (row, sign, extra) in [(c, 1.0, likelihoodWeight / tokens), (r, -1.0, 0)] {
        let perToken = lossType.isLengthNormalized ? rows[row].length : 1
        let gradient = Float(sign * slope * slopes[row] / (perToken * pairs) - extra)
        for t in rows[row].tokens { result.gradients.logprob[t] = gradient }
      }
    }
    result.loss += likelihoodWeight * likelihood / tokens
    result.metrics = streams.pairMetrics(rewards: rewards.map { beta * $0 }, logprobs: sums)
    let chosen = Double(stride(from: 0, to: rows.count, by: 2).reduce(0) { $0 + rows[$1].tokens.count })
    // The reference does not compute what has no weight.
    let nll = likelihoodWeight == 0 ? 0 : likelihood / max(1, chosen)
    result.metrics.append(.init("nll_loss", nll, weight: chosen))
    return result
  }

  /// The loss of a pair and its slope by `z`.
  private func pairLoss(_ z: Double) -> (loss: Double, slope: Double) {
    switch lossType {
    case .sigmoid, .simpo:
      let x = beta * z - (lossType == .simpo ? margin : 0)
      let e = labelSmoothing
      return (
        -(1 - e) * PortableMath.logSigmoid(x) - e * PortableMath.logSigmoid(-x),
        beta * (e * PortableMath.sigmoid(x) - (1 - e) * PortableMath.sigmoid(-x))
      )
    case .hinge: return 1 - beta * z <= 0 ? (0, 0) : (1 - beta * z, -beta)
    case .ipo:
      let gap = z - 1 / (2 * beta)
      return (gap * gap, 2 * gap)
    }
  }
}
