import Core
import Rewards

/// Remembers outcomes that the samples alone do not decide, so that a step done again after a resume sees what it saw
/// before: those that ran into their time limit, and all of rewards that promise no determinism, such as judges.
///
/// Without the journal a resumed run could end with other weights.
struct OutcomeJournal: Sendable {
  let store: RunStore
  /// True in a sitting that goes on with a run: only there can a journalled step come again.
  let replays: Bool

  /// What is known of a reward whose outcomes are settled.
  struct Source: Sendable {
    var name: String
    /// Equal samples get equal outcomes.
    var isDeterministic: Bool
    /// It keeps something between calls, so that it must see every sample.
    var isStateful: Bool
  }

  /// The journalled outcomes where there are some, the reward's own elsewhere; its own are journalled if need be.
  ///
  /// - Parameters:
  ///   - places: one per sample.
  ///   - completions: raw texts; an outcome of another text is no outcome.
  ///   - score: asks the reward; not called if everything is known and the reward keeps nothing.
  func outcomes(
    of source: Source, at places: [RunStore.Place], completions: [String], score: () throws -> [RewardOutcome]
  ) throws -> [RewardOutcome] {
    let known = try zip(places, completions).map { place, completion in
      replays
        ? try store.journalled(source.name, at: place, completion: completion).map(RewardOutcome.init(journalled:))
        : nil
    }
    if !known.isEmpty, !source.isStateful, known.allSatisfy({ $0 != nil }) { return known.compactMap { $0 } }
    var settled = try score()
    var fresh: [RunStore.JournalEntry] = []
    for i in settled.indices {
      if let old = known[i] {
        settled[i] = old
      } else if !source.isDeterministic || settled[i].status == .timedOut {
        fresh.append(.init(place: places[i], completion: completions[i], outcome: settled[i].json))
      }
    }
    try store.journal(fresh, of: source.name)
    return settled
  }
}

extension RewardOutcome {
  /// The outcome that `json` was made of.
  init(journalled json: JSON) {
    self.init(
      score: json["reward"]?.double, status: json["status"]?.string.flatMap(RewardStatus.init) ?? .failed,
      components: json["components"]?.object?.entries.map { ($0, $1.double ?? .nan) } ?? [],
      log: json["log"]?.string ?? "",
      tokenRewards: json["token_rewards"]?.array.map { $0.map { Float($0.double ?? 0) } },
      stepRewards: (json["step_rewards"]?.array ?? []).map { step in
        let (first, end) = (step["tokens"]?[0]?.int ?? 0, step["tokens"]?[1]?.int ?? 0)
        return RewardStep(
          tokens: first..<max(first, end), value: step["value"]?.double ?? 0, label: step["label"]?.string ?? "")
      })
    notes = json["notes"]?.object?.entries.map { ($0, $1.string ?? "") } ?? []
  }
}
