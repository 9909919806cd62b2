/// How often the clip range was felt: shares over tokens, or over rows where a row has one weight.
struct ClipStatistics {
  /// True if a row is counted once, with its own weight.
  let sequenceLevel: Bool
  private var rows: [(low: Int, high: Int, count: Int)] = []

  init(sequenceLevel: Bool) { self.sequenceLevel = sequenceLevel }

  mutating func beginRow() { rows.append((0, 0, 0)) }

  /// Counts a weight of the row begun last.
  mutating func add(weight w: Double, advantage: Double, _ c: GRPO.Configuration) {
    if c.lossType == .cispo {
      add(low: false, high: w > c.upperEpsilon && advantage > 0)
    } else {
      let bounded = PortableMath.clamp(w, -.infinity, c.delta ?? .infinity)
      add(low: bounded < 1 - c.epsilon && advantage < 0, high: bounded > 1 + c.upperEpsilon && advantage > 0)
    }
  }

  mutating func add(low: Bool, high: Bool) {
    guard !rows.isEmpty else { return }
    rows[rows.count - 1].count += 1
    if low { rows[rows.count - 1].low += 1 }
    if high { rows[rows.count - 1].high += 1 }
  }

  /// Weights that were counted.
  var counted: Double { Double(rows.reduce(0) { $0 + $1.count }) }
  private var count: Double { max(1, counted) }
  var lowMean: Double { Double(rows.reduce(0) { $0 + $1.low }) / count }
  var highMean: Double { Double(rows.reduce(0) { $0 + $1.high }) / count }

  /// `clip_ratio/*`; the least and largest row share skip rows without tokens and are NaN if there is no other.
  var metrics: [ObjectiveResult.Metric] {
    let known = rows.filter { $0.count > 0 }
    let lowMin = known.map { Double($0.low) / Double($0.count) }.min() ?? .nan
    let highMax = known.map { Double($0.high) / Double($0.count) }.max() ?? .nan
    return [
      .init("clip_ratio/low_mean", lowMean, weight: counted),
      .init("clip_ratio/low_min", lowMin, reduction: .lowest),
      .init("clip_ratio/high_mean", highMean, weight: counted),
      .init("clip_ratio/high_max", highMax, reduction: .highest),
      .init("clip_ratio/region_mean", lowMean + highMean, weight: counted),
    ]
  }
}

/// Mean of VESPO's weights: over rows, or over tokens where each token has its own advantage.
struct PhiStatistics {
  private var sum = 0.0
  private(set) var count = 0

  mutating func add(_ phi: Double) {
    sum += phi
    count += 1
  }

  var mean: Double { sum / Double(max(1, count)) }
}

extension GRPO {
  /// What GRPO's loop watches beside the loss.
  struct Watch {
    var clip: ClipStatistics
    var phi = PhiStatistics()
    /// Sum of the KL terms.
    var kl = 0.0

    mutating func begin(_ row: Sequence, _ advantage: Double?, _ c: Configuration) {
      clip.beginRow()
      guard let advantage else { return }
      if clip.sequenceLevel { clip.add(weight: row.weight, advantage: advantage, c) }
      if c.lossType == .vespo { phi.add(GRPO(c).sequencePhi(logWeight: row.logWeight, advantage: advantage)) }
    }

    mutating func add(weight: Double, _ row: Sequence, _ advantage: Double, isPerRow: Bool, _ c: Configuration) {
      if !clip.sequenceLevel { clip.add(weight: weight, advantage: advantage, c) }
      if c.lossType == .vespo, !isPerRow {
        phi.add(GRPO(c).sequencePhi(logWeight: row.logWeight, advantage: advantage))
      }
    }

    func metrics(_ streams: TokenStreams, _ c: Configuration) -> [ObjectiveResult.Metric] {
      var metrics: [ObjectiveResult.Metric] = []
      if c.beta != 0 { metrics.append(.init("kl", kl / Double(max(1, streams.maskedCount)))) }
      if let entropies = streams.entropies { metrics.append(.init("entropy", streams.maskedMean(entropies))) }
      switch c.lossType {
      case .cispo: metrics.append(.init("cispo_clip_ratio", clip.highMean, weight: clip.counted))
      case .vespo: metrics.append(.init("vespo/phi_seq_mean", phi.mean, weight: Double(phi.count)))
      case .sapo: break
      default: metrics += clip.metrics
      }
      return metrics
    }
  }
}
