/// Which completions of one prompt make pairs or labels: a pure function of their rewards.
struct PreferenceSelection: Sendable, Equatable {
  /// A completion by its index in the group, and its weighted reward.
  struct Candidate: Sendable, Equatable {
    var index: Int
    var reward: Double
  }

  struct Pair: Sendable, Equatable {
    var chosen: Candidate
    var rejected: Candidate
    var margin: Double { chosen.reward - rejected.reward }
  }

  var pairs: [Pair] = []
  /// Why there is no pair.
  var reason: PreferenceCounts.Reason?

  /// - Parameter candidates: two or more, in ascending order of their indices. Among equal rewards the lowest index is
  ///   taken, for chosen and rejected alike.
  static func pairs(_ candidates: [Candidate], _ settings: PreferenceSettings) -> PreferenceSelection {
    var found: [Pair] = []
    switch settings.pairing {
    case .bestWorst:
      guard var best = candidates.first, var worst = candidates.first else { break }
      for candidate in candidates {
        if candidate.reward > best.reward { best = candidate }
        if candidate.reward < worst.reward { worst = candidate }
      }
      found = [Pair(chosen: best, rejected: worst)]
    case .all:
      for chosen in candidates {
        found += candidates.filter { $0.reward < chosen.reward }.map { Pair(chosen: chosen, rejected: $0) }
      }
      found.sort { a, b in
        (-a.margin, a.chosen.index, a.rejected.index) < (-b.margin, b.chosen.index, b.rejected.index)
      }
      if settings.maxPairs > 0 { found = Array(found.prefix(settings.maxPairs)) }
    }
    found.removeAll { !($0.margin > 0) }
    guard !found.isEmpty else { return PreferenceSelection(reason: .equal) }
    found.removeAll { $0.margin < settings.margin }
    return PreferenceSelection(pairs: found, reason: found.isEmpty ? .belowMargin : nil)
  }
}
