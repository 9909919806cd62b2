/// Which tokens are uncertain enough to learn from (arXiv 2506.01939, "beyond the 80/20 rule").
enum EntropyQuantile {
  /// True at masked tokens whose entropy reaches the `1 − share` quantile of the masked tokens; ties are kept.
  ///
  /// The quantile is interpolated linearly between neighbours, over the tokens of this micro-batch.
  static func topTokens(share: Double, entropies: [Float], mask: [Bool]) -> [Bool] {
    let known = zip(entropies, mask).compactMap { $1 ? $0 : nil }.sorted()
    guard let last = known.last else { return mask }
    var rank = (1 - share) * Double(known.count - 1)
    // A rank such as 0.9999999999999998 means 1: otherwise a rounding of `1 − share` decides about a token.
    let nearest = rank.rounded()
    if abs(rank - nearest) < 1e-9 * Double(known.count) { rank = nearest }
    let below = Int(rank)
    let low = Double(known[below])
    let high = below + 1 < known.count ? Double(known[below + 1]) : Double(last)
    let threshold = low + (rank - Double(below)) * (high - low)
    return zip(entropies, mask).map { $1 && Double($0) >= threshold }
  }
}
