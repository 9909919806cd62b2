import Rewards

extension [PromptRecord] {
  /// The same with what rewards saw of each prompt and completion beside the rest.
  ///
  /// - Parameter samples: one per completion, in order.
  func showing(_ samples: [RewardSample]) -> [PromptRecord] {
    var records = self
    var row = 0
    for i in records.indices {
      for j in records[i].rollouts.indices {
        guard samples.indices.contains(row) else { return records }
        if j == 0 { records[i].facts = samples[row].promptFacts }
        records[i].rollouts[j].facts = samples[row].completionFacts
        row += 1
      }
    }
    return records
  }
}
