import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

/// What built-in rewards refuse at their start, and in which words.
@Suite struct BuiltInParameterTests {
  struct Refusal: Sendable {
    var reward: String
    var parameters: String
    var message: String
    var hint: String?

    init(_ reward: String, _ parameters: String, _ message: String, hint: String? = nil) {
      self.reward = reward
      self.parameters = parameters
      self.message = message
      self.hint = hint
    }
  }

  static let refusals: [Refusal] = [
    Refusal(
      "format", #"{"style": "think_anser"}"#,
      "is 'think_anser', think_answer, think, strict_lines, tag_count, xml_count, box or code was",
      hint: "did you mean 'think_answer'?"),
    Refusal("format", #"{"prefix": "maybe"}"#, "is 'maybe', include or exclude was expected"),
    Refusal("format", #"{"style": "code", "language": ""}"#, "'language' of the reward format is empty"),
    Refusal("regex", #"{}"#, "needs the parameter 'pattern'"),
    Refusal(
      "regex", #"{"pattern": "é(a"}"#,
      "is no regular expression: missing closing parenthesis, at character 4 of \"é(a\""),
    Refusal("regex", #"{"pattern": "a\\C"}"#, "at character 4"),
    Refusal("regex", #"{"pattern": "a", "count": 1.5}"#, "is 1.5, a whole number was expected"),
    Refusal("regex", #"{"pattern": "a", "count": 2, "match": "whole"}"#, "the whole text matches once at most"),
    Refusal("regex", #"{"pattern": "a", "count": 2, "compare": "reference"}"#, "only the last match is compared"),
    Refusal(
      "json_schema", #"{"schema": {"typ": "object"}}"#, "at $.typ: the keyword 'typ' is not known here",
      hint: "did you mean 'type'?"),
    Refusal(
      "json_schema", #"{"schema": {"properties": {"a": {"type": "text"}}}}"#,
      "at $.properties.a.type: 'text' is no type"),
    Refusal(
      "json_schema", #"{"schema": {"unevaluatedProperties": false}}"#,
      "the keyword 'unevaluatedProperties' is not known"),
    Refusal(
      "json_schema", ##"{"schema": {"$ref": "#/$defs/nod", "$defs": {"node": {}}}}"##,
      "'#/$defs/nod' refers to nothing", hint: "#/$defs/node"),
    Refusal(
      "json_schema", #"{"schema": {"$ref": "https://a.b/c"}}"#, "refers to nothing", hint: "other documents are not"),
    Refusal("json_schema", #"{"schema": {"pattern": "("}}"#, "at $.pattern: \"(\" is no regular expression"),
    Refusal(
      "json_schema", #"{"schema": {"format": "iri"}}"#, "the format 'iri' is not checked here", hint: "date-time"),
    Refusal("json_schema", #"{"schema": {"minLength": -1}}"#, "a whole number of 0 or more was expected"),
    Refusal("json_schema", #"{"schema": {"multipleOf": 0}}"#, "more than 0 was expected"),
    Refusal("json_schema", #"{"schema": {"anyOf": []}}"#, "an empty list"),
    Refusal("json_schema", #"{"schema": {"type": "object"}, "column": "form"}"#, "there is the parameter 'schema' too"),
    Refusal("language", "{}", "is missing, and so are 'scripts'", hint: "language: en"),
    Refusal("language", #"{"language": "eng"}"#, "is 'eng', whose scripts are not known", hint: "did you mean 'en'?"),
    Refusal("language", #"{"scripts": ["Latn"]}"#, "holds 'Latn', which is no script", hint: "did you mean 'Latin'?"),
    Refusal("language", #"{"scripts": ["Latin", "prompt"]}"#, "has to stand alone"),
    Refusal("language", #"{"language": "en", "scripts": ["Latin"]}"#, "is given, and 'scripts' too"),
    Refusal("language", #"{"language": "en", "minimum": 2}"#, "expected 0.0 to 1.0"),
    Refusal("detection", #"{"iou": "cocoa"}"#, "is 'cocoa', coco or single was expected", hint: "did you mean 'coco'?"),
    Refusal("ifeval", #"{"mode": "lose"}"#, "is 'lose', strict or loose was expected"),
    Refusal(
      "code", #"{"language": "pyton"}"#, "is 'pyton', python, c or swift was expected", hint: "did you mean 'python'?"),
    Refusal("code", #"{"tool": "/no/such/python"}"#, "cannot be served: there is no program /no/such/python"),
    Refusal("code", #"{"tool": "no-such-python"}"#, "there is no program 'no-such-python' in the folders of PATH"),
    Refusal("code", #"{"tool": "false"}"#, "runs no Python: it ended with exit status 1"),
  ]

  @Test(arguments: refusals)
  func areRefusedInWords(_ refusal: Refusal) throws {
    let given = try #require(try JSON.parse(refusal.parameters).object)
    do {
      let reward = try Workshop.load(refusal.reward, parameters: given, isolation: .inline)
      reward.close()
      Issue.record("\(refusal.reward) took \(refusal.parameters)")
    } catch let error as AttuneError {
      #expect(error.message.contains(refusal.message), "\(error.message)")
      #expect(error.kind == .request)
      if let hint = refusal.hint { #expect(error.hint?.contains(hint) == true, "\(error.hint ?? "no hint")") }
    }
  }

  /// An error about a value names the value's place in the recipe, wherever the reward runs.
  @Test(arguments: [RewardSpecification.Isolation.worker, .inline])
  func placesAreNamed(_ isolation: RewardSpecification.Isolation) throws {
    let given = try #require(try JSON.parse("{\n \"match\": \"whole\",\n   \"pattern\": \"(a\"}").object)
    do {
      let specification = RewardSpecification(
        name: "r", source: "regex", parameters: given, isolation: isolation, timeoutSeconds: 5, file: "recipe.yaml")
      try RewardLoader.load(specification, workerCommand: Workshop.command).close()
      Issue.record("the pattern was taken")
    } catch let error as AttuneError {
      #expect(error.location == .init(file: "recipe.yaml", line: 3, column: 15))
    }
  }

  @Test func instancesLiveSideBySide() throws {
    let loaded = try ["a", "b"].map { pattern in
      try Workshop.load(
        "regex", name: "has_\(pattern)", parameters: JSON.Object([("pattern", .string(pattern))]))
    }
    defer { for reward in loaded { reward.close() } }
    let samples = Workshop.samples("a", "b", "ab")
    let scores = try loaded.map { reward in
      try reward.score(samples, context: RewardContext()).map { (outcome: RewardOutcome) -> Double? in outcome.score }
    }
    #expect(loaded.map { $0.name } == ["has_a", "has_b"])
    #expect(scores == [[1, 0, 1], [0, 1, 1]])
  }
}
