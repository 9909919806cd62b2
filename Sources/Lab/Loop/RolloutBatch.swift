import Core
import Datasets
import Models
import Objectives
import Rewards
import Rollout

/// Completions of some prompts, group after group, with what rewards said of them.
struct RolloutBatch {
  var samples: [Sample] = []
  var prompts: [Policy.Prompt] = []
  var groups: [[Completion]] = []
  /// Positions of the prompts in their data's order: a small set comes round again, sometimes within one step, a position
  /// never does.
  var positions: [Int] = []
  /// `[reward][completion]`.
  var outcomes: [[RewardOutcome]]
  /// Wall time per reward, of all completions.
  var rewardSeconds: [Double]
  /// What rewards saw, by group.
  var seen: [[RewardSample]] = []

  var completions: [Completion] { groups.flatMap { $0 } }
  var trees: [PromptTree] {
    zip(prompts, groups).map { PromptTree(prompt: $0.encoded, completions: $1.map(\.ids)) }
  }
  /// Tokens of all completions.
  var tokenCount: Int { groups.reduce(0) { $1.reduce($0) { $0 + $1.ids.count } } }

  /// Puts some groups of another batch, of as many completions each, behind these.
  mutating func append(_ chosen: [Int], of other: RolloutBatch, groupSize: Int) {
    samples += chosen.map { other.samples[$0] }
    prompts += chosen.map { other.prompts[$0] }
    groups += chosen.map { other.groups[$0] }
    positions += chosen.map { other.positions[$0] }
    seen += chosen.map { other.seen[$0] }
    for k in outcomes.indices {
      outcomes[k] += chosen.flatMap { other.outcomes[k][$0 * groupSize..<($0 + 1) * groupSize] }
      rewardSeconds[k] += other.rewardSeconds[k] * Double(chosen.count) / Double(max(1, other.groups.count))
    }
  }
}
