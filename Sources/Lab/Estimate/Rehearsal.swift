import AttuneTensor
import Core
import Foundation
import Models
import Rewards

/// Estimates a run by going through its first steps without computing anything.
///
/// Model, adapter, optimizer, rollouts, objectives and the tape are those of the run, on a backend that takes and gives back
/// the memory of every tensor, kernel scratch included, and writes to none of it. So nothing about an objective or a layer
/// has to be known here, and an estimate cannot fall behind the code. Of weights only the headers of their files are read.
public enum Rehearsal {
  /// - Parameters:
  ///   - rewards: what the rewards say of themselves, in the recipe's order; none if they are not loaded.
  ///   - rates: for the estimate of time.
  /// - Throws: what the run would say of the checkpoint, the data or the first samples.
  public static func estimate(
    _ recipe: Recipe, rewards: [RewardDescriptor] = [], rates: MachineRates = .unmeasured
  ) throws -> MemoryEstimate {
    let folder = NSTemporaryDirectory() + "/attune-rehearsal-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try FileManager.default.createDirectory(atPath: folder + "/reference", withIntermediateDirectories: true)
    var recipe = recipe
    let evaluated = recipe.evaluation.count
    // One batch of an evaluation is as large as the next, and one of sampled preferences.
    recipe.evaluation.count = evaluated > 0 ? min(evaluated, 128) : 128
    for i in recipe.data.indices {
      guard case .sampled(var sampled) = recipe.data[i].content else { continue }
      sampled.settings.prompts = min(max(1, sampled.settings.prompts), Trainer.rehearsedSamples)
      recipe.data[i].content = .sampled(sampled)
    }
    let cached = recipe.stages.filter { $0.reference.kind == .cached }
    for i in recipe.stages.indices where recipe.stages[i].reference.kind == .cached {
      recipe.stages[i].reference.kind = .auto
    }
    let backend = try CPUBackend(threads: recipe.threads, rehearsal: rates)
    let trainer = try trainer(recipe, rewards, backend, folder)
    let stages = try trainer.rehearse()
    return MemoryEstimate(
      phases: stages.flatMap { stage in
        stage.phases.map { .init(stage: stage.name, name: $0.name, bytes: $0.bytes, parts: $0.parts) }
      },
      tensorBytes: backend.highWaterBytes,
      mappedBytes: trainer.policy.model.lookedUpBytes(tokens: stages.map(\.tokens).max() ?? 0),
      programBytes: ProcessMemory.residentBytes,
      durations: stages.map { .init(stage: $0.name, steps: $0.steps, seconds: $0.seconds) },
      evaluation: trainer.evaluationTime(of: stages, count: evaluated), notes: notes(recipe) + cached.map(cachedNote))
  }

  private static func trainer(
    _ recipe: Recipe, _ rewards: [RewardDescriptor], _ backend: CPUBackend, _ folder: String
  ) throws -> Trainer {
    func outline(_ preset: String, _ name: String) throws -> String {
      let path = folder + "/" + name
      try Preset.named(preset).write(to: path, seed: recipe.seed, isOutline: true)
      return path
    }
    let start = try recipe.model.preset.map { try outline($0, "start") } ?? recipe.model.path
    let (precision, weights) = (recipe.productPrecision, recipe.weightFormat)
    let (policy, scorer) = try Run.load(recipe, from: start, backend: backend)
    let run = RunFolder(id: "rehearsal", path: folder)
    let store = try RunStore.create(
      in: run, .init(name: recipe.name, file: recipe.file, recipe: recipe.text, effective: recipe.effective),
      stages: recipe.stages.map { .init(name: $0.name, objective: $0.entry.name, steps: $0.steps) })
    return Trainer(
      recipe: recipe, policy: policy, scorer: scorer, streams: try DataSources.open(recipe),
      rewards: try RewardSet(rehearsing: recipe, rewards), checkpoints: CheckpointStore(runFolder: folder),
      folder: run, journal: OutcomeJournal(store: store, replays: false), observers: [],
      services: HostServices(tokenizer: policy.tokenizer, judges: try JudgeService([])), isCancelled: { false },
      referenceFolder: folder + "/reference",
      makeReference: {
        try LanguageModel.load(folder: start, backend: backend, precision: precision, weights: weights)
      },
      makeCritic: { critic in
        try Critic.load(
          critic, folder: critic.preset.map { try outline($0, "critic") } ?? critic.path ?? start, for: policy,
          recipe: recipe)
      })
  }

  private static func cachedNote(_ stage: Recipe.Stage) -> String {
    "the cached reference of stage \(stage.name) is taken as a model that stays in memory; it does while numbers are missing"
  }

  private static func notes(_ recipe: Recipe) -> [String] {
    var notes: [String] = []
    if recipe.stages.contains(where: { $0.rollouts != nil }) || recipe.evaluation.data != nil {
      notes.append("sampled completions are taken as long as max_new_tokens allows")
    }
    notes.append("lengths are those of the first samples of each stage (\(Trainer.rehearsedSamples), or two steps)")
    if !recipe.rewards.isEmpty { notes.append("memory and time of rewards and judges are not in it") }
    return notes
  }
}

extension Recipe {
  /// What products are computed in.
  var productPrecision: AttuneTensor.Precision { dtype == .bf16 ? .bf16 : .full }
}

extension LanguageModel {
  /// Bytes of a mapped table of tokens that so many lookups may bring into memory.
  func lookedUpBytes(tokens: Int) -> Int {
    // What the system maps around a page that is touched.
    let around = 64 << 10
    return parameters.filter { $0.name.hasSuffix("embed_tokens.weight") && !$0.isTrainable }.reduce(0) {
      let table = $1.value
      return $0 + min(table.count * table.dtype.size, tokens * around)
    }
  }
}

extension Trainer {
  /// Seconds of one evaluation, and how many the run makes.
  func evaluationTime(of stages: [RehearsedStage], count wanted: Int) -> (seconds: Double, count: Int) {
    guard let name = recipe.evaluation.data, let stream = streams[name], let first = stages.first,
      let phase = first.phases.first(where: { $0.name == "evaluation" })
    else { return (0, 0) }
    let available = stream.source.count ?? 512
    let whole = wanted > 0 ? min(wanted, available) : available
    let rehearsed = min(recipe.evaluation.count, available)
    let every = recipe.evaluation.every
    let count = stages.reduce(1) { sum, stage in
      sum + 1 + (every > 0 && stage.steps > 0 ? (stage.steps - 1) / every : 0)
    }
    // The first stage was evaluated before and after.
    return (phase.seconds / 2 * Double(whole) / Double(max(1, rehearsed)), count)
  }
}
