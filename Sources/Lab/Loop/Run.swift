import AttuneTensor
import AttuneVision
import Core
import Datasets
import Foundation
import Models
import Rewards

/// A run from recipe to finished model: makes its folder, builds what the loop needs, and goes on where it was stopped.
///
/// Folder: `run.sqlite` (the store), `start/` (a preset's fresh checkpoint), `checkpoints/`, `model/` (the result in Hugging
/// Face's layout), `adapter/` (with LoRA), `report/`.
public struct Run {
  public let recipe: Recipe
  public let folder: RunFolder
  let store: RunStore
  private let secondsBefore: Double
  private let isNew: Bool
  var allowsChangedRewards = false

  /// Starts a new run of a recipe.
  ///
  /// - Parameter output: the run's folder; nil makes one in the recipe's `output`.
  public static func start(_ recipe: Recipe, output: String? = nil) throws -> Run {
    let folder = try RunFolder.create(root: recipe.output, name: recipe.name, at: output)
    try writeStart(recipe, folder)
    return Run(recipe: recipe, folder: folder, store: try createStore(recipe, folder), secondsBefore: 0, isNew: true)
  }

  /// Goes on with an interrupted run; nil if it is finished already.
  ///
  /// - Parameters:
  ///   - run: an id, a folder, or `latest`.
  ///   - root: the folder that holds runs.
  ///   - allowsChangedRewards: goes on even if rewards are made of other code than before.
  public static func resume(_ run: String, root: String, allowsChangedRewards: Bool = false) throws -> Run? {
    var found = try resume(run, root: root)
    found?.allowsChangedRewards = allowsChangedRewards
    return found
  }

  private static func resume(_ run: String, root: String) throws -> Run? {
    let folder: RunFolder
    if let unborn = try stillborn(run, root: root) {
      folder = unborn
    } else {
      folder = try RunFolder.resolve(run, root: root)
      if let reader = try? RunStore.read(folder), let start = try? reader.start().start {
        if try reader.status() == .finished { return nil }
        let recipe = try Recipe(effective: start.effective, text: start.recipe, file: start.file)
        guard CheckpointStore(runFolder: folder.path).all().isEmpty else {
          let seconds = try reader.show()["seconds"]?.double ?? 0
          return Run(
            recipe: recipe, folder: folder, store: try RunStore.open(folder), secondsBefore: seconds, isNew: false)
        }
        // Killed before its first checkpoint: it starts over in the same folder.
        return Run(
          recipe: recipe, folder: folder, store: try createStore(recipe, folder), secondsBefore: 0, isNew: true)
      }
    }
    let recipe = try readStart(folder)
    return Run(recipe: recipe, folder: folder, store: try createStore(recipe, folder), secondsBefore: 0, isNew: true)
  }

  // MARK: A run that was killed before its store was written

  /// What the run was started with, the first file in its folder: the store comes after it.
  private static let startFile = "start.json"

  private static func writeStart(_ recipe: Recipe, _ folder: RunFolder) throws {
    let start: JSON = ["file": .string(recipe.file), "recipe": .string(recipe.text), "effective": recipe.effective]
    try AtomicFile.write(folder.path + "/" + startFile, text: start.text() + "\n")
  }

  private static func readStart(_ folder: RunFolder) throws -> Recipe {
    let path = folder.path + "/" + startFile
    let start = try JSON.parse(MappedFile.read(path), file: path)
    guard let file = start["file"]?.string, let text = start["recipe"]?.string, let effective = start["effective"]
    else {
      throw AttuneError.request("the file does not say what the run was started with", at: .init(file: path))
    }
    return try Recipe(effective: effective, text: text, file: file)
  }

  /// The folder that `run` means if it holds a start but no readable store yet.
  private static func stillborn(_ run: String, root: String) throws -> RunFolder? {
    let files = FileManager.default
    func isStillborn(_ path: String) -> Bool {
      guard files.fileExists(atPath: path + "/" + startFile) else { return false }
      let folder = RunFolder(id: (path as NSString).lastPathComponent, path: path)
      return (try? RunStore.read(folder).start()) == nil
    }
    let base = RunFolder.absolute(root)
    if run == "latest" {
      // Ids begin with the time: the greatest name is the newest run.
      guard
        let newest = (try? files.contentsOfDirectory(atPath: base))?.sorted().last(where: {
          files.fileExists(atPath: base + "/" + $0 + "/" + startFile)
        }), isStillborn(base + "/" + newest)
      else { return nil }
      return RunFolder(id: newest, path: base + "/" + newest)
    }
    for path in [RunFolder.absolute(run), base + "/" + run] where isStillborn(path) {
      return RunFolder(id: (path as NSString).lastPathComponent, path: path)
    }
    return nil
  }

  private static func createStore(_ recipe: Recipe, _ folder: RunFolder) throws -> RunStore {
    try RunStore.create(
      in: folder,
      RunStore.Start(name: recipe.name, file: recipe.file, recipe: recipe.text, effective: recipe.effective),
      stages: recipe.stages.map {
        RunStore.Stage(name: $0.name, objective: $0.entry.name, steps: $0.steps)
      })
  }

  /// Everything that can be known before weights are read: data files, the model's configuration, reward plugins, and what
  /// the run will take of memory and time.
  public static func check(_ recipe: Recipe, workerCommand: [String]) throws -> MemoryVerdict {
    let streams = try DataSources.open(recipe)
    let seesPictures: Bool
    if let preset = recipe.model.preset {
      seesPictures = try Preset.named(preset).vision
    } else {
      seesPictures = try ModelConfiguration.load(folder: recipe.model.path).vision != nil
    }
    try checkParts(recipe, present: seesPictures ? Set(ModelPart.allCases) : [.language])
    try recipe.checkJudges()
    for critic in recipe.stages.compactMap(\.critic) where critic.kind == .checkpoint {
      if let preset = critic.preset {
        _ = try Preset.named(preset)
      } else if let path = critic.path {
        _ = try ModelConfiguration.load(folder: path)
      }
    }
    let rewards = try RewardSet(recipe, workerCommand: workerCommand, copies: nil)
    defer { rewards.close() }
    try rewards.checkColumns(recipe, streams)
    return try MemoryVerdict.judge(
      recipe, rewards: rewards.entries.map(\.reward.descriptor), rates: .measured(threads: recipe.threads))
  }

  /// Runs to the end, or until `isCancelled` says stop.
  ///
  /// - Parameters:
  ///   - workerCommand: starts this program as the process that a reward plugin runs in.
  ///   - report: tells a person something (a passed-over checkpoint, where files are).
  public func execute(
    observers: [any RunObserver], workerCommand: [String], isCancelled: @escaping () -> Bool,
    report: @escaping (String) -> Void
  ) throws -> RunEnding {
    let storeObserver = StoreObserver(store, secondsBefore: secondsBefore)
    var hasBegun = false
    do {
      let ending = try loop(observers + [storeObserver], workerCommand, isCancelled, report, &hasBegun)
      try store.finish(ending == .finished ? .finished : .interrupted, seconds: storeObserver.runSeconds)
      return ending
    } catch let error as AttuneError where error.kind == .request && !hasBegun {
      // A wrong request leaves no run behind, and one that was there as it was. The run stands from its first moment all
      // the same, so that one killed while plugins were compiled can be gone on with.
      if isNew { discard() } else { try store.finish(.interrupted, seconds: secondsBefore) }
      throw error
    } catch {
      try? store.log(.error, (error as? AttuneError)?.message ?? "\(error)")
      try? store.finish(.failed, seconds: storeObserver.runSeconds)
      // The request was checked before the first step: what goes wrong now goes wrong at work.
      if var failure = error as? AttuneError {
        failure.kind = .work
        throw failure
      }
      throw error
    }
  }

  private func loop(
    _ observers: [any RunObserver], _ workerCommand: [String], _ isCancelled: @escaping () -> Bool,
    _ report: @escaping (String) -> Void, _ hasBegun: inout Bool
  ) throws -> RunEnding {
    let estimate = try estimateMemory(report)
    let backend = try CPUBackend(threads: recipe.threads)
    let precision = recipe.productPrecision
    let checkpoints = CheckpointStore(runFolder: folder.path)
    let start = try startFolder()
    let weights = recipe.weightFormat
    let (policy, scorer) = try Run.load(recipe, from: start, backend: backend)
    for remark in policy.remarks { report("note: \(remark)") }
    if let remark = policy.model.adapter?.remark { report("note: \(remark)") }
    for critic in recipe.stages.compactMap(\.critic) where critic.kind == .checkpoint {
      try Critic.check(folder: criticFolder(critic), for: policy)
    }
    let saved = isNew ? nil : try checkpoints.newest(report: report)
    let streams = try DataSources.open(recipe)
    let rewards = try RewardSet(recipe, workerCommand: workerCommand, copies: folder.path + "/rewards")
    defer { rewards.close() }
    try rewards.checkColumns(recipe, streams)
    try recordRewards(rewards.identities, at: saved?.position)
    // Going on with a run that was paused when it was stopped is an answer to the pause.
    if !isNew { try RunControl(folder).clear() }
    if let saved {
      try store.forget(after: saved.position.stage, step: saved.position.step - 1)
      report("going on from \(saved.path)")
    } else if !isNew {
      // Every checkpoint was damaged.
      try store.forget(after: -2, step: 0)
      report("no checkpoint is whole: starting over")
    }
    for gap in RewardLoader.confinementGaps(rewards.entries.map(\.reward)) { report("note: \(gap)") }
    let services = HostServices(tokenizer: policy.tokenizer, judges: try recipe.judgeService())
    let references = folder.path + "/reference"
    try FileManager.default.createDirectory(atPath: references, withIntermediateDirectories: true)
    let trainer = Trainer(
      recipe: recipe, policy: policy, scorer: scorer, streams: streams, rewards: rewards, checkpoints: checkpoints,
      folder: folder,
      journal: OutcomeJournal(store: store, replays: !isNew), observers: observers,
      services: services, isCancelled: isCancelled, referenceFolder: references,
      makeReference: {
        try LanguageModel.load(folder: start, backend: backend, precision: precision, weights: weights)
      },
      makeCritic: { critic in
        try Critic.load(critic, folder: criticFolder(critic), for: policy, recipe: recipe)
      })
    hasBegun = true
    let ending = try trainer.run(from: saved)
    if let estimate {
      report(estimate.comparison(held: backend.highWaterBytes, resident: ProcessMemory.peakBytes))
    }
    guard ending == .finished else { return ending }
    if let scorer { try scorer.save(to: folder.path + "/model") } else { try policy.save(to: folder.path + "/model") }
    if policy.model.adapter != nil {
      try FileManager.default.createDirectory(atPath: folder.path + "/adapter", withIntermediateDirectories: true)
      try policy.model.saveAdapter(
        folder: folder.path + "/adapter", baseModel: recipe.model.path, scoreHead: scorer?.head)
    }
    return ending
  }

  /// Removes what a run writes before its first step, and the folder if nothing else is in it.
  private func discard() {
    let files = FileManager.default
    let own = [
      Run.startFile, "run.sqlite", "run.sqlite-wal", "run.sqlite-shm", "run.lock", "start", "critic-start", "reference",
      "rewards", "pause",
    ]
    for name in own { try? files.removeItem(atPath: folder.path + "/" + name) }
    if (try? files.contentsOfDirectory(atPath: folder.path))?.isEmpty == true {
      try? files.removeItem(atPath: folder.path)
    }
  }

  /// The checkpoint folder that training starts from; a preset is written into the run's folder first.
  private func startFolder() throws -> String {
    guard let name = recipe.model.preset else { return recipe.model.path }
    return try written(preset: name, to: folder.path + "/start")
  }

  /// The checkpoint folder that a critic with a model of its own starts from.
  private func criticFolder(_ critic: Recipe.Stage.Critic) throws -> String {
    guard let name = critic.preset else { return critic.path ?? recipe.model.path }
    return try written(preset: name, to: folder.path + "/critic-start/" + name)
  }

  private func written(preset name: String, to start: String) throws -> String {
    let preset = try Preset.named(name)
    // Written whole again if an earlier attempt was stopped in the middle; the same seed gives the same bytes.
    if !FileManager.default.fileExists(atPath: start + "/model.safetensors") || isNew {
      try preset.write(to: start, seed: recipe.seed)
    }
    return start
  }

  /// A part that is frozen, or has a rate of its own, must be there.
  private static func checkParts(_ recipe: Recipe, present: Set<ModelPart>) throws {
    let rated = recipe.stages.flatMap { $0.optimizer.partLearningRates.keys }
    for (parts, key) in [(Array(recipe.model.freeze), "model.freeze names"), (rated, "optimizer has a rate for")] {
      guard let part = Set(parts).subtracting(present).map(\.rawValue).min() else { continue }
      throw AttuneError.request(
        "\(key) the part \(part), which the model does not have", at: .init(file: recipe.file),
        hint: "it has: \(present.map(\.rawValue).sorted().joined(separator: ", "))")
    }
  }

  /// The model that a recipe trains, with what it trains of it: a policy, or the trunk of a reward model.
  static func load(
    _ recipe: Recipe, from folder: String, backend: any Backend
  ) throws -> (policy: Policy, scorer: RewardModel?) {
    let precision: Precision = recipe.dtype == .bf16 ? .bf16 : .full
    guard recipe.trainsRewardModel else {
      let policy = try Policy(folder: folder, backend: backend, precision: precision, weights: recipe.weightFormat)
      try prepare(policy, recipe)
      return (policy, nil)
    }
    let scorer = try RewardModel(
      training: folder, backend: backend, precision: precision, weights: recipe.weightFormat, seed: recipe.seed)
    try prepare(scorer.policy, recipe, scorer)
    return (scorer.policy, scorer)
  }

  /// Makes the parameters trainable that the recipe trains.
  private static func prepare(_ policy: Policy, _ recipe: Recipe, _ scorer: RewardModel? = nil) throws {
    try checkParts(recipe, present: policy.model.parts)
    switch recipe.model.train {
    case .full:
      guard recipe.model.adapter == nil else {
        throw AttuneError.request(
          "model.train is full, but model.adapter names an adapter", at: .init(file: recipe.file),
          hint: "train: lora goes on with the adapter; `attune adapter merge` folds it into the weights")
      }
      policy.model.setTrainable(true, parts: recipe.model.trainedParts)
    case .lora:
      let parts = recipe.model.trainedParts
      try policy.model.backend.making(.adapter) {
        if let adapter = recipe.model.adapter {
          if let scorer {
            try scorer.loadAdapter(folder: adapter, parts: parts)
          } else {
            try policy.model.loadAdapter(folder: adapter, parts: parts)
          }
        } else {
          try policy.model.attachLoRA(recipe.model.lora, seed: recipe.seed, parts: parts)
        }
      }
    }
    guard scorer != nil || !policy.model.trainedParameters.isEmpty else {
      throw AttuneError.request(
        "nothing is trained: the parts that the model has are frozen", at: .init(file: recipe.file),
        hint: "take a part out of model.freeze")
    }
    if let dropout = policy.model.adapter?.configuration.dropout, dropout > 0,
      let stage = recipe.stages.first(where: { $0.rollouts != nil })
    {
      throw AttuneError.request(
        "the adapter has a dropout of \(dropout), but stage \(stage.name) is on-policy: it trains on what was sampled without dropout",
        at: .init(file: (recipe.model.adapter ?? recipe.file)), hint: "set lora_dropout to 0 in its adapter_config.json"
      )
    }
  }
}
