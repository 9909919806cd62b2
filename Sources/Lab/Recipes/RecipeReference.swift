import Core
import Objectives

extension Recipe.Stage {
  /// Where the log-probabilities of the frozen model come from.
  public struct Reference: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
      /// `adapter` with `train: lora`, `copy` with `train: full`.
      case auto
      /// The policy with its adapter off.
      case adapter
      /// What is trained as it stood when the stage began.
      case copy
      /// Computed once, and read from a file since.
      case cached
    }

    public var kind: Kind
    /// The folder of the files of `cached`.
    public var cache: String
    /// It moves towards the policy during the stage.
    public var isSynchronized: Bool
    /// Optimizer steps between two moves.
    public var syncSteps: Int
    /// The policy's share in a move.
    public var mixup: Double

    /// Of an objective that reads no reference.
    static let none = Reference()

    private init() {
      (kind, cache, isSynchronized, syncSteps, mixup) = (.auto, "", false, 1, 0)
    }

    init(_ values: RecipeValues) {
      kind = values.choice("reference")
      cache = values.optionalString("reference_cache") ?? ""
      isSynchronized = values.bool("sync_ref_model")
      syncSteps = values.int("ref_model_sync_steps")
      mixup = values.number("ref_model_mixup_alpha")
    }

    /// Names of the objectives that may read one.
    static let objectives = ObjectiveRegistry.all.filter {
      $0.kind == .rollouts || (try? $0.make(JSON.Object()))?.usesReference == true
    }.map(\.name)

    /// The rows of the recipe table.
    static let keys: [RecipeKey] = {
      let readers = RecipeKey.Condition(key: "objective", values: objectives)
      let cached = RecipeKey.Condition(key: "reference", values: [Kind.cached.rawValue])
      func key(
        _ name: String, _ kind: RecipeKey.Kind, _ fallback: RecipeKey.Default, in bounds: RecipeKey.Bounds? = nil,
        only condition: RecipeKey.Condition, _ summary: String
      ) -> RecipeKey {
        RecipeTable.row("stages[]." + name, kind, fallback, in: bounds, only: condition, summary)
      }
      return [
        key(
          "reference", RecipeTable.choice(Kind.self), .value("auto"), only: readers,
          "The frozen model: the policy with its `adapter` off; a `copy` of what is trained as it stood when the stage began; or `cached`: of either, computed once and kept on disk. `auto` is `adapter` with `train: lora`, else `copy`."
        ),
        key(
          "reference_cache", .path(.output),
          .derived(meaning: "`reference-cache` in the recipe's `output`") {
            .string(($0.root["output"]?.string ?? "runs") + "/reference-cache")
          }, only: cached, "The folder of the files of `cached`; runs may share it."),
        key(
          "sync_ref_model", .bool, .value(false), only: readers,
          "Move the reference towards the policy during the stage (TR-DPO); for `copy` with `train: full`."),
        key(
          "ref_model_sync_steps", .int, .value(512), in: .within(1, 1_000_000_000), only: readers,
          "Optimizer steps between two such moves."),
        key(
          "ref_model_mixup_alpha", .number, .value(0.6), in: .within(0, 1), only: readers,
          "The policy's share in a move."),
      ]
    }()
  }
}
