import Core
import Rewards

/// Remembers outcomes that depended on the clock, so that a step done again after a resume sees what it saw before.
///
/// A time limit that struck once might not strike again; without the journal a resumed run could end with other weights.
struct OutcomeJournal {
  let store: RunStore
  /// True in a sitting that goes on with a run: only there can a journalled step come again.
  let replays: Bool

  /// Replaces outcomes by journalled ones, and journals new ones that ran into their time limit.
  func settle(
    _ outcomes: [RewardOutcome], of reward: String, at places: [RunStore.Place], completions: [String]
  ) throws -> [RewardOutcome] {
    var settled = outcomes
    for i in outcomes.indices {
      if replays, let old = try store.journalled(reward, at: places[i], completion: completions[i]) {
        settled[i] = .none(.timedOut, old["log"]?.string ?? "")
      } else if outcomes[i].status == .timedOut {
        try store.journal(outcomes[i].json, of: reward, at: places[i], completion: completions[i])
      }
    }
    return settled
  }
}
