import Core
import Datasets
import Rewards

extension RewardSample {
  /// What rewards see of one rollout.
  init(
    _ sample: Sample, prompt: String, _ completion: Completion, dataset: String, group: Int, index: Int, groupSize: Int
  ) {
    self.init(prompt: prompt, completion: completion.text, rawCompletion: completion.rawText, columns: sample.columns)
    id = UInt64(group * groupSize + index)
    messages = sample.prompt
    tokenIDs = completion.ids
    logprobs = completion.logprobs
    finishReason = completion.finishReason
    reference = sample.reference
    self.dataset = dataset
    rowID = "\(dataset):\(sample.id)"
    groupID = UInt64(group)
    indexInGroup = index
    self.groupSize = groupSize
    images = sample.pictures.map { RewardImage($0) }
  }
}
