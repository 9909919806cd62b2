import AttuneTensor
import Core
import Foundation
import Models
import Rewards

/// Training a reward model, or a critic that has a checkpoint of its own.
extension RewardModel {
  /// A model to train of a checkpoint: a reward model's or critic's goes on with its head; a language model's loses its own head
  /// and gets a fresh one, a classifier's where transformers has a class for that family, else a value head.
  ///
  /// The head is trained; of the trunk nothing is until `policy.model` is told (`setTrainable`, `attachLoRA`).
  /// - Parameters:
  ///   - weights: how frozen weights are held.
  ///   - seed: of a fresh head.
  /// - Throws: `.request` naming what is wrong in the folder, or if its head has several labels.
  convenience init(
    training folder: String, backend: any Backend, precision: Precision, weights: WeightFormat = .plain, seed: UInt64
  ) throws {
    let policy = try Policy(
      folder: folder, backend: backend, precision: precision, weights: weights, hasHead: false)
    let configuration = policy.model.configuration
    let hidden = configuration.text.hiddenSize
    let found = try CheckpointFolder.explaining(folder) {
      try ScoreHead.find(folder: folder, hidden: hidden, on: backend)
    }
    if let found, found.labelCount != 1 {
      throw AttuneError.request(
        "the head of this checkpoint has \(found.labelCount) labels, one was expected",
        at: .init(file: found.place ?? folder),
        hint: "train from a reward model with one label, or from a language model, which gets a fresh head")
    }
    let head =
      found
      ?? ScoreHead(
        fresh: configuration.family.classifier == nil ? .value : .classification, hidden: hidden, seed: seed,
        deviation: Self.setting("initializer_range", configuration)?.double ?? 0.02, on: backend)
    head.setTrainable(true)
    self.init(policy: policy, head: head, padding: head.layout == .classification ? policy.paddingID : nil)
  }

  /// What an optimizer updates: the trunk's, or its adapter's, and the head's.
  var trainedParameters: [Parameter] { policy.model.trainedParameters + head.parameters.filter(\.isTrainable) }

  /// The way from trees to scores or values and back.
  func pass(recomputesLayers: Bool = false) -> ScorePass {
    ScorePass(model: policy.model, head: head, padding: padding, recomputesLayers: recomputesLayers)
  }

  /// Samples of one prompt as trees for a pass, in their order: one tree of what their tokens have in common and of the rests, or
  /// one for each sample where they part within their pictures.
  ///
  /// The tokens are those at which `scores` reads: what is trained is what is scored.
  /// - Throws: `AttuneError` if a sample cannot be shown to this model.
  func trees(of samples: [RewardSample], _ format: Format = .auto) throws -> [PromptTree] {
    let sequences = try samples.map { try sequence($0, format) }
    guard let first = sequences.first else { return [] }
    let shared = sequences.dropFirst().reduce(first.count) { self.shared(first, $1, upTo: $0) }
    let needed = sequences.compactMap { $0.encoded.pictureRanges.last?.upperBound }.max() ?? 1
    guard shared >= max(needed, 1), sequences.allSatisfy({ $0.pictures == first.pictures }) else {
      return sequences.map { PromptTree(prompt: $0.encoded.beginning($0.count), completions: [[]]) }
    }
    return [
      PromptTree(
        prompt: first.encoded.beginning(shared),
        completions: sequences.map { Array($0.encoded.ids[shared..<$0.count]) })
    ]
  }

  // MARK: Files

  /// Writes the checkpoint, the active adapter folded in: transformers' class for sequence classification for a classifier's head,
  /// else the trunk with TRL's value head beside it. `attune` reads either as a reward model, and its f32 scores are the very ones.
  ///
  /// - Throws: `.request` if the target is the model's own folder.
  func save(to target: String, shardSize: Int = Policy.shardSize, dtype: DType? = nil) throws {
    try policy.save(to: target, shardSize: shardSize, dtype: dtype, scoreHead: head, padding: padding)
  }

  /// Writes the active adapter with the head as PEFT does; see `LanguageModel.saveAdapter`.
  func saveAdapter(folder: String, baseModel: String? = nil) throws {
    try policy.model.saveAdapter(folder: folder, baseModel: baseModel, scoreHead: head)
  }

  /// Reads what `saveAdapter` wrote, or PEFT, onto the checkpoint that it was made for.
  ///
  /// - Throws: `.request` naming what does not fit.
  func loadAdapter(
    folder: String, trainable: Bool = true, parts: Set<ModelPart> = Set(ModelPart.allCases)
  ) throws {
    let width = policy.model.configuration.text.hiddenSize
    let saved =
      head.layout == .value
      ? try ScoreHead.findValueFile(folder: folder, hidden: width, on: policy.model.backend) : nil
    try policy.model.loadAdapter(folder: folder, trainable: trainable, parts: parts, scoreHead: head)
    if let saved { head.setValues(of: saved) }
  }
}

extension Policy {
  /// The token that fills batches up: the configuration's `pad_token_id`, else that of generation_config.json, the tokenizer's
  /// padding token, or as TRL has it the first that ends a completion.
  var paddingID: Int32? {
    func id(_ json: JSON?) -> Int32? {
      guard let id = json?.int, (0..<model.configuration.text.vocabularySize).contains(id) else { return nil }
      return Int32(id)
    }
    func file(_ name: String) -> JSON? {
      let path = folder + "/" + name
      guard FileManager.default.fileExists(atPath: path), let bytes = try? MappedFile.read(path) else { return nil }
      return try? JSON.parse(bytes, file: path)
    }
    if let own = id(RewardModel.setting("pad_token_id", model.configuration)) { return own }
    if let general = id(file("generation_config.json")?["pad_token_id"]) { return general }
    let token = file("tokenizer_config.json")?["pad_token"]
    let name = token?.string ?? token?["content"]?.string
    if let name, let known = tokenizer.id(of: name) { return Int32(known) }
    return endIDs.first
  }
}
