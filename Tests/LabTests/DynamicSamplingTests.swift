import Core
import Objectives
import TestSupport
import Testing

@testable import Lab

/// Which groups a step is trained on.
@Suite struct DynamicSamplingTests {
  @Test func groupsWithSignalFillTheStepInOrder() {
    var sampling = DynamicSampling(wanted: 3, rounds: 3)
    #expect(sampling.examine([[0, 0], [1, 0], [1, 1]]) == [1] && sampling.isShort)
    #expect(sampling.examine([[0.5, 0.25], [0, 1], [1, 0]]) == [0, 1] && !sampling.isShort)
    #expect(sampling.shortage == nil)
    #expect(
      sampling.metrics.map(\.name).map { $0.replacing("dynamic_sampling/", with: "") } == [
        "rounds", "kept", "flat_share", "reward",
      ])
    expectClose(sampling.metrics.map(\.value), [2, 3, 2.0 / 6, 5.75 / 12], absolute: 1e-12)
  }

  /// A completion that nothing scores tells nothing apart, and rounding is no signal.
  @Test func whatIsNoSignal() {
    var sampling = DynamicSampling(wanted: 2, rounds: 1)
    #expect(sampling.examine([[.nan, 1], [.nan, .nan], [0.1 + 0.2, 0.3], [.nan, 1, 0]]) == [3])
    #expect(
      sampling.shortage
        == "dynamic sampling found 1 of 2 groups with signal among 4 in 1 round, so the first round is trained on as it is; "
        + "flat were 3: 1 with all rewards 0.3, 1 with all rewards 1, 1 unscored")
  }

  @Test func theRoundsRunOut() {
    var sampling = DynamicSampling(wanted: 4, rounds: 2)
    #expect(sampling.examine([[1, 1], [0, 0], [1, 0], [0, 0]]) == [2])
    #expect(sampling.isShort && sampling.shortage == nil)
    #expect(sampling.examine([[0, 0], [0, 0], [0, 1], [1, 1]]) == [2])
    #expect(!sampling.isShort)
    #expect(
      sampling.shortage
        == "dynamic sampling found 2 of 4 groups with signal among 8 in 2 rounds, so the first round is trained on as it is; "
        + "flat were 6: 4 with all rewards 0, 2 with all rewards 1")
  }

  // MARK: In a run

  private static let rate = "optimizer: {learning_rate: 2e-3, schedule: constant}"

  /// Data positions stay exact: each round takes the prompts that come next, and the record lists those trained on.
  @Test func aStepIsRefilled() throws {
    let folder = try TemporaryFolder()
    let recipe = try RunSupport.recipe(
      "objective: grpo, generations: 2, dynamic_sampling: true, max_resample_times: 8, \(Self.rate)", steps: 6)
    let run = try RunSupport.run(recipe, in: folder.path + "/run")
    var cursor = 0
    let rounds = run.metric("dynamic_sampling/rounds").map { Int($0) }
    for (step, count) in zip(run.steps, rounds) {
      let numbers = step.prompts.map(\.number)
      #expect(numbers == numbers.sorted() && Set(numbers).count == 4)
      #expect(numbers.allSatisfy { (cursor..<cursor + 4 * count).contains($0) })
      #expect(step.prompts.allSatisfy { Set($0.rollouts.map(\.reward)).count > 1 })
      let trained = step.prompts.reduce(0) { $0 + $1.rollouts.reduce(0) { $0 + $1.completion.ids.count } }
      #expect(count > 1 ? step.sampledTokens > trained : step.sampledTokens == trained)
      cursor += 4 * count
    }
    #expect(rounds.contains { $0 > 1 }, "\(rounds)")
    #expect(run.notes.isEmpty, "\(run.notes)")
    #expect(run.metric("frac_reward_zero_std").allSatisfy { $0 == 0 })
    #expect(zip(rounds, run.metric("dynamic_sampling/flat_share")).allSatisfy { ($0 > 1) == ($1 > 0) || $1 > 0 })
  }

  /// Nothing has signal: the first round is trained on, the cursor stands behind all rounds, and somebody is told.
  @Test func aStepThatStaysShort() throws {
    let folder = try TemporaryFolder()
    var recipe = try RunSupport.recipe(
      "objective: dapo, generations: 2, max_resample_times: 3, \(Self.rate)", steps: 2)
    recipe.rewards[0].parameters = ["unit": "characters", "max": 1000]
    let run = try RunSupport.run(recipe, in: folder.path + "/run")
    #expect(run.steps.map { $0.prompts.map(\.number) } == [[0, 1, 2, 3], [12, 13, 14, 15]])
    #expect(run.notes.count == 2 && run.notes[0].contains("flat were 12: 12 with all rewards 1"), "\(run.notes)")
    #expect(run.metric("dynamic_sampling/rounds") == [3, 3])
  }

  /// Overlong filtering: a cut completion's reward counts in its group, its tokens nowhere, its row in means over rows.
  @Test func cutCompletionsLeaveTheLoss() throws {
    let folder = try TemporaryFolder()
    func run(_ lossType: String, masks: Bool) throws -> RunSupport.Outcome {
      try RunSupport.run(
        try RunSupport.recipe(
          "objective: grpo, generations: 8, max_new_tokens: 40, mask_truncated_completions: \(masks), grpo: {loss_type: \(lossType)}, \(Self.rate)",
          "threads: 2", steps: 1), in: folder.path + "/\(lossType)-\(masks)")
    }
    for lossType in ["dapo", "grpo"] {
      let (masked, plain) = (try run(lossType, masks: true), try run(lossType, masks: false))
      let rollouts = masked.steps[0].prompts.flatMap(\.rollouts)
      #expect(rollouts.map(\.advantage) == plain.steps[0].prompts.flatMap(\.rollouts).map(\.advantage))
      let kept = rollouts.filter { $0.completion.finishReason != .length }
      #expect(!kept.isEmpty && kept.count < rollouts.count, "\(kept.count)")
      // The ratio is 1, so that each token's loss is the negative advantage.
      let tokens = kept.reduce(0) { $0 + $1.completion.ids.count }
      let expected =
        lossType == "dapo"
        ? -kept.reduce(0) { $0 + $1.advantage * Double($1.completion.ids.count) } / Double(tokens)
        : -kept.reduce(0) { $0 + $1.advantage } / Double(rollouts.count)
      expectClose(masked.metric("loss"), [expected], absolute: 1e-9)
      #expect(try masked.weights() != plain.weights())
    }
  }
}
