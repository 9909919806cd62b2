import Core
import Datasets
import Objectives
import Rewards
import Rollout

extension RewardSet.Entry {
  /// Scores samples in one call.
  func score(_ samples: [RewardSample], _ context: RewardContext) throws -> [RewardOutcome] {
    var own = context
    own.callTimeLimit = settings.timeout * Double(samples.count)
    return try reward.score(samples, context: own)
  }
}

extension Trainer {
  func rewardContext(_ phase: RewardContext.Phase, epoch: Double = 0) -> RewardContext {
    var context = recipe.rewardContext(globalStep: position.globalStep, phase: phase)
    context.epoch = epoch
    context.runID = folder.id
    context.services = services
    return context
  }

  /// How often a stage's data was gone through before the sample at this position; 0 if it never ends.
  func epoch(of stage: Recipe.Stage, at position: Int) -> Double {
    let length = streams[stage.data]?.source.count ?? 0
    return length > 0 ? Double(position) / Double(length) : 0
  }

  /// Threads that score the groups of a step while others are sampled.
  ///
  /// - Parameter firstPrompt: position of the first group's prompt in its data.
  func lanes(_ stage: Recipe.Stage, firstPrompt: Int) -> RewardLanes {
    let context = rewardContext(.train, epoch: epoch(of: stage, at: firstPrompt))
    let (entries, journal, position, states) = (rewards.entries, self.journal, self.position, rewards.states)
    return RewardLanes(entries.map(\.reward)) { reward, group, samples in
      let entry = entries[reward]
      let name = entry.settings.name
      return try journal.outcomes(
        of: .init(
          name: name, isDeterministic: entry.reward.descriptor.isDeterministic, isStateful: states[name] != nil),
        at: samples.map {
          RunStore.Place(
            stage: position.stage, step: position.step, prompt: firstPrompt + group, index: $0.indexInGroup)
        }, completions: samples.map(\.rawCompletion)
      ) { try entry.score(samples, context) }
    }
  }

  /// What rewards see of a group; its numbers count through all stages.
  ///
  /// - Parameter group: within the step, through all rounds of dynamic sampling.
  func inputs(
    _ stage: Recipe.Stage, _ settings: Recipe.Stage.Rollouts, group: Int, _ sample: Sample,
    _ prompt: Policy.Prompt, _ completions: [Completion]
  ) -> [RewardSample] {
    var (groups, samples) = (0, 0)
    for earlier in recipe.stages.prefix(position.stage) {
      guard let settings = earlier.rollouts else { continue }
      groups += earlier.steps * settings.mostPrompts
      samples += earlier.steps * settings.mostPrompts * settings.generations
    }
    let own = position.step * settings.mostPrompts + group
    return rewardInputs.group(
      sample, prompt, completions,
      at: .init(
        dataset: stage.data, groupID: UInt64(groups + own), firstID: UInt64(samples + own * settings.generations)))
  }

  /// Outcomes as numbers; notes what failed, and stops where the recipe says so.
  func combine(
    _ outcomes: [[RewardOutcome]], _ finishReasons: [FinishReason], occasion: String
  ) throws -> RewardMatrix {
    for line in rewards.failures(outcomes) { try emit(.note(line)) }
    let matrix = try RewardMatrix(rewards.rules, outcomes: outcomes, finishReasons: finishReasons)
    try componentNames.note(rewards.rules, outcomes, file: recipe.file)
    try recipe.rewardLimits.check(rewards.rules, outcomes, matrix, occasion: occasion)
    return matrix
  }

  /// Tells what rewards wrote to the log, each line once, debug lines left out.
  func noteLines(_ record: HostServices.Record) throws {
    for line in record.notes { try emit(.note(line)) }
  }

  func record(_ batch: RolloutBatch, _ credit: Credit, _ streams: TokenStreams) -> [PromptRecord] {
    var row = 0
    return batch.samples.enumerated().map { i, sample in
      let rollouts = batch.groups[i].map { completion -> RolloutRecord in
        defer { row += 1 }
        let reward = credit.rewards[row]
        return RolloutRecord(
          completion: completion, reward: reward.isNaN ? nil : reward,
          advantage: credit.meanAdvantage(row: row, streams),
          outcomes: zip(rewards.entries, batch.outcomes).map { ($0.settings.name, $1[row]) })
      }
      return PromptRecord(
        number: batch.positions[i], text: batch.prompts[i].text, messages: .array(sample.prompt.map(\.json)),
        reference: sample.reference, columns: JSON(.object(sample.columns)), pictures: sample.pictures,
        rollouts: rollouts)
    }
  }
}
