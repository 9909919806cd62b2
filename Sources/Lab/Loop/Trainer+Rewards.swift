import Core
import Datasets
import Objectives
import Rewards
import Rollout

extension Trainer {
  /// What rewards said about the completions of a step.
  struct ScoredStep {
    /// `[reward][completion]`.
    var outcomes: [[RewardOutcome]]
    /// Wall time per reward.
    var seconds: [Double]
    /// Lines and numbers that rewards gave besides outcomes.
    var record = HostServices.Record()
    /// What rewards saw, one per completion.
    var inputs: [RewardSample]
  }

  var rules: [ScoringRule] { rewards.map(\.rule) }

  func score(
    _ stage: Recipe.Stage, _ settings: Recipe.Stage.GRPOSettings, _ firstPrompt: Int, _ samples: [Sample],
    _ prompts: [Policy.Prompt], _ groups: [[Completion]]
  ) throws -> ScoredStep {
    var inputs: [RewardSample] = []
    for (i, sample) in samples.enumerated() {
      for (index, completion) in groups[i].enumerated() {
        inputs.append(
          RewardSample(
            sample, prompt: prompts[i].text, completion, dataset: stage.data,
            group: position.globalStep * settings.prompts + i, index: index, groupSize: settings.generations))
      }
    }
    let places = samples.indices.flatMap { prompt in
      (0..<settings.generations).map {
        RunStore.Place(stage: position.stage, step: position.step, prompt: firstPrompt + prompt, index: $0)
      }
    }
    var context = RewardContext()
    context.step = position.globalStep
    context.totalSteps = recipe.stages.reduce(0) { $0 + $1.steps }
    context.policyVersion = UInt64(position.globalStep)
    context.seed = recipe.seed
    context.recipe = recipe.name
    context.services = services
    var scored = ScoredStep(outcomes: [], seconds: [], inputs: inputs)
    for loaded in rewards {
      let started = monotonicSeconds()
      scored.outcomes.append(
        try journal.settle(
          loaded.reward.score(inputs, context: context), of: loaded.settings.name, at: places,
          completions: inputs.map(\.rawCompletion)))
      scored.seconds.append(monotonicSeconds() - started)
    }
    scored.record = services.takeRecord()
    return scored
  }

  /// Outcomes as numbers; notes what failed, and stops where the recipe says so.
  func combine(_ scored: ScoredStep, _ completions: [Completion]) throws -> RewardMatrix {
    for (loaded, outcomes) in zip(rewards, scored.outcomes) {
      let failed = outcomes.filter(\.isFailure)
      guard let first = failed.first else { continue }
      try emit(
        .note(
          "\(loaded.settings.name): \(failed.count) of \(outcomes.count) samples \(first.status.rawValue): \(first.log)"
        ))
    }
    try noteLines(scored.record)
    let matrix = try RewardMatrix(rules, outcomes: scored.outcomes, finishReasons: completions.map(\.finishReason))
    try componentNames.note(rules, scored.outcomes, file: recipe.file)
    try recipe.rewardLimits.check(rules, scored.outcomes, matrix, step: position.step)
    return matrix
  }

  /// Tells what rewards wrote to the log, debug lines left out.
  private func noteLines(_ record: HostServices.Record) throws {
    let lines = record.lines.filter { $0.level > 0 }
    let shown = 20
    for line in lines.prefix(shown) { try emit(.note("\(line.reward): \(line.text)")) }
    let more = max(0, lines.count - shown) + record.droppedLines
    if more > 0 { try emit(.note("and \(more) more lines of rewards")) }
  }

  func record(
    _ firstPrompt: Int, _ samples: [Sample], _ prompts: [Policy.Prompt], _ groups: [[Completion]],
    _ outcomes: [[RewardOutcome]], _ scores: GroupAdvantages.Scores
  ) -> [PromptRecord] {
    var row = 0
    return samples.indices.map { i in
      let rollouts = groups[i].map { completion -> RolloutRecord in
        defer { row += 1 }
        let reward = scores.rewards[row]
        return RolloutRecord(
          completion: completion, reward: reward.isNaN ? nil : reward, advantage: scores.advantages[row],
          outcomes: zip(rewards, outcomes).map { ($0.settings.name, $1[row]) })
      }
      return PromptRecord(
        number: firstPrompt + i, text: prompts[i].text, messages: .array(samples[i].prompt.map(\.json)),
        reference: samples[i].reference, columns: JSON(.object(samples[i].columns)), pictures: samples[i].pictures,
        rollouts: rollouts)
    }
  }
}
