import Core
import Foundation
import TestSupport
import Testing

/// Reward models and judges from the command line.
@Suite struct RewardModelCommandTests {
  private let line = #"{"prompt": [{"role": "user", "content": "What is the answer?"}], "completion": "407"}"#

  private func scorer(in folder: String) throws -> String {
    let made = try Program.run(["init", "tiny", folder + "/scorer", "--head", "reward", "--seed", "4"])
    #expect(made.status == 0, "\(made.errors)")
    return folder + "/scorer"
  }

  private func refused(_ arguments: [String], _ words: String..., sourceLocation: SourceLocation = #_sourceLocation)
    throws
  {
    let result = try Program.run(arguments, input: line + "\n")
    #expect(result.status == 2, "\(result.errors)", sourceLocation: sourceLocation)
    for word in words { #expect(result.errors.contains(word), "\(result.errors)", sourceLocation: sourceLocation) }
  }

  @Test func aCheckpointScores() throws {
    let folder = try Program.temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let scorer = try scorer(in: folder)
    let config = try JSON.parse(String(contentsOfFile: scorer + "/config.json", encoding: .utf8))
    #expect(config["architectures"]?[0] == "Qwen3ForSequenceClassification" && config["num_labels"] == 1)
    let lines = String(repeating: line + "\n", count: 3)
    let result = try Program.run(["reward", "try", scorer], input: lines)
    #expect(result.status == 0, "\(result.errors)")
    let answers = try result.output.split(separator: "\n").map { try JSON.parse(String($0)) }
    #expect(answers.count == 3 && Set(answers.map { $0["reward"]?.double }).count == 1)
    #expect(answers[0]["status"] == "ok" && answers[0]["reward"]?.double?.isFinite == true)
    let threads = try Program.run(["reward", "try", scorer, "--threads", "1", "--set", "batch=1"], input: lines)
    #expect(threads.output == result.output)
    try refused(["reward", "try", scorer, "--set", "label=1"], "'label'", "is 1, but the head has one number")
    try refused(["reward", "check", scorer], "has no plugin interface", "attune reward try")
    try refused(["init", "tiny", folder + "/other", "--head", "score"], "--head is 'score', lm or reward was expected")
    let plain = try Program.run(["init", "tiny", folder + "/plain"])
    #expect(plain.status == 0)
    try refused(["reward", "try", folder + "/plain"], "this checkpoint has no reward head")
  }

  @Test func aJudgeIsAsked() throws {
    let server = try ScriptedServer { request, _ in
      .says("by \(request.json["model"]?.string ?? "?"): Reward: 0.25")
    }
    defer { server.stop() }
    let judge = ["--judge", server.address + "/v1", "--judge-model", "m"]
    let result = try Program.run(
      ["reward", "try", "judge"] + judge + ["--judge-key-variable", "A_KEY"], input: line + "\n",
      environment: ["A_KEY": "sk-secret"])
    #expect(result.status == 0, "\(result.errors)")
    let answer = try JSON.parse(result.output)
    #expect(answer["reward"] == 0.25 && answer["notes"]?["reply"] == "by m: Reward: 0.25")
    #expect(server.requests.first?.headers["authorization"] == "Bearer sk-secret")
    #expect(!result.output.contains("sk-secret") && !result.errors.contains("sk-secret"))
    try refused(["reward", "try", "judge", "--judge", server.address], "--judge needs --judge-model")
    try refused(["reward", "try", "judge", "--judge-model", "m"], "--judge-model goes with --judge")
    try refused(["reward", "try", "judge"] + judge + ["--judge-key-variable", "NOT_SET"], "is not set: NOT_SET")
    try refused(["reward", "try", "judge", "--judge", "no/such/folder"], "there is no such folder")
    try refused(["reward", "try", "judge"], "the reward judge asks a judge, and there is none", "--judge http://")
  }

  @Test func aCheckpointIsAsked() throws {
    let folder = try Program.temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    #expect(try Program.run(["init", "tiny", folder + "/judge"]).status == 0)
    let lines = (0..<3).map { _ in line + "\n" }.joined()
    let result = try Program.run(
      ["reward", "try", "judge", "--judge", folder + "/judge", "--set", "max_tokens=5", "--set", "pattern=()"],
      input: lines)
    #expect(result.status == 0, "\(result.errors)")
    let answers = try result.output.split(separator: "\n").map { try JSON.parse(String($0)) }
    // Fresh weights say nothing of sense, but they say it every time.
    #expect(answers.count == 3 && answers[0] == answers[2] && answers[0]["status"] == "failed")
    #expect(answers[0]["log"]?.string?.contains("in the place of a number") == true)
  }

  /// A reward model and a judge in one run: their columns are in the store.
  @Test func bothInARun() throws {
    let folder = try Program.temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    _ = try scorer(in: folder)
    let server = try ScriptedServer { _, number in .says("Reward: \(number % 3)") }
    defer { server.stop() }
    try (0..<4).map { "{\"prompt\": \"Which number is it? \($0)\"}\n" }.joined()
      .write(toFile: folder + "/train.jsonl", atomically: true, encoding: .utf8)
    let recipe = """
      model: {path: "preset:tiny"}
      data: {train: {kind: jsonl, file: train.jsonl}}
      stages: [{objective: grpo, steps: 2, prompts: 2, generations: 3, max_new_tokens: 6}]
      judges: [{name: strict, endpoint: "\(server.address)/v1", model: m, concurrency: 2}]
      rewards:
        - {name: quality, source: scorer}
        - {name: opinion, source: judge, parameters: {scale: [0, 2]}}
      watch: {before: false}
      report: {enabled: false}
      """
    try recipe.write(toFile: folder + "/r.yaml", atomically: true, encoding: .utf8)
    let result = try Program.run(["run", "r.yaml", "--output", "run"], in: folder)
    #expect(result.status == 0, "\(result.errors)")
    #expect(server.requests.count == 2 * 2 * 3 && server.mostAtOnce <= 2)
    let samples = try Program.run(["runs", "samples", "run", "--json"], in: folder)
    #expect(samples.output.contains("quality") && samples.output.contains("opinion"), "\(samples.output.prefix(600))")
    // The same seed gives the same opinions of the checkpoint.
    let again = try Program.run(["run", "r.yaml", "--output", "again"], in: folder)
    #expect(again.status == 0)
  }
}
