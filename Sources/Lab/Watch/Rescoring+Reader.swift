import AttuneVision
import Core
import Rewards
import Text

extension Rescoring {
  /// Reads steps back as rewards saw them.
  struct Reader {
    struct Step {
      /// One list per prompt.
      var groups: [[RewardSample]]
      var rollouts: [RunStore.RecordedRollout]
      var context: RewardContext

      /// What a call is told for one group.
      func context(timeout: Double, _ group: [RewardSample]) -> RewardContext {
        var own = context
        own.callTimeLimit = timeout * Double(group.count)
        return own
      }
    }

    let store: RunStore
    let recipe: Recipe
    let runID: String
    let reward: RewardDescriptor
    /// What is not exactly as the run saw it.
    private(set) var remarks: [String] = []
    private let tokenizer: Tokenizer?
    private let services: HostServices
    private var pictures: [String: [UInt8]] = [:]

    init(store: RunStore, recipe: Recipe, runID: String, _ reward: RewardDescriptor) throws {
      self.store = store
      self.recipe = recipe
      self.runID = runID
      self.reward = reward
      let model = recipe.model.preset == nil ? recipe.model.path : store.folder.path + "/start"
      tokenizer = try? Tokenizer.load(folder: model)
      services = HostServices(tokenizer: tokenizer, judges: try recipe.judgeService())
      if tokenizer == nil {
        remark("the policy's tokenizer is not at \(model) any more: a reward that asks for it gets no answer")
      }
    }

    mutating func step(_ step: Int, stage: Int) throws -> Step {
      let prompts = try store.recorded(stage: stage, step: step)
      let globalStep = recipe.stages.prefix(stage).reduce(0) { $0 + $1.steps } + step
      var context = recipe.rewardContext(globalStep: globalStep, phase: .replay)
      context.epoch = prompts.first?.facts["epoch"]?.double ?? 0
      context.runID = runID
      context.services = services
      let groups = try prompts.map { try samples(of: $0, dataset: recipe.stages[stage].data) }
      return Step(groups: groups, rollouts: prompts.flatMap(\.rollouts), context: context)
    }

    private mutating func samples(of prompt: RunStore.RecordedPrompt, dataset: String) throws -> [RewardSample] {
      if prompt.facts.object?.keys.isEmpty != false {
        remark("the run is of an older version: row ids and the like are missing from what the reward sees")
      }
      let images = try prompt.pictures.map { hash in
        let png = try picture(hash)
        var image = RewardImage(try PictureDecoder.decode(png, name: hash, options: .display))
        if reward.needsImageBytes {
          image.encoded = png
          remark("the reward looks at picture files: it sees them as PNG, which is what a run keeps")
        }
        return image
      }
      return prompt.rollouts.map { rollout in
        let completion = rollout.completion
        var sample = RewardSample(
          prompt: prompt.text, completion: completion.text, rawCompletion: completion.rawText,
          columns: prompt.columns.object ?? .init())
        sample.messages = (prompt.messages.array ?? []).compactMap(Message.init(stored:))
        sample.reference = prompt.reference
        sample.tokenIDs = completion.ids
        sample.logprobs = completion.logprobs
        sample.finishReason = completion.finishReason
        sample.images = images
        sample.dataset = dataset
        sample.groupSize = prompt.rollouts.count
        sample.groupID = UInt64(clamping: prompt.prompt)
        sample.indexInGroup = rollout.place.index
        sample.id = sample.groupID &* UInt64(prompt.rollouts.count) &+ UInt64(rollout.place.index)
        sample.take(promptFacts: prompt.facts)
        sample.take(completionFacts: rollout.facts)
        for i in sample.images.indices where sample.images[i].encoded != nil { sample.images[i].mimeType = "image/png" }
        if reward.needsTokens, sample.tokenOffsets == nil, let tokenizer {
          sample.tokenOffsets = TokenOffsets.of(completion.ids, in: completion.rawText) {
            tokenizer.decode($0, skipSpecialTokens: false)
          }
        }
        return sample
      }
    }

    private mutating func picture(_ hash: String) throws -> [UInt8] {
      if let known = pictures[hash] { return known }
      guard let png = try store.picture(hash) else {
        throw AttuneError.work(
          "a picture of the run is missing from its store", at: .init(file: store.folder.storePath))
      }
      // The same few pictures may come round again.
      if pictures.count > 1024 { pictures.removeAll() }
      pictures[hash] = png
      return png
    }

    private mutating func remark(_ text: String) {
      if !remarks.contains(text) { remarks.append(text) }
    }
  }
}
