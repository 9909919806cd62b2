import Core
import Datasets
import Rewards
import Rollout

extension Trainer {
  /// Before a stage that samples begins: samples a few groups with the policy as it is, scores them, and looks whether
  /// anything can be learnt. Nothing of the run changes: the groups have randomness of their own, the data stays where it
  /// is, rewards get their state back, and nothing is journalled.
  ///
  /// A stage that was looked at before, and then stopped or killed, is not looked at again: going on with such a run is
  /// the person's decision.
  ///
  /// - Throws: `AttuneError` (work) if nothing can be learnt and the recipe does not say `watch.override`; a checkpoint
  ///   stands then. `CancellationError` if the run is asked to stop.
  func surveyRewards(_ stage: Recipe.Stage) throws {
    guard recipe.watch.before, position.step == 0, stage.steps > 0, let settings = stage.rollouts,
      !rewards.entries.isEmpty, try journal.store.survey(stage: position.stage) == nil
    else { return }
    try rewards.saveStates(all: true)
    let survey: RewardSurvey
    do { survey = try self.survey(stage, settings) } catch {
      if error is CancellationError { try rewards.restore(rewards.states) }
      throw error
    }
    try rewards.restore(rewards.states)
    // What rewards say about a trial belongs to no step.
    _ = services.takeRecord()
    try emit(.surveyed(survey))
    let refusal = survey.refusal(
      temperature: settings.temperature, comparesGroups: stage.policyObjective?.comparesGroups ?? true,
      run: journal.store.folder.path)
    guard let refusal else { return }
    guard recipe.watch.override else {
      try save()
      throw refusal
    }
    try emit(.note("\(refusal.message); going on all the same, as watch.override says"))
  }

  private func survey(_ stage: Recipe.Stage, _ settings: Recipe.Stage.Rollouts) throws -> RewardSurvey {
    guard let stream = streams[stage.data] else {
      throw AttuneError.request("stage \(stage.name) asks for data \(stage.data), which the recipe does not name")
    }
    let engine = LocalEngine(
      policy.model, decoder: policy.tokenizer, seed: recipe.seed, for: .surveying,
      limits: RolloutLimits(
        cacheBytes: recipe.rollout.cacheMiB << 20, sequences: recipe.rollout.sequences,
        prefillTokens: recipe.rollout.prefillTokens))
    let first = position.cursors[stage.data] ?? 0
    var inputs: [RewardSample] = []
    var completions: [Completion] = []
    var outcomes = rewards.entries.map { _ in [RewardOutcome]() }
    let context = rewardContext(.test, epoch: epoch(of: stage, at: first))
    // Where completions are not compared within a prompt, those of several prompts are.
    let groupsAtOnce = settings.generations > 1 ? recipe.watch.groups : max(2, recipe.watch.groups)
    while true {
      // A round of groups; a hard task may need several before one differs.
      let start = completions.count / settings.generations
      let samples = try (start..<start + groupsAtOnce).map { try stream.sample(at: first + $0) }
      let prompts = try samples.map { try encode($0) }
      let groups = try engine.generate(
        prompts.enumerated().map {
          RolloutRequest(
            prompt: $1.encoded, completions: settings.generations, step: position.globalStep,
            promptNumber: first + start + $0)
        }, settings.sampling(stopIDs: policy.stopIDs), isCancelled: isCancelled)
      for (i, sample) in samples.enumerated() {
        // Unlike any number of a training sample, or of one of an evaluation.
        let id = 3 << 62 | UInt64(position.globalStep) << 32 | UInt64((start + i) * settings.generations)
        let group = rewardInputs.group(
          sample, prompts[i], groups[i], at: .init(dataset: stage.data, groupID: id, firstID: id))
        for (k, entry) in rewards.entries.enumerated() { outcomes[k] += try entry.score(group, context) }
        inputs += group
      }
      completions += groups.flatMap { $0 }
      let result = try survey(stage, inputs, completions, outcomes)
      if result.verdict == .learnable || result.groups >= 8 * groupsAtOnce { return result }
    }
  }

  private func survey(
    _ stage: Recipe.Stage, _ inputs: [RewardSample], _ completions: [Completion], _ outcomes: [[RewardOutcome]]
  ) throws -> RewardSurvey {
    // A reward whose failures abort the run does so at the first step; here its failures are looked at.
    let lenient = rewards.rules.map { rule in
      var rule = rule
      if rule.failure == .abort { rule.failure = .skip }
      return rule
    }
    let matrix = try RewardMatrix(lenient, outcomes: outcomes, finishReasons: completions.map(\.finishReason))
    let advantages = try stage.compare(matrix).advantages
    let moves = completions.indices.contains { row in
      advantages[row] != 0
        || TokenRewards.sum(
          lenient, outcomes.map { $0[row] }, tokenCount: completions[row].ids.count,
          isTruncated: completions[row].finishReason == .length) != nil
    }
    let batch = RewardBatch(matrix, outcomes: outcomes, lengths: completions.map(\.ids.count), stage)
    return RewardSurvey(
      stage: position.stage, name: stage.name, batch, generations: stage.rollouts?.generations ?? 1,
      outcomes: outcomes, rewardNames: rewards.rules.map(\.name),
      moves: moves, texts: inputs.map { ($0.prompt, $0.rawCompletion) })
  }
}
