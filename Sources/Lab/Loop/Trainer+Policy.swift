import AttuneTensor
import Core
import Models
import Objectives
import Rewards
import Rollout

extension Trainer {
  /// One step of an objective that samples: `rollouts → rewards → credit → loss`, each a plain value.
  func policyStep(
    _ stage: Recipe.Stage, _ objective: any PolicyObjective, _ settings: Recipe.Stage.Rollouts, _ rates: LearningRates,
    _ optimizer: Optimizer
  ) throws -> StepRecord {
    let sampled = try sampleStep(stage, settings)
    let batch = sampled.batch
    let rewarded = monotonicSeconds()
    var scored = scoredRollouts(sampled, settings)
    let trees = batch.trees
    let criticTrees = try critic?.trees(batch)
    let isWatched = settings.looksAtKL(step: position.step, of: stage.steps)
    let references = try referenceLogprobs(stage, objective, settings, trees, isWatched: isWatched)
    if objective.usesReference || objective.usesReferenceInReward { scored.streams.referenceLogprobs = references }
    if let critic, let criticTrees {
      scored.streams.values = critic.values(criticTrees, microBatch: stage.microBatch, clock)
    }
    let credit = try objective.credit(scored)

    let completions = batch.completions
    let statistics = CompletionStatistics(lengths: completions.map(\.ids.count), terminated: scored.terminated)
    var means = MetricMeans()
    means.add(credit.metrics.filter { !$0.name.hasPrefix("rewards/") })
    means.add(sampled.metrics)
    means.add(
      RewardStatistics.metrics(
        sampled.matrix, rewards.rules, outcomes: batch.outcomes,
        groupSize: stage.comparedCompletions(of: completions.count), seconds: batch.rewardSeconds))
    for metric in sampled.said.metrics { means.add("plugin/\(metric.name)", metric.value) }
    means.add(statistics.metrics)
    if let critic { means.add(critic.metrics(scored.streams, credit)) }
    let policyLearns = critic.map { position.step >= $0.settings.warmupSteps } ?? true
    var (lastNorm, lastRate, loss) = (0.0, 0.0, 0.0)
    for iteration in 0..<settings.iterations {
      let update = position.step * settings.iterations + iteration
      lastRate = rates.learningRate(at: update)
      let gradients = try policyGradients(
        stage, objective, settings, (trees, criticTrees), scored, credit, iteration)
      loss = gradients.sums.loss
      means.add(gradients.sums.means)
      try clock.measure("optimizer") {
        if policyLearns {
          lastNorm = try optimizer.update(rates, at: update, stage.optimizer)
        } else {
          optimizer.clearGradients()
        }
        if let critic { means.add(try critic.update(at: update, stage.optimizer)) }
      }
      objective.finishStep(gradients.sums.tallies, &position.memory)
    }
    // An objective's own term is measured where it is used.
    if let references, !means.has("kl") {
      means.add("kl", scored.streams.meanKL(of: scored.streams.policyLogprobs, to: references))
    }
    var metrics: [(name: String, value: Double)] = [("loss", loss)]
    metrics += means.values
    // While the critic learns alone, nothing of the policy does.
    metrics.append(("learning_rate", policyLearns ? lastRate : 0))
    if policyLearns { metrics.append(("grad_norm", lastNorm)) }
    return StepRecord(
      stage: position.stage, step: position.step, stageSteps: stage.steps, metrics: metrics,
      prompts: record(batch, credit, scored.streams).showing(
        batch.seen.flatMap { $0 }, epoch: epoch(of: stage, at: batch.positions[0])),
      trainedTokens: settings.iterations
        * trees.reduce(0) { $0 + $1.prompt.ids.count + $1.completions.reduce(0) { $0 + $1.count } },
      sampledTokens: sampled.tokenCount,
      seconds: (sampled.seconds.rollout, sampled.seconds.reward, monotonicSeconds() - rewarded),
      headline: metrics.filter { ["reward", "entropy"].contains($0.name) })
  }

  /// What the objective makes its credit of. The sampler's log-probabilities are the trainer's bits, so they are the old ones.
  private func scoredRollouts(_ sampled: SampledStep, _ settings: Recipe.Stage.Rollouts) -> ScoredRollouts {
    let (batch, matrix) = (sampled.batch, sampled.matrix)
    let completions = batch.completions
    let weighted = matrix.weighted.map { matrix.columns[$0] }
    return ScoredRollouts(
      groupSize: settings.generations, rewards: matrix.weightedValues, names: weighted.map(\.name),
      weights: weighted.map(\.weight),
      tokenRewards: completions.indices.map { row in
        TokenRewards.sum(
          rewards.rules, batch.outcomes.map { $0[row] }, tokenCount: completions[row].ids.count,
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

  /// What the reference says of the step's tokens, once for all passes over them; nil where nothing asks for it.
  private func referenceLogprobs(
    _ stage: Recipe.Stage, _ objective: any PolicyObjective, _ settings: Recipe.Stage.Rollouts, _ trees: [PromptTree],
    isWatched: Bool
  ) throws -> [Float]? {
    guard objective.usesReference || objective.usesReferenceInReward || isWatched else { return nil }
    return try loadReference().logprobs(trees, temperature: settings.temperature, microBatch: stage.microBatch)
  }

  /// The gradients of one pass over the batch.
  ///
  /// - Parameter trees: as the policy reads them, and as the critic does.
  private func policyGradients(
    _ stage: Recipe.Stage, _ objective: any PolicyObjective, _ settings: Recipe.Stage.Rollouts,
    _ trees: (policy: [PromptTree], critic: [PromptTree]?), _ scored: ScoredRollouts, _ credit: Credit, _ iteration: Int
  ) throws -> StepGradients {
    let g = settings.generations
    let offsets = scored.streams.rowOffsets
    let totals = StepTotals(rows: trees.policy.count * g, tokens: scored.streams.maskedCount)
    // A group whose advantages are all zero moves nothing unless a term besides the advantage does: it is scored for the
    // metrics and needs no way back.
    let live = trees.policy.indices.filter { group in
      objective.movesWithoutAdvantage
        || (group * g..<(group + 1) * g).contains { credit.moves(row: $0, offsets: offsets) }
    }
    let flat = trees.policy.indices.filter { !live.contains($0) }
    // A critic on the policy's trunk is in the policy's pass.
    let values = critic?.model.flatMap { model in trees.critic.map { (model.pass(), $0) } }
    var gradients = stepGradients(
      stage, objective, temperature: settings.temperature, valueHead: critic?.trunkHead)
    for (members, recording) in [(live, true), (flat, false)] {
      func rows(_ part: Range<Int>) -> [Int] { members[part].flatMap { Array($0 * g..<($0 + 1) * g) } }
      func tokens(_ part: Range<Int>) -> [Int] { rows(part).flatMap { Array(offsets[$0]..<offsets[$0 + 1]) } }
      try gradients.add(
        members.map { trees.policy[$0] }, values: values.map { pass, trees in (pass, members.map { trees[$0] }) },
        recording: recording, needsWholeStep: objective.needsWholeStep
      ) { part, streams in
        let tokens = tokens(part)
        streams.mask = tokens.map { scored.streams.mask[$0] }
        // At the first pass the ratio is 1 by construction.
        if iteration > 0 { streams.oldLogprobs = tokens.map { scored.streams.policyLogprobs[$0] } }
        if objective.usesReference, let all = scored.streams.referenceLogprobs {
          streams.referenceLogprobs = tokens.map { all[$0] }
        }
      } evaluate: { part, streams in
        var result = try objective.evaluate(
          streams, credit.of(rows: rows(part), offsets: offsets), totals, position.memory)
        if result[metric: "entropy"] == nil { result.metrics.append(.init("entropy", streams.meanEntropy)) }
        if let old = streams.oldLogprobs {
          result.metrics.append(.init("approx_kl", streams.meanKL(of: old, to: streams.policyLogprobs)))
        }
        return result
      }
    }
    return gradients
  }
}

extension Recipe.Stage.Rollouts {
  /// True in the steps whose KL is measured although the objective needs none: every `klEvery`th and the last.
  func looksAtKL(step: Int, of steps: Int) -> Bool {
    klEvery > 0 && ((step + 1) % klEvery == 0 || step + 1 == steps)
  }
}
