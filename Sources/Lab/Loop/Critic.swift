import AttuneTensor
import Core
import Foundation
import Models
import Objectives
import Text

/// What foresees the return at every token, trained together with the policy: a value head on the policy's hidden states, or a model
/// of its own.
///
/// It has an optimizer of its own, which shares the stage's settings but for the rate, and clips by its own norm. Gradients that reach
/// the trunk through a head on it are the policy's.
final class Critic {
  let settings: Recipe.Stage.Critic
  let head: ScoreHead
  /// nil: the head is on the policy's trunk.
  let model: RewardModel?
  private let policy: Policy
  private let rates: LearningRates
  private let optimizer: Optimizer

  /// - Parameters:
  ///   - model: nil puts a fresh head on the policy's trunk.
  ///   - updates: of the whole stage.
  init(
    _ settings: Recipe.Stage.Critic, model: RewardModel?, policy: Policy, seed: UInt64, optimizer: Recipe.Optimizer,
    updates: Int
  ) {
    self.settings = settings
    self.model = model
    self.policy = policy
    if let model {
      head = model.head
    } else {
      let configuration = policy.model.configuration
      head = ScoreHead(
        fresh: .value, hidden: configuration.text.hiddenSize, seed: seed,
        deviation: RewardModel.setting("initializer_range", configuration)?.double ?? 0.02, on: policy.model.backend)
      head.setTrainable(true)
    }
    var own = optimizer
    own.learningRate = settings.learningRate
    own.partLearningRates = [:]
    rates = own.learningRates(steps: updates)
    self.optimizer = Optimizer(
      model?.trainedParameters ?? head.parameters, own.method, seed: seed, on: policy.model.backend)
  }

  /// The head that the policy's pass reads values with; nil for a model of its own.
  var trunkHead: ScoreHead? { model == nil ? head : nil }

  /// The way from trees to values and back; of a head on the trunk the way there alone is to be gone.
  var pass: ScorePass { model?.pass() ?? ScorePass(model: policy.model, head: head) }

  /// A step's prompts with their completions as the critic reads them: a model of its own has its own template and pictures.
  ///
  /// - Throws: `AttuneError` if a prompt cannot be shown to it.
  func trees(_ batch: RolloutBatch) throws -> [PromptTree] {
    guard let model else { return batch.trees }
    return try zip(batch.samples, batch.groups).map { sample, group in
      let prompt = try model.policy.prompt(
        messages: sample.prompt.map(\.json), media: PromptMedia(pictures: sample.pictures))
      return PromptTree(prompt: prompt.encoded, completions: group.map(\.ids))
    }
  }

  /// The values of a step's tokens as the critic stands.
  func values(_ trees: [PromptTree], microBatch: Int, _ clock: PhaseClock) -> [Float] {
    let pass = pass
    return clock.measure("critic") {
      TrainingPass.microBatches(trees, size: microBatch).flatMap {
        pass.values(Array(trees[$0]), recording: false).scores
      }
    }
  }

  /// Updates it from its gradients.
  ///
  /// - Parameter update: of the stage, from 0.
  func update(at update: Int, _ settings: Recipe.Optimizer) throws -> [ObjectiveResult.Metric] {
    let norm = try optimizer.update(rates, at: update, settings)
    return [.init("critic/learning_rate", rates.learningRate(at: update)), .init("critic/grad_norm", norm)]
  }

  /// How well the values foresaw the step's returns.
  func metrics(_ streams: TokenStreams, _ credit: Credit) -> [ObjectiveResult.Metric] {
    guard let returns = credit.returns else { return [] }
    return [.init("critic/explained_variance", streams.explainedVariance(of: returns))]
  }

  // MARK: Files

  /// What a checkpoint keeps of it.
  var state: CheckpointStore.Part { .init(parameters: optimizer.parameters, optimizer: optimizer) }

  func restore(_ saved: CheckpointStore.Saved) throws {
    try saved.restoreCritic(state, on: policy.model.backend)
  }

  /// Writes it as a checkpoint that is a reward model and critic to others: its model, or the policy's trunk as it stands, with the
  /// head.
  func save(to folder: String) throws {
    if let model {
      try model.save(to: folder)
    } else {
      try policy.save(to: folder, scoreHead: head)
    }
  }
}

extension Critic {
  /// Loads a model of its own.
  ///
  /// - Parameters:
  ///   - folder: where its checkpoint is.
  ///   - seed: of a fresh head and a new adapter.
  /// - Throws: `.request` naming what is wrong in the folder.
  static func load(
    _ settings: Recipe.Stage.Critic, folder: String, for policy: Policy, recipe: Recipe
  ) throws -> RewardModel {
    let isAdapted = settings.train == .lora
    let model = try RewardModel(
      training: folder, backend: policy.model.backend, precision: recipe.dtype == .bf16 ? .bf16 : .full,
      weights: isAdapted ? recipe.weightFormat : .plain, seed: recipe.seed)
    if isAdapted {
      var shape = recipe.model.lora
      // What the policy keeps whole beside its adapter, such as lm_head, a critic need not have.
      shape.modulesToSave = []
      try model.policy.model.attachLoRA(shape, seed: recipe.seed, parts: recipe.model.trainedParts)
    } else {
      model.policy.model.setTrainable(true, parts: recipe.model.trainedParts)
    }
    return model
  }

  /// What can be known of a critic's folder before its weights are read.
  ///
  /// - Throws: `.request` if its tokens are not the policy's: completions are handed over as ids, so each must mean the same to both.
  static func check(folder: String, for policy: Policy) throws {
    let known = try ModelConfiguration.load(folder: folder).text.vocabularySize
    let (own, wanted) = (try Tokenizer.load(folder: folder), policy.tokenizer)
    let count = wanted.vocabularySize
    guard count <= known else {
      throw AttuneError.request(
        "the critic knows \(known) tokens, the policy writes \(count)", at: .init(file: folder),
        hint: "a critic must have the policy's tokenizer")
    }
    guard let odd = (0..<Int32(count)).first(where: { own.token(of: $0) != wanted.token(of: $0) }) else { return }
    throw AttuneError.request(
      "token \(odd) is \(own.token(of: odd) ?? "none"), the policy's is \(wanted.token(of: odd) ?? "none")",
      at: .init(file: folder + "/tokenizer.json"), hint: "a critic must have the policy's tokenizer")
  }
}
