import AttuneTensor
import Core
import Datasets
import Foundation
import Models
import Objectives
import Rewards
import Rollout

/// How a run ended.
public enum RunEnding: Sendable, Equatable {
  case finished
  /// Stopped on request, with a checkpoint.
  case interrupted
}

/// The loop: stages of steps, evaluations between them, checkpoints behind them.
///
/// Everything that a step computes is a function of the recipe, the weights and the counters in `RunPosition`: a run that
/// was stopped anywhere goes on from its last checkpoint with the same bits.
final class Trainer {
  let recipe: Recipe
  let policy: Policy
  /// The reward model that is trained, whose trunk is the policy's place; nil where the policy writes.
  let scorer: RewardModel?
  var streams: [String: DataStream]
  let rewards: RewardSet
  private(set) var rewardInputs: RewardInputs
  let checkpoints: CheckpointStore
  let folder: RunFolder
  private let control: RunControl
  let journal: OutcomeJournal
  let observers: [any RunObserver]
  /// What rewards may call on.
  let services: HostServices
  let isCancelled: () -> Bool
  var position = RunPosition()
  var optimizer: Optimizer?
  var reference: ReferencePolicy?
  var critic: Critic?
  let engine: LocalEngine
  let clock: PhaseClock
  var componentNames = ComponentNames()
  let watch: RewardWatch
  let makeReferenceModel: () throws -> LanguageModel
  private let makeCritic: (Recipe.Stage.Critic) throws -> RewardModel
  /// Where reference weights are kept.
  let referenceFolder: String

  init(
    recipe: Recipe, policy: Policy, scorer: RewardModel? = nil, streams: [String: DataStream], rewards: RewardSet,
    checkpoints: CheckpointStore,
    folder: RunFolder, journal: OutcomeJournal, observers: [any RunObserver], services: HostServices,
    isCancelled: @escaping () -> Bool,
    referenceFolder: String,
    makeReference: @escaping () throws -> LanguageModel,
    makeCritic: @escaping (Recipe.Stage.Critic) throws -> RewardModel
  ) {
    self.recipe = recipe
    self.policy = policy
    self.scorer = scorer
    self.streams = streams
    self.rewards = rewards
    rewardInputs = RewardInputs(policy, rewards.entries.map(\.reward.descriptor))
    self.folder = folder
    control = RunControl(folder)
    self.checkpoints = checkpoints
    self.journal = journal
    self.observers = observers
    self.services = services
    self.isCancelled = isCancelled
    makeReferenceModel = makeReference
    self.makeCritic = makeCritic
    self.referenceFolder = referenceFolder
    clock = PhaseClock(on: policy.model.backend)
    watch = RewardWatch(recipe, run: journal.store.folder.path)
    engine = LocalEngine(
      policy.model, decoder: policy.tokenizer, seed: recipe.seed,
      limits: RolloutLimits(
        cacheBytes: recipe.rollout.cacheMiB << 20, sequences: recipe.rollout.sequences,
        prefillTokens: recipe.rollout.prefillTokens))
  }

  /// What optimizers update.
  private var trainedParameters: [Parameter] { scorer?.trainedParameters ?? policy.model.trainedParameters }

  var backend: any Backend { policy.model.backend }

  func emit(_ event: RunEvent) throws {
    for observer in observers { try observer.handle(event) }
  }

  // MARK: Stages

  /// Runs from `position` to the end.
  func run(from saved: CheckpointStore.Saved?) throws -> RunEnding {
    if let saved {
      try saved.restore(trainedParameters, on: backend)
      position = saved.position
      try rewards.restore(saved.rewardStates())
      componentNames = ComponentNames(saved.components)
    }
    try rewards.saveStates(all: true)
    while position.stage < recipe.stages.count {
      let stage = recipe.stages[position.stage]
      try emit(.stageStarted(index: position.stage, stage))
      let optimizer = freshOptimizer(of: stage)
      try prepareCritic(for: stage)
      if let saved, saved.position == position, position.step > 0 {
        try optimizer.restore(saved.optimizerState(), step: saved.optimizerStep)
        try critic?.restore(saved)
      }
      do {
        try prepareData(for: stage)
        try noteLabelBalance(stage)
        try prepareReference(for: stage, saved)
        if position.stage == 0, position.step == 0 { try evaluate(stage: -1, step: 0, label: "start") }
        try surveyRewards(stage)
      } catch is CancellationError { return try interrupt() }
      try watch.begin(stage: position.stage, stepsDone: position.step, store: journal.store)
      let rates = stage.optimizer.learningRates(steps: stage.steps * iterations(of: stage))
      while position.step < stage.steps {
        if isCancelled() { return try interrupt() }
        if control.isPauseRequested, try pause() == .interrupted { return .interrupted }
        do {
          var record = try step(stage, rates, optimizer)
          position.step += 1
          position.globalStep += 1
          synchronizeReference(stage)
          try rewards.saveStates(all: false)
          let alarms = try watch.observe(&record)
          try emit(.step(record))
          for alarm in alarms { try emit(.alarm(alarm)) }
        } catch is CancellationError { return try interrupt() }
        let every = recipe.evaluation.every
        if every > 0, position.step % every == 0, position.step < stage.steps {
          try evaluate(stage: position.stage, step: position.step - 1, label: "\(stage.name), step \(position.step)")
        }
        if recipe.checkpoint.every > 0, position.step % recipe.checkpoint.every == 0, position.step < stage.steps {
          try save()
        }
      }
      try evaluate(stage: position.stage, step: max(0, stage.steps - 1), label: "after \(stage.name)")
      try critic?.save(to: folder.path + "/critic")
      critic = nil
      reference = nil
      try emit(.stageFinished(index: position.stage))
      position.stage += 1
      position.step = 0
      position.memory = [:]
      try save()
    }
    try emit(
      .memory(
        phases: clock.phases.map { ($0.name, $0.mebibytes) }, held: Double(backend.highWaterBytes) / 1_048_576))
    return .finished
  }

  /// The optimizer of a stage that begins; that of the one before is gone before it takes memory.
  func freshOptimizer(of stage: Recipe.Stage) -> Optimizer {
    optimizer = nil
    let fresh = Optimizer(
      trainedParameters, stage.optimizer.method, seed: recipe.seed, on: backend)
    optimizer = fresh
    return fresh
  }

  private func interrupt() throws -> RunEnding {
    try save()
    return .interrupted
  }

  /// Stands still until the control file is gone, then looks whether rewards have changed.
  ///
  /// - Returns: `.interrupted` if the run was stopped meanwhile; its checkpoint is written.
  private func pause() throws -> RunEnding? {
    try save()
    while true {
      try emit(.paused(folder: folder.path))
      while control.isPauseRequested {
        if isCancelled() {
          try control.clear()
          return .interrupted
        }
        Thread.sleep(forTimeInterval: 0.1)
      }
      do {
        for change in try rewards.reloadChanged() {
          try emit(
            .rewardReloaded(old: change.old, new: change.new, stage: position.stage, step: position.step))
        }
        // A new version may want to see other things.
        rewardInputs = RewardInputs(policy, rewards.entries.map(\.reward.descriptor))
      } catch let error as AttuneError {
        try emit(.note("a changed reward cannot be loaded, so the run stays paused: \(error.description)"))
        try control.request()
        continue
      }
      try emit(.continued)
      return nil
    }
  }

  /// Saves the state between two steps.
  func save() throws {
    try emit(.checkpointBegins)
    try rewards.saveStates(all: true)
    let folder = try checkpoints.save(
      position, parameters: trainedParameters, optimizer: optimizer, critic: critic?.state,
      reference: recipe.stages.indices.contains(position.stage)
        && recipe.stages[position.stage].reference.isSynchronized
        ? reference?.synchronizedWeights ?? [] : [],
      rewardStates: rewards.states, components: componentNames.json, on: backend, keep: recipe.checkpoint.keep)
    try emit(.checkpoint(folder: folder))
  }

  func iterations(of stage: Recipe.Stage) -> Int {
    stage.rollouts?.iterations ?? 1
  }

  func step(_ stage: Recipe.Stage, _ rates: LearningRates, _ optimizer: Optimizer) throws -> StepRecord {
    do {
      switch stage.objective {
      case let objective as any SupervisedObjective: return try supervisedStep(stage, objective, rates, optimizer)
      case let objective as any PairObjective: return try pairStep(stage, objective, rates, optimizer)
      case let objective as any ScoreObjective: return try scoreStep(stage, objective, rates, optimizer)
      case let objective as any UnpairedObjective: return try unpairedStep(stage, objective, rates, optimizer)
      case let objective as any PolicyObjective:
        guard let settings = stage.rollouts else { break }
        return try policyStep(stage, objective, settings, rates, optimizer)
      default: break
      }
      throw AttuneError.work("stage \(stage.name): objective \(stage.entry.name) cannot be trained")
    } catch let loss as NonFiniteLoss {
      throw AttuneError.work(
        "the loss of stage \(stage.name), step \(position.step + 1), is \(loss.value); the weights were left as they were",
        hint: "lower optimizer.learning_rate, or resume from an earlier checkpoint")
    }
  }

  /// The next `count` samples of a stage's data; the cursor moves with them.
  func nextSamples(_ stage: Recipe.Stage, _ count: Int) throws -> [Sample] {
    guard let stream = streams[stage.data] else {
      throw AttuneError.request("stage \(stage.name) asks for data \(stage.data), which the recipe does not name")
    }
    let start = position.cursors[stage.data] ?? 0
    let samples = try (start..<start + count).map { try stream.sample(at: $0) }
    position.cursors[stage.data] = start + count
    return samples
  }

  func prepareCritic(for stage: Recipe.Stage) throws {
    critic = nil
    critic = try backend.making(.auxiliary) {
      try stage.critic.map { settings in
        Critic(
          settings, model: settings.kind == .checkpoint ? try makeCritic(settings) : nil, policy: policy,
          seed: recipe.seed, optimizer: stage.optimizer, updates: stage.steps * iterations(of: stage))
      }
    }
  }

  /// A sample's prompt for the policy.
  func encode(_ sample: Sample) throws -> Policy.Prompt {
    try policy.prompt(messages: sample.prompt.map(\.json), media: PromptMedia(pictures: sample.pictures))
  }
}
