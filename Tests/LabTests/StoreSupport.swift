import Core
import Foundation

@testable import Lab

/// A folder that is removed with the test.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("store-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

extension RunStore.Start {
  static let example = RunStore.Start(
    name: "quickstart", file: "recipes/q.yaml", recipe: "seed: 1\n", effective: ["seed": 1], host: ["threads": 2])
}

extension RunStore {
  /// A run of two stages in `root`.
  static func example(in root: String, time: Double = 1_795_429_000, suffix: UInt16 = 7) throws -> RunStore {
    let folder = try RunFolder.create(root: root, name: "quickstart", time: time, suffix: suffix)
    return try create(
      in: folder, .example,
      stages: [Stage(name: "sft", objective: "sft", steps: 4), Stage(name: "grpo", objective: "grpo", steps: 10)],
      started: time)
  }
}

extension RunStore.Step {
  /// A step of `prompts` groups of `generations`, whose numbers depend on `salt`.
  static func example(stage: Int = 1, step: Int, prompts: Int = 2, generations: Int = 3, salt: Int = 0) -> RunStore.Step
  {
    RunStore.Step(
      stage: stage, step: step, metrics: ["loss": Double(step + salt), "reward": Double(salt)],
      prompts: (0..<prompts).map { prompt in
        RunStore.Prompt(
          prompt: 10 * step + prompt, text: "prompt \(prompt)", messages: [["role": "user", "content": "p"]],
          reference: prompt == 0 ? nil : "42", columns: ["answer": .int(prompt)], pictures: [[1, 2, UInt8(prompt)]],
          rollouts: (0..<generations).map { index in
            RunStore.Rollout(
              completion: Completion(
                ids: [1, Int32(index), .max], text: "text \(index + salt)", rawText: "raw\u{0} \(index)",
                logprobs: [-0.5, -Float(index), -0], finishReason: index == 0 ? .length : .stop),
              reward: index == 2 ? nil : Double(index + 10 * prompt + salt), advantage: Double(index) - 1,
              scores: [
                .init(
                  name: "exact", score: index == 2 ? nil : 1, status: index == 2 ? "failed" : "ok", log: "line \(index)"
                ),
                .init(name: "format", score: 0.25, components: ["open": 1, "close": -1]),
              ])
          })
      }, stageSeconds: Double(step), runSeconds: Double(step) + 100)
  }
}
