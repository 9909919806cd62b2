import Core

extension RunStore {
  /// Where a run stands.
  public enum Status: String, Sendable {
    case running, paused, finished, interrupted, failed
  }

  /// What a run was started with.
  public struct Start: Sendable {
    public var name: String
    /// The recipe's file, its text, and every key with its value.
    public var file: String
    public var recipe: String
    public var effective: JSON
    /// Facts about the machine: processor, instruction set, threads, version.
    public var host: JSON

    public init(name: String, file: String, recipe: String, effective: JSON, host: JSON = [:]) {
      self.name = name
      self.file = file
      self.recipe = recipe
      self.effective = effective
      self.host = host
    }
  }

  /// A stage as the recipe plans it.
  public struct Stage: Sendable, Equatable {
    public var name: String
    public var objective: String
    public var steps: Int

    public init(name: String, objective: String, steps: Int) {
      self.name = name
      self.objective = objective
      self.steps = steps
    }
  }

  /// Everything about one optimizer step, written in one transaction.
  public struct Step: Sendable {
    /// The stage's index, from 0.
    public var stage: Int
    /// The step within the stage, from 0.
    public var step: Int
    /// NaN is kept as missing.
    public var metrics: [String: Double]
    public var prompts: [Prompt]
    /// Steps of the stage that are done with this one; nil is `step + 1`.
    public var stepsDone: Int?
    /// Seconds that the stage and the run have taken so far; nil leaves what is stored.
    public var stageSeconds: Double?
    public var runSeconds: Double?

    public init(
      stage: Int, step: Int, metrics: [String: Double] = [:], prompts: [Prompt] = [], stepsDone: Int? = nil,
      stageSeconds: Double? = nil, runSeconds: Double? = nil
    ) {
      self.stage = stage
      self.step = step
      self.metrics = metrics
      self.prompts = prompts
      self.stepsDone = stepsDone
      self.stageSeconds = stageSeconds
      self.runSeconds = runSeconds
    }
  }

  /// A prompt and its rollouts in one step.
  public struct Prompt: Sendable {
    /// The prompt's number in its data source.
    public var prompt: Int
    /// As the model saw it.
    public var text: String
    /// A list of messages.
    public var messages: JSON
    public var reference: String?
    /// Every column of the data set.
    public var columns: JSON
    /// PNG files.
    public var pictures: [[UInt8]]
    public var rollouts: [Rollout]
    /// What rewards saw of the prompt beside all this.
    public var facts: JSON

    public init(
      prompt: Int, text: String, messages: JSON = [], reference: String? = nil, columns: JSON = [:],
      pictures: [[UInt8]] = [], rollouts: [Rollout] = [], facts: JSON = [:]
    ) {
      self.prompt = prompt
      self.text = text
      self.messages = messages
      self.reference = reference
      self.columns = columns
      self.pictures = pictures
      self.rollouts = rollouts
      self.facts = facts
    }
  }

  /// One completion and what it was worth. Its place among the prompt's rollouts is its index in the group.
  public struct Rollout: Sendable {
    public var completion: Completion
    /// The weighted total; nil if no reward applied.
    public var reward: Double?
    public var advantage: Double?
    public var scores: [Score]
    /// What rewards saw of the completion beside it.
    public var facts: JSON

    public init(
      completion: Completion, reward: Double? = nil, advantage: Double? = nil, scores: [Score] = [], facts: JSON = [:]
    ) {
      self.completion = completion
      self.reward = reward
      self.advantage = advantage
      self.scores = scores
      self.facts = facts
    }
  }

  /// What one reward said about one completion.
  public struct Score: Sendable {
    /// The reward's name.
    public var name: String
    /// Nil unless the status is `ok`.
    public var score: Double?
    /// `ok`, `not_applicable`, `failed`, `timed_out` or `invalid`.
    public var status: String
    public var log: String?
    public var components: [String: Double]

    public init(
      name: String, score: Double?, status: String = "ok", log: String? = nil, components: [String: Double] = [:]
    ) {
      self.name = name
      self.score = score
      self.status = status
      self.log = log
      self.components = components
    }
  }

  /// One evaluation, written in one transaction.
  public struct Evaluation: Sendable {
    public var stage: Int
    public var step: Int
    /// Names begin with `eval/`.
    public var metrics: [String: Double]
    public var samples: [EvaluatedSample]

    public init(stage: Int, step: Int, metrics: [String: Double], samples: [EvaluatedSample]) {
      self.stage = stage
      self.step = step
      self.metrics = metrics
      self.samples = samples
    }
  }

  /// One held-out sample and what the policy answered.
  public struct EvaluatedSample: Sendable {
    /// The sample's number in its data source.
    public var sample: Int
    public var prompt: String
    public var completion: String
    /// What was read out of the completion.
    public var answer: String?
    public var reference: String?
    public var correct: Bool
    public var finishReason: FinishReason
    /// By reward.
    public var scores: [String: Double]
    /// PNG files.
    public var pictures: [[UInt8]]

    public init(
      sample: Int, prompt: String, completion: String, answer: String?, reference: String?, correct: Bool,
      finishReason: FinishReason, scores: [String: Double] = [:], pictures: [[UInt8]] = []
    ) {
      self.sample = sample
      self.prompt = prompt
      self.completion = completion
      self.answer = answer
      self.reference = reference
      self.correct = correct
      self.finishReason = finishReason
      self.scores = scores
      self.pictures = pictures
    }
  }

  /// What of an evaluated sample is read back.
  public struct EvaluationRow: Sendable, Equatable {
    public var sample: Int
    public var prompt: String
    public var completion: String
    public var answer: String?
    public var reference: String?
    public var correct: Bool
    /// Content hashes for `picture(_:)`.
    public var pictures: [String]
  }

  /// A line of the run's log.
  public struct Event: Sendable, Equatable {
    /// Seconds since 1970.
    public var time: Double
    public var level: Level
    public var text: String

    public enum Level: String, Sendable { case info, warning, error }
  }

  /// One value of a metric.
  public struct MetricPoint: Sendable, Equatable {
    public var stage: Int
    public var step: Int
    /// NaN where it is missing.
    public var value: Double

    public static func == (a: Self, b: Self) -> Bool {
      a.stage == b.stage && a.step == b.step && (a.value == b.value || a.value.isNaN && b.value.isNaN)
    }
  }

  /// In which order samples are listed.
  public enum SampleOrder: String, Sendable, CaseIterable {
    /// Highest total reward first, samples without one last.
    case reward
    /// As they were made.
    case step
    /// Last made first.
    case latest
  }

  /// One rollout of a run.
  public struct Place: Sendable, Hashable {
    public var stage: Int
    public var step: Int
    public var prompt: Int
    /// Index in the group.
    public var index: Int

    public init(stage: Int, step: Int, prompt: Int, index: Int) {
      self.stage = stage
      self.step = step
      self.prompt = prompt
      self.index = index
    }
  }
}
