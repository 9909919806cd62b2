import Core
import Foundation
import TestSupport
import Testing

/// The command line as people and scripts call it.
@Suite struct CommandTests {
  private func model(_ name: String) -> String { Fixtures.path("models/" + name) }

  private func lines(_ text: String) throws -> [JSON] {
    try text.split(separator: "\n").map { try JSON.parse(String($0)) }
  }

  private func jsonl(_ lines: [JSON]) -> String { lines.map { $0.text() + "\n" }.joined() }

  @Test func versionAndHelp() throws {
    #expect(try Program.run(["--version"]).output.hasPrefix("attune "))
    let help = try Program.run(["--help"])
    #expect(help.status == 0 && help.output.contains("attune COMMAND"))
    for command in ["run", "score", "generate", "tokenize", "render", "preprocess", "check", "init", "doctor"] {
      let result = try Program.run([command, "--help"])
      #expect(result.status == 0 && result.output.contains("Example:"), "\(command)")
    }
  }

  @Test(arguments: [
    (["rnu"], "did you mean 'attune run'"), (["score", "--modle", "x"], "did you mean --model"),
    (["score"], "needs --model"), (["runs"], "needs a verb"), (["runs", "shwo", "x"], "one of: list, show"),
    (["init", "tinyy", "/nowhere"], "did you mean 'tiny'"), (["run", "recipes/none.yaml"], "no recipe at this path"),
    (["score", "--model", "/nowhere"], "no such folder"), (["bench", "kernels", "--threads", "x"], "whole number"),
    (["runs", "show", "nothing"], "no run"),
  ])
  func wrongRequestsExitWith2(words: [String], message: String) throws {
    let result = try Program.run(words)
    #expect(result.status == 2, "\(words): \(result.status)")
    #expect(result.errors.contains(message), "\(words): \(result.errors)")
    #expect(result.output.isEmpty)
  }

  @Test func weightsAreHeldForProductsOfBF16() throws {
    func score(_ flags: [String]) throws -> Program.Result {
      try Program.run(
        ["score", "--model", model("qwen3")] + flags, input: jsonl([["input_ids": [1, 2, 3, 4, 5, 6, 7, 8]]]))
    }
    let refused = try score(["--weights", "int8", "--dtype", "f32"])
    #expect(
      refused.status == 2 && refused.errors.contains("--weights int8 is for products of bf16, but --dtype is f32"))
    #expect(try score(["--weights", "int3"]).errors.contains("--weights is 'int3', bf16, int8 or int4 was expected"))
    let plain = try score(["--dtype", "bf16"]).output
    #expect(try score(["--dtype", "bf16", "--weights", "bf16"]).output == plain)
    let eight = try score(["--weights", "int8"]).output
    #expect(try eight != plain && eight == score(["--weights", "int8", "--dtype", "bf16"]).output)
    #expect(try score(["--weights", "int4"]).output != eight)
  }

  @Test func scoreEqualsTheReference() throws {
    let expected = try Fixtures.json("models/qwen3/expected.json")
    let item = try #require(expected["cases"]?[0])
    let text = try #require(item["text"]?.string)
    let result = try Program.run(
      ["score", "--model", model("qwen3"), "--top", "2"], input: jsonl([["text": .string(text)]]))
    try #require(result.status == 0, "\(result.errors)")
    let line = try #require(try lines(result.output).first)
    let ids = line["input_ids"]?.array?.compactMap(\.int) ?? []
    let logprobs = line["logprobs"]?.array?.compactMap(\.double) ?? []
    #expect(logprobs.count == ids.count - 1)
    #expect(line["top"]?[0]?["ids"]?.array?.count == 2)
    // By ids, and by prompt and completion: the same bits.
    let again = try Program.run(
      ["score", "--model", model("qwen3")],
      input: jsonl([["input_ids": .array(ids.map { .int($0) })], ["prompt": "The ", "completion": "sea"]]))
    let second = try lines(again.output)
    #expect(second[0]["logprobs"] == line["logprobs"])
    #expect(second[1]["logprobs"]?.array?.count == second[1]["completion_ids"]?.array?.count)
  }

  @Test(arguments: [[], ["--weights", "int8"], ["--weights", "int4", "--dtype", "bf16"]])
  func generateGivesTheBitsOfScore(flags: [String]) throws {
    let line: JSON = ["messages": [["role": "user", "content": "How many apples?"]]]
    let generated = try Program.run(
      ["generate", "--model", model("qwen3"), "--max-new-tokens", "6", "--n", "3", "--seed", "5"] + flags,
      input: jsonl([line, line]))
    try #require(generated.status == 0, "\(generated.errors)")
    let groups = try lines(generated.output)
    #expect(groups.count == 2 && groups[0]["completions"]?.array?.count == 3)
    let rendered = try Program.run(
      ["render", "--model", model("qwen3")],
      input: jsonl([["messages": line["messages"]!, "add_generation_prompt": true]]))
    let prompt = try #require(try lines(rendered.output)[0]["input_ids"]?.array)
    for completion in groups[0]["completions"]!.array! {
      let ids = completion["ids"]!.array!
      let scored = try Program.run(
        ["score", "--model", model("qwen3")] + flags, input: jsonl([["input_ids": .array(prompt + ids)]]))
      let logprobs = try lines(scored.output)[0]["logprobs"]!.array!.suffix(ids.count)
      #expect(Array(logprobs) == completion["logprobs"]!.array!)
    }
  }

  /// Guides by flag and by line; what is recorded stays the model's own.
  @Test func generateIsGuided() throws {
    let folder = try Program.temporaryFolder()
    let schema =
      #"{"type": "object", "properties": {"n": {"type": "integer", "minimum": 3, "maximum": 5}}, "required": ["n"]}"#
    try schema.write(toFile: folder + "/s.json", atomically: true, encoding: .utf8)
    let input = jsonl([
      ["text": "a"], ["text": "a", "regex": "x[0-9]{2}"], ["text": "a", "json_schema": ["enum": [true, "é"]]],
    ])
    let arguments = ["generate", "--model", model("qwen3"), "--json-schema", folder + "/s.json", "--n", "4"]
    let result = try Program.run(arguments, input: input)
    try #require(result.status == 0, "\(result.errors)")
    let texts = try lines(result.output).map { $0["completions"]!.array!.map { $0["text"]!.string! } }
    for text in texts[0] { #expect((3...5).contains(try JSON.parse(text)["n"]?.int ?? 0), "\(text)") }
    for text in texts[1] { #expect(text.wholeMatch(of: /x[0-9]{2}/) != nil, "\(text)") }
    for text in texts[2] { #expect(["true", "\"é\""].contains(text), "\(text)") }
    for completion in try lines(result.output)[1]["completions"]!.array! {
      let ids = completion["ids"]!.array!
      let prompt = try lines(Program.run(["score", "--model", model("qwen3")], input: jsonl([["text": "a"]])).output)
      let scored = try Program.run(
        ["score", "--model", model("qwen3")],
        input: jsonl([["input_ids": .array(prompt[0]["input_ids"]!.array! + ids)]]))
      #expect(
        Array(try lines(scored.output)[0]["logprobs"]!.array!.suffix(ids.count)) == completion["logprobs"]!.array!)
    }
    let bad = jsonl([["text": "a", "regex": "a(?=b)"], ["text": "a", "json_schema": ["typ": "null"]], ["text": "a"]])
    let lenient = try lines(Program.run(arguments + ["--keep-going"], input: bad).output)
    #expect(lenient[0]["error"]?.string?.contains("regex:1:2: lookaround") == true)
    #expect(lenient[1]["error"]?.string?.contains("did you mean \"type\"") == true)
    #expect(lenient[2]["completions"]?.array?.count == 4)
  }

  @Test(arguments: [
    (["--regex", "a**"], "regex:1:3"), (["--regex", "a", "--json-schema", "x"], "one at most"),
    (["--json-schema", "/nowhere.json"], "/nowhere.json"),
    (["--regex", "a", "--ignore-eos"], "--ignore-eos with a guide"),
    (["--suppress", "x"], "an id was expected"), (["--suppress", "99999"], "an id from 0 to 607"),
    (["--sequence-bias", "1=2=3"], "12,7=-2.5"), (["--typical-p", "2"], "typical_p is 2.0"),
    (["--min-new-tokens", "200"], "from 0 to max_new_tokens (128)"),
  ])
  func samplingFlagsAreChecked(flags: [String], message: String) throws {
    let result = try Program.run(["generate", "--model", model("qwen3")] + flags, input: "{\"text\": \"a\"}\n")
    #expect(result.status == 2 && result.errors.contains(message), "\(flags): \(result.errors)")
  }

  @Test func greedyEqualsTheReference() throws {
    for folder in ["qwen2", "qwen3", "qwen3_moe", "qwen3_vl"] {
      let expected = try Fixtures.json("models/\(folder)/expected.json")
      let item = try #require(
        expected["cases"]?.array?.first {
          $0["batch"]?.int == 1 && $0["images"]?.array?.isEmpty != false && $0["videos"]?.array?.isEmpty != false
        })
      let ids = item["greedy_ids"]![0]!
      let text = item["text"]?.string ?? item["texts"]![0]!.string!
      let result = try Program.run(
        [
          // The reference took the penalty of the folder's generation_config.json; here it is asked for by name.
          "generate", "--model", model(folder), "--temperature", "0", "--ignore-eos", "--repetition-penalty", "1.05",
          "--max-new-tokens", "\(ids.array!.count)",
        ], input: jsonl([["text": .string(text)]]))
      try #require(result.status == 0, "\(result.errors)")
      #expect(try lines(result.output)[0]["completions"]![0]!["ids"] == ids, "\(folder)")
    }
  }

  @Test func badLinesNameTheirPlace() throws {
    let input = "{\"text\": \"a b\"}\n{\"txt\": 1}\nnot json\n{\"input_ids\": [999999]}\n"
    let strict = try Program.run(["score", "--model", model("qwen3")], input: input)
    #expect(strict.status == 2 && strict.errors.contains("standard input:2"), "\(strict.errors)")
    let lenient = try Program.run(["score", "--model", model("qwen3"), "--keep-going"], input: input)
    #expect(lenient.status == 0)
    let results = try lines(lenient.output)
    #expect(results.count == 4 && results[0]["logprobs"] != nil)
    for (i, word) in [(1, "exactly one"), (2, "not valid JSON"), (3, "vocabulary has 608")] {
      #expect(results[i]["line"]?.int == i + 1)
      #expect(results[i]["error"]?.string?.contains(word) == true, "\(results[i].text())")
    }
  }

  @Test func tokenizeAndRender() throws {
    let tokens = try Program.run(
      ["tokenize", "--model", Fixtures.path("tokenizers/qwen")],
      input: jsonl([["text": "Two gulls.", "add_special_tokens": false], ["ids": [84, 86]]]))
    try #require(tokens.status == 0, "\(tokens.errors)")
    let results = try lines(tokens.output)
    #expect(results[0]["text"]?.string == "Two gulls.")
    #expect(results[0]["pieces"]?.array?.count == results[0]["ids"]?.array?.count)
    let folder = try Program.temporaryFolder()
    try "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}{{ strftime_now('%Y') }}".write(
      toFile: folder + "/t.jinja", atomically: true, encoding: .utf8)
    let rendered = try Program.run(
      [
        "render", "--template", folder + "/t.jinja", "--variables", #"{"bos_token": "<s>"}"#, "--now",
        "2031-01-02T03:04:05",
      ], input: jsonl([["messages": [["role": "user", "content": "x"]]]]))
    #expect(try lines(rendered.output)[0]["text"]?.string == "<s>x2031", "\(rendered.errors)")
  }

  @Test func brokenCheckpointsAreRefused() throws {
    let folder = try Program.temporaryFolder() + "/qwen2"
    try FileManager.default.copyItem(atPath: model("qwen2"), toPath: folder)
    let weights = folder + "/model.safetensors"
    try Data(try Data(contentsOf: URL(fileURLWithPath: weights)).dropLast(1000)).write(
      to: URL(fileURLWithPath: weights))
    let cut = try Program.run(["score", "--model", folder], input: "{\"text\": \"a\"}\n")
    #expect(cut.status == 2 && cut.errors.contains("cut off"), "\(cut.errors)")
    try FileManager.default.removeItem(atPath: weights)
    let missing = try Program.run(["score", "--model", folder], input: "{\"text\": \"a\"}\n")
    #expect(missing.status == 2 && missing.errors.contains("no weights"), "\(missing.errors)")
    try FileManager.default.removeItem(atPath: folder + "/tokenizer.json")
    let tokenizer = try Program.run(["tokenize", "--model", folder], input: "{\"text\": \"a\"}\n")
    #expect(tokenizer.status == 2 && tokenizer.errors.contains("tokenizer.json"), "\(tokenizer.errors)")
  }

  @Test func rewardWorkbench() throws {
    let folder = try Program.temporaryFolder()
    for language in ["c", "swift"] {
      let made = try Program.run(["reward", "new", "my_\(language)", folder + "/" + language, "--language", language])
      #expect(made.status == 0, "\(made.errors)")
      let source = folder + "/\(language)/my_\(language).\(language)"
      let check = try Program.run(["reward", "check", source])
      #expect(check.status == 0, "\(check.output)\(check.errors)")
    }
    let tried = try Program.run(
      ["reward", "try", Fixtures.root + "/rewards/digit_match/digit_match.c"],
      input: jsonl([
        ["completion": "<answer>417</answer>", "reference": "407"], ["completion": "x", "reference": "seven"],
      ]))
    #expect(tried.status == 0, "\(tried.errors)")
    let results = try lines(tried.output)
    #expect(abs((results[0]["reward"]?.double ?? 0) - 2.0 / 3) < 1e-12)
    #expect(results[1]["status"]?.string == "invalid" && results[1]["reward"]?.isNull == true)
  }

  @Test func whatRewardsCost() throws {
    let result = try Program.run(["bench", "reward", "--samples", "4", "--bytes", "64", "--repeats", "1", "--json"])
    #expect(result.status == 0, "\(result.errors)")
    let report = try JSON.parse(result.output)
    #expect(report["samples"] == 4)
    #expect(report["figures"]?.array?.count == 6)
    for kind in ["c", "swift", "function"] { #expect(report["beside_inline_us"]?[kind]?.double != nil) }
  }

  @Test func recipeTyposAreRefusedWithTheNearestKey() throws {
    let folder = try Program.temporaryFolder()
    let text = try String(contentsOfFile: Fixtures.root + "/recipes/smoke/digits.yaml", encoding: .utf8)
    try text.replacing("batch: 8", with: "bacth: 8").replacing("../", with: Fixtures.root + "/recipes/")
      .write(toFile: folder + "/typo.yaml", atomically: true, encoding: .utf8)
    let result = try Program.run(["run", folder + "/typo.yaml"])
    #expect(result.status == 2)
    #expect(result.errors.contains("typo.yaml:") && result.errors.contains("batch"), "\(result.errors)")
    let set = try Program.run([
      "check", Fixtures.root + "/recipes/smoke/digits.yaml", "--set", "stages.warm-up.stesp=3",
    ])
    #expect(set.status == 2 && set.errors.contains("steps"), "\(set.errors)")
  }

  /// What can be known before is refused with nothing left behind; what is met halfway fails at work and is recorded.
  @Test func brokenDataIsRefusedOrRecorded() throws {
    let folder = try Program.temporaryFolder()
    let picture = try Data(contentsOf: URL(fileURLWithPath: Fixtures.path("images/files/rgb.png")))
    try picture.prefix(picture.count / 2).write(to: URL(fileURLWithPath: folder + "/cut.png"))
    try #"{"prompt": "<image>What?", "completion": "x", "images": ["cut.png"]}"#.write(
      toFile: folder + "/cut.jsonl", atomically: true, encoding: .utf8)
    try #"{"prompt": "<image>What?", "completion": "x", "images": ["none.png"]}"#.write(
      toFile: folder + "/none.jsonl", atomically: true, encoding: .utf8)
    for (name, status, words) in [("none", Int32(2), "none.png"), ("cut", Int32(1), "truncated")] {
      try """
      model: {path: "preset:tiny-vl"}
      data: {train: {kind: jsonl, file: \(name).jsonl}}
      stages: [{objective: sft, steps: 1, batch: 1}]
      """.write(toFile: folder + "/\(name).yaml", atomically: true, encoding: .utf8)
      let result = try Program.run(["run", folder + "/\(name).yaml", "--output", folder + "/\(name)-run"])
      #expect(result.status == status && result.errors.contains(words), "\(name): \(result.status) \(result.errors)")
      #expect(FileManager.default.fileExists(atPath: folder + "/\(name)-run") == (status == 1))
    }
    let shown = try Program.run(["runs", "show", folder + "/cut-run", "--json"])
    #expect(try JSON.parse(shown.output)["status"]?.string == "failed")
  }

  @Test func objectiveEvalComputesSuites() throws {
    let folder = try Program.temporaryFolder()
    let suites = [
      "sft", "packing", "logprob", "reward", "dpo", "kto", "bco", "cpo", "orpo", "grpo_advantages", "grpo_loss",
      "grpo_step", "gspo_token", "dapo", "rloo", "reinforce_pp", "ppo", "kl", "adamw", "grad_clip", "lr_schedule",
      "ref_sync",
    ]
    for suite in suites {
      let result = try Program.run([
        "objective", "eval", "--input", Fixtures.path("objectives/\(suite).json"), "--output",
        folder + "/\(suite).json",
      ])
      #expect(result.status == 0, "\(result.errors)")
      let json = try JSON.parse(String(contentsOfFile: folder + "/\(suite).json", encoding: .utf8))
      #expect(json["cases"]?.array?.allSatisfy { $0["outputs"] != nil && $0["error"] == nil } == true, "\(suite)")
    }
  }
}
