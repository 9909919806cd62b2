/// Plain statistics in double precision. Values that are not finite are left out; pairs are left out whole.
enum Statistics {
  /// NaN without values.
  static func mean(_ values: [Double]) -> Double {
    let known = values.filter(\.isFinite)
    return known.isEmpty ? .nan : known.reduce(0, +) / Double(known.count)
  }

  /// With the n − 1 denominator; NaN below two values.
  static func deviation(_ values: [Double]) -> Double {
    let known = values.filter(\.isFinite)
    guard known.count > 1 else { return .nan }
    let mean = mean(known)
    return (known.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(known.count - 1)).squareRoot()
  }

  /// NaN without values.
  static func median(_ values: [Double]) -> Double {
    let sorted = values.filter(\.isFinite).sorted()
    guard !sorted.isEmpty else { return .nan }
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }

  /// The median distance from the median, times 1.4826: the deviation of normally distributed values, and deaf to
  /// outliers (Hampel 1974).
  static func robustDeviation(_ values: [Double]) -> Double {
    let center = median(values)
    return 1.4826 * median(values.map { abs($0 - center) })
  }

  /// True when the values differ by no more than rounding: `max − min ≤ 1e-9·max(1, |mean|)`; also below two values.
  static func isFlat(_ values: [Double]) -> Bool {
    let known = values.filter(\.isFinite)
    guard let low = known.min(), let high = known.max() else { return true }
    return high - low <= 1e-9 * max(1, abs(mean(known)))
  }

  /// Pearson's correlation; NaN where either side does not vary.
  static func correlation(_ a: [Double], _ b: [Double]) -> Double {
    let (a, b) = paired(a, b)
    guard !isFlat(a), !isFlat(b) else { return .nan }
    let (meanA, meanB) = (mean(a), mean(b))
    var (ab, aa, bb) = (0.0, 0.0, 0.0)
    for (x, y) in zip(a, b) {
      ab += (x - meanA) * (y - meanB)
      aa += (x - meanA) * (x - meanA)
      bb += (y - meanB) * (y - meanB)
    }
    return min(1, max(-1, ab / (aa.squareRoot() * bb.squareRoot())))
  }

  /// Spearman's rank correlation, equal values sharing their mean rank; NaN where either side does not vary.
  static func rankCorrelation(_ a: [Double], _ b: [Double]) -> Double {
    let (a, b) = paired(a, b)
    return correlation(ranks(a), ranks(b))
  }

  /// Ranks from 1; equal values share the mean of theirs.
  static func ranks(_ values: [Double]) -> [Double] {
    let order = values.indices.sorted { (values[$0], $0) < (values[$1], $1) }
    var ranks = [Double](repeating: 0, count: values.count)
    var start = 0
    while start < order.count {
      var end = start + 1
      while end < order.count, values[order[end]] == values[order[start]] { end += 1 }
      for place in start..<end { ranks[order[place]] = Double(start + 1 + end) / 2 }
      start = end
    }
    return ranks
  }

  private static func paired(_ a: [Double], _ b: [Double]) -> ([Double], [Double]) {
    let kept = zip(a, b).filter { $0.isFinite && $1.isFinite }
    return (kept.map(\.0), kept.map(\.1))
  }
}
