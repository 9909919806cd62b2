import Core

/// Odds-ratio preference optimization (arXiv 2403.07691, eq. 6): fine-tuning on the chosen completion with a penalty on the
/// rejected one, without a reference model.
///
/// With `P = Σ m·x / L` of a completion, `logodds = (P_c − P_r) − (log(1 − e^(P_c)) − log(1 − e^(P_r)))`, and
/// `loss = NLL − β · mean logσ(logodds)`; the NLL is the token mean over prompt and completion of the chosen sequences.
///
/// Departures: (1) β is the paper's λ; (2) the NLL includes the prompts, as in the reference implementation.
public struct ORPO: PairObjective {
  public static let name = "orpo"
  public static let summary =
    "odds-ratio preference optimization: imitation and pairs in one, without a reference model"
  public static let parameters: [ObjectiveParameter] = [
    .init("beta", .number, .value(0.1), in: .atLeast(0), "Weight of the odds-ratio term.")
  ]

  public let beta: Double

  public init(_ settings: ObjectiveSettings) throws { beta = settings.number("beta") }

  public var statistics: Set<TokenStatistic> { [.entropy, .isTop1] }
  public var scoresPrompts: Bool { true }

  public func evaluate(_ streams: TokenStreams, _ totals: StepTotals) throws -> ObjectiveResult {
    let rows = try streams.completionRows()
    let pairs = Double(max(1, totals.pairs))
    let tokens = Double(max(1, totals.chosenTokens + totals.promptTokens))
    let sums = rows.map { $0.sum(streams.policyLogprobs) / $0.length }

    var result = ObjectiveResult(tokens: streams.tokenCount)
    var (likelihood, logOdds, logRatios) = (0.0, 0.0, 0.0)
    for k in 0..<rows.count / 2 {
      let (c, r) = (2 * k, 2 * k + 1)
      let z = (sums[c] - sums[r]) - (Self.logComplement(sums[c]) - Self.logComplement(sums[r]))
      logOdds += z
      logRatios += PortableMath.logSigmoid(z)
      likelihood -= rows[c].sum(streams.policyLogprobs)
      let slope = -beta * PortableMath.sigmoid(-z) / pairs
      for (row, sign, extra) in [(c, 1.0, 1 / tokens), (r, -1.0, 0)] {
        // d z / d P = 1 / (1 − e^P).
        let gradient = Float(sign * slope / (-PortableMath.expm1(sums[row]) * rows[row].length) - extra)
        for t in rows[row].tokens { result.gradients.logprob[t] = gradient }
      }
    }
    var counted = stride(from: 0, to: rows.count, by: 2).reduce(0) { $0 + rows[$1].tokens.count }
    if let prompts = streams.prompts {
      let seen = prompts.mask.indices.filter { prompts.mask[$0] }
      likelihood -= seen.reduce(0) { $0 + Double(prompts.policyLogprobs[$1]) }
      counted += seen.count
      result.gradients.promptLogprob = prompts.mask.map { $0 ? Float(-1 / tokens) : 0 }
    }
    result.loss = likelihood / tokens - beta * logRatios / pairs
    result.metrics = streams.pairMetrics(rewards: sums.map { beta * $0 }, logprobs: sums)
    let own = Double(max(1, rows.count / 2))
    result.metrics += [
      .init("nll_loss", likelihood / Double(max(1, counted)), weight: Double(counted)),
      .init("log_odds_ratio", logRatios / own, weight: own), .init("log_odds_chosen", logOdds / own, weight: own),
    ]
    return result
  }

  /// log(1 − e^p) for p ≤ 0, without cancellation at either end.
  static func logComplement(_ p: Double) -> Double {
    p > -0.6931471805599453 ? PortableMath.log(-PortableMath.expm1(p)) : PortableMath.log1p(-PortableMath.exp(p))
  }
}
