import Core
import Rewards

extension [PromptRecord] {
  /// The same with what rewards saw of each prompt and completion beside the rest.
  ///
  /// - Parameters:
  ///   - samples: one per completion, in order.
  ///   - epoch: what rewards were told of it.
  func showing(_ samples: [RewardSample], epoch: Double) -> [PromptRecord] {
    var records = self
    var row = 0
    for i in records.indices {
      for j in records[i].rollouts.indices {
        guard samples.indices.contains(row) else { return records }
        if j == 0 {
          var facts = samples[row].promptFacts.object ?? .init()
          facts["epoch"] = .double(epoch)
          records[i].facts = JSON(.object(facts))
        }
        records[i].rollouts[j].facts = samples[row].completionFacts
        row += 1
      }
    }
    return records
  }
}
