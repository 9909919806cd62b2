import AttuneTensor
import Core
import Foundation
import Models

/// What a run does: the model, the data, the stages and the rewards, every key with its value.
///
/// Read from YAML by the one table in `RecipeTable`, which also documents the keys. Paths are absolute: those in the
/// file are read from the recipe's folder, those of overrides from the working directory; only `output` stays as
/// written, relative to the working directory.
public struct Recipe: Sendable, Equatable {
  /// The file it was read from.
  public var file: String
  /// The file's text, as it was written.
  public var text: String
  /// Every key of the table with its value, defaults and overrides applied. `init(effective:text:file:)` makes the same
  /// recipe of it.
  public var effective: JSON

  public var name: String
  public var seed: UInt64
  /// 0 takes all cores.
  public var threads: Int
  public var dtype: Precision
  public var output: String
  public var model: Model
  /// The defaults of the stages.
  public var optimizer: Optimizer
  /// In the order of the file.
  public var data: [Source]
  public var stages: [Stage]
  public var judges: [Judge]
  public var rewards: [Reward]
  public var rewardLimits: RewardLimits
  public var watch: Watch
  public var evaluation: Evaluation
  public var rollout: Rollout
  /// GiB that the run may need; nil takes what the machine has, 0 does not ask.
  public var memoryLimit: Double?
  public var checkpoint: Checkpoint
  public var report: Report

  /// The source of that name.
  public func source(_ name: String) -> Source? { data.first { $0.name == name } }

  /// Reads the recipe at `path`.
  ///
  /// - Parameters:
  ///   - overrides: `key.path=value`; the value is a YAML scalar, or a list or mapping in brackets. Stages and rewards
  ///     are addressed by name or index.
  ///   - checkFiles: false takes paths that lead nowhere, to look at a recipe away from its files.
  /// - Throws: one `AttuneError` (request) with everything that is wrong, each with its line and column.
  public static func load(path: String, overrides: [String] = [], checkFiles: Bool = true) throws -> Recipe {
    guard RecipePaths.isFile(path) else {
      throw AttuneError.request(
        "there is no recipe at this path", at: .init(file: path),
        hint: RecipePaths.nearestNeighbour(of: path).map { "did you mean '\($0)'?" })
    }
    guard let bytes = FileManager.default.contents(atPath: path) else {
      throw AttuneError.request("the recipe cannot be read", at: .init(file: path), hint: "look at its permissions")
    }
    return try parse([UInt8](bytes), file: path, overrides: overrides, checkFiles: checkFiles)
  }

  /// Reads a recipe from its text; `file` gives the folder for its paths and the name for errors.
  public static func parse(
    _ text: String, file: String, overrides: [String] = [], checkFiles: Bool = true
  ) throws -> Recipe {
    try parse(Array(text.utf8), file: file, overrides: overrides, checkFiles: checkFiles)
  }

  private static func parse(_ bytes: [UInt8], file: String, overrides: [String], checkFiles: Bool) throws -> Recipe {
    let root = try YAML.node(bytes, file: file)
    return try Recipe(
      root, text: String(decoding: bytes, as: UTF8.self), file: file, overrides: overrides, checkFiles: checkFiles)
  }

  /// The recipe that a run was started with, from the run store.
  public init(effective: JSON, text: String, file: String, checkFiles: Bool = false) throws {
    try self.init(RecipeNode(effective), text: text, file: file, overrides: [], checkFiles: checkFiles)
  }

  /// The same recipe with some keys set as `--set` does.
  ///
  /// - Throws: `AttuneError` (request) if they do not go with the others.
  func setting(_ overrides: [String]) throws -> Recipe {
    try Recipe(RecipeNode(effective), text: text, file: file, overrides: overrides, checkFiles: false)
  }

  private init(_ root: RecipeNode, text: String, file: String, overrides: [String], checkFiles: Bool) throws {
    var problems = RecipeProblems(file: file)
    let whole = try RecipeExtension.resolve(root, file: file, problems: &problems)
    let tree = RecipeOverrides.apply(overrides, to: whole, problems: &problems)
    var reader = RecipeReader(tree, file: file, checkFiles: checkFiles, problems: problems)
    RecipeChecks.run(&reader)
    if let error = reader.problems.error { throw error }
    try self.init(JSON(.object(reader.effective)), text: text, file: file)
  }

  /// `effective` has been through the reader.
  private init(_ effective: JSON, text: String, file: String) throws {
    let values = RecipeValues(effective)
    self.file = file
    self.text = text
    self.effective = effective
    name = values.string("name")
    seed = UInt64(values.int("seed"))
    threads = values.int("threads")
    dtype = values.choice("dtype")
    output = values.string("output")
    model = Model(values.section("model"))
    let optimizer = Optimizer(values.section("optimizer"), fallback: nil)
    self.optimizer = optimizer
    data = effective["data"]?.object?.entries.map { Source(name: $0, RecipeValues($1)) } ?? []
    stages = try values.sections("stages").map { try Stage($0, optimizer: optimizer) }
    judges = values.sections("judges").map { Judge($0) }
    rewards = values.sections("rewards").map { Reward($0) }
    rewardLimits = RewardLimits(values.section("reward_limits"))
    watch = Watch(values.section("watch"))
    evaluation = Evaluation(values.section("evaluation"))
    rollout = Rollout(values.section("rollout"))
    memoryLimit = values.section("memory").optionalNumber("limit_gib")
    checkpoint = Checkpoint(values.section("checkpoint"))
    report = Report(values.section("report"))
  }
}

extension Recipe {
  /// Type of weights and activations.
  public enum Precision: String, Sendable, CaseIterable { case f32, bf16 }

  /// The policy and what of it is trained.
  public struct Model: Sendable, Equatable {
    public enum Training: String, Sendable, CaseIterable { case full, lora }
    /// How frozen weights are held; bf16 is as the checkpoint has them.
    public enum Weights: String, Sendable, CaseIterable { case bf16, int8, int4 }

    /// An absolute folder, or `preset:NAME`.
    public var path: String
    public var weights: Weights
    public var train: Training
    /// A PEFT adapter's folder to start from.
    public var adapter: String?
    /// Parts that are not trained.
    public var freeze: Set<ModelPart>
    public var lora: LoRAConfiguration

    /// Parts that are trained.
    public var trainedParts: Set<ModelPart> { Set(ModelPart.allCases).subtracting(freeze) }

    /// The preset's name if `path` names one.
    public var preset: String? {
      path.hasPrefix(RecipePaths.presetPrefix) ? String(path.dropFirst(RecipePaths.presetPrefix.count)) : nil
    }

    init(_ values: RecipeValues) {
      path = values.string("path")
      weights = values.choice("weights")
      train = values.choice("train")
      adapter = values.optionalString("adapter")
      freeze = Set(values.json("freeze").array?.compactMap { $0.string.flatMap(ModelPart.init) } ?? [])
      lora = LoRAConfiguration(recipe: values.section("lora"))
    }
  }

  /// The model is given a score in the place of its words.
  public var trainsRewardModel: Bool { stages.contains { $0.entry.kind == .scores } }

  /// How the model's frozen weights are held, in the words of the room that holds them.
  public var weightFormat: WeightFormat {
    switch model.weights {
    case .bf16: .plain
    case .int8: .int8
    case .int4: .int4
    }
  }

  /// When and on what the policy is evaluated.
  public struct Evaluation: Sendable, Equatable {
    public enum Metric: String, Sendable, CaseIterable { case exactMatch = "exact_match" }

    /// Name of the source; nil evaluates nothing.
    public var data: String?
    /// Name of the source of held-out pairs; nil looks at none.
    public var preferences: String?
    /// Steps between evaluations; 0 only before the first stage and after each.
    public var every: Int
    /// 0 takes all samples.
    public var count: Int
    public var maxNewTokens: Int
    /// Rewards score the completions too.
    public var rewards: Bool
    public var metric: Metric

    init(_ values: RecipeValues) {
      data = values.optionalString("data")
      preferences = values.optionalString("preferences")
      every = values.int("every")
      count = values.int("count")
      maxNewTokens = values.int("max_new_tokens")
      rewards = values.bool("rewards")
      metric = values.choice("metric")
    }
  }

  /// How much sampling may hold and compute at a time.
  public struct Rollout: Sendable, Equatable {
    public var cacheMiB: Int
    public var sequences: Int
    public var prefillTokens: Int

    init(_ values: RecipeValues) {
      cacheMiB = values.int("cache_mib")
      sequences = values.int("sequences")
      prefillTokens = values.int("prefill_tokens")
    }
  }

  /// How often the run is saved.
  public struct Checkpoint: Sendable, Equatable {
    /// Steps between checkpoints; 0 saves at stage ends only.
    public var every: Int
    public var keep: Int

    init(_ values: RecipeValues) {
      every = values.int("every")
      keep = values.int("keep")
    }
  }

  /// The page that is written at the end.
  public struct Report: Sendable, Equatable {
    public var enabled: Bool
    public var title: String
    /// Pictures in the contact sheet.
    public var pictures: Int

    init(_ values: RecipeValues) {
      enabled = values.bool("enabled")
      title = values.string("title")
      pictures = values.int("pictures")
    }
  }
}
