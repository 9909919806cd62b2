import Core
import Foundation
import Objectives
import Lab
import TestSupport
import Testing

/// Whole runs of the program: smoke recipes, interruption anywhere, threads.
@Suite(.serialized) struct RunTests {
  private static let recipe = Fixtures.root + "/recipes/smoke/digits.yaml"

  private func weights(_ run: String) throws -> Data {
    try Data(contentsOf: URL(fileURLWithPath: run + "/model/model.safetensors"))
  }

  private func runToEnd(_ folder: String, _ more: [String] = []) throws -> Data {
    let result = try Program.run(["run", Self.recipe, "--output", folder] + more)
    try #require(result.status == 0, "\(result.errors)")
    return try weights(folder)
  }

  @Test func everySmokeRecipeRuns() throws {
    let folder = try Program.temporaryFolder()
    for name in try FileManager.default.contentsOfDirectory(atPath: Fixtures.root + "/recipes/smoke").sorted() {
      let check = try Program.run(["check", Fixtures.root + "/recipes/smoke/" + name])
      #expect(check.status == 0, "\(name): \(check.errors)")
      let result = try Program.run(
        ["run", Fixtures.root + "/recipes/smoke/" + name, "--output", folder + "/" + name])
      #expect(result.status == 0, "\(name): \(result.errors)")
      let sheet = name.hasPrefix("digits") ? ["report/contact-sheet.png"] : []
      // The page shows answers, and a recipe that evaluates nothing has none.
      let page = name == "reward.yaml" ? [] : ["report/report.html"]
      for file in page + ["model/config.json", "run.sqlite"] + sheet {
        #expect(FileManager.default.fileExists(atPath: folder + "/\(name)/\(file)"), "\(name) wrote no \(file)")
      }
      let shown = try Program.run(["runs", "show", folder + "/" + name, "--json"])
      let json = try JSON.parse(shown.output)
      #expect(json["status"]?.string == "finished")
      let last = try #require(json["stages"]?.array?.last)
      let objective = try #require(last["objective"]?.string.flatMap(ObjectiveRegistry.named))
      #expect(json["checkpoint"]?.string.map { FileManager.default.fileExists(atPath: $0) } == true)
      if objective.kind != .scores {
        #expect(result.output.contains("held-out exact match"), "\(name)")
        #expect(last["metrics"]?["eval/exact_match"]?.double != nil, "\(name)")
      }
      if objective.kind == .rollouts {
        #expect(last["metrics"]?["reward"]?.double != nil && last["metrics"]?["entropy"]?.double != nil, "\(name)")
        let samples = try Program.run([
          "runs", "samples", folder + "/" + name, "--sort", "reward", "--limit", "3", "--json",
        ])
        let lines = samples.output.split(separator: "\n")
        try #require(lines.count == 3, "\(name): \(samples.errors)")
        let first = try JSON.parse(String(lines[0]))
        #expect(first.text().contains("digit_match"))
      }
      // A finished run has nothing to go on with.
      #expect(try Program.run(["run", "--resume", folder + "/" + name]).status == 0)
    }
  }

  @Test func threadsDoNotChangeABit() throws {
    let folder = try Program.temporaryFolder()
    let one = try runToEnd(folder + "/1", ["--set", "threads=1"])
    #expect(try runToEnd(folder + "/2", ["--set", "threads=2"]) == one)
    #expect(try runToEnd(folder + "/3", ["--set", "seed=4"]) != one)
    for (name, keys) in [("b", []), ("q", ["model.train=lora", "model.weights=int8"])] {
      let flags = (["dtype=bf16"] + keys).flatMap { ["--set", $0] }
      let first = try runToEnd(folder + "/\(name)1", flags + ["--set", "threads=1"])
      #expect(try runToEnd(folder + "/\(name)2", flags + ["--set", "threads=2"]) == first, "\(flags)")
    }
  }

  /// Ten kills at various moments, one before the first checkpoint and one inside a checkpoint's writing; each run is then
  /// gone on with and must end with the very weights of the run that was left alone.
  @Test func aKilledRunEndsWithTheSameBits() throws {
    let folder = try Program.temporaryFolder()
    let expected = try runToEnd(folder + "/whole")
    var random = SystemRandomNumberGenerator()
    for attempt in 0..<10 {
      let run = folder + "/killed-\(attempt)"
      let running = try Program.start(["run", Self.recipe, "--output", run])
      switch attempt {
      case 0:
        // Before the first checkpoint: as soon as the store exists.
        while !FileManager.default.fileExists(atPath: run + "/run.sqlite"), running.process.isRunning { usleep(500) }
      case 1:
        // Inside a checkpoint's writing: a temporary folder stands there.
        while running.process.isRunning {
          let names = (try? FileManager.default.contentsOfDirectory(atPath: run + "/checkpoints")) ?? []
          if names.contains(where: { $0.hasSuffix(".tmp") }) { break }
        }
      default: usleep(UInt32.random(in: 50_000...1_500_000, using: &random))
      }
      kill(running.process.processIdentifier, SIGKILL)
      _ = running.finish()
      var tries = 0
      while true {
        let result = try Program.run(["run", "--resume", run])
        if result.status == 0 { break }
        tries += 1
        // Killed before anything was written: there is no run to go on with, and it starts anew.
        if result.errors.contains("no run"), tries == 1 {
          _ = try Program.run(["run", Self.recipe, "--output", run])
          continue
        }
        Issue.record("attempt \(attempt): \(result.errors)")
        break
      }
      #expect(try weights(run) == expected, "attempt \(attempt)")
    }
  }

  /// With a KL term the reference is the policy at the stage's begin, also when the stage is gone on with in its middle.
  @Test func theReferenceSurvivesAKill() throws {
    let folder = try Program.temporaryFolder()
    let more = ["--set", "stages.grpo.grpo.beta=0.1", "--set", "stages.grpo.optimizer.schedule=constant"]
    let expected = try runToEnd(folder + "/whole", more)
    #expect(try runToEnd(folder + "/without") != expected)
    let running = try Program.start(["run", Self.recipe, "--output", folder + "/killed"] + more)
    // Inside the second stage: its first checkpoint stands.
    while running.process.isRunning {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: folder + "/killed/checkpoints")) ?? []
      if names.contains(where: { $0.hasSuffix("-1-3") }) { break }
      usleep(500)
    }
    kill(running.process.processIdentifier, SIGKILL)
    _ = running.finish()
    let resumed = try Program.run(["run", "--resume", folder + "/killed"])
    #expect(resumed.status == 0, "\(resumed.errors)")
    #expect(try weights(folder + "/killed") == expected)
  }

  @Test func interruptedRunsSaveAndGoOn() throws {
    let folder = try Program.temporaryFolder()
    let expected = try runToEnd(folder + "/whole")
    let running = try Program.start(["run", Self.recipe, "--output", folder + "/stopped"])
    while !FileManager.default.fileExists(atPath: folder + "/stopped/checkpoints"), running.process.isRunning {
      usleep(1000)
    }
    kill(running.process.processIdentifier, SIGINT)
    let stopped = running.finish()
    if stopped.status != 0 {
      #expect(stopped.errors.contains("interrupted; go on with: attune run --resume"), "\(stopped.errors)")
      let shown = try JSON.parse(try Program.run(["runs", "show", folder + "/stopped", "--json"]).output)
      #expect(shown["status"]?.string == "interrupted")
    }
    #expect(try Program.run(["run", "--resume", folder + "/stopped"]).status == 0)
    #expect(try weights(folder + "/stopped") == expected)
  }

  /// A plugin that crashes costs the sample being scored; the run goes on, says so, and finishes.
  @Test func aCrashingPluginDoesNotHurtTheRun() throws {
    let folder = try Program.temporaryFolder()
    let plugin = folder + "/crash.c"
    try """
    #include "attune_reward.h"
    ATTUNE_REWARD(crash, "crashes on every fifth sample") {
      if (sample->sample_id % 5 == 3) *(volatile int *)0 = 1;
      return 1;
    }
    """.write(toFile: plugin, atomically: true, encoding: .utf8)
    let result = try Program.run([
      "run", Self.recipe, "--output", folder + "/run", "--set", "rewards.answer_format.source=\(plugin)",
    ])
    #expect(result.status == 0, "\(result.errors)")
    #expect(result.errors.contains("samples failed"), "\(result.errors)")
  }

  /// A policy learns what it is rewarded for: the share of letters in a completion rises from a handful to most.
  @Test func rewardRises() throws {
    let folder = try Program.temporaryFolder()
    try """
    #include "attune_reward.h"
    ATTUNE_REWARD(letters, "share of lower-case letters") {
      size_t letters = 0;
      for (size_t i = 0; i < sample->completion.size; i++)
        letters += sample->completion.data[i] >= 'a' && sample->completion.data[i] <= 'z';
      return sample->completion.size ? (double)letters / (double)sample->completion.size : 0;
    }
    """.write(toFile: folder + "/letters.c", atomically: true, encoding: .utf8)
    try """
    model: {path: "preset:tiny"}
    data: {train: {kind: jsonl, file: \(Fixtures.root)/recipes/data/sums/sums.jsonl}}
    rewards: [{name: letters, source: letters.c}]
    stages:
      - {objective: grpo, steps: 60, prompts: 8, generations: 8, max_new_tokens: 8,
         optimizer: {learning_rate: 2e-3, schedule: constant}}
    """.write(toFile: folder + "/letters.yaml", atomically: true, encoding: .utf8)
    let result = try Program.run(["run", folder + "/letters.yaml", "--output", folder + "/run"])
    try #require(result.status == 0, "\(result.errors)")
    let rewards = try RunStore.read(RunFolder.resolve(folder + "/run")).series("reward").map(\.value)
    try #require(rewards.count == 60)
    let before = rewards.prefix(5).reduce(0, +) / 5
    let after = rewards.suffix(5).reduce(0, +) / 5
    #expect(before < 0.5 && after > before + 0.3, "\(before) to \(after)")
  }

  @Test func loraRunsGiveAnAdapter() throws {
    let folder = try Program.temporaryFolder()
    _ = try runToEnd(folder + "/lora", ["--set", "model.train=lora", "--set", "model.lora.rank=4"])
    let config = try JSON.parse(
      String(contentsOfFile: folder + "/lora/adapter/adapter_config.json", encoding: .utf8))
    #expect(config["peft_type"]?.string == "LORA" && config["r"]?.int == 4)
    let merged = try Program.run([
      "adapter", "merge", "--model", folder + "/lora/start", "--adapter", folder + "/lora/adapter", folder + "/merged",
    ])
    #expect(merged.status == 0, "\(merged.errors)")
    #expect(
      try Data(contentsOf: URL(fileURLWithPath: folder + "/merged/model.safetensors")) == weights(folder + "/lora"))
  }
}
