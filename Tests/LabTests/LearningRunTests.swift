import Core
import Foundation
import Objectives
import TestSupport
import Testing

@testable import Lab

/// Small runs of the objectives that learn from data as it is.
enum LearningSupport {
  /// Pairs of short texts with margins, of various lengths, some prompts twice.
  static let pairs: [JSON] = (0..<11).map { i in
    [
      "prompt": .string("What is \(i % 9) and \(i + 3)?"), "chosen": .string("The answer is \(2 * i + 3)."),
      "rejected": .string(String(repeating: "no idea ", count: i % 4 + 1)), "margin": .double(Double(i % 3) / 4),
    ]
  }
  /// The same completions one by one.
  static let labels: [JSON] = pairs.enumerated().map { i, pair in
    [
      "prompt": pair["prompt"] ?? "", "completion": (i % 3 == 0 ? pair["rejected"] : pair["chosen"]) ?? "",
      "label": .bool(i % 3 != 0),
    ]
  }

  static func data(_ rows: [JSON], in folder: String) throws -> String {
    let path = folder + "/\(rows.count)-\(rows[0].object?.keys.count ?? 0).jsonl"
    try rows.map { $0.text() }.joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }

  /// What one stage is trained on.
  static func rows(of stage: String) -> [JSON] {
    stage.contains("objective: kto") || stage.contains("objective: bco") ? labels : pairs
  }

  /// - Parameters:
  ///   - stage: keys of the one stage, as YAML flow entries.
  ///   - more: other top-level lines.
  static func recipe(
    _ stage: String, _ more: String = "threads: 2", steps: Int = 4, in folder: String, checkpoints: Int = 1
  ) throws -> Recipe {
    try Recipe.parse(
      """
      name: tiny
      seed: 3
      \(more)
      data: {train: {kind: jsonl, file: \(try data(rows(of: stage), in: folder))}}
      stages:
        - {steps: \(steps), batch: 4, optimizer: {learning_rate: 3e-3, schedule: constant}, \(stage)}
      checkpoint: {every: \(checkpoints), keep: 20}
      """ + (more.contains("model:") ? "" : "\nmodel: {path: 'preset:tiny'}"), file: "/none/recipe.yaml")
  }

  static let lora = "model: {path: 'preset:tiny', train: lora}"
}

/// Objectives that learn from data: the same bits however a step is cut, on however many threads, and whenever a run was
/// stopped.
@Suite struct LearningRunTests {
  static let stages = [
    "objective: sft",
    "objective: dpo",
    "objective: dpo, dpo: {loss_type: [sigmoid, sft], use_weighting: false, ld_alpha: 0.5}",
    "objective: dpo, dpo: {loss_type: aot}",
    "objective: dpo, recompute: true, max_length: 40",
    "objective: cpo",
    "objective: orpo",
    "objective: kto",
    "objective: kto, kto: {loss_type: apo_zero_unpaired}",
    "objective: bco",
  ]

  @Test(arguments: stages) func noCutAndNoThreadChangesABit(stage: String) throws {
    let folder = try TemporaryFolder()
    func run(_ stage: String, _ more: String, _ name: String) throws -> RunSupport.Outcome {
      try RunSupport.run(
        LearningSupport.recipe(stage, more, steps: 3, in: folder.path, checkpoints: 0), in: folder.path + "/" + name)
    }
    let whole = try run(stage, "threads: 2", "whole")
    #expect(whole.ending == .finished && whole.steps.count == 3)
    #expect(whole.metric("loss").allSatisfy { $0.isFinite })
    for (cut, threads) in [(1, 2), (3, 1)] {
      let other = try run(stage + ", micro_batch: \(cut)", "threads: \(threads)", "\(cut)-\(threads)")
      #expect(try other.weights() == whole.weights(), "micro_batch \(cut), \(threads) threads")
      for (a, b) in zip(other.steps, whole.steps) {
        #expect(a.metrics.count == b.metrics.count)
        for (x, y) in zip(a.metrics.sorted { $0.name < $1.name }, b.metrics.sorted { $0.name < $1.name }) {
          #expect(x.name == y.name && abs(x.value - y.value) <= 1e-9 * max(1, abs(y.value)), "\(x) \(y)")
        }
      }
    }
  }

  @Test(arguments: stages) func aStoppedRunEndsWithTheSameBits(stage: String) throws {
    let folder = try TemporaryFolder()
    for more in ["threads: 2", LearningSupport.lora] {
      let name = more.contains("lora") ? "lora" : "full"
      let recipe = try LearningSupport.recipe(stage, more, in: folder.path)
      let whole = try RunSupport.run(recipe, in: folder.path + "/\(name)-whole")
      for steps in [1, 3] {
        let path = folder.path + "/\(name)-\(steps)"
        let stopped = try RunSupport.run(recipe, in: path, stopAfter: steps, questions: 0)
        #expect(stopped.ending == .interrupted && stopped.steps.count == steps)
        let rest = try RunSupport.resume(path)
        #expect(rest.ending == .finished)
        #expect(try rest.weights() == whole.weights(), "\(name), stopped after \(steps)")
        #expect(stopped.trace + rest.trace == whole.trace, "\(name), stopped after \(steps)")
      }
    }
  }

  @Test(arguments: stages) func theLossFalls(stage: String) throws {
    let folder = try TemporaryFolder()
    let run = try RunSupport.run(
      LearningSupport.recipe(stage, steps: 20, in: folder.path, checkpoints: 0), in: folder.path + "/run")
    let losses = run.metric("loss")
    let (before, after) = (losses.prefix(3).reduce(0, +) / 3, losses.suffix(3).reduce(0, +) / 3)
    #expect(after < before - 0.02 * abs(before), "\(stage): \(before) to \(after)")
  }

  /// While the policy is its reference, rewards are exactly 0 and the loss is that of a coin.
  @Test(arguments: ["threads: 2", LearningSupport.lora, "dtype: bf16", LearningSupport.lora + "\ndtype: bf16"])
  func theFirstStepStandsAtTheReference(more: String) throws {
    let folder = try TemporaryFolder()
    for objective in ["dpo", "kto"] {
      let run = try RunSupport.run(
        LearningSupport.recipe("objective: \(objective)", more, steps: 2, in: folder.path),
        in: folder.path + "/\(objective)")
      for name in ["rewards/chosen", "rewards/rejected", "rewards/margins"] { #expect(run.metric(name)[0] == 0) }
      let expected = objective == "dpo" ? 0.6931471805599453 : 0.5
      #expect(abs(run.metric("loss")[0] - expected) < 1e-12)
      #expect(run.metric("rewards/chosen")[1] != 0)
    }
  }

  @Test(arguments: ["sft", "dpo", "orpo", "kto", "reward", "grpo"], ["threads: 2", LearningSupport.lora])
  func recomputingChangesNoBit(objective: String, more: String) throws {
    let folder = try TemporaryFolder()
    let weights = try [false, true].map { recomputes in
      let stage = "objective: \(objective), recompute: \(recomputes)"
      let recipe =
        objective == "grpo"
        ? try RunSupport.recipe(
          stage + ", generations: 4, optimizer: {learning_rate: 2e-3, schedule: constant}", more, steps: 2)
        : try LearningSupport.recipe(stage, more, steps: 2, in: folder.path)
      return try RunSupport.run(recipe, in: folder.path + "/\(recomputes)").weights()
    }
    #expect(weights[0] == weights[1])
  }

  @Test func longCompletionsLoseTheirEnds() throws {
    let folder = try TemporaryFolder()
    func run(_ length: Int) throws -> RunSupport.Outcome {
      try RunSupport.run(
        LearningSupport.recipe("objective: dpo, max_length: \(length)", steps: 2, in: folder.path),
        in: folder.path + "/\(length)")
    }
    let free = try run(0)
    #expect(free.metric("truncated_completions").allSatisfy { $0.isNaN })
    let shares = try run(500).metric("truncated_completions")
    #expect(shares == [0, 0])
    let losses = try run(501).metric("loss")
    #expect(losses == free.metric("loss"))
    let cut = try run(40)
    let shares40 = cut.metric("truncated_completions")
    #expect(shares40.reduce(0, +) > 0 && shares40.allSatisfy { $0 < 1 }, "\(shares40)")
    let error = #expect(throws: AttuneError.self) { _ = try run(5) }
    #expect(error?.message.contains("with max_length 5 none is left") == true, "\(String(describing: error))")
  }

  @Test func labelsOutOfBalanceAreTold() throws {
    let folder = try TemporaryFolder()
    let told = try RunSupport.run(
      LearningSupport.recipe("objective: kto", steps: 1, in: folder.path), in: folder.path + "/told")
    #expect(told.notes.contains { $0.contains("7 completions are desirable and 4 are not") }, "\(told.notes)")
    let quiet = try RunSupport.run(
      LearningSupport.recipe("objective: kto, kto: {undesirable_weight: 1.5}", steps: 1, in: folder.path),
      in: folder.path + "/quiet")
    #expect(!quiet.notes.contains { $0.contains("desirable") })
  }
}
