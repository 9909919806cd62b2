import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

/// The reward `judge`: what it asks, and what it makes of replies.
@Suite struct JudgeRewardTests {
  private struct Services: RewardServices {
    var judges: JudgeService
    func judge(_ request: JudgeRequest, reward: String) -> JudgeReply { judges.answer(request) }
    func concurrency(ofJudge name: String?) -> Int { judges.concurrency(of: name) }
  }

  private func context(_ server: ScriptedServer, concurrency: Int = 8) throws -> RewardContext {
    var configuration = JudgeConfiguration(name: "j", endpoint: server.address, model: "m")
    configuration.concurrency = concurrency
    configuration.retries = 0
    var context = RewardContext()
    context.services = Services(judges: try JudgeService([EndpointJudge(configuration)]))
    return context
  }

  private func load(_ parameters: [(String, JSON)] = []) throws -> any PluginReward {
    try Workshop.load("judge", name: "quality", parameters: JSON.Object(parameters))
  }

  private func sample(_ completion: String) -> RewardSample {
    var sample = RewardSample(
      prompt: "<|im_start|>user\nSum?<|im_end|>", completion: completion,
      columns: JSON.Object([("topic", JSON.string("sums")), ("n", JSON.array([1, 2]))]))
    sample.messages = [Message(role: "user", text: "Sum?")]
    sample.reference = "4"
    return sample
  }

  @Test func aNumberFromTheReply() throws {
    let server = try ScriptedServer { request, _ in
      let question = request.json["messages"]?.array?.last?["content"]?.string ?? ""
      return .says(question.contains("four") ? "Fine.\nReward: 0.75" : "Reward: 0.1 at first; no, Reward: **-2**")
    }
    let reward = try load()
    #expect(!reward.descriptor.isDeterministic)
    let outcomes = try reward.score([sample("four"), sample("five")], context: try context(server))
    #expect(outcomes.map(\.score) == [0.75, -2] && outcomes.map(\.status) == [.ok, .ok])
    #expect(outcomes[0].components.map(\.name) == ["prompt_tokens", "completion_tokens"])
    #expect(outcomes[0].components.map(\.value) == [11, 5])
    #expect(outcomes[0].notes.first?.text == "Fine.\nReward: 0.75" && outcomes[0].log == "the judge gave 0.75")
    let asked = server.requests[0].json["messages"]?[0]?["content"]?.string ?? ""
    #expect(asked.contains("Prompt:\nSum?\n") && !asked.contains("<|im_start|>"))
  }

  @Test func templatesAreFilledIn() throws {
    let server = try ScriptedServer { _, _ in .says("score=7/10") }
    let reward = try load([
      (
        "prompt",
        #"{prompt}|{completion}|{reference}|{column.topic}|{column.n}|{"a": {"b": 1}}|{{prompt}}|{}|{ prompt }|{"#
      ),
      ("system", "You are strict."), ("pattern", #"score=(\d+)"#), ("scale", [0, 10]), ("max_tokens", 9),
      ("temperature", 0.5),
    ])
    let outcome = try reward.score([sample("{reference}")], context: try context(server))[0]
    #expect(outcome.score == 0.7 && outcome.components.first?.name == "number" && outcome.components.first?.value == 7)
    let json = server.requests[0].json
    #expect(json["messages"]?[0] == ["role": "system", "content": "You are strict."])
    #expect(
      json["messages"]?[1]?["content"]
        == #"Sum?|{reference}|4|sums|[1, 2]|{"a": {"b": 1}}|{prompt}|{}|{ prompt }|{"#)
    #expect(json["max_tokens"] == 9 && json["temperature"] == 0.5)
  }

  @Test func repliesWithoutANumberAreFailuresAndNeverScores() throws {
    let long = "x" + String(repeating: " y", count: 400) + " the end"
    for (reply, words) in [
      ("I like it.", "has no number where one was expected: \"I like it.\""), ("", "no number"),
      ("Reward: high", "no number"),
      (long, "the end\""),
    ] {
      let server = try ScriptedServer { _, _ in .says(reply) }
      let outcome = try load().score([sample("x")], context: try context(server))[0]
      #expect(outcome.status == .failed && outcome.score == nil && outcome.log.contains(words), "\(outcome.log)")
    }
    let server = try ScriptedServer { _, _ in .says("Reward: 11") }
    let outside = try load([("scale", [1, 10])]).score([sample("x")], context: try context(server))[0]
    #expect(
      outside.status == .failed
        && outside.log.contains("the judge gave 11, which is outside 1.0 to 10.0: \"Reward: 11\""))
    let huge = try ScriptedServer { _, _ in .says("Reward: " + String(repeating: "9", count: 400)) }
    #expect(try load().score([sample("x")], context: try context(huge))[0].status == .failed)
    let words = try ScriptedServer { _, _ in .says("grade: A") }
    let letter = try load([("pattern", "grade: (.)")]).score([sample("x")], context: try context(words))[0]
    #expect(letter.status == .failed && letter.log.contains("has 'A' in the place of a number"))
  }

  @Test func whatASampleLacks() throws {
    let server = try ScriptedServer { _, _ in .says("Reward: 1") }
    var bare = sample("x")
    bare.references = []
    let context = try context(server)
    let none = try load([("prompt", "{completion} {reference}")]).score([bare], context: context)[0]
    #expect(none.status == .notApplicable && none.log.contains("no reference"))
    let missing = try load([("prompt", "{completion} {column.topik}")]).score([bare], context: context)[0]
    #expect(missing.status == .invalid && missing.log.contains("no column 'topik'; did you mean 'topic'?"))
    #expect(server.requests.isEmpty)
    #expect(try load().score([bare], context: RewardContext())[0].status == .notApplicable)
    let named = try load([("judge", "other")]).score([bare], context: context)[0]
    #expect(named.status == .notApplicable && named.log.contains("there is no judge 'other'"))
  }

  @Test func wrongParametersAreRefusedAtTheStart() {
    let cases: [([(String, JSON)], [String])] = [
      ([("prompt", "{completion} {promt}")], ["has a place {promt}", "did you mean {prompt}?"]),
      ([("prompt", "{completion} {column.}")], ["{column.}"]),
      ([("prompt", "what of {prompt}?")], ["has no {completion}"]), ([("prompt", "")], ["has no {completion}"]),
      ([("pattern", "Reward: [0-9]+")], ["has 0 groups"]), ([("pattern", "(a)(b)")], ["has 2 groups"]),
      ([("pattern", "(a")], ["is no regular expression"]), ([("scale", [10, 1])], ["[lowest, highest] was expected"]),
      ([("scale", [1])], ["[lowest, highest]"]), ([("scale", ["a", 2])], ["[lowest, highest]"]),
      ([("promt", "x")], ["has no parameter 'promt'", "did you mean 'prompt'?"]),
    ]
    for (parameters, fragments) in cases {
      expectAttuneError(containing: fragments[0], fragments.last!) { _ = try load(parameters) }
    }
  }

  /// A pattern that backtracks without end costs the sample, not the run.
  @Test func patternsEnd() throws {
    let server = try ScriptedServer { _, _ in .says(String(repeating: "a", count: 5000) + "b") }
    let outcome = try load([("pattern", "((?:a+)+)c")]).score([sample("x")], context: try context(server))[0]
    #expect(outcome.status == .failed)
  }

  @Test func severalAtOnce() throws {
    let server = try ScriptedServer { _, number in
      Thread.sleep(forTimeInterval: 0.01)
      return .says("Reward: 1")
    }
    let outcomes = try load().score((0..<30).map { sample("\($0)") }, context: try context(server, concurrency: 6))
    #expect(outcomes.count == 30 && outcomes.allSatisfy { $0.score == 1 })
    #expect(server.mostAtOnce == 6)
    // Every sample was asked about once.
    let asked = Set(server.requests.compactMap { $0.json["messages"]?[0]?["content"]?.string })
    #expect(asked.count == 30)
  }

  /// Judges are reached by plugins too, from a worker that has no network of its own.
  @Test(arguments: [RewardSpecification.Isolation.worker, .inline])
  func pluginsAskJudges(isolation: RewardSpecification.Isolation) throws {
    let server = try ScriptedServer { request, _ in
      .says("\(request.json["messages"]?[0]?["content"]?.string?.count ?? -1)")
    }
    let folder = try Program.temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let source = folder + "/asks.c"
    try Self.plugin.write(toFile: source, atomically: true, encoding: .utf8)
    let reward = try Workshop.load(source, isolation: isolation)
    defer { reward.close() }
    let outcomes = try reward.score([sample("four"), sample("")], context: try context(server))
    #expect(outcomes.map(\.score) == [4, 0], "\(outcomes.map(\.log))")
    let nobody = try reward.score([sample("four")], context: RewardContext())[0]
    #expect(nobody.status == .notApplicable || nobody.status == .failed)
  }

  private static let plugin = """
    #include "attune_reward.h"
    #include <stdlib.h>

    ATTUNE_REWARD(asks, "the number that the judge answers with") {
      attune_string why;
      attune_string reply = attune_ask_judge(call, sample->completion, &why);
      if (!reply.data) return attune_fail(call, why.data ? why.data : "no answer");
      return atof(reply.data);
    }
    """
}
