import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

/// The plugins that come with the program, as they are linked into it or lie beside it, and as sources.
@Suite struct ShippedTests {
  private static let plugins = LinkedPlugins.names + RewardLoader.swiftPlugins

  private static func folder(_ name: String) -> String { Fixtures.root + "/rewards/\(name)" }

  @Test func everyFolderIsShipped() throws {
    let folders = try FileManager.default.contentsOfDirectory(atPath: Fixtures.root + "/rewards")
    #expect(Set(folders.filter { !$0.hasPrefix(".") }) == Set(Self.plugins))
    #expect(LinkedPlugins.names == LinkedPlugins.names.sorted())
  }

  @Test(arguments: plugins) func casesHoldInBothIsolations(_ name: String) throws {
    let cases = try RewardCases(path: Self.folder(name) + "/cases.jsonl", pictures: Workshop.noPictures)
    let command = Workshop.command
    let descriptor = try #require(try RewardLoader.describe(name, workerCommand: command).first)
    // The two that the first tutorial uses are small.
    #expect(cases.cases.count >= (["digit_match", "answer_format"].contains(name) ? 10 : 20))
    for isolation in [RewardSpecification.Isolation.worker, .inline] {
      let (count, failures) = try cases.replay(descriptor) {
        try Workshop.load(name, name: name, parameters: $0, isolation: isolation)
      }
      #expect(count == cases.cases.count)
      for failure in failures { Issue.record("\(name), line \(failure.line), \(isolation): \(failure.difference)") }
    }
  }

  @Test(arguments: plugins) func sourcesPassTheValidator(_ name: String) throws {
    let ending = LinkedPlugins.names.contains(name) ? "c" : "swift"
    let check = RewardBench.check(
      Self.folder(name) + "/\(name).\(ending)", workerCommand: Workshop.command, pictures: Workshop.noPictures)
    #expect(check.passed, "\(check.text)")
    #expect(check.rules.contains { $0.name == "cases.jsonl" && $0.detail.hasSuffix("as expected") })
    #expect(check.rules.count >= 17)
  }

  @Test func areListed() {
    let list = RewardBench.list()
    #expect(list.map(\.name) == RewardLoader.shipped)
    #expect(list.allSatisfy { !$0.kind.isEmpty && !$0.summary.isEmpty })
    #expect(list.first { $0.name == "digit_match" }?.kind == "C plugin")
    #expect(list.first { $0.name == "answer_format" }?.kind == "Swift plugin")
  }

  @Test func everyRewardHasItsSection() throws {
    let page = try String(contentsOfFile: Fixtures.root + "/docs/built-in-rewards.md", encoding: .utf8)
    let sections = page.split(separator: "\n").filter { $0.hasPrefix("## ") }.map { String($0.dropFirst(3)) }
    #expect(sections == RewardLoader.shipped.sorted())
  }

  /// Values that do not go together are refused before the first sample.
  @Test(arguments: [
    ("exact_match", #"{"mode": "exakt"}"#, "mode is 'exakt'"),
    ("length", #"{"min": 5, "max": 4}"#, "min is 5, more than max"),
    ("length", #"{"max": 4, "ratio": true}"#, "references have no tokens"),
    ("length", #"{"max": 4, "unit": "bytes"}"#, "unit is 'bytes'"),
    ("length", "{}", "needs the parameter 'max'"),
    ("numeric", #"{"error": "both"}"#, "neither relative nor absolute"),
    ("numeric", #"{"percent": "no"}"#, "none of fraction"),
    ("repetition", #"{"max_penalty": 0.5}"#, "expected -1000000000.0 to 0.0"),
    ("repetition", #"{"n": 2.5}"#, "n is 2.5"),
    ("repetition", #"{"unit": "bytes"}"#, "unit is 'bytes'"),
    ("soft_overlong", #"{"limit": 10, "buffer": 10}"#, "buffer is 10, expected less"),
    ("soft_overlong", #"{"limit": 10}"#, "needs the parameter 'buffer'"),
    ("fuzzy_match", #"{"mode": "close"}"#, "mode is 'close'"),
    ("group_length", #"{"correct": "yes"}"#, "correct is 'yes'"),
    ("tool_use", #"{"schedule": "cosine"}"#, "schedule is 'cosine'"),
    ("tool_use", #"{"format_min": 2}"#, "format_min is 2.0, more than"),
  ]) func wrongParametersAreRefused(_ name: String, _ parameters: String, _ words: String) throws {
    let object = try #require(try JSON.parse(parameters).object)
    let error = try #require(throws: AttuneError.self) { try Workshop.load(name, parameters: object).close() }
    #expect(error.message.contains(words), "\(error.message)")
  }

  /// A completion of 100 kB of whatever a reward looks for is scored, and not in quadratic time.
  @Test(arguments: plugins) func longCompletionsAreScored(_ name: String) throws {
    let pieces = [
      "<answer>", "</answer>", "<answer>4</answer>", "a", "1,", "[1, ", "(1, 2), ", "\\boxed{", "}", "Action: ",
      "Action Input: {", "<tool_call>", "<tool_call>{}</tool_call>", "<think>", "\n- ", "[", "{\"a\":", "the ", "- B",
    ]
    let cases = try RewardCases(path: Self.folder(name) + "/cases.jsonl", pictures: Workshop.noPictures)
    let reward = try Workshop.load(
      name, parameters: cases.cases.first?.parameters ?? .init(), isolation: .worker, timeout: 60)
    defer { reward.close() }
    var samples = pieces.flatMap { piece in
      let text = String(repeating: piece, count: 100_000 / piece.utf8.count)
      return [text, "Action: a\nAction Input: " + text, "<answer>" + text + "</answer>"].map { text in
        var sample = RewardSample(prompt: "p", completion: text)
        sample.references = [
          "Action: a\nAction Input: {\"a\": 1}", "<think></think><tool_call>{\"name\": \"a\"}</tool_call>",
        ]
        sample.tokenIDs = (0..<Int32(text.utf8.count)).map { $0 % 7 }
        return sample
      }
    }
    for reference in ["4", "[1, 2, 3, 4]", "B"] {
      var sample = samples[0]
      sample.references = [reference]
      sample.columns["box"] = .string(reference)
      samples.append(sample)
    }
    for sample in samples {
      let outcome = try reward.score([sample], context: RewardContext())[0]
      #expect(
        [.ok, .invalid, .notApplicable].contains(outcome.status), "\(sample.completion.prefix(40)): \(outcome.log)")
    }
  }

  /// Whatever order marks, numbers and NULs come in, a plugin neither crashes nor fails.
  @Test(arguments: plugins) func mixturesAreScored(_ name: String) throws {
    let pieces = [
      "<answer>", "</answer>", "<think>", "</think>", "<tool_call>", "</tool_call>", "<response>", "</response>",
      "Action:",
      "Action Input:", "Observation:", #"{"name": "a", "parameters": {"b": 1}}"#, #"{"b": [1, null]}"#, "Step ", "1",
      ".", ":",
      "-", ",", "%", "[1, 2, 3, 4]", "(", ")", "{", "}", "\\boxed{", "A", "the", " ", "\n", "\0", "é", "北", "\u{301}",
    ]
    let cases = try RewardCases(path: Self.folder(name) + "/cases.jsonl", pictures: Workshop.noPictures)
    let reward = try Workshop.load(name, parameters: cases.cases.first?.parameters ?? .init())
    defer { reward.close() }
    var state: UInt64 = 1
    func random(_ count: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % count
    }
    func text() -> String { (0..<random(16)).map { _ in pieces[random(pieces.count)] }.joined() }
    let samples = (0..<500).map { _ in
      var sample = RewardSample(prompt: "p\(random(100))", completion: text())
      sample.references = (0..<random(3)).map { _ in text() }
      sample.tokenIDs = (0..<Int32(random(12))).map { _ in Int32(random(3)) }
      if random(2) == 0 { sample.policyMask = sample.tokenIDs.map { _ in random(3) > 0 } }
      sample.columns["box"] = .string(text())
      return sample
    }
    let outcomes = try reward.score(RewardBench.grouped(samples), context: RewardContext())
    for (sample, outcome) in zip(samples, outcomes) {
      #expect(
        [.ok, .invalid, .notApplicable].contains(outcome.status),
        "\(sample.completion.debugDescription): \(outcome.log)")
    }
  }
}
