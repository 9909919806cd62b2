import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

/// Texts that nobody means well: long, deep, damaged, made at random.
@Suite struct BuiltInHostileTests {
  static let instances: [(reward: String, parameters: String)] = [
    ("detection", #"{"coordinates": "picture"}"#),
    ("detection", #"{"coordinates": "picture", "unknown_labels": "penalize"}"#),
    ("format", "{}"), ("format", #"{"style": "think"}"#), ("format", #"{"style": "strict_lines"}"#),
    ("format", #"{"style": "tag_count"}"#), ("format", #"{"style": "xml_count"}"#), ("format", #"{"style": "box"}"#),
    ("format", #"{"style": "code"}"#),
    ("ifeval", #"{"mode": "loose"}"#), ("json_schema", #"{"column": "schema"}"#),
    ("json_schema", #"{"from": "block", "graded": true}"#), ("json_schema", #"{"from": "answer"}"#),
    ("language", #"{"language": "ja"}"#), ("language", #"{"scripts": ["prompt"]}"#),
    ("regex", #"{"pattern": "</think>\\s*(\\S+)", "compare": "reference"}"#),
    ("regex", #"{"pattern": "(a|aa|\\s)+$", "count": 5, "graded": true}"#),
  ]

  private static func rewards() throws -> [any PluginReward] {
    try instances.map { reward, parameters in
      try Workshop.load(
        reward, parameters: try JSON.parse(parameters).object ?? .init(), isolation: .inline, timeout: 60)
    }
  }

  /// Every column that a reward looks for, with something in it.
  private static func sample(_ completion: String) throws -> RewardSample {
    var sample = RewardSample(prompt: "Wo ist das Haus? 家", completion: completion)
    sample.reference = #"[{"bbox_2d": [1, 2, 30, 40], "label": "a"}]"#
    sample.columns["schema"] = try JSON.parse(
      ##"{"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/a"}, "uniqueItems": true},"##
        + ##"{"type": "object", "additionalProperties": {"$ref": "#"}}, {"type": ["string", "number", "null"], "pattern": "(a+)+$"}]}}}"##
    )
    let ids = Instruction.all.map(\.id)
    sample.columns["instruction_id_list"] = .array(ids.map(JSON.string))
    let arguments = JSON.object([
      ("keywords", ["a", "think"]), ("forbidden_words", ["answer"]), ("keyword", "aa"), ("frequency", 3),
      ("relation", "at least"), ("letter", "a"), ("let_frequency", 3), ("let_relation", "less than"), ("num_words", 5),
      ("num_sentences", 5), ("num_paragraphs", 2), ("nth_paragraph", 1), ("first_word", "a"), ("num_placeholders", 2),
      ("postscript_marker", "P.S."), ("prompt_to_repeat", "a"), ("end_phrase", "a"), ("num_bullets", 3),
      ("num_highlights", 3), ("section_spliter", "a"), ("num_sections", 3), ("capital_frequency", 3),
      ("capital_relation", "at least"), ("language", "de"),
    ])
    sample.columns["kwargs"] = .array(ids.map { _ in arguments })
    return sample
  }

  private static func expectSound(_ outcome: RewardOutcome, _ reward: String, _ text: String) {
    #expect(outcome.score.map { (0...1).contains($0) } ?? (outcome.status != .ok), "\(reward): \(text.prefix(80))")
    #expect(
      [.ok, .notApplicable].contains(outcome.status) || reward == "regex" || reward == "json_schema",
      "\(reward): \(outcome.status) \(outcome.log) for \(text.prefix(80))")
    #expect(outcome.log.utf8.count < 5000, "\(reward) writes a log of \(outcome.log.utf8.count) bytes")
  }

  @Test func longTexts() throws {
    let pieces = [
      "a", " ", "\n", "é", "家", "<think>", "</think>", "</think><answer>", "<answer>{[1, ", "[", "{\"a\":", "[1,", "\"",
      "```python\n", "```\n```\n", "   ```\n", "~~~", "`", "$", "$$", "$a $", "\\(", "\\[", "<a", "<", "<<", "<<a>",
      "*", "**", "* a\n",
      "[a", "a. ", "A.b.", "a,b", "***", "\n\n", "******", "a1", "P.S", "\u{0}", "e\u{301}", "👩‍👩‍👧", "\u{FFFD}", "0",
      "1e9", "-",
    ]
    let rewards = try Self.rewards()
    for piece in pieces {
      let text = String(repeating: piece, count: 100_000 / piece.utf8.count)
      let sample = try Self.sample(text)
      for (reward, instance) in zip(rewards, Self.instances) {
        Self.expectSound(try reward.score([sample], context: RewardContext())[0], instance.reward, text)
      }
    }
  }

  /// Bytes of real completions, cut, doubled, exchanged and damaged; what is no UTF-8 any more becomes U+FFFD.
  @Test func mutatedTexts() throws {
    var seeds: [String] = ["", "[[{}]]"]
    for name in BuiltInVectorTests.names where name != "code" {
      let cases = try RewardCases(path: Fixtures.path("rewards/built-in/\(name).jsonl"), pictures: Workshop.noPictures)
      seeds += cases.cases.map(\.sample.completion).filter { $0.utf8.count < 400 }
    }
    let rewards = try Self.rewards()
    var random = SystemRandom(state: 20_260_101)
    for _ in 0..<400 {
      var bytes = Array(seeds[random.below(seeds.count)].utf8)
      for _ in 0..<(1 + random.below(6)) {
        let at = random.below(bytes.count + 1)
        switch random.below(5) {
        case 0: bytes.insert(UInt8(random.below(256)), at: at)
        case 1: bytes.removeSubrange(at..<min(bytes.count, at + random.below(9)))
        case 2: bytes.insert(contentsOf: bytes[at..<min(bytes.count, at + random.below(40))], at: random.below(at + 1))
        case 3: bytes.insert(contentsOf: Array(seeds[random.below(seeds.count)].utf8.prefix(60)), at: at)
        default: if at < bytes.count { bytes[at] ^= UInt8(1 << random.below(8)) }
        }
      }
      let text = String(decoding: bytes, as: UTF8.self)
      let sample = try Self.sample(text)
      for (reward, instance) in zip(rewards, Self.instances) {
        let outcome = try reward.score([sample], context: RewardContext())[0]
        Self.expectSound(outcome, instance.reward, text)
        let again = try reward.score([sample], context: RewardContext())[0]
        #expect(again.score == outcome.score && again.log == outcome.log, "\(instance.reward) is not deterministic")
      }
    }
  }

  /// Columns that are not what they should be are the sample's fault, and nothing else's.
  @Test func oddColumns() throws {
    let odd: [JSON] = [
      .null, .bool(true), 7, "", "{", "[]", [], [[]], ["a", 1], .object([]), .object([("inputs", 1)]),
      [.object([("input", .null), ("output", 1)])], .string(String(repeating: "[", count: 100_000)),
    ]
    let columns = ["schema", "instruction_id_list", "kwargs", "cases", "boxes"]
    let all: [(String, String)] =
      Self.instances + [("detection", #"{"column": "boxes", "coordinates": "picture"}"#), ("code", "{}")]
    for (name, parameters) in all {
      let reward = try Workshop.load(name, parameters: try JSON.parse(parameters).object ?? .init(), isolation: .inline)
      defer { reward.close() }
      for value in odd {
        var sample = RewardSample(prompt: "p", completion: "```python\nprint(1)\n```")
        for column in columns { sample.columns[column] = value }
        sample.references = RewardSample.references(value)
        let outcome = try reward.score([sample], context: RewardContext())[0]
        #expect(outcome.status != .timedOut)
        #expect(outcome.log.utf8.count < 5000)
      }
    }
  }

  /// A small generator whose sequence is the same everywhere.
  private struct SystemRandom {
    var state: UInt64

    mutating func below(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return bound <= 0 ? 0 : Int((state >> 33) % UInt64(bound))
    }
  }
}
