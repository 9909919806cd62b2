import AttuneTensor
import Core
import Datasets
import Models
import Objectives
import Rewards
import Rollout

extension Trainer {
  /// One group-relative step: sample, score, compare within groups, update.
  ///
  /// `rollouts -> rewards -> advantages -> loss`, each a plain value.
  func groupStep(
    _ stage: Recipe.Stage, _ settings: Recipe.Stage.GRPOSettings, _ rates: LearningRates, _ optimizer: Optimizer,
    _ engine: LocalEngine
  ) throws -> StepRecord {
    let started = monotonicSeconds()
    let cursors = position.cursors
    let samples = try nextSamples(stage, settings.prompts)
    let prompts = try samples.map { try encode($0) }
    // Positions in the data's order: a small set comes round again, sometimes within one step, a position never does.
    let firstPrompt = cursors[stage.data] ?? 0
    let groups: [[Completion]]
    do {
      groups = try clock.measure("rollout") {
        try engine.generate(
          prompts.enumerated().map {
            RolloutRequest(
              prompt: $1.encoded, completions: settings.generations, step: position.globalStep,
              promptNumber: firstPrompt + $0)
          },
          SamplingParameters(
            temperature: settings.temperature, topK: settings.topK, topP: settings.topP, minP: settings.minP,
            maxNewTokens: settings.maxNewTokens, stopIDs: Set(policy.endIDs), logprobTemperature: settings.temperature),
          isCancelled: isCancelled)
      }
    } catch {
      // The step did not happen: its samples come again.
      position.cursors = cursors
      throw error
    }
    let rolledOut = monotonicSeconds()
    let outcomes = try score(stage, settings, firstPrompt, samples, prompts, groups)
    let matrix = try rewardMatrix(outcomes, rows: samples.count * settings.generations)
    let scores = try GroupAdvantages(
      .init(
        groupSize: settings.generations, rewardWeights: rewards.map(\.settings.weight),
        scaling: settings.scaleRewards.objective, aggregation: settings.multiObjective.objective)
    ).compute(rewards: matrix, names: rewards.map(\.settings.name))
    let rewarded = monotonicSeconds()

    let completions = groups.flatMap { $0 }
    let statistics = CompletionStatistics(
      lengths: completions.map(\.ids.count), terminated: completions.map { $0.finishReason != .length })
    var means = MetricMeans()
    means.add(scores.metrics)
    means.add(statistics.metrics)
    var lastNorm = 0.0
    var lastRate = 0.0
    var loss = 0.0
    for iteration in 0..<settings.iterations {
      let update = position.step * settings.iterations + iteration
      lastRate = rates.learningRate(at: update)
      loss = try groupUpdate(stage, settings, prompts, groups, scores.advantages, iteration, &means)
      lastNorm = try clock.measure("optimizer") { try optimizer.update(rates, at: update, stage.optimizer) }
    }
    let metrics = [("loss", loss)] + means.values + [("learning_rate", lastRate), ("grad_norm", lastNorm)]
    let finished = monotonicSeconds()
    return StepRecord(
      stage: position.stage, step: position.step, stageSteps: stage.steps, metrics: metrics,
      prompts: record(firstPrompt, samples, prompts, groups, outcomes, scores),
      trainedTokens: settings.iterations
        * zip(prompts, groups).reduce(0) { $0 + $1.0.encoded.ids.count + $1.1.reduce(0) { $0 + $1.ids.count } },
      sampledTokens: completions.reduce(0) { $0 + $1.ids.count },
      seconds: (rolledOut - started, rewarded - rolledOut, finished - rewarded),
      headline: metrics.filter { ["reward", "entropy"].contains($0.0) }.map { ($0.0, $0.1) })
  }

  /// Adds one pass's gradients; returns its loss.
  private func groupUpdate(
    _ stage: Recipe.Stage, _ settings: Recipe.Stage.GRPOSettings, _ prompts: [Policy.Prompt], _ groups: [[Completion]],
    _ advantages: [Double], _ iteration: Int, _ means: inout MetricMeans
  ) throws -> Double {
    let g = settings.generations
    let objective = GRPO(settings.objective)
    let pass = TrainingPass(model: policy.model, temperature: settings.temperature, wanted: [.logprob, .entropy])
    func mask(_ completion: Completion) -> [Bool] {
      let counts = !(settings.maskTruncatedCompletions && completion.finishReason == .length)
      return [Bool](repeating: counts, count: completion.ids.count)
    }
    let normalization = GRPO.Normalization(
      itemCount: groups.reduce(0) { $0 + $1.reduce(0) { $0 + mask($1).reduce(0) { $1 ? $0 + 1 : $0 } } },
      rowCount: groups.count * g)
    // A group whose advantages are all zero moves nothing unless a term besides the advantage does: it is scored for the
    // metrics and needs no way back.
    let onlyAdvantage = settings.beta == 0 && settings.entropyCoef == 0 && settings.topEntropyQuantile == 1
    let live = groups.indices.filter { group in
      !onlyAdvantage || advantages[group * g..<(group + 1) * g].contains { $0 != 0 }
    }
    let flat = groups.indices.filter { !live.contains($0) }
    var loss = 0.0
    for (members, recording) in [(live, true), (flat, false)] {
      let all = members.map { PromptTree(prompt: prompts[$0].encoded, completions: groups[$0].map(\.ids)) }
      for range in TrainingPass.microBatches(all, size: stage.microBatch) {
        let part = Array(members[range])
        let trees = Array(all[range])
        let forward = clock.measure("forward") { pass.forward(trees, recording: recording) }
        var streams = pass.streams(forward, mask: part.flatMap { groups[$0].flatMap(mask) })
        // The sampler's log-probabilities are the trainer's bits, so the first pass needs no old ones: its ratio is 1.
        if iteration > 0 { streams.oldLogprobs = part.flatMap { groups[$0].flatMap(\.logprobs) } }
        if settings.beta != 0 { streams.referenceLogprobs = referenceLogprobs(trees, settings.temperature) }
        let own = part.flatMap { Array(advantages[$0 * g..<($0 + 1) * g]) }
        let result = try objective.evaluate(streams, advantages: .perRow(own), normalization: normalization)
        try checkFinite(result.loss, stage)
        loss += result.loss
        means.add(result.metrics, weight: Double(streams.maskedCount))
        if recording { clock.measure("backward") { pass.backward(forward, result.gradients) } }
      }
    }
    return loss
  }

  private func referenceLogprobs(_ trees: [PromptTree], _ temperature: Double) -> [Float] {
    let model = reference ?? policy.model
    let adapter = reference == nil ? policy.model.adapter : nil
    adapter?.isEnabled = false
    defer { adapter?.isEnabled = true }
    let pass = TrainingPass(model: model, temperature: temperature, wanted: [.logprob])
    return clock.measure("reference") { pass.forward(trees, recording: false).stream(.logprob) }
  }

  // MARK: Rewards

  /// Outcomes `[reward][completion]`.
  private func score(
    _ stage: Recipe.Stage, _ settings: Recipe.Stage.GRPOSettings, _ firstPrompt: Int, _ samples: [Sample],
    _ prompts: [Policy.Prompt],
    _ groups: [[Completion]]
  ) throws -> [[RewardOutcome]] {
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
    return try rewards.map { loaded in
      let outcomes = try journal.settle(
        loaded.reward.score(inputs, context: context), of: loaded.settings.name, at: places,
        completions: inputs.map(\.rawCompletion))
      let failed = outcomes.filter { $0.status != .ok && $0.status != .notApplicable }
      if let first = failed.first {
        try emit(
          .note(
            "\(loaded.settings.name): \(failed.count) of \(outcomes.count) samples \(first.status.rawValue): \(first.log)"
          ))
        if loaded.settings.onFailure == .abort {
          throw AttuneError.work(
            "reward \(loaded.settings.name) failed on \(failed.count) of \(outcomes.count) samples: \(first.log)",
            hint: "the recipe says on_failure: abort; `skip` leaves such samples out")
        }
      }
      return outcomes
    }
  }

  /// Scores `[completion][reward]`; NaN where a reward says nothing.
  private func rewardMatrix(_ outcomes: [[RewardOutcome]], rows: Int) throws -> [[Double]] {
    (0..<rows).map { row in
      zip(rewards, outcomes).map { loaded, column in
        let outcome = column[row]
        switch outcome.status {
        case .ok: return outcome.score ?? .nan
        case .notApplicable: return .nan
        default: return loaded.settings.onFailure == .value ? loaded.settings.failureValue ?? .nan : .nan
        }
      }
    }
  }

  private func record(
    _ firstPrompt: Int, _ samples: [Sample], _ prompts: [Policy.Prompt], _ groups: [[Completion]],
    _ outcomes: [[RewardOutcome]],
    _ scores: GroupAdvantages.Scores
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

extension Recipe.Stage.GRPOSettings {
  /// The objective's own configuration.
  var objective: GRPO.Configuration {
    var c = GRPO.Configuration(lossType: lossType == .dapo ? .dapo : .grpo)
    c.importanceLevel = importanceSamplingLevel == .token ? .token : .sequence
    c.epsilon = epsilon
    c.epsilonHigh = epsilonHigh
    c.delta = delta
    c.beta = beta
    c.biasCorrectedKL = useBiasCorrectionKL
    c.topEntropyQuantile = topEntropyQuantile
    c.entropyCoefficient = entropyCoef
    c.maxCompletionLength = maxNewTokens
    return c
  }
}

extension Recipe.Stage.GRPOSettings.RewardScale {
  var objective: GroupAdvantages.Scaling {
    switch self {
    case .group: .group
    case .batch: .batch
    case .none: .none
    }
  }
}

extension Recipe.Stage.GRPOSettings.RewardCombination {
  var objective: GroupAdvantages.Aggregation {
    switch self {
    case .sumThenNormalize: .sumThenNormalize
    case .normalizeThenSum: .normalizeThenSum
    }
  }
}
