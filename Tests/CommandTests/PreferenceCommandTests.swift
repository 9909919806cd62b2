import Core
import Foundation
import TestSupport
import Testing

/// Preference data made by the program itself: by a command, and inside a run.
@Suite(.serialized) struct PreferenceCommandTests {
  /// A policy that learns the form of an answer in its first stage, then imitates the best of what it writes.
  private static func recipe(_ folder: String, more: String = "") throws -> String {
    let path = folder + "/recipe.yaml"
    try """
    name: preferred
    model: {path: "preset:tiny"}
    data:
      train: {kind: jsonl, file: \(Fixtures.root)/recipes/data/sums/sums.jsonl}
      preferred: {kind: sampled, from: train, prompts: 12, completions: 6, max_new_tokens: 12}
    stages:
      - {name: warm-up, objective: sft, steps: 80, batch: 32, optimizer: {learning_rate: 4e-3}}
      - {name: best, objective: sft, data: preferred, steps: 5, batch: 4, optimizer: {learning_rate: 1e-4}}
    rewards:
      - {source: digit_match}
    checkpoint: {every: 2}
    report: {enabled: false}
    \(more)
    """.write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }

  private func bytes(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }

  private func rows(_ path: String) throws -> [JSON] {
    try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map { try JSON.parse(String($0)) }
  }

  /// A run's rows are those that the command makes of the same policy, and neither they nor the weights depend on threads,
  /// a kill, or on what lies in the folder.
  @Test func aRunSamplesItsOwnPreferences() throws {
    let folder = try Program.temporaryFolder()
    let recipe = try Self.recipe(folder)
    let whole = try Program.run(["run", recipe, "--output", folder + "/whole", "--set", "threads=1"])
    try #require(whole.status == 0, "\(whole.errors)")
    #expect(whole.errors.contains("data preferred: ") && whole.errors.contains(" pairs of 12 prompts (72 completions)"))
    let made = try rows(folder + "/whole/data/preferred.jsonl")
    #expect(!made.isEmpty)
    for row in made {
      #expect(row["score_chosen"]?.double ?? 0 > row["score_rejected"]?.double ?? 1)
      #expect(row["chosen"]?.string?.hasSuffix("</answer>") == true, "\(row.text())")
    }
    let counts = try JSON.parse(try bytes(folder + "/whole/data/preferred.json").map { $0 })
    #expect(counts["rows"]?.int == made.count && counts["completions"]?.int == 72)
    let weights = try bytes(folder + "/whole/model/model.safetensors")

    // Rows of another run in a folder that was given by hand are not this run's.
    try FileManager.default.createDirectory(atPath: folder + "/again/data", withIntermediateDirectories: true)
    for name in ["preferred.jsonl", "preferred.json"] {
      try "{}".write(toFile: folder + "/again/data/" + name, atomically: true, encoding: .utf8)
    }
    let again = try Program.run(["run", recipe, "--output", folder + "/again", "--set", "threads=2"])
    #expect(again.status == 0, "\(again.errors)")
    #expect(try rows(folder + "/again/data/preferred.jsonl") == made)
    #expect(try bytes(folder + "/again/model/model.safetensors") == weights)

    // Killed as soon as the rows stand, and then inside the stage that reads them.
    for (name, mark) in [("rows", "data/preferred.jsonl"), ("inside", "checkpoints/")] {
      let run = folder + "/" + name
      let running = try Program.start(["run", recipe, "--output", run])
      while running.process.isRunning {
        if name == "rows", FileManager.default.fileExists(atPath: run + "/" + mark) { break }
        let saved = (try? FileManager.default.contentsOfDirectory(atPath: run + "/" + mark)) ?? []
        if name == "inside", saved.contains(where: { $0.hasSuffix("-1-2") }) { break }
        usleep(500)
      }
      kill(running.process.processIdentifier, SIGKILL)
      _ = running.finish()
      let resumed = try Program.run(["run", "--resume", run])
      #expect(resumed.status == 0, "\(name): \(resumed.errors)")
      #expect(try bytes(run + "/model/model.safetensors") == weights, "\(name)")
    }
  }

  @Test func theCommandMakesPairsOfARunsModel() throws {
    let folder = try Program.temporaryFolder()
    let recipe = try Self.recipe(folder)
    let run = try Program.run(["run", recipe, "--output", folder + "/run", "--set", "stages.best.steps=0"])
    try #require(run.status == 0, "\(run.errors)")
    func pairs(_ name: String, _ flags: String...) throws -> (rows: [JSON], errors: String, counts: JSON) {
      let result = try Program.run(
        ["data", "pairs", recipe, "--data", "preferred", "--model", folder + "/run", "--output", folder + "/" + name]
          + flags + ["--json"])
      try #require(result.status == 0, "\(result.errors)")
      return (try rows(folder + "/" + name), result.errors, try JSON.parse(result.output))
    }
    let one = try pairs("1.jsonl", "--threads", "1")
    #expect(one.counts["rows"]?.int == one.rows.count && one.counts["prompts"]?.int == 12)
    #expect(one.errors.contains("wrote ") && one.errors.contains("prompts without rows"))
    #expect(try pairs("2.jsonl", "--threads", "2").rows == one.rows)
    #expect(try pairs("3.jsonl", "--seed", "77").rows != one.rows)
    let few = try pairs("4.jsonl", "--prompts", "3")
    #expect(few.counts["prompts"]?.int == 3 && one.rows.starts(with: few.rows))
    let all = try pairs("5.jsonl", "--pairs", "all")
    #expect(all.rows.count >= one.rows.count)
    let limited = try pairs("6.jsonl", "--pairs", "all", "--max-pairs", "1")
    #expect(limited.rows.map { $0["margin"] } == one.rows.map { $0["margin"] })
    let labels = try pairs("7.jsonl", "--kind", "labels", "--threshold", "1")
    #expect(labels.rows.allSatisfy { $0["label"]?.bool == (($0["score"]?.double ?? 0) >= 1) })
    #expect(labels.rows.contains { $0["label"]?.bool == true } && labels.rows.contains { $0["label"]?.bool == false })

    let inspected = try Program.run(["data", "inspect", folder + "/7.jsonl", "--json"])
    #expect(try JSON.parse(inspected.output)["task"]?.string == "unpaired")
    let converted = try Program.run(
      ["data", "convert", folder + "/7.jsonl", "--to", "sft", "--output", folder + "/8.jsonl"])
    #expect(converted.status == 0 && converted.errors.contains("undesirable ones left out"), "\(converted.errors)")
    let desirable = labels.rows.filter { $0["label"]?.bool == true }
    #expect(
      try rows(folder + "/8.jsonl").map { $0["completion"]?[0]?["content"]?.string }
        == desirable.map { $0["completion"]?.string })
  }

  @Test func picturesAreWrittenBesideTheRows() throws {
    let folder = try Program.temporaryFolder()
    let digits = Fixtures.root + "/recipes/smoke/digits.yaml"
    let reward = ["--set", "rewards=[{source: length, parameters: {unit: tokens, max: 2, decay: 8}}]"]
    let result = try Program.run(
      [
        "data", "pairs", digits, "--prompts", "6", "--completions", "8", "--max-new-tokens", "3", "--keep-truncated",
        "--kind", "labels", "--output", "rows.jsonl",
      ] + reward, in: folder)
    try #require(result.status == 0, "\(result.errors)")
    let made = try rows(folder + "/rows.jsonl")
    let paths = Set(made.compactMap { $0["images"]?[0]?.string })
    #expect(!paths.isEmpty && paths.allSatisfy { $0.hasPrefix("rows.images/") })
    let inspected = try Program.run(["data", "inspect", "rows.jsonl", "--json"], in: folder)
    #expect(try JSON.parse(inspected.output)["readings"]?[1]?["rows"]?.int == made.count, "\(inspected.errors)")
  }

  /// What a run takes is known before anything is sampled, whatever reads the rows.
  @Test(arguments: ["sft", "dpo", "kto"]) func aRecipeThatSamplesCanBeChecked(objective: String) throws {
    let recipe = try Self.recipe(try Program.temporaryFolder())
    let result = try Program.run(["check", recipe, "--set", "stages.best.objective=\(objective)"])
    #expect(result.status == 0, "\(result.errors)")
  }

  @Test func requestsThatAreWrong() throws {
    let folder = try Program.temporaryFolder()
    let recipe = try Self.recipe(folder)
    func refused(_ arguments: [String], _ fragments: String..., status: Int32 = 2) throws {
      let result = try Program.run(arguments, in: folder)
      #expect(result.status == status, "\(arguments): \(result.errors)")
      for fragment in fragments { #expect(result.errors.contains(fragment), "\(arguments): \(result.errors)") }
    }
    let pairs = ["data", "pairs", recipe]
    try refused(pairs, "needs --output")
    try refused(pairs + ["--output", "-"], "pictures are written beside it")
    try refused(pairs + ["--output", "o", "--data", "trian"], "no data source 'trian'", "did you mean 'train'?")
    try refused(pairs + ["--output", "o", "--completions", "1"], "completions is 1, expected 2 or more")
    try refused(pairs + ["--output", "o", "--pairs", "some"], "--pairs is 'some', best_worst or all was expected")
    try refused(pairs + ["--output", "o", "--prompts", "100000"], "expected at most 64")
    try refused(pairs + ["--output", "o", "--model", "nowhere"], "nowhere")
    try refused(pairs + ["--output", "o", "--set", "rewards=[]"], "the recipe has none")
    try refused(
      pairs + ["--output", "o", "--prompts", "2", "--max-new-tokens", "1"], "2 prompts gave no pairs",
      "raise max_new_tokens", status: 1)
    #expect(!FileManager.default.fileExists(atPath: folder + "/o"))
    try refused(
      ["check", recipe, "--set", "evaluation.data=preferred"], "the evaluation reads the sampled source 'preferred'")
    try refused(["data", "inspect", "none.jsonl"], "no such file")
    try "{\"prompt\":\"q\",\"chosen\":\"a\",\"rejected\":\"a\"}\n".write(
      toFile: folder + "/same.jsonl", atomically: true, encoding: .utf8)
    try refused(
      ["data", "convert", "same.jsonl", "--to", "preference", "--output", "o"], "same.jsonl:1:", "are the same text")
    try refused(["data", "convert", "same.jsonl", "--to", "pairs", "--output", "o"], "--to is 'pairs'")
    try refused(["data", "inspect", "same.jsonl", "--column", "prompt"], "FIELD=NAME was expected")
  }
}
