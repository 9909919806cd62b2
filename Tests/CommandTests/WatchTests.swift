import Core
import Foundation
import TestSupport
import Testing

/// Rewards looked at before and during a run, and asked again after it, by the program itself.
@Suite(.serialized) struct WatchTests {
  /// A recipe of one group-relative stage on sums, with this reward in C.
  private static func recipe(_ folder: String, reward: String, more: String = "") throws -> String {
    let parameters = reward.contains("factor") ? ", parameters: {factor: 2}" : ""
    try "#include \"attune_reward.h\"\n\(reward)\n".write(
      toFile: folder + "/mine.c", atomically: true, encoding: .utf8)
    let path = folder + "/recipe.yaml"
    try """
    name: watched
    model: {path: "preset:tiny"}
    data:
      train: {kind: jsonl, file: \(Fixtures.root)/recipes/data/sums/sums.jsonl}
    stages:
      - {objective: grpo, steps: 3, prompts: 4, generations: 4, max_new_tokens: 6, optimizer: {learning_rate: 1e-3}}
    rewards:
      - {name: mine, source: mine.c\(parameters)}
      - {name: digit_match, source: digit_match, weight: 0.5}
    report: {enabled: false}
    \(more)
    """.write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }

  private static let even = """
    static const attune_parameter factor = ATTUNE_PARAMETER_NUMBER("factor", "1", "what is given", 0, 10);
    ATTUNE_REWARD_WITH(mine, "factor where the first id is even", 0, &factor) {
      attune_log(call, "looked at the first id");
      return sample->token_count > 0 && sample->token_ids[0] % 2 == 0 ? attune_parameter_double(call, "factor", 1) : 0;
    }
    """
  private static let odd = even.replacingOccurrences(of: "% 2 == 0", with: "% 2 != 0")

  private func weights(_ run: String) throws -> Data {
    try Data(contentsOf: URL(fileURLWithPath: run + "/model/model.safetensors"))
  }

  private func show(_ run: String) throws -> JSON {
    try JSON.parse(try Program.run(["runs", "show", run, "--json"]).output)
  }

  // MARK: Before

  @Test func theLookBeforeChangesNoBit() throws {
    let folder = try Program.temporaryFolder()
    let recipe = try Self.recipe(folder, reward: Self.even)
    let with = try Program.run(["run", recipe, "--output", folder + "/with"])
    #expect(
      with.status == 0 && with.errors.contains("before stage grpo: 16 completions of 4 prompts"), "\(with.errors)")
    #expect(with.errors.contains("best (2") && with.errors.contains("flat groups"))
    let without = try Program.run(["run", recipe, "--output", folder + "/without", "--set", "watch.before=false"])
    #expect(without.status == 0 && !without.errors.contains("before stage"), "\(without.errors)")
    #expect(try weights(folder + "/with") == weights(folder + "/without"))
    let before = try #require(show(folder + "/with")["stages"]?[0]?["before"])
    #expect(before["verdict"]?.string == "learnable" && before["rewards"]?.array?.count == 2)
    #expect(before["best"]?["rewards"]?["mine"]?["log"]?.string == "looked at the first id")
    #expect(try show(folder + "/without")["stages"]?[0]?["before"] == nil)
    let text = try Program.run(["runs", "show", folder + "/with"]).output
    #expect(text.contains("before stage grpo") && text.contains("digit_match"))
  }

  @Test func aStageWithNothingToLearnIsRefused() throws {
    let folder = try Program.temporaryFolder()
    let recipe = try Self.recipe(folder, reward: "ATTUNE_REWARD(mine, \"always the same\") { return 0.25; }")
    let run = folder + "/run"
    let more = ["--set", "rewards.digit_match.weight=0"]
    let refused = try Program.run(["run", recipe, "--output", run] + more)
    #expect(refused.status == 1, "\(refused.errors)")
    for word in [
      "stage grpo has nothing to learn from", "in none of 32 groups of 4 completions", "mean reward 0.25",
      "temperature",
      "attune run --resume \(run)", "watch.override",
    ] { #expect(refused.errors.contains(word), "\(word)\n\(refused.errors)") }
    let shown = try show(run)
    #expect(shown["status"]?.string == "failed" && shown["stages"]?[0]?["before"]?["verdict"]?.string == "no_spread")
    #expect(shown["stages"]?[0]?["steps"]?.int == 0)
    // Going on with it is the person's decision, and gives what the override gives.
    #expect(try Program.run(["run", "--resume", run]).status == 0)
    let override = try Program.run(
      ["run", recipe, "--output", folder + "/all-the-same", "--set", "watch.override=true"] + more)
    #expect(override.status == 0 && override.errors.contains("going on all the same"), "\(override.errors)")
    #expect(try weights(run) == weights(folder + "/all-the-same"))
  }

  @Test func aRewardThatSaysNothingIsRefused() throws {
    let folder = try Program.temporaryFolder()
    let recipe = try Self.recipe(
      folder, reward: "ATTUNE_REWARD(mine, \"fails\") { return attune_fail(call, \"no ruler at hand\"); }")
    let refused = try Program.run(
      ["run", recipe, "--output", folder + "/run", "--set", "rewards.digit_match.weight=0"])
    #expect(refused.status == 1)
    #expect(refused.errors.contains("no reward says anything about any of"), "\(refused.errors)")
    #expect(refused.errors.contains("no ruler at hand"))
  }

  // MARK: While training

  @Test func alarmsReachTerminalStoreAndPage() throws {
    let folder = try Program.temporaryFolder()
    let recipe = try Self.recipe(
      folder,
      reward:
        "ATTUNE_REWARD(mine, \"mostly fails\") { return sample->index_in_group ? attune_fail(call, \"no\") : 1; }",
      more: "watch: {override: true}")
    let run = folder + "/run"
    let result = try Program.run(["run", recipe, "--output", run, "--set", "stages.grpo.steps=6"])
    #expect(
      result.status == 0 && result.errors.contains("alarm: step 0: mine failed on 75 % of the samples."),
      "\(result.errors)")
    let shown = try show(run)
    let alarm = try #require(shown["alarms"]?.array?.first { $0["kind"]?.string == "failing" })
    #expect(
      alarm["subject"]?.string == "mine" && alarm["step"]?.int == 0 && alarm["numbers"]?["failed"]?.double == 0.75)
    let metrics = try #require(shown["stages"]?[0]?["metrics"])
    for name in ["advantage_share", "min", "max", "zero_spread", "applicable", "failed", "seconds"] {
      #expect(metrics["rewards/digit_match/\(name)"]?.double != nil, "\(name)")
    }
    #expect(try Program.run(["runs", "show", run]).output.contains("mine failed on 75 %"))
  }

  // MARK: After

  @Test func anUnchangedRewardChangesNothing() throws {
    let folder = try Program.temporaryFolder()
    let recipe = try Self.recipe(folder, reward: Self.even)
    let run = folder + "/run"
    #expect(try Program.run(["run", recipe, "--output", run]).status == 0)
    for reward in [["mine"], [folder + "/mine.c"], ["digit_match"], ["digit_match", "--step", "1..2"]] {
      let result = try Program.run(["runs", "rescore", run, "--json", "--reward"] + reward)
      let json = try JSON.parse(result.output)
      #expect(json["changed"]?.int == 0 && json["sign_changes"]?.int == 0 && json["failed"]?.int == 0, "\(reward)")
      #expect(json["samples"]?.int == (reward.count > 1 ? 32 : 48) && json["reward"]?["replaces"]?.bool == true)
      for row in json["rows"]?.array ?? [] {
        #expect(row["before"] == row["after"], "\(row.text())")
      }
    }
  }

  @Test func aRewardModelIsAsked() throws {
    let folder = try Program.temporaryFolder()
    let recipe = try Self.recipe(folder, reward: Self.even)
    let run = folder + "/run"
    #expect(try Program.run(["run", recipe, "--output", run]).status == 0)
    #expect(try Program.run(["init", "tiny", folder + "/scorer", "--head", "reward"]).status == 0)
    let result = try Program.run(["runs", "rescore", run, "--reward", folder + "/scorer", "--json"])
    #expect(result.status == 0, "\(result.errors)")
    let rows = try JSON.parse(result.output)["rows"]?.array ?? []
    #expect(rows.count == 48 && rows.allSatisfy { $0["after"]?["score"]?.double?.isFinite == true })
  }

  @Test func aChangedRewardTurnsAdvantages() throws {
    let folder = try Program.temporaryFolder()
    let recipe = try Self.recipe(folder, reward: Self.even)
    let run = folder + "/run"
    #expect(try Program.run(["run", recipe, "--output", run, "--set", "rewards.digit_match.weight=0"]).status == 0)
    try FileManager.default.createDirectory(atPath: folder + "/new", withIntermediateDirectories: true)
    let changed = folder + "/new/mine.c"
    try "#include \"attune_reward.h\"\n\(Self.odd)\n".write(toFile: changed, atomically: true, encoding: .utf8)
    let result = try Program.run(["runs", "rescore", run, "--reward", changed, "--json"])
    let json = try JSON.parse(result.output)
    #expect(json["changed"]?.int == 48, "\(result.errors)")
    // The scores are turned round: so is every advantage that is one, to the last bit but the sign.
    let rows = json["rows"]?.array ?? []
    #expect(rows.contains { $0["sign_changed"]?.bool == true })
    for row in rows {
      let (a, b) = (row["before"]?["advantage"]?.double ?? .nan, row["after"]?["advantage"]?.double ?? .nan)
      expectClose([b], [-a], absolute: 1e-12)
      #expect((row["sign_changed"]?.bool == true) == (a != 0))
    }
    let turned = rows.filter { $0["sign_changed"]?.bool == true }.count
    #expect(json["sign_changes"]?.int == turned)
    expectClose([json["correlation"]?.double ?? 0], [-1], absolute: 1e-12)
    let text = try Program.run(["runs", "rescore", run, "--reward", changed, "--limit", "3"])
    #expect(
      text.output.contains("\(turned) change their sign") && text.output.contains("3 of \(turned)"), "\(text.output)")
    #expect(text.output.contains("looked at the first id"))
    let last = try Program.run(["runs", "rescore", run, "--reward", changed, "--page", "1000"])
    #expect(last.status == 0 && last.output.contains("page 1000 is empty"))
    // Parameters and weights, and a reward that the run did not have.
    let half = try JSON.parse(
      try Program.run(["runs", "rescore", run, "--reward", "mine", "--set", "factor=1", "--json"]).output)
    #expect(half["mean_after"]?.double.map { $0 * 2 } == half["mean_before"]?.double && half["sign_changes"]?.int == 0)
    let off = try JSON.parse(
      try Program.run(["runs", "rescore", run, "--reward", "mine", "--weight", "0", "--json"]).output)
    #expect(
      off["changed"]?.int == 0 && off["rows"]?.array?.allSatisfy { $0["after"]?["advantage"]?.double == 0 } == true)
    let added = try JSON.parse(
      try Program.run(["runs", "rescore", run, "--reward", changed, "--name", "other", "--set", "factor=2", "--json"])
        .output)
    #expect(added["reward"]?["replaces"]?.bool == false && added["mean_before"]?.isNull == true)
    // One and its opposite add up to the same for all.
    #expect(added["rows"]?.array?.allSatisfy { $0["after"]?["advantage"]?.double == 0 } == true)
  }

  @Test func wrongRequestsSaySo() throws {
    let folder = try Program.temporaryFolder()
    let recipe = try Self.recipe(folder, reward: Self.even)
    let run = folder + "/run"
    #expect(try Program.run(["run", recipe, "--output", run]).status == 0)
    for (words, expected) in [
      ([run], "needs --reward"), ([folder + "/none", "--reward", "mine"], "none"),
      ([run, "--reward", "digit_mach"], "did you mean 'digit_match'?"),
      ([run, "--reward", "mine", "--step", "9"], "has no samples in steps 9 to 9"),
      ([run, "--reward", "mine", "--step", "3..1"], "--step is '3..1'"),
      ([run, "--reward", "mine", "--stage", "grop"], "has no stage 'grop'"),
      ([run, "--reward", "mine", "--limit", "0"], "--limit is 0"),
      ([run, "--reward", "mine", "--set", "factr=1", "--name", "a b"], "--name is 'a b'"),
    ] {
      let result = try Program.run(["runs", "rescore"] + words)
      #expect(result.status == 2 && result.errors.contains(expected), "\(words): \(result.status) \(result.errors)")
    }
  }

  /// What a run prints is what a reward is tried on: texts, ids, columns, pictures.
  @Test func samplesOfARunAreTried() throws {
    let folder = try Program.temporaryFolder()
    let run = folder + "/run"
    let made = try Program.run([
      "run", Fixtures.root + "/recipes/smoke/digits.yaml", "--output", run, "--set", "stages.grpo.steps=2", "--set",
      "watch.override=true",
    ])
    #expect(made.status == 0, "\(made.errors)")
    let samples = try Program.run(["runs", "samples", run, "--limit", "1000", "--json"]).output
    let lines = try samples.split(separator: "\n").map { try JSON.parse(String($0)) }
    #expect(lines.count == 32)
    let plugin = folder + "/seen.c"
    try """
    #include "attune_reward.h"
    ATTUNE_REWARD(seen, "what of a sample arrives") {
      attune_component_add(call, "tokens", (double)sample->token_count);
      attune_component_add(call, "group", (double)sample->group_size);
      attune_component_add(call, "index", (double)sample->index_in_group);
      return sample->reference.size > 0 && sample->logprobs ? 1 : 0;
    }
    """.write(toFile: plugin, atomically: true, encoding: .utf8)
    let tried = try Program.run(["reward", "try", plugin], input: samples)
    let answers = try tried.output.split(separator: "\n").map { try JSON.parse(String($0)) }
    #expect(answers.count == lines.count, "\(tried.errors)")
    for (line, answer) in zip(lines, answers) {
      #expect(answer["reward"]?.double == 1 && answer["components"]?["tokens"]?.int == line["tokens"]?.int)
      #expect(answer["components"]?["group"]?.int == 4 && answer["components"]?["index"]?.int == line["index"]?.int)
    }
    let again = try Program.run(["reward", "try", "digit_match"], input: samples)
    for (line, answer) in zip(lines, try again.output.split(separator: "\n").map({ try JSON.parse(String($0)) })) {
      #expect(answer["reward"] == line["rewards"]?["digit_match"]?["score"])
    }
  }
}
