import AttuneTensor
import Core
import Foundation
import Objectives
import TestSupport
import Testing

@testable import Lab

/// Whole runs of every objective for which the policy samples: the same bits however a step is cut, on however many threads, and
/// whenever a run was stopped.
@Suite struct SamplingRunTests {
  /// Stage keys of one run for each objective, with what is special about it.
  static let stages = [
    "objective: grpo, generations: 4",
    "objective: grpo, generations: 4, iterations: 2, grpo: {beta: 0.05, entropy_coef: 0.01, use_adaptive_entropy: true, entropy_target: 10}",
    "objective: grpo, generations: 4, iterations: 2, grpo: {top_entropy_quantile: 0.4, loss_type: grpo}",
    "objective: dapo, generations: 4, max_resample_times: 2",
    "objective: gspo, generations: 4, iterations: 2",
    "objective: rloo, generations: 4, iterations: 2",
    "objective: rloo, generations: 4, rloo: {kl_in: loss, normalize_advantages: true}",
    "objective: reinforce_pp, generations: 1, prompts: 16",
    "objective: reinforce_pp, generations: 4, iterations: 2, reinforce_pp: {flavour: baseline}",
    "objective: reinforce_pp, generations: 4, reinforce_pp: {flavour: sequence}",
    "objective: ppo, generations: 1, prompts: 16, iterations: 2, critic: {learning_rate: 1e-2}",
    "objective: ppo, generations: 4, iterations: 2, critic: {kind: checkpoint, learning_rate: 2e-3, warmup_steps: 1}",
    "objective: ppo, generations: 2, prompts: 8, critic: {kind: checkpoint, path: 'preset:tiny-llama', learning_rate: 2e-3}, ppo: {kl_coef: 0}",
  ]
  private static let rate = "optimizer: {learning_rate: 2e-3, schedule: constant}"

  private func recipe(_ stage: String, _ more: String = "threads: 2", steps: Int = 3) throws -> Recipe {
    try RunSupport.recipe(stage + ", " + Self.rate, more, steps: steps)
  }

  @Test(arguments: stages) func noCutAndNoThreadChangesABit(stage: String) throws {
    let folder = try TemporaryFolder()
    let whole = try RunSupport.run(try recipe(stage), in: folder.path + "/whole")
    #expect(whole.ending == .finished && whole.steps.count == 3)
    let hasCritic = stage.contains("ppo")
    for (cut, threads) in [(1, 2), (3, 1)] {
      let other = try RunSupport.run(
        try recipe(stage + ", micro_batch: \(cut)", "threads: \(threads)"), in: folder.path + "/\(cut)-\(threads)")
      #expect(try other.weights() == whole.weights(), "micro_batch \(cut), \(threads) threads")
      if hasCritic { #expect(try other.critic() == whole.critic(), "micro_batch \(cut), \(threads) threads") }
      // Means over micro-batches are added in another order.
      for (a, b) in zip(other.steps, whole.steps) {
        #expect(a.prompts.map(\.number) == b.prompts.map(\.number))
        for (x, y) in zip(a.metrics, b.metrics) where !x.name.hasSuffix("/seconds") {
          #expect(x.name == y.name && abs(x.value - y.value) <= 1e-9 * max(1, abs(y.value)), "\(x) \(y)")
        }
      }
    }
  }

  @Test(arguments: stages) func aStoppedRunEndsWithTheSameBits(stage: String) throws {
    let folder = try TemporaryFolder()
    for more in ["threads: 2", "model: {path: 'preset:tiny', train: lora}"] {
      let name = more.contains("lora") ? "lora" : "full"
      let whole = try RunSupport.run(try recipe(stage, more, steps: 4), in: folder.path + "/\(name)-whole")
      for steps in [1, 2] {
        let path = folder.path + "/\(name)-\(steps)"
        let stopped = try RunSupport.run(try recipe(stage, more, steps: 4), in: path, stopAfter: steps)
        #expect(stopped.ending == .interrupted && stopped.steps.count == steps)
        let rest = try RunSupport.resume(path)
        #expect(rest.ending == .finished)
        #expect(try rest.weights() == whole.weights(), "\(name), stopped after \(steps)")
        if stage.contains("ppo") { #expect(try rest.critic() == whole.critic(), "\(name), stopped after \(steps)") }
        #expect(stopped.trace + rest.trace == whole.trace, "\(name), stopped after \(steps)")
      }
    }
  }

  /// Entropy is in every step; the KL where a term or a look measures it; ratios stay at 1 until the policy has moved.
  @Test(arguments: stages) func entropyAndKLAreWatched(stage: String) throws {
    let folder = try TemporaryFolder()
    let watched = try recipe(stage + ", kl_every: 2", steps: 5)
    let run = try RunSupport.run(watched, in: folder.path + "/run")
    // Of a step whose completions were all cut off and left out nothing is to be seen.
    let isEmpty = run.metric("completions/clipped_ratio").map { $0 == 1 && stage.contains("dapo") }
    #expect(zip(run.metric("entropy"), isEmpty).allSatisfy { $0 > 0 || $1 })
    let kl = run.metric("kl")
    let hasTerm =
      ["beta", "rloo", "reinforce_pp", "ppo"].contains { stage.contains($0) } && !stage.contains("kl_coef: 0")
    for (step, value) in kl.enumerated() {
      #expect(value.isFinite == (!isEmpty[step] && (hasTerm || step % 2 == 1 || step == 4)), "step \(step): \(value)")
    }
    #expect(kl.contains { $0 != 0 })
    let passes = try #require(watched.stages[0].rollouts).iterations
    let warmup = watched.stages[0].critic?.warmupSteps ?? 0
    for (step, value) in run.metric("approx_kl").enumerated() {
      #expect(passes == 1 ? value.isNaN : step < warmup ? value == 0 : value > 0, "step \(step): \(value)")
    }
  }

  @Test(arguments: stages) func rewardRises(stage: String) throws {
    let folder = try TemporaryFolder()
    let run = try RunSupport.run(
      try recipe(stage.replacing("generations: 4", with: "generations: 8"), steps: 40), in: folder.path + "/run")
    let rewards = run.metric("reward")
    let (before, after) = (rewards.prefix(4).reduce(0, +) / 4, rewards.suffix(4).reduce(0, +) / 4)
    #expect(after > before + 0.15, "\(stage): \(before) to \(after)")
  }

  /// A critic comes to foresee the return, and its warm-up leaves the policy as it is.
  @Test(arguments: ["trunk", "checkpoint"]) func aCriticLearns(kind: String) throws {
    let folder = try TemporaryFolder()
    let stage =
      "objective: ppo, generations: 4, prompts: 8, critic: {kind: \(kind), learning_rate: 2e-2, warmup_steps: 20}, ppo: {vf_coef: 1, cliprange_value: 10}"
    let run = try RunSupport.run(try recipe(stage, steps: 22), in: folder.path + "/run")
    let losses = run.metric("loss/value_avg")
    #expect(losses[15..<20].reduce(0, +) / 5 < 0.7 * losses[0], "\(losses)")
    #expect(run.metric("learning_rate")[..<20].allSatisfy { $0 == 0 } && run.metric("learning_rate")[20] > 0)
    #expect(run.metric("grad_norm").map(\.isNaN) == (0..<22).map { $0 < 20 })
    #expect(run.metric("critic/grad_norm").allSatisfy { $0 > 0 })
    #expect(run.metric("val/ratio")[..<20].allSatisfy { $0 == 1 })
    // The critic is a reward model and a critic to go on with.
    let model = try RewardModel(
      training: folder.path + "/run/critic", backend: try CPUBackend(threads: 1), precision: .full, seed: 1)
    #expect(model.head.place != nil)
    let next = try recipe(
      "objective: ppo, generations: 1, critic: {kind: checkpoint, path: '\(folder.path)/run/critic'}", steps: 1)
    #expect(try RunSupport.run(next, in: folder.path + "/next").ending == .finished)
  }

  @Test func whatACriticCannotBe() throws {
    let folder = try TemporaryFolder()
    #expect(throws: AttuneError.self) { try recipe("objective: grpo, generations: 4, critic: {kind: trunk}") }
    #expect(throws: AttuneError.self) { try recipe("objective: ppo, generations: 4, critic: {path: 'preset:tiny'}") }
    #expect(throws: AttuneError.self) { try recipe("objective: ppo, generations: 1, dynamic_sampling: true") }
    #expect(throws: AttuneError.self) { try recipe("objective: ppo, generations: 1, prompts: 1") }
    #expect(throws: AttuneError.self) { try recipe("objective: rloo, generations: 1") }
    // Another vocabulary is found before the first step, and nothing is left behind.
    let other = folder.path + "/other"
    try Preset.named("tiny").write(to: other, seed: 1)
    let file = URL(fileURLWithPath: other + "/tokenizer.json")
    let text = try String(contentsOf: file, encoding: .utf8)
    try text.replacing("\"<|endoftext|>\"", with: "\"<|other|>\"").write(to: file, atomically: true, encoding: .utf8)
    let wrong = try recipe("objective: ppo, generations: 1, critic: {kind: checkpoint, path: '\(other)'}")
    let error = #expect(throws: AttuneError.self) { try RunSupport.run(wrong, in: folder.path + "/run") }
    #expect(
      error?.kind == .request && error?.message.contains("the policy's is <|endoftext|>") == true,
      "\(String(describing: error))")
    #expect(!FileManager.default.fileExists(atPath: folder.path + "/run/run.sqlite"))
  }

  /// Single completions are compared with those of other prompts before a stage and while it is watched.
  @Test func singleCompletionsAreWatched() throws {
    let folder = try TemporaryFolder()
    for objective in ["ppo", "reinforce_pp"] {
      var single = try recipe("objective: \(objective), generations: 1, prompts: 12", steps: 2)
      single.watch.before = true
      let run = try RunSupport.run(single, in: folder.path + "/" + objective)
      let store = try RunStore.read(RunFolder.resolve(run.folder, root: run.folder))
      let survey = try #require(try store.survey(stage: 0))
      #expect(survey["generations"]?.int == 1 && survey["groups"]?.int == 4 && survey["verdict"]?.string == "learnable")
      #expect(run.metric("rewards/brief/normalized_std").allSatisfy { $0 > 0 }, "\(objective)")
      #expect(run.steps.allSatisfy { $0.prompts.count == 12 && $0.prompts.allSatisfy { $0.rollouts.count == 1 } })
      var flat = single
      flat.rewards[0].parameters = ["unit": "characters", "max": 1000]
      let error = #expect(throws: AttuneError.self) { try RunSupport.run(flat, in: folder.path + "/flat-" + objective) }
      #expect(
        error?.message.contains("of 32 completions of 32 prompts none is rewarded above") == true,
        "\(String(describing: error))")
    }
  }
}
