import RewardKit

@c(attune_reward_entry) public func entry() -> RewardLibrary {
  rewards([
    "brief": { 1 / Double(1 + $0.completion.utf8.count) },
    "has_reference": { sample in sample.reference.map { sample.completion.contains($0) ? 1 : 0 } },
  ])
}
