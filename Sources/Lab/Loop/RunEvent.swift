import Core
import Rewards

/// What happens in a run, for whoever listens: the store, the terminal, a page.
public enum RunEvent {
  case stageStarted(index: Int, Recipe.Stage)
  case step(StepRecord)
  case evaluated(EvaluationRecord)
  /// Rewards were looked at before a stage.
  case surveyed(RewardSurvey)
  /// Something about the rewards that a person should look at.
  case alarm(RewardAlarm)
  /// A checkpoint is about to be written: whatever is recorded must reach the disk first.
  case checkpointBegins
  /// A checkpoint stands whole in this folder.
  case checkpoint(folder: String)
  case stageFinished(index: Int)
  /// At the run's end: the largest memory of tensors in each phase, and what the arena held for them, in MiB.
  case memory(phases: [(name: String, mebibytes: Double)], held: Double)
  /// Something a person should know, such as a reward plugin that crashed on a sample.
  case note(String)
  /// The run stands still, with a checkpoint, until somebody lets it go on.
  case paused(folder: String)
  case continued
  /// A reward was loaded anew from changed code; the stage's step `step` is the first that it scores.
  case rewardReloaded(old: RewardIdentity, new: RewardIdentity, stage: Int, step: Int)
}

/// Listens to a run. Called on the loop's thread, between steps.
public protocol RunObserver: AnyObject {
  func handle(_ event: RunEvent) throws
}

/// One finished step.
public struct StepRecord {
  /// Index of the stage.
  public var stage: Int
  /// From 0, within the stage.
  public var step: Int
  public var stageSteps: Int
  /// Named values in the order of the objective, then the optimizer's.
  public var metrics: [(name: String, value: Double)]
  /// Prompts with their rollouts; empty in supervised stages.
  public var prompts: [PromptRecord]
  /// Tokens that went through a training forward pass.
  public var trainedTokens: Int
  public var sampledTokens: Int
  /// Wall time by phase.
  public var seconds: (rollout: Double, reward: Double, train: Double)
  /// How far the metric to watch has come, for progress lines.
  public var headline: [(name: String, value: Double)]
}

/// A prompt and what the policy made of it.
public struct PromptRecord {
  /// The sample's position in the order of its source, epoch after epoch.
  public var number: Int
  public var text: String
  public var messages: JSON
  public var reference: String?
  public var columns: JSON
  public var pictures: [Picture]
  public var rollouts: [RolloutRecord]
  /// What rewards saw of the prompt beside all this.
  public var facts: JSON = [:]
}

/// A completion with its scores.
public struct RolloutRecord {
  public var completion: Completion
  /// Weighted sum of the rewards that applied; nil if none did.
  public var reward: Double?
  public var advantage: Double
  public var outcomes: [(name: String, outcome: RewardOutcome)]
  /// What rewards saw of the completion beside it.
  public var facts: JSON = [:]
}

/// One pass over the evaluation data.
public struct EvaluationRecord {
  /// The stage after whose steps it was made; −1 before the first.
  public var stage: Int
  public var step: Int
  public var label: String
  public var metrics: [(name: String, value: Double)]
  public var answers: [AnswerRecord]
}

/// One evaluated sample.
public struct AnswerRecord {
  public var sample: Int
  public var prompt: String
  public var reference: String
  public var completion: Completion
  public var answer: String
  public var isCorrect: Bool
  public var pictures: [Picture]
  /// What each reward that has an opinion says, by name.
  public var scores: [String: Double] = [:]
}
