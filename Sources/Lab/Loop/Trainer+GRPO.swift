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
    let rolledOut: Double
    let scored: RewardLanes.Results
    // Groups are scored as they come; what is left when all are there is waited for.
    let lanes = lanes(stage, firstPrompt: firstPrompt)
    var seen: [RewardSample] = []
    do {
      groups = try clock.measure("rollout") {
        try engine.generate(
          prompts.enumerated().map {
            RolloutRequest(
              prompt: $1.encoded, completions: settings.generations, step: position.globalStep,
              promptNumber: firstPrompt + $0)
          },
          settings.sampling(stopIDs: policy.endIDs), isCancelled: isCancelled
        ) { group, completions in
          let inputs = inputs(stage, settings, group: group, samples[group], prompts[group], completions)
          seen += inputs
          lanes.add(inputs)
        }
      }
      rolledOut = monotonicSeconds()
      scored = try lanes.finish()
    } catch {
      // The step did not happen: its samples come again, to rewards that know nothing of them.
      lanes.abandon()
      position.cursors = cursors
      if error is CancellationError { try rewards.restore(rewards.states) }
      throw error
    }
    let completions = groups.flatMap { $0 }
    let said = services.takeRecord()
    try noteLines(said)
    let matrix = try combine(
      scored.outcomes, completions.map(\.finishReason), occasion: "step \(position.step)")
    let scores = try settings.advantages(of: matrix)
    let advantages = Advantages(
      rows: scores.advantages,
      tokens: completions.indices.map { row in
        TokenRewards.sum(
          rewards.rules, scored.outcomes.map { $0[row] }, tokenCount: completions[row].ids.count,
          isTruncated: completions[row].finishReason == .length)
      })
    let rewarded = monotonicSeconds()

    let statistics = CompletionStatistics(
      lengths: completions.map(\.ids.count), terminated: completions.map { $0.finishReason != .length })
    var means = MetricMeans()
    means.add(scores.metrics.filter { !$0.name.hasPrefix("rewards/") })
    means.add(
      RewardStatistics.metrics(
        matrix, rewards.rules, outcomes: scored.outcomes, groupSize: settings.generations, seconds: scored.seconds))
    for metric in said.metrics { means.add("plugin/\(metric.name)", metric.value) }
    means.add(statistics.metrics)
    var lastNorm = 0.0
    var lastRate = 0.0
    var loss = 0.0
    for iteration in 0..<settings.iterations {
      let update = position.step * settings.iterations + iteration
      lastRate = rates.learningRate(at: update)
      loss = try groupUpdate(stage, settings, prompts, groups, advantages, iteration, &means)
      lastNorm = try clock.measure("optimizer") { try optimizer.update(rates, at: update, stage.optimizer) }
    }
    let metrics = [("loss", loss)] + means.values + [("learning_rate", lastRate), ("grad_norm", lastNorm)]
    let finished = monotonicSeconds()
    return StepRecord(
      stage: position.stage, step: position.step, stageSteps: stage.steps, metrics: metrics,
      prompts: record(firstPrompt, samples, prompts, groups, scored.outcomes, scores).showing(
        seen, epoch: epoch(of: stage, at: firstPrompt)),
      trainedTokens: settings.iterations
        * zip(prompts, groups).reduce(0) { $0 + $1.0.encoded.ids.count + $1.1.reduce(0) { $0 + $1.ids.count } },
      sampledTokens: completions.reduce(0) { $0 + $1.ids.count },
      seconds: (rolledOut - started, rewarded - rolledOut, finished - rewarded),
      headline: metrics.filter { ["reward", "entropy"].contains($0.0) }.map { ($0.0, $0.1) })
  }

  /// Adds one pass's gradients; returns its loss.
  private func groupUpdate(
    _ stage: Recipe.Stage, _ settings: Recipe.Stage.GRPOSettings, _ prompts: [Policy.Prompt], _ groups: [[Completion]],
    _ advantages: Advantages, _ iteration: Int, _ means: inout MetricMeans
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
      !onlyAdvantage || (group * g..<(group + 1) * g).contains { advantages.moves($0) }
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
        let rows = part.flatMap { Array($0 * g..<($0 + 1) * g) }
        let own = advantages.of(rows, lengths: part.flatMap { groups[$0].map(\.ids.count) })
        let result = try objective.evaluate(streams, advantages: own, normalization: normalization)
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
}

/// How good each completion of a step was compared with its group, and what its tokens were given beside that.
private struct Advantages {
  /// One per completion.
  let rows: [Double]
  /// Per completion what is added at each token; nil: nothing.
  let tokens: [[Double]?]

  /// False if nothing of this completion's policy term moves anything.
  func moves(_ row: Int) -> Bool { rows[row] != 0 || tokens[row] != nil }

  /// The advantages of some completions; per token if any completion of the step has token rewards.
  func of(_ chosen: [Int], lengths: [Int]) -> GRPO.Advantages {
    guard tokens.contains(where: { $0 != nil }) else { return .perRow(chosen.map { rows[$0] }) }
    return .perToken(
      zip(chosen, lengths).flatMap { row, length in
        tokens[row].map { $0.map { rows[row] + $0 } } ?? [Double](repeating: rows[row], count: length)
      })
  }
}

extension Recipe.Stage.GRPOSettings {
  /// How completions are drawn.
  func sampling(stopIDs: [Int32]) -> SamplingParameters {
    SamplingParameters(
      temperature: temperature, topK: topK, topP: topP, minP: minP, maxNewTokens: maxNewTokens, stopIDs: Set(stopIDs),
      logprobTemperature: temperature)
  }

  /// What a step makes of its rewards.
  func advantages(of matrix: RewardMatrix) throws -> GroupAdvantages.Scores {
    let weighted = matrix.weighted.map { matrix.columns[$0] }
    return try GroupAdvantages(
      .init(
        groupSize: generations, rewardWeights: weighted.map(\.weight), scaling: scaleRewards.objective,
        aggregation: multiObjective.objective)
    ).compute(rewards: matrix.weightedValues, names: weighted.map(\.name))
  }

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
