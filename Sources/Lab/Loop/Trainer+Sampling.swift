import Core
import Datasets
import Models
import Objectives
import Rewards
import Rollout

/// What a step samples before it learns.
struct SampledStep {
  /// The groups that are trained on.
  var batch: RolloutBatch
  var matrix: RewardMatrix
  /// What rewards said beside their scores, of everything that was sampled.
  var said: HostServices.Record
  /// Of dynamic sampling; empty without it.
  var metrics: [ObjectiveResult.Metric] = []
  /// Tokens of all completions, those that are not trained on too.
  var tokenCount = 0
  var seconds: (rollout: Double, reward: Double) = (0, 0)
}

extension Trainer {
  /// Samples groups for the next prompts and has them scored. With dynamic sampling (2503.14476, eq. 11) groups without signal
  /// are left out, and the prompts that come next are sampled in their stead, round after round.
  ///
  /// Each round has the step's number of prompts, and moves the data's cursor by as many. If the rounds run out, the first one is
  /// trained on as it is, and observers are told why.
  func sampleStep(_ stage: Recipe.Stage, _ settings: Recipe.Stage.Rollouts) throws -> SampledStep {
    let cursors = position.cursors
    do {
      var step = SampledStep(batch: emptyBatch, matrix: try matrix(of: emptyBatch), said: .init())
      if settings.isDynamic {
        try sampleDynamically(stage, settings, &step)
      } else {
        (step.batch, step.matrix) = try sampleRound(stage, settings, 0, &step)
      }
      step.said = services.takeRecord()
      try noteLines(step.said)
      return step
    } catch {
      // The step did not happen: its samples come again, to rewards that know nothing of them.
      position.cursors = cursors
      if error is CancellationError { try rewards.restore(rewards.states) }
      throw error
    }
  }

  private var emptyBatch: RolloutBatch {
    RolloutBatch(outcomes: rewards.entries.map { _ in [] }, rewardSeconds: rewards.entries.map { _ in 0 })
  }

  private func matrix(of batch: RolloutBatch) throws -> RewardMatrix {
    try RewardMatrix(rewards.rules, outcomes: batch.outcomes, finishReasons: batch.completions.map(\.finishReason))
  }

  private func sampleDynamically(
    _ stage: Recipe.Stage, _ settings: Recipe.Stage.Rollouts, _ step: inout SampledStep
  ) throws {
    let size = settings.generations
    var sampling = DynamicSampling(wanted: settings.prompts, rounds: settings.rounds)
    var first: (batch: RolloutBatch, matrix: RewardMatrix)?
    while sampling.isShort {
      let (batch, matrix) = try sampleRound(stage, settings, sampling.rewards.count, &step)
      if first == nil { first = (batch, matrix) }
      let totals = matrix.values.indices.map { matrix.total($0) ?? .nan }
      let chosen = sampling.examine(
        stride(from: 0, to: totals.count, by: size).map { Array(totals[$0..<$0 + size]) })
      step.batch.append(chosen, of: batch, groupSize: size)
    }
    step.metrics = sampling.metrics
    if let shortage = sampling.shortage, let first {
      (step.batch, step.matrix) = first
      try emit(.note("step \(position.step): \(shortage)"))
    } else {
      step.matrix = try matrix(of: step.batch)
    }
  }

  /// Samples groups for the next prompts and has them scored, group by group as they come.
  ///
  /// - Parameter round: within the step.
  private func sampleRound(
    _ stage: Recipe.Stage, _ settings: Recipe.Stage.Rollouts, _ round: Int, _ step: inout SampledStep
  ) throws -> (RolloutBatch, RewardMatrix) {
    let started = monotonicSeconds()
    var batch = emptyBatch
    let firstPrompt = position.cursors[stage.data] ?? 0
    batch.samples = try nextSamples(stage, settings.prompts)
    batch.prompts = try batch.samples.map { try encode($0) }
    batch.positions = batch.samples.indices.map { firstPrompt + $0 }
    let lanes = lanes(stage, firstPrompt: firstPrompt)
    var seen: [[RewardSample]] = []
    let rolledOut: Double
    do {
      batch.groups = try clock.measure("rollout") {
        try engine.generate(
          zip(batch.prompts, batch.positions).map {
            RolloutRequest(
              prompt: $0.encoded, completions: settings.generations, step: position.globalStep, promptNumber: $1)
          },
          settings.sampling(stopIDs: policy.stopIDs), isCancelled: isCancelled
        ) { group, completions in
          let inputs = inputs(
            stage, settings, group: round * settings.prompts + group, batch.samples[group], batch.prompts[group],
            completions)
          seen.append(inputs)
          lanes.add(inputs)
        }
      }
      rolledOut = monotonicSeconds()
      let scored = try lanes.finish()
      (batch.outcomes, batch.rewardSeconds, batch.seen) = (scored.outcomes, scored.seconds, seen)
    } catch {
      lanes.abandon()
      throw error
    }
    step.tokenCount += batch.tokenCount
    step.seconds.rollout += rolledOut - started
    step.seconds.reward += monotonicSeconds() - rolledOut
    let matrix = try combine(
      batch.outcomes, batch.completions.map(\.finishReason), occasion: "step \(position.step)")
    return (batch, matrix)
  }
}

extension Recipe.Stage.Rollouts {
  /// How completions are drawn.
  func sampling(stopIDs: [Int32]) -> SamplingParameters {
    SamplingParameters(
      temperature: temperature, topK: topK, topP: topP, minP: minP, maxNewTokens: maxNewTokens, stopIDs: Set(stopIDs),
      logprobTemperature: temperature)
  }

  /// Prompts that a step samples at most.
  var mostPrompts: Int { isDynamic ? prompts * rounds : prompts }
}

extension Recipe.Stage {
  /// Of how many completions those of a batch of `count` are compared with each other: a prompt's, or where the objective compares
  /// none all of them.
  func comparedCompletions(of count: Int) -> Int {
    guard let objective = policyObjective, let rollouts else { return 1 }
    return objective.comparesGroups ? rollouts.generations : max(1, count)
  }

  /// What rewards alone make of a step's completions.
  func compare(_ matrix: RewardMatrix) throws -> GroupAdvantages.Scores {
    guard let objective = policyObjective, rollouts != nil else {
      throw AttuneError.work("stage \(name) does not sample, so its completions cannot be compared")
    }
    let weighted = matrix.weighted.map { matrix.columns[$0] }
    return try objective.compare(
      rewards: matrix.weightedValues, names: weighted.map(\.name), weights: weighted.map(\.weight),
      groupSize: comparedCompletions(of: matrix.values.count))
  }
}
