import Core

/// Importance weights for completions drawn by another program than the one that trains.
///
/// `c = exp(old − sampling)`, per token or as the product over a sequence, without gradient; a token whose sampling
/// logprob is NaN has difference 0. Truncating modes bring `c` into the bounds; masking modes set it to 0 outside them
/// (IcePop, arXiv 2510.18855) and keep weighing by `c` inside. The policy term is multiplied by `c`, the KL term isn't.
public struct SamplerCorrection: Sendable, Equatable {
  public enum Mode: String, NamedChoice {
    case tokenTruncate = "token_truncate"
    case tokenMask = "token_mask"
    case sequenceTruncate = "sequence_truncate"
    case sequenceMask = "sequence_mask"

    /// True if a sequence has one weight.
    public var isSequenceLevel: Bool { self == .sequenceTruncate || self == .sequenceMask }
    var truncates: Bool { self == .tokenTruncate || self == .sequenceTruncate }
  }

  /// `sampler_correction_mode`.
  public var mode: Mode
  /// `sampler_correction_clip_max`; nil leaves the weight unbounded above.
  public var clipMax: Double?
  /// `sampler_correction_clip_min`.
  public var clipMin: Double?

  public init(mode: Mode = .sequenceMask, clipMax: Double? = 3, clipMin: Double? = nil) {
    self.mode = mode
    self.clipMax = clipMax
    self.clipMin = clipMin
  }

  /// - Throws: `AttuneError` for bounds that are negative, cross each other, or are both absent in a truncating mode.
  public func validate() throws {
    for (key, bound) in [("sampler_correction_clip_max", clipMax), ("sampler_correction_clip_min", clipMin)] {
      if let bound, !(bound >= 0) {
        throw AttuneError.request("\(key) is \(bound); a bound of a ratio can't be negative")
      }
    }
    if let clipMin, let clipMax, !(clipMin < clipMax) {
      throw AttuneError.request(
        "sampler_correction_clip_min \(clipMin) is not below sampler_correction_clip_max \(clipMax)")
    }
    if mode.truncates, clipMin == nil, clipMax == nil {
      throw AttuneError.request(
        "sampler_correction_mode '\(mode.rawValue)' has no bound to truncate at",
        hint: "set sampler_correction_clip_max, for example to 3.0")
    }
  }

  /// Weights of one micro-batch.
  struct Weights {
    /// One per token; every token of a row has the row's weight in the sequence modes. 1 where the mask is false.
    var perToken: [Double]
    /// One per row in the sequence modes, else empty.
    var perRow: [Double]
    var metrics: [ObjectiveResult.Metric]
  }

  /// The weights; streams without old logprobs count as on-policy (old = policy).
  func weights(_ streams: TokenStreams) throws -> Weights {
    try validate()
    let sampling = try streams.required(streams.samplingLogprobs, "sampling logprobs", by: "sampler correction")
    let old = streams.oldLogprobs ?? streams.policyLogprobs
    var perToken = [Double](repeating: 1, count: streams.tokenCount)
    var perRow: [Double] = []
    var gaps = Summary()
    var ratios = Summary()
    for i in 0..<streams.rowCount {
      let row = streams.row(i)
      var sum = 0.0
      for t in row where streams.mask[t] {
        let difference = Double(old[t]) - Double(sampling[t])
        guard !difference.isNaN else { continue }
        gaps.add(abs(difference))
        sum += difference
        perToken[t] = PortableMath.exp(difference)
      }
      if mode.isSequenceLevel {
        let ratio = bounded(PortableMath.exp(sum))
        ratios.add(ratio)
        perRow.append(ratio)
        for t in row { perToken[t] = ratio }
      } else {
        for t in row where streams.mask[t] {
          perToken[t] = bounded(perToken[t])
          ratios.add(perToken[t])
        }
      }
    }
    return Weights(
      perToken: perToken, perRow: perRow,
      metrics: [
        .init("sampling/sampling_logp_difference/mean", gaps.mean),
        .init("sampling/sampling_logp_difference/max", gaps.max),
        .init("sampling/importance_sampling_ratio/min", ratios.min),
        .init("sampling/importance_sampling_ratio/mean", ratios.mean),
        .init("sampling/importance_sampling_ratio/max", ratios.max),
      ])
  }

  private func bounded(_ ratio: Double) -> Double {
    let low = clipMin ?? -.infinity
    let high = clipMax ?? .infinity
    if mode.truncates { return PortableMath.clamp(ratio, low, high) }
    return ratio < low || ratio > high ? 0 : ratio
  }

  /// Least, mean and largest of what was added; 0 if nothing was.
  private struct Summary {
    private var count = 0
    private var sum = 0.0
    private(set) var min = 0.0
    private(set) var max = 0.0
    var mean: Double { count == 0 ? 0 : sum / Double(count) }

    mutating func add(_ x: Double) {
      min = count == 0 || x < min ? x : min
      max = count == 0 || x > max ? x : max
      sum += x
      count += 1
    }
  }
}
