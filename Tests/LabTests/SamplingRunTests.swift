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
  ]
  private static let rate = "optimizer: {learning_rate: 2e-3, schedule: constant}"

  private func recipe(_ stage: String, _ more: String = "threads: 2", steps: Int = 3) throws -> Recipe {
    try RunSupport.recipe(stage + ", " + Self.rate, more, steps: steps)
  }

  @Test(arguments: stages) func noCutAndNoThreadChangesABit(stage: String) throws {
    let folder = try TemporaryFolder()
    let whole = try RunSupport.run(try recipe(stage), in: folder.path + "/whole")
    #expect(whole.ending == .finished && whole.steps.count == 3)
    for (cut, threads) in [(1, 2), (3, 1)] {
      let other = try RunSupport.run(
        try recipe(stage + ", micro_batch: \(cut)", "threads: \(threads)"), in: folder.path + "/\(cut)-\(threads)")
      #expect(try other.weights() == whole.weights(), "micro_batch \(cut), \(threads) threads")
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
        #expect(stopped.trace + rest.trace == whole.trace, "\(name), stopped after \(steps)")
      }
    }
  }

  /// Entropy is in every step; the KL where a term or a look measures it; ratios stay at 1 until the policy has moved.
  @Test(arguments: stages) func entropyAndKLAreWatched(stage: String) throws {
    let folder = try TemporaryFolder()
    let run = try RunSupport.run(try recipe(stage + ", kl_every: 2", steps: 5), in: folder.path + "/run")
    // Of a step whose completions were all cut off and left out nothing is to be seen.
    let isEmpty = run.metric("completions/clipped_ratio").map { $0 == 1 && stage.contains("dapo") }
    #expect(zip(run.metric("entropy"), isEmpty).allSatisfy { $0 > 0 || $1 })
    let kl = run.metric("kl")
    let hasTerm = stage.contains("beta") || !stage.contains("objective: grpo") && kl[0].isFinite
    for (step, value) in kl.enumerated() {
      #expect(value.isFinite == (!isEmpty[step] && (hasTerm || step % 2 == 1 || step == 4)), "step \(step): \(value)")
    }
    #expect(kl.contains { $0 != 0 })
    let approximate = run.metric("approx_kl")
    #expect(approximate.allSatisfy { stage.contains("iterations: 2") ? $0 > 0 : $0.isNaN }, "\(approximate)")
  }

  @Test(arguments: stages) func rewardRises(stage: String) throws {
    let folder = try TemporaryFolder()
    let run = try RunSupport.run(
      try recipe(stage.replacing("generations: 4", with: "generations: 8"), steps: 30), in: folder.path + "/run")
    let rewards = run.metric("reward")
    let (before, after) = (rewards.prefix(4).reduce(0, +) / 4, rewards.suffix(4).reduce(0, +) / 4)
    #expect(after > before + 0.15, "\(stage): \(before) to \(after)")
  }
}
