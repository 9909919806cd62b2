import Core
import Objectives

extension Recipe {
  /// One part of a run: an objective, its data and its steps.
  public struct Stage: Sendable, Equatable {
    public var name: String
    /// The name that the objective goes by, with its defaults.
    public var entry: ObjectiveEntry
    /// What is optimized.
    public var objective: any Objective
    public var steps: Int
    /// Name of the data source.
    public var data: String
    /// Sequences, pairs or completions in one step; 0 where the policy samples.
    public var batch: Int
    /// How the policy samples; nil for objectives that learn from data as it is.
    public var rollouts: Rollouts?
    /// What values come from; nil for objectives that read none.
    public var critic: Critic?
    /// The frozen model, of objectives that read one.
    public var reference: Reference
    /// Trees that are computed at once; 0 is as many as make about 512 rows.
    public var microBatch: Int
    /// Longest sequence of prompt and completion, tokens; 0 where there is no limit.
    public var maxLength: Int
    /// Each layer's input alone is kept for the way back.
    public var recomputes: Bool
    public var optimizer: Optimizer
    /// Every key of the stage with its value.
    private let values: JSON

    /// - Throws: `AttuneError` of the objective for settings that have no meaning together.
    init(_ values: RecipeValues, optimizer: Optimizer) throws {
      name = values.string("name")
      guard let entry = ObjectiveRegistry.named(values.string("objective")) else {
        preconditionFailure("the recipe table let an objective pass that is not registered")
      }
      self.entry = entry
      objective = try Stage.objective(entry, values.object)
      steps = values.int("steps")
      data = values.string("data")
      reference =
        Reference.objectives.contains(entry.name) ? Reference(values) : .none
      microBatch = values.int("micro_batch")
      maxLength = values.optionalInt("max_length") ?? 0
      recomputes = values.bool("recompute")
      rollouts = entry.kind == .rollouts ? Rollouts(values) : nil
      critic = Critic.objectives.contains(entry.name) ? Critic(values.section("critic")) : nil
      batch = entry.kind == .rollouts ? 0 : values.int("batch")
      self.optimizer = Optimizer(values.section("optimizer"), fallback: optimizer)
      self.values = JSON(.object(values.object))
    }

    /// The objective that a stage's keys describe: those of its own section, and those of the stage that it reads too.
    static func objective(_ entry: ObjectiveEntry, _ stage: JSON.Object) throws -> any Objective {
      var given = stage[entry.objective.name]?.object ?? JSON.Object()
      for parameter in entry.objective.parameters {
        if case .stage(let key) = parameter.place { given[parameter.name] = stage[key] }
      }
      return try entry.make(given)
    }

    /// What is optimized, if the policy samples for it.
    public var policyObjective: (any PolicyObjective)? { objective as? any PolicyObjective }

    public static func == (a: Stage, b: Stage) -> Bool { a.values == b.values && a.optimizer == b.optimizer }

    /// How a stage's completions are sampled, and how often each batch of them is learned from.
    public struct Rollouts: Sendable, Equatable {
      /// Prompts in one step.
      public var prompts: Int
      /// Completions of each prompt.
      public var generations: Int
      public var maxNewTokens: Int
      public var temperature: Double
      /// 0 samples from all ids.
      public var topK: Int
      public var topP: Double
      public var minP: Double
      /// Optimizer passes over each batch of rollouts.
      public var iterations: Int
      /// Completions that hit the length limit stay out of the loss.
      public var masksTruncated: Bool
      /// Groups without signal are sampled again.
      public var isDynamic: Bool
      /// Rounds of dynamic sampling, the first included.
      public var rounds: Int
      /// Steps between looks at the KL to the reference where the objective has no such term; 0 never looks.
      public var klEvery: Int

      init(_ values: RecipeValues) {
        prompts = values.int("prompts")
        generations = values.int("generations")
        maxNewTokens = values.int("max_new_tokens")
        temperature = values.number("temperature")
        topK = values.int("top_k")
        topP = values.number("top_p")
        minP = values.number("min_p")
        iterations = values.int("iterations")
        masksTruncated = values.bool("mask_truncated_completions")
        isDynamic = values.bool("dynamic_sampling")
        rounds = values.int("max_resample_times")
        klEvery = values.int("kl_every")
      }
    }
  }
}
