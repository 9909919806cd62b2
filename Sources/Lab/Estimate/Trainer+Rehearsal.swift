import AttuneTensor
import Core
import Objectives

/// What a stage takes, by its rehearsal.
struct RehearsedStage {
  let name: String
  /// In the order of their first appearance, those of the evaluation before the stage included.
  let phases: [PhaseClock.Phase]
  /// Of one step.
  let seconds: Double
  let steps: Int
  /// Highest place of memory so far.
  let highWater: Int
  /// Tokens of the rehearsed steps, looked up in the table of tokens.
  let tokens: Int
}

extension Trainer {
  /// Samples whose lengths are looked at, at least one step's.
  static let rehearsedSamples = 64

  /// Goes through the beginning of every stage as `run` does, on a backend that computes nothing.
  ///
  /// The steps are the run's own first ones, so their prompts, pictures and targets have the lengths that the run will see;
  /// completions that are sampled are as long as they may be.
  func rehearse() throws -> [RehearsedStage] {
    precondition(!backend.computes, "a rehearsal on a backend that computes")
    var stages: [RehearsedStage] = []
    for (index, stage) in recipe.stages.enumerated() {
      position.stage = index
      position.step = 0
      position.memory = [:]
      clock.reset()
      let optimizer = freshOptimizer(of: stage)
      try prepareCritic(for: stage)
      try prepareData(for: stage)
      try prepareReference(for: stage, nil)
      if index == 0 { try evaluate(stage: -1, step: 0, label: "start") }
      let rates = stage.optimizer.learningRates(steps: max(1, stage.steps * iterations(of: stage)))
      let samples = max(1, stage.rollouts?.prompts ?? stage.batch)
      // The second step finds the panels of the first, and the third what the second found.
      let steps = min(stage.steps, stage.rollouts == nil ? max(2, Self.rehearsedSamples / samples) : 2)
      let start = backend.seconds
      var tokens = 0
      for number in 0..<steps {
        // What a stage does in its last step alone is done in that of the rehearsal.
        if number == steps - 1 { position.step = stage.steps - 1 }
        let record = try step(stage, rates, optimizer)
        tokens += record.trainedTokens
        position.step += 1
        position.globalStep += 1
      }
      let seconds = steps > 0 ? (backend.seconds - start) / Double(steps) : 0
      try evaluate(stage: index, step: max(0, steps - 1), label: "after \(stage.name)")
      critic = nil
      reference = nil
      stages.append(
        RehearsedStage(
          name: stage.name, phases: clock.phases, seconds: seconds, steps: stage.steps,
          highWater: backend.highWaterBytes, tokens: tokens))
    }
    return stages
  }
}
