/// Why a completion ended.
public enum FinishReason: String, Sendable {
  /// An end-of-sequence id was sampled; it is part of the completion.
  case stop
  /// The limit on new tokens was reached.
  case length
  /// One of the request's stop strings appeared.
  case stopString = "stop_string"
}

/// One sampled completion and what the sampler recorded about it.
public struct Completion: Sendable {
  public var ids: [Int32]
  /// Text without special tokens, as rewards and people read it.
  public var text: String
  /// Text with special tokens kept.
  public var rawText: String
  /// Natural-log probability of each id under the distribution at the objective's temperature, before truncation.
  public var logprobs: [Float]
  public var finishReason: FinishReason

  public init(ids: [Int32], text: String, rawText: String, logprobs: [Float], finishReason: FinishReason) {
    self.ids = ids
    self.text = text
    self.rawText = rawText
    self.logprobs = logprobs
    self.finishReason = finishReason
  }
}

/// Where a rollout stands in a run. Together with the run's seed it fixes all of the rollout's randomness.
public struct RolloutPlace: Sendable, Hashable {
  /// Optimizer step, from 0.
  public var step: Int
  /// The prompt's number in its data source.
  public var prompt: Int
  /// The completion's index in its group, from 0.
  public var index: Int

  public init(step: Int, prompt: Int, index: Int) {
    self.step = step
    self.prompt = prompt
    self.index = index
  }
}
