import Core
import Objectives

extension Recipe.Stage {
  /// The critic of an objective that takes advantages against values.
  public struct Critic: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
      /// A value head on the policy's own hidden states.
      case trunk
      /// A model of its own.
      case checkpoint
    }

    public var kind: Kind
    /// An absolute folder, or `preset:NAME`; of a model of its own.
    public var path: String?
    /// What is trained of a model of its own.
    public var train: Recipe.Model.Training?
    public var learningRate: Double
    /// Steps at the stage's begin in which the critic learns alone.
    public var warmupSteps: Int

    /// The preset's name if `path` names one.
    public var preset: String? {
      path.flatMap {
        $0.hasPrefix(RecipePaths.presetPrefix) ? String($0.dropFirst(RecipePaths.presetPrefix.count)) : nil
      }
    }

    init(_ values: RecipeValues) {
      kind = values.choice("kind")
      path = values.optionalString("path")
      train = values.optionalString("train").flatMap(Recipe.Model.Training.init)
      learningRate = values.number("learning_rate")
      warmupSteps = values.int("warmup_steps")
    }

    /// Names of the objectives that have one.
    static let objectives = ObjectiveRegistry.all.filter {
      ((try? $0.make(JSON.Object())) as? any PolicyObjective)?.usesValues ?? false
    }.map(\.name)

    /// The rows of the recipe table.
    static let keys: [RecipeKey] = {
      let own = RecipeKey.Condition(key: "kind", values: [Kind.checkpoint.rawValue])
      func key(
        _ name: String, _ kind: RecipeKey.Kind, _ fallback: RecipeKey.Default, in bounds: RecipeKey.Bounds? = nil,
        only condition: RecipeKey.Condition? = nil, _ summary: String
      ) -> RecipeKey {
        RecipeTable.row("stages[].critic." + name, kind, fallback, in: bounds, only: condition, summary)
      }
      return [
        RecipeTable.section(
          "stages[].critic", only: .init(key: "objective", values: objectives),
          "What foresees the reward at every token. The run leaves it in `critic/`."),
        key(
          "kind", RecipeTable.choice(Kind.self), .value(.string(Kind.trunk.rawValue)),
          "A value head on the policy's own hidden states, or a model of its own: a second model in memory and in every pass."
        ),
        key(
          "path", .path(.model), .sameAs(".model.path"), only: own,
          "A checkpoint with the policy's tokens: a reward model, a critic, or a language model or preset, which gets a fresh head."
        ),
        key(
          "train", RecipeTable.choice(Recipe.Model.Training.self), .sameAs(".model.train"), only: own,
          "Train all of its weights, or an adapter shaped like the policy's; its head always."),
        key(
          "learning_rate", .number,
          .derived(meaning: "10 times the stage's `optimizer.learning_rate`") { scope in
            let optimizer = scope.enclosing["optimizer"]
            return .double(10 * (optimizer?["learning_rate"]?.double ?? 0))
          }, in: .within(0, 10_000),
          "Peak learning rate of the value head or of the model of its own; the stage's optimizer says all else."),
        key(
          "warmup_steps", .int, .value(0), in: RecipeTable.count(from: 0),
          "Steps at the stage's begin in which the critic learns and the policy stays as it is."),
      ]
    }()
  }
}
