import AttuneTensor
import Core
import Foundation
import Models
import Objectives
import Rewards
import TestSupport
import Testing

@testable import Lab

/// Runs that train a reward model, and held-out pairs.
@Suite struct RewardModelRunTests {
  private static let stages = [
    "objective: reward", "objective: reward, recompute: true, reward: {center_rewards_coefficient: 0.01}",
  ]

  @Test(arguments: stages, ["threads: 2", LearningSupport.lora])
  func isTheSameHoweverItIsCutAndStopped(stage: String, more: String) throws {
    let folder = try TemporaryFolder()
    let recipe = try LearningSupport.recipe(stage, more, in: folder.path)
    let whole = try RunSupport.run(recipe, in: folder.path + "/whole")
    for cut in [1, 3] {
      let other = try RunSupport.run(
        LearningSupport.recipe(stage + ", micro_batch: \(cut)", more, in: folder.path), in: folder.path + "/\(cut)")
      #expect(try other.weights() == whole.weights(), "micro_batch \(cut)")
    }
    for steps in [1, 3] {
      let path = folder.path + "/stopped-\(steps)"
      let stopped = try RunSupport.run(recipe, in: path, stopAfter: steps, questions: 0)
      let rest = try RunSupport.resume(path)
      #expect(try rest.weights() == whole.weights(), "stopped after \(steps)")
      #expect(stopped.trace + rest.trace == whole.trace)
    }
  }

  /// What a run leaves is a reward that a recipe can name, and it tells chosen from rejected.
  @Test(arguments: ["threads: 2", LearningSupport.lora]) func whatIsLeftScores(more: String) throws {
    let folder = try TemporaryFolder()
    let run = try RunSupport.run(
      LearningSupport.recipe("objective: reward", more, steps: 25, in: folder.path, checkpoints: 0),
      in: folder.path + "/run")
    let losses = run.metric("loss")
    let (before, after) = (losses.prefix(3).reduce(0, +), losses.suffix(3).reduce(0, +))
    #expect(after < 0.8 * before)
    #expect(FileManager.default.fileExists(atPath: run.folder + "/adapter") == more.contains("lora"))
    let reward = try RewardLoader.load(
      RewardSpecification(name: "rm", source: run.folder + "/model"), workerCommand: [],
      models: CheckpointRewards(threads: 1))
    defer { reward.close() }
    var wins = 0
    for pair in LearningSupport.pairs {
      let sides = ["chosen", "rejected"].map { side in
        var sample = RewardSample(prompt: pair["prompt"]?.string ?? "", completion: pair[side]?.string ?? "")
        sample.messages = [Message(role: "user", text: pair["prompt"]?.string ?? "")]
        return sample
      }
      let scores = try reward.score(sides, context: RewardContext()).map { $0.score ?? .nan }
      if scores[0] > scores[1] { wins += 1 }
    }
    #expect(wins == LearningSupport.pairs.count)
  }

  @Test func longPairsAreLeftOut() throws {
    let folder = try TemporaryFolder()
    func run(_ length: Int) throws -> RunSupport.Outcome {
      try RunSupport.run(
        LearningSupport.recipe("objective: reward, max_length: \(length)", steps: 3, in: folder.path),
        in: folder.path + "/\(length)")
    }
    #expect(try run(500).metric("dropped_pairs").reduce(0, +) == 0)
    let longest = LearningSupport.pairs.count
    let cut = try run(40).metric("dropped_pairs").reduce(0, +)
    #expect(cut > 0 && cut < Double(3 * longest), "\(cut)")
    let error = #expect(throws: AttuneError.self) { _ = try run(3) }
    #expect(error?.message.contains("every pair of data train") == true)
  }

  /// Held-out pairs are looked at before the first step and after the last, for every objective that learns from preferences.
  @Test(arguments: ["reward", "dpo", "cpo", "simpo", "orpo", "kto", "bco"])
  func heldOutPairsAreLookedAt(objective: String) throws {
    let folder = try TemporaryFolder()
    let rows = LearningSupport.rows(of: "objective: \(objective)")
    let recipe = try Recipe.parse(
      """
      name: tiny
      threads: 2
      model: {path: 'preset:tiny'}
      data:
        train: {kind: jsonl, file: \(try LearningSupport.data(rows, in: folder.path))}
        held: {kind: jsonl, file: \(try LearningSupport.data(Array(LearningSupport.pairs.prefix(5)), in: folder.path))}
      stages: [{objective: \(objective), steps: 12, batch: 4, optimizer: {learning_rate: 3e-3, schedule: constant}}]
      evaluation: {preferences: held}
      """, file: "/none/recipe.yaml")
    let run = try RunSupport.run(recipe, in: folder.path + "/run")
    let names =
      objective == "reward"
      ? ["eval/loss", "eval/accuracy", "eval/margin"]
      : ["eval/loss", "eval/rewards/accuracies", "eval/rewards/margins"]
    try #require(run.evaluations.count == 2)
    for evaluation in run.evaluations { #expect(evaluation.metrics.map(\.name) == names) }
    let values = run.evaluations.map { $0.metrics.map(\.value) }
    #expect(values[1][0] < values[0][0] && values[1][1] >= values[0][1] && values[1][2] > values[0][2], "\(values)")
  }

  @Test(arguments: [
    (
      "[{objective: reward, steps: 1}, {objective: dpo, steps: 1}]", "",
      "stages.0: a reward stage gives the model a score in the place of its words"
    ),
    (
      "[{objective: reward, steps: 1}]", "rewards: [{source: exact_match}]",
      "rewards: a reward model writes no completions"
    ),
    ("[{objective: reward, steps: 1}]", "evaluation: {data: train}", "evaluation.data: a reward model writes"),
    ("[{objective: sft, steps: 1}]", "evaluation: {preferences: train}", "evaluation.preferences: no stage learns"),
  ])
  func whatHasNoMeaningIsRefused(stages: String, more: String, words: String) throws {
    let folder = try TemporaryFolder()
    let error = #expect(throws: AttuneError.self) {
      _ = try Recipe.parse(
        """
        name: tiny
        model: {path: 'preset:tiny'}
        data: {train: {kind: jsonl, file: \(try LearningSupport.data(LearningSupport.pairs, in: folder.path))}}
        stages: \(stages)
        \(more)
        """, file: "/none/recipe.yaml")
    }
    #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
  }
}
