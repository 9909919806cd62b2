import Core
import Objectives

extension RecipeTable {
  static let stages: [RecipeKey] =
    [
      row("stages", .sections, .required, "What is done to the model, in this order; at least one stage."),
      stage("objective", .choice(ObjectiveRegistry.all.map(\.name)), .required, "What the stage optimizes."),
      stage("name", .name, .sameAs("objective"), "The stage's name, unlike any other stage's."),
      stage("steps", .int, .required, in: count(from: 0), "Optimizer steps."),
      stage("data", .string, .value("train"), "Name of the data source."),
      stage(
        "batch", .int, .value(8), in: count(from: 1), only: learners, "Sequences, pairs or completions in one step."),
      stage(
        "max_length", .int, .value(0), in: count(from: 0), only: learners,
        "Longest sequence of prompt and completion, tokens: completions lose their end, reward models leave the pair out; 0 sets no limit."
      ),
    ] + rollouts + [
      stage(
        "micro_batch", .int, .value(0), in: count(from: 0),
        "Trees (a prompt with its completions) that are computed at once; 0 as many as make about 512 rows. Results don't depend on it."
      ),
      stage(
        "recompute", .bool, .value(false),
        "Keep only each layer's input for the way back and compute the rest again: less memory, a third more work, the same bits."
      ),
    ] + optimizer(in: "stages[].", perStage: true) + Recipe.Stage.Reference.keys + Recipe.Stage.Critic.keys
    + ObjectiveRegistry.objectives.flatMap(settings)

  /// Objectives that learn from data as it is.
  private static let learners = RecipeKey.Condition(
    key: "objective", values: ObjectiveRegistry.names(of: .supervised, .pairs, .unpaired, .scores))
  /// Objectives that sample.
  private static let samplers = RecipeKey.Condition(key: "objective", values: ObjectiveRegistry.names(of: .rollouts))

  /// A key of a stage; its default is what the objective's entry says, else `fallback`.
  private static func stage(
    _ name: String, _ kind: RecipeKey.Kind, _ fallback: RecipeKey.Default, in bounds: RecipeKey.Bounds? = nil,
    only condition: RecipeKey.Condition? = nil, _ summary: String
  ) -> RecipeKey {
    let own = ObjectiveRegistry.all.compactMap { entry in entry.stageDefaults[name].map { (entry.name, $0) } }
    return row(
      "stages[]." + name, kind, with(own, fallback) { $0.siblings["objective"]?.string }, in: bounds, only: condition,
      summary)
  }

  /// A default that some objectives have otherwise.
  private static func with(
    _ others: [(objective: String, value: JSON)], _ fallback: RecipeKey.Default,
    objective: @escaping @Sendable (RecipeKey.Scope) -> String?
  ) -> RecipeKey.Default {
    guard !others.isEmpty else { return fallback }
    let plain: String
    switch fallback {
    case .value(let value): plain = value.string ?? value.text()
    case .unset(let meaning): plain = "unset: " + meaning
    case .sameAs(let key): plain = "that of `\(key)`"
    case .required, .derived: return fallback
    }
    let listed = others.map { "\($0.objective) \($0.value.string ?? $0.value.text())" }
    return .derived(meaning: ([plain] + listed).joined(separator: "; ")) { scope in
      if let name = objective(scope), let other = others.first(where: { $0.objective == name }) { return other.value }
      switch fallback {
      case .value(let value): return value
      case .sameAs(let key): return scope.siblings[key] ?? .null
      default: return .null
      }
    }
  }

  private static let rollouts: [RecipeKey] = [
    stage("prompts", .int, .value(8), in: count(from: 1), only: samplers, "Prompts in one step."),
    stage(
      "generations", .int, .value(8), in: .within(1, 1_000_000), only: samplers,
      "Completions of each prompt: the group."),
    stage(
      "max_new_tokens", .int, .value(512), in: .within(1, 10_000_000), only: samplers, "Longest completion, tokens."),
    stage(
      "temperature", .number, .value(1.0), in: .above(0, upTo: 1000), only: samplers,
      "Sampling temperature; log-probabilities are taken at it too."),
    stage("top_k", .int, .value(0), in: count(from: 0), only: samplers, "Sample from the k likeliest ids; 0 from all."),
    stage(
      "top_p", .number, .value(1.0), in: .above(0, upTo: 1), only: samplers,
      "Sample from the likeliest ids that hold p together."),
    stage(
      "min_p", .number, .value(0), in: .within(0, 1), only: samplers,
      "Sample from ids at least this likely, as a fraction of the likeliest."),
    stage(
      "iterations", .int, .value(1), in: .within(1, 1_000_000), only: samplers,
      "Optimizer passes over each batch of rollouts."),
    stage(
      "mask_truncated_completions", .bool, .value(false), only: samplers,
      "Leave completions that hit the length limit out of the loss."),
    stage(
      "dynamic_sampling", .bool, .value(false), only: samplers,
      "Sample again for groups whose rewards are all equal, until the batch is full."),
    stage(
      "max_resample_times", .int, .value(3), in: .within(1, 1000), only: samplers,
      "Rounds of dynamic sampling, the first included; each samples as many prompts as the step has."),
    stage(
      "kl_every", .int, .value(10), in: count(from: 0), only: samplers,
      "Steps between looks at the KL to the reference where the objective has no KL term, and after the last; 0 never. A look costs a forward pass over the step's completions, and with `train: full` a copy of the weights: on disk through the stage, in memory during the look."
    ),
  ]

  /// The section of an objective, with a row for each of its parameters.
  private static func settings(_ objective: any Objective.Type) -> [RecipeKey] {
    let entries = ObjectiveRegistry.all.filter { $0.objective == objective }
    let section = "stages[].\(objective.name)"
    let heading = row(
      section, .section, .derived(meaning: "its keys' defaults") { _ in .null },
      only: .init(key: "objective", values: entries.map(\.name)), "Settings of \(objective.summary).")
    return [heading]
      + objective.parameters.filter { $0.place == .section }.map { parameter in
        let own = entries.compactMap { entry in entry.defaults[parameter.name].map { (entry.name, $0) } }
        return row(
          "\(section).\(parameter.name)", parameter.recipeKind,
          with(own, parameter.recipeDefault) { $0.enclosing["objective"]?.string }, in: parameter.bounds,
          parameter.summary)
      }
  }
}

extension ObjectiveParameter {
  fileprivate var recipeKind: RecipeKey.Kind {
    switch kind {
    case .number: .number
    case .int: .int
    case .bool: .bool
    case .choice(let words): .choice(words)
    case .oneOrMore(let words): .oneOrMore(words)
    case .numbers: .numberList
    }
  }

  fileprivate var recipeDefault: RecipeKey.Default {
    switch fallback {
    case .value(let value): .value(value)
    case .unset(let meaning): .unset(meaning: meaning)
    case .sameAs(let other): .sameAs(other)
    }
  }
}
