import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

/// The plugin author's bench.
@Suite struct BenchTests {
  @Test(arguments: PluginCompiler.Language.allCases)
  func aNewRewardPassesAtOnce(_ language: PluginCompiler.Language) throws {
    let folder = try Workshop.scratch() + "/my_reward"
    let files = try RewardBench.new(name: "my_reward", language: language, folder: folder)
    #expect(
      files.map { ($0 as NSString).lastPathComponent } == [
        "my_reward.\(language.rawValue)", "cases.jsonl", "README.md",
      ])
    let check = RewardBench.check(files[0], workerCommand: Workshop.command, pictures: Workshop.noPictures)
    #expect(check.passed, "\(check.text)")
    expectAttuneError(containing: "is already there") {
      try RewardBench.new(name: "my_reward", language: language, folder: folder)
    }
    expectAttuneError(containing: "'My-Reward' cannot be a reward's name", "did you mean 'my_reward'?") {
      try RewardBench.new(name: "My-Reward", language: language, folder: folder)
    }
  }

  @Test func theValidatorFindsWhatIsBroken() throws {
    func broken(_ source: String, parameters: JSON.Object = .init()) -> [String: String] {
      let check = RewardBench.check(
        Workshop.source(source), parameters: parameters, timeoutSeconds: 2, workerCommand: Workshop.command,
        pictures: Workshop.noPictures)
      #expect(!check.passed)
      return Dictionary(uniqueKeysWithValues: check.rules.filter { !$0.held }.map { ($0.name, $0.line) })
    }
    #expect(
      broken("nondeterministic.c")["deterministic, as promised"]?.contains("do not set ATTUNE_DETERMINISTIC") == true)
    #expect(broken("undefined.c")["loads"]?.contains("does not compile") == true)
    #expect(broken("counter.c")["starts"]?.contains("needs the parameter 'start'") == true)
    let folder = try Workshop.scratch()
    let source = folder + "/fragile.c"
    try """
    #include "attune_reward.h"
    #include <string.h>
    ATTUNE_REWARD(fragile, "falls over") {
      ((char *)(size_t)sample->completion.data)[0] = 'x';
      return sample->completion.size > 100000 ? *(volatile double *)NULL : 1.0 / (double)sample->completion.size;
    }
    """.write(toFile: source, atomically: true, encoding: .utf8)
    let check = RewardBench.check(source, workerCommand: Workshop.command, pictures: Workshop.noPictures)
    func line(_ name: String) -> String { check.rules.first { $0.name == name }?.line ?? "" }
    #expect(line("ordinary samples").contains("SIGSEGV) while scoring sample 0: it wrote into its inputs"))
    #expect(line("a very long completion").contains("while scoring sample 0"))
    #expect(line("a very long completion").contains("a completion of 1 MB"))
    #expect(line("a very long completion").hasPrefix("BROKEN"))
  }

  @Test func linesInAndLinesOut() throws {
    let reward = try Workshop.load("digit_match")
    defer { reward.close() }
    let lines = [
      #"{"prompt": "Which number?", "completion": "<answer>417</answer>", "reference": "407", "images": []}"#,
      #"{"prompt": [{"role": "user", "content": "Which?"}], "completion": "<answer>407</answer>", "answer": 407}"#,
      #"{"completion": "x"}"#,
    ].map { try? JSON.parse($0) }.compactMap { $0 }
    let out = try RewardBench.tryLines(lines, reward, pictures: Workshop.noPictures)
    #expect(
      out[0].text()
        == #"{"reward": 0.6666666666666666, "status": "ok", "components": {"exact": 0.0, "digits": 0.6666666666666666}, "log": "answer 417, expected 407"}"#
    )
    #expect(out[1]["reward"] == 1)
    #expect(out[2]["reward"] == .null)
    #expect(out[2]["status"] == "invalid")
    #expect(try RewardBench.tryLine(lines[1], reward, pictures: Workshop.noPictures) == out[1])
    // What a tool answered is not the policy's.
    let dialogue = try JSON.parse(
      #"{"completion": [{"role": "assistant", "content": "I look."}, {"role": "tool", "content": "<answer>407</answer>"}, {"role": "assistant", "content": "<answer>417</answer>"}], "answer": [407, 408]}"#
    )
    let sample = try RewardBench.sample(dialogue, pictures: Workshop.noPictures)
    #expect(sample.completion == "I look.\n<answer>417</answer>")
    #expect(sample.rawCompletion == "I look.\n<answer>407</answer>\n<answer>417</answer>")
    #expect(sample.completionMessages.map(\.role) == ["assistant", "tool", "assistant"])
    #expect(sample.references == ["407", "408"])
    #expect(try RewardBench.tryLine(dialogue, reward, pictures: Workshop.noPictures)["reward"] == .double(2.0 / 3))
    expectAttuneError(containing: #"in.jsonl:1:1: there is no "completion"#, #"did you mean "completions"?"#) {
      _ = try RewardBench.sample(
        try JSON.parse(#"{"completions": "x"}"#), file: "in.jsonl", pictures: Workshop.noPictures)
    }
    expectAttuneError(containing: #""completion" is 1, expected a string"#) {
      _ = try RewardBench.sample(try JSON.parse(#"{"completion": 1}"#), pictures: Workshop.noPictures)
    }
  }

  @Test func valuesThatCannotBeMeantAreShown() {
    for (keys, message) in [
      (
        #""token_ids": [1, 2], "logprobs": [-1]"#,
        #""logprobs" is a list, expected one entry for each of 2 tokens, found 1"#
      ),
      (#""token_ids": [1], "logprobs": ["x"]"#, #""logprobs" is "x", expected a list of numbers"#),
      (#""token_ids": [5000000000]"#, #""token_ids" is 5000000000, expected a list of ids"#),
      (#""token_count": -1"#, #""token_count" is -1, expected a number of tokens"#),
      (#""images": [{"width": 0, "height": 4}]"#, #""width" is 0, expected 1 to 16384"#),
      (#""finish_reason": "stopp""#, #""finish_reason" is "stopp", expected "stop""#),
    ] {
      expectAttuneError(containing: message) {
        _ = try RewardBench.sample(
          try JSON.parse("{\"completion\": \"x\", \(keys)}"), pictures: Workshop.noPictures)
      }
    }
  }

  @Test func whatARewardCosts() throws {
    let workload = RewardTimings.Workload(samples: 4, bytes: 100, pictures: 1, groupSize: 2)
    let samples = RewardTimings.samples(workload)
    #expect(samples.map(\.groupID) == [0, 0, 1, 1])
    #expect(samples.allSatisfy { $0.completion.utf8.count == 100 && $0.images.count == 1 })
    let figures = try RewardTimings.compare(workload, workerCommand: Workshop.command, rounds: 1)
    #expect(figures.map(\.kind) == [.c, .c, .swift, .swift, .function, .function])
    #expect(figures.map(\.isolation) == [.inline, .worker, .inline, .worker, .inline, .worker])
    #expect(figures.allSatisfy { $0.secondsPerBatch > 0 && $0.json["ns_per_sample"]?.double ?? 0 > 0 })
    let failing = try Workshop.load("several.c", name: "silent", isolation: .inline)
    expectAttuneError(containing: "cannot be timed") { _ = try RewardTimings.secondsPerBatch(failing, samples) }
  }
}
