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
public struct DPO: PairObjective {
  public static let name = "dpo"
  public static let summary = "direct preference optimization: pairs against a reference model"

  public var configuration: Configuration

  public init(_ configuration: Configuration = .init()) { self.configuration = configuration }
  public init(_ settings: ObjectiveSettings) throws { configuration = try Configuration(settings) }

  public var usesReference: Bool { true }
  public var needsWholeStep: Bool { configuration.lossTypes.contains(where: \.sorts) }
  public var statistics: Set<TokenStatistic> {
    configuration.usesWeighting
      ? [.entropy, .meanLogit, .isTop1, .logSumSquaredProbs] : [.entropy, .meanLogit, .isTop1]
  }

  /// Loss, gradients and metrics of one micro-batch of pairs.
  ///
  /// - Parameter streams: policy and reference logprobs, both at temperature 1. Also log Σp² with `use_weighting`;
  ///   entropies, mean logits and is-top-1 for the log.
  /// - Throws: `AttuneError` for a bad combination, a missing stream, rows that make no pairs, a part of a step where types sort
  ///   the whole of it.
  public func evaluate(_ streams: TokenStreams, _ totals: StepTotals) throws -> ObjectiveResult {
    try configuration.validate()
    let pairs = try pairs(streams)
    guard !needsWholeStep || pairs.count == totals.pairs else {
      throw AttuneError.work(
        "loss_type 'aot' and 'aot_unpaired' sort the whole batch and got \(pairs.count) of its \(totals.pairs) pairs")
    }
    let (pairDivisor, tokenDivisor) = (Double(max(1, totals.pairs)), Double(max(1, totals.chosenTokens)))
    var result = ObjectiveResult(tokens: streams.tokenCount)
    // d loss / d X of every row, and what each token of a chosen completion gets beside it.
    var bySum = [Double](repeating: 0, count: streams.rowCount)
    var byChosenToken = 0.0
    for (type, weight) in configuration.mixture {
      if type == .sft {
        let sum = pairs.reduce(0.0) { $1.chosen.tokens.reduce($0) { $0 - Double(streams.policyLogprobs[$1]) } }
        result.loss += weight * sum / tokenDivisor
        byChosenToken -= weight / tokenDivisor
        continue
      }
      for (k, term) in terms(type, pairs).enumerated() {
        let factor = weight * pairs[k].weight / pairDivisor
        result.loss += factor * term.loss
        bySum[2 * k] += factor * term.byChosen
        bySum[2 * k + 1] += factor * term.byRejected
      }
    }
    for (k, pair) in pairs.enumerated() {
      for (t, weight) in zip(pair.chosen.tokens, pair.chosen.weights) {
        result.gradients.logprob[t] = Float(bySum[2 * k] * weight + byChosenToken)
      }
      for (t, weight) in zip(pair.rejected.tokens, pair.rejected.weights) {
        result.gradients.logprob[t] = Float(bySum[2 * k + 1] * weight)
      }
    }
    // Rewards are βu whatever the divergence; logprob sums are weighed as in the loss.
    let sides = pairs.flatMap { [$0.chosen, $0.rejected] }
    result.metrics = streams.pairMetrics(
      rewards: sides.map { configuration.beta * $0.logRatio }, logprobs: sides.map(\.policy))
    return result
  }
}
