import AttuneTensor
import Core
import Datasets
import Models
import Objectives
import Rewards
import Rollout

/// The completions of a step, group after group, with what rewards said of them.
struct RolloutBatch {
  var samples: [Sample]
  var prompts: [Policy.Prompt]
  var groups: [[Completion]]
  /// Position of the first prompt in its data's order: a small set comes round again, sometimes within one step, a position
  /// never does.
  var firstPrompt: Int
  /// `[reward][completion]`.
  var scored: RewardLanes.Results
  /// What rewards saw.
  var seen: [RewardSample]
  var matrix: RewardMatrix
  /// What rewards said beside their scores.
  var said: HostServices.Record
  var seconds: (rollout: Double, reward: Double)

  var completions: [Completion] { groups.flatMap { $0 } }
  var trees: [PromptTree] {
    zip(prompts, groups).map { PromptTree(prompt: $0.encoded, completions: $1.map(\.ids)) }
  }
}

extension Trainer {
  /// One step of an objective that samples: `rollouts → rewards → credit → loss`, each a plain value.
  func policyStep(
    _ stage: Recipe.Stage, _ objective: any PolicyObjective, _ settings: Recipe.Stage.Rollouts, _ rates: LearningRates,
    _ optimizer: Optimizer
  ) throws -> StepRecord {
    let batch = try sampleAndScore(stage, settings)
    let rewarded = monotonicSeconds()
    let scored = scoredRollouts(batch, settings)
    let credit = try objective.credit(scored)

    let completions = batch.completions
    let statistics = CompletionStatistics(lengths: completions.map(\.ids.count), terminated: scored.terminated)
    var means = MetricMeans()
    means.add(credit.metrics.filter { !$0.name.hasPrefix("rewards/") })
    means.add(
      RewardStatistics.metrics(
        batch.matrix, rewards.rules, outcomes: batch.scored.outcomes, groupSize: settings.generations,
        seconds: batch.scored.seconds))
    for metric in batch.said.metrics { means.add("plugin/\(metric.name)", metric.value) }
    means.add(statistics.metrics)
    var (lastNorm, lastRate, loss) = (0.0, 0.0, 0.0)
    for iteration in 0..<settings.iterations {
      let update = position.step * settings.iterations + iteration
      lastRate = rates.learningRate(at: update)
      let gradients = try policyGradients(stage, objective, settings, batch, scored, credit, iteration)
      loss = gradients.loss
      means.add(gradients.means)
      lastNorm = try clock.measure("optimizer") { try optimizer.update(rates, at: update, stage.optimizer) }
      objective.finishStep(gradients.tallies, &position.memory)
    }
    let metrics = [("loss", loss)] + means.values + [("learning_rate", lastRate), ("grad_norm", lastNorm)]
    return StepRecord(
      stage: position.stage, step: position.step, stageSteps: stage.steps, metrics: metrics,
      prompts: record(batch, credit, scored.streams).showing(
        batch.seen, epoch: epoch(of: stage, at: batch.firstPrompt)),
      trainedTokens: settings.iterations
        * batch.trees.reduce(0) { $0 + $1.prompt.ids.count + $1.completions.reduce(0) { $0 + $1.count } },
      sampledTokens: completions.reduce(0) { $0 + $1.ids.count },
      seconds: (batch.seconds.rollout, batch.seconds.reward, monotonicSeconds() - rewarded),
      headline: metrics.filter { ["reward", "entropy"].contains($0.0) }.map { ($0.0, $0.1) })
  }

  /// Samples groups for the next prompts and has them scored, group by group as they come.
  private func sampleAndScore(_ stage: Recipe.Stage, _ settings: Recipe.Stage.Rollouts) throws -> RolloutBatch {
    let started = monotonicSeconds()
    let cursors = position.cursors
    let samples = try nextSamples(stage, settings.prompts)
    let prompts = try samples.map { try encode($0) }
    let firstPrompt = cursors[stage.data] ?? 0
    let groups: [[Completion]]
    let rolledOut: Double
    let scored: RewardLanes.Results
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
          settings.sampling(stopIDs: policy.stopIDs), isCancelled: isCancelled
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
    let said = services.takeRecord()
    try noteLines(said)
    let matrix = try combine(
      scored.outcomes, groups.flatMap { $0.map(\.finishReason) }, occasion: "step \(position.step)")
    return RolloutBatch(
      samples: samples, prompts: prompts, groups: groups, firstPrompt: firstPrompt, scored: scored, seen: seen,
      matrix: matrix, said: said, seconds: (rolledOut - started, monotonicSeconds() - rolledOut))
  }

  /// What the objective makes its credit of. The sampler's log-probabilities are the trainer's bits, so they are the old ones.
  private func scoredRollouts(_ batch: RolloutBatch, _ settings: Recipe.Stage.Rollouts) -> ScoredRollouts {
    let completions = batch.completions
    let weighted = batch.matrix.weighted.map { batch.matrix.columns[$0] }
    return ScoredRollouts(
      groupSize: settings.generations, rewards: batch.matrix.weightedValues, names: weighted.map(\.name),
      weights: weighted.map(\.weight),
      tokenRewards: completions.indices.map { row in
        TokenRewards.sum(
          rewards.rules, batch.scored.outcomes.map { $0[row] }, tokenCount: completions[row].ids.count,
          isTruncated: completions[row].finishReason == .length)
      },
      terminated: completions.map { $0.finishReason != .length },
      streams: TokenStreams(
        rowOffsets: TokenStreams.offsets(ofLengths: completions.map(\.ids.count)),
        mask: completions.flatMap { completion in
          let counts = !(settings.masksTruncated && completion.finishReason == .length)
          return [Bool](repeating: counts, count: completion.ids.count)
        }, policyLogprobs: completions.flatMap(\.logprobs)))
  }

  /// The gradients of one pass over the batch.
  private func policyGradients(
    _ stage: Recipe.Stage, _ objective: any PolicyObjective, _ settings: Recipe.Stage.Rollouts, _ batch: RolloutBatch,
    _ scored: ScoredRollouts, _ credit: Credit, _ iteration: Int
  ) throws -> StepGradients {
    let trees = batch.trees
    let g = settings.generations
    let offsets = scored.streams.rowOffsets
    let totals = StepTotals(rows: trees.count * g, tokens: scored.streams.maskedCount)
    // A group whose advantages are all zero moves nothing unless a term besides the advantage does: it is scored for the
    // metrics and needs no way back.
    let live = trees.indices.filter { group in
      objective.movesWithoutAdvantage
        || (group * g..<(group + 1) * g).contains { credit.moves(row: $0, offsets: offsets) }
    }
    let flat = trees.indices.filter { !live.contains($0) }
    var gradients = stepGradients(stage, objective, temperature: settings.temperature)
    for (members, recording) in [(live, true), (flat, false)] {
      func rows(_ part: Range<Int>) -> [Int] { members[part].flatMap { Array($0 * g..<($0 + 1) * g) } }
      func tokens(_ part: Range<Int>) -> [Int] { rows(part).flatMap { Array(offsets[$0]..<offsets[$0 + 1]) } }
      try gradients.add(
        members.map { trees[$0] }, recording: recording, needsWholeStep: objective.needsWholeStep
      ) { part, streams in
        let tokens = tokens(part)
        streams.mask = tokens.map { scored.streams.mask[$0] }
        // At the first pass the ratio is 1 by construction.
        if iteration > 0 { streams.oldLogprobs = tokens.map { scored.streams.policyLogprobs[$0] } }
        if objective.usesReference {
          streams.referenceLogprobs = reference?.logprobs(
            members[part].map { trees[$0] }, temperature: settings.temperature)
        }
      } evaluate: { part, streams in
        try objective.evaluate(streams, credit.of(rows: rows(part), offsets: offsets), totals, position.memory)
      }
    }
    return gradients
  }
}

extension Recipe.Stage.Rollouts {
  /// How completions are drawn.
  func sampling(stopIDs: [Int32]) -> SamplingParameters {
    SamplingParameters(
      temperature: temperature, topK: topK, topP: topP, minP: minP, maxNewTokens: maxNewTokens, stopIDs: Set(stopIDs),
      logprobTemperature: temperature)
  }
}

extension Recipe.Stage {
  /// What rewards alone make of a step's completions.
  func compare(_ matrix: RewardMatrix) throws -> GroupAdvantages.Scores {
    guard let objective = policyObjective, let rollouts else {
      throw AttuneError.work("stage \(name) does not sample, so its completions cannot be compared")
    }
    let weighted = matrix.weighted.map { matrix.columns[$0] }
    return try objective.compare(
      rewards: matrix.weightedValues, names: weighted.map(\.name), weights: weighted.map(\.weight),
      groupSize: rollouts.generations)
  }
}
