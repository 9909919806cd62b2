import Core

/// Supervised fine-tuning: the mean negative log-likelihood of the target tokens.
///
/// - `nll`: `−Σ x / N`; with label smoothing ε, `(1−ε)·(−Σ x)/N + ε·Σ(lse − mean logit)/N`. The smoothing term is the
///   mean over the vocabulary of `−log p`, which needs no full logits: it is log-sum-exp minus mean logit.
/// - `dft` (arXiv 2508.05629): `−Σ sg(exp x)·x / N`.
///
/// `N` counts the targets of the whole optimizer step over all ranks, so micro-batches and ranks add up to one mean.
public struct SFT: SupervisedObjective {
  public enum LossType: String, NamedChoice { case nll, dft }

  /// Recipe keys in snake case; the defaults are those of the reference implementation.
  public struct Configuration: Sendable, Equatable {
    /// `loss_type`.
    public var lossType: LossType
    /// `label_smoothing_factor`, in 0 ..< 1; with `nll` only.
    public var labelSmoothing: Double

    public init(lossType: LossType = .nll, labelSmoothing: Double = 0) {
      self.lossType = lossType
      self.labelSmoothing = labelSmoothing
    }
  }

  public static let name = "sft"
  public static let summary = "supervised fine-tuning: imitates completions"
  public static let parameters: [ObjectiveParameter] = [
    .choice("loss_type", LossType.self, .nll, "Token loss: plain, or weighted by the token's own probability."),
    .init("label_smoothing_factor", .number, .value(0), in: .below(1), "Weight of the uniform distribution; nll only."),
  ]

  public var configuration: Configuration

  public init(_ configuration: Configuration = .init()) { self.configuration = configuration }

  public init(_ settings: ObjectiveSettings) throws {
    let (type, smoothing): (LossType, Double) = (
      settings.choice("loss_type"), settings.number("label_smoothing_factor")
    )
    guard smoothing == 0 || type == .nll || settings.isLenient else {
      throw AttuneError.request(
        "label_smoothing_factor \(smoothing) has no meaning with loss_type '\(type.rawValue)'",
        hint: "use loss_type 'nll', or leave label_smoothing_factor at 0")
    }
    configuration = Configuration(lossType: type, labelSmoothing: type == .nll ? smoothing : 0)
  }

  public var statistics: Set<TokenStatistic> {
    configuration.labelSmoothing > 0 ? [.entropy, .isTop1, .meanLogit, .logSumExp] : [.entropy, .isTop1]
  }

  public func evaluate(_ streams: TokenStreams, _ totals: StepTotals) throws -> ObjectiveResult {
    try evaluate(streams, targetCount: totals.tokens)
  }

  /// Loss, gradients and metrics of one micro-batch.
  ///
  /// - Parameters:
  ///   - streams: policy logprobs; entropies and is-top-1 for the metrics; log-sum-exps and mean logits if smoothing.
  ///   - targetCount: targets of the whole optimizer step over all ranks; nil counts this micro-batch.
  ///   - processCount: ranks, whose gradients will be averaged.
  ///   - attendedTokenCount: tokens that the model read so far, logged as `num_tokens`.
  /// - Throws: `AttuneError` if a stream is missing or does not fit.
  public func evaluate(
    _ streams: TokenStreams, targetCount: Int? = nil, processCount: Int = 1, attendedTokenCount: Int? = nil
  ) throws -> ObjectiveResult {
    try streams.validate()
    let smoothing = configuration.labelSmoothing
    let smooth = smoothing > 0
    let user = "label smoothing"
    let logSumExps = smooth ? try streams.required(streams.logSumExps, "log-sum-exps", by: user) : []
    let meanLogits = smooth ? try streams.required(streams.meanLogits, "mean logits", by: user) : []

    let count = streams.tokenCount
    let ranks = targetCount == nil ? 1 : Double(max(1, processCount))
    let divisor = Double(max(1, targetCount ?? streams.maskedCount)) / ranks
    var gradients = StreamGradients(logprob: [Float](repeating: 0, count: count))
    if smooth {
      gradients.logSumExp = [Float](repeating: 0, count: count)
      gradients.meanLogit = [Float](repeating: 0, count: count)
    }
    var sum = 0.0
    var uniformSum = 0.0
    for t in 0..<count where streams.mask[t] {
      let x = Double(streams.policyLogprobs[t])
      switch configuration.lossType {
      case .nll:
        sum -= x
        gradients.logprob[t] = Float(-(1 - smoothing) / divisor)
      case .dft:
        let probability = PortableMath.exp(x)
        sum -= probability * x
        gradients.logprob[t] = Float(-probability / divisor)
      }
      if smooth {
        uniformSum += Double(logSumExps[t]) - Double(meanLogits[t])
        gradients.logSumExp?[t] = Float(smoothing / divisor)
        gradients.meanLogit?[t] = Float(-smoothing / divisor)
      }
    }
    let loss = smooth ? ((1 - smoothing) * sum + smoothing * uniformSum) / divisor : sum / divisor

    var metrics: [ObjectiveResult.Metric] = []
    if let entropies = streams.entropies { metrics.append(.init("entropy", streams.maskedMean(entropies))) }
    if let isTop1 = streams.isTop1 {
      let hits = zip(isTop1, streams.mask).reduce(0) { $1.0 && $1.1 ? $0 + 1 : $0 }
      metrics.append(.init("mean_token_accuracy", Double(hits) / Double(max(1, streams.maskedCount))))
    }
    if let attendedTokenCount { metrics.append(.init("num_tokens", Double(attendedTokenCount))) }
    return ObjectiveResult(loss: loss, gradients: gradients, metrics: metrics)
  }
}
