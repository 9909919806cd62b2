import Core

/// An objective under a name of its own: itself, or with other defaults.
public struct ObjectiveEntry: Sendable {
  /// The word that a recipe's stage names it by.
  public let name: String
  /// What it does, one line.
  public let summary: String
  public let objective: any Objective.Type
  /// Parameters of the objective that have another default under this name.
  public let defaults: [String: JSON]
  /// Keys of the stage that have another default under this name.
  public let stageDefaults: [String: JSON]

  init(_ objective: any Objective.Type, stage: [String: JSON] = [:]) {
    name = objective.name
    summary = objective.summary
    self.objective = objective
    defaults = [:]
    stageDefaults = stage
  }

  init(
    _ name: String, _ summary: String, _ objective: any Objective.Type, _ defaults: [String: JSON],
    stage: [String: JSON] = [:]
  ) {
    self.name = name
    self.summary = summary
    self.objective = objective
    self.defaults = defaults
    stageDefaults = stage
  }

  /// What kind of data it learns from.
  public var kind: Kind {
    switch objective {
    case is any SupervisedObjective.Type: .supervised
    case is any PairObjective.Type: .pairs
    case is any UnpairedObjective.Type: .unpaired
    case is any ScoreObjective.Type: .scores
    default: .rollouts
    }
  }

  public enum Kind: Sendable, CaseIterable {
    /// Completions to imitate.
    case supervised
    /// Chosen and rejected completions.
    case pairs
    /// Completions with a label.
    case unpaired
    /// Pairs, for a model that scores.
    case scores
    /// Completions that the policy writes.
    case rollouts
  }

  /// The objective with the hyper-parameters that are given, and this name's defaults for the others.
  ///
  /// - Parameter isLenient: pass over parameters that the others leave without meaning.
  public func make(_ given: JSON.Object, isLenient: Bool = false) throws -> any Objective {
    var given = given
    for (key, value) in defaults where given[key]?.isNull ?? true { given[key] = value }
    return try objective.make(given, isLenient: isLenient)
  }
}

/// Every objective that a recipe can name.
public enum ObjectiveRegistry {
  /// In the order of the documentation.
  public static let all: [ObjectiveEntry] = [
    .init(SFT.self),
    .init(RewardModelObjective.self),
    .init(DPO.self),
    .init(CPO.self),
    .init(
      "simpo", "CPO with length-normalised rewards, a margin, and no imitation", CPO.self,
      ["loss_type": "simpo", "cpo_alpha": 0, "beta": 2.0, "simpo_gamma": 1.0]),
    .init(ORPO.self),
    .init(KTO.self),
    .init(BCO.self),
    .init(GRPO.self),
    .init(
      "dapo", "GRPO with a higher upper clip, a token mean, refilled batches and overlong filtering", GRPO.self,
      ["epsilon_high": 0.28, "loss_type": "dapo"],
      stage: ["dynamic_sampling": true, "mask_truncated_completions": true]),
    .init(
      "dr_grpo", "GRPO without length and deviation in its divisors", GRPO.self,
      ["loss_type": "dr_grpo", "scale_rewards": "none"]),
    .init(
      "gspo", "GRPO with one importance ratio per completion", GRPO.self,
      [
        "loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4,
      ]),
    .init(
      "cispo", "GRPO that clips the importance weight and keeps every gradient", GRPO.self,
      ["loss_type": "cispo", "epsilon_high": 5]),
    .init(
      "sapo", "GRPO with a soft gate instead of the clip", GRPO.self, ["loss_type": "sapo"]),
    .init(RLOO.self, stage: ["generations": 2]),
    .init(ReinforcePlusPlus.self),
    .init(PPO.self, stage: ["generations": 1, "iterations": 4]),
  ]

  /// The entry of that name.
  public static func named(_ name: String) -> ObjectiveEntry? { all.first { $0.name == name } }

  /// Objectives without their variants, each once.
  public static var objectives: [any Objective.Type] { all.filter { $0.name == $0.objective.name }.map(\.objective) }

  /// Names under which an objective goes.
  public static func names(of objective: any Objective.Type) -> [String] {
    all.filter { $0.objective == objective }.map(\.name)
  }

  /// Names of all objectives that learn from that kind of data.
  public static func names(of kinds: ObjectiveEntry.Kind...) -> [String] {
    all.filter { kinds.contains($0.kind) }.map(\.name)
  }
}
