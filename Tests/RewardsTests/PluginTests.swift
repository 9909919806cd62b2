import CRewardABI
import Core
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Rewards

@Suite struct PluginTests {
  @Test(arguments: [RewardSpecification.Isolation.worker, .inline])
  func aThreeLineRewardInC(_ isolation: RewardSpecification.Isolation) throws {
    let reward = try Workshop.load("brief.c", isolation: isolation)
    defer { reward.close() }
    let outcomes = try reward.score(Workshop.samples("", "a", "abc", "ü"), context: RewardContext())
    let expected: [Double?] = [1, 0.5, 0.25, 1.0 / 3]
    #expect(outcomes.map(\.score) == expected)
    #expect(outcomes.allSatisfy { $0.status == .ok })
    #expect(reward.descriptor.reward == "brief")
    #expect(reward.descriptor.summary == "1 for an empty completion, less for every byte")
    #expect(try reward.score([], context: RewardContext()).isEmpty)
  }

  @Test func parametersColumnsAndTwoInstances() throws {
    let strict = try Workshop.load(
      "\(Workshop.source("several.c")):close_enough", parameters: JSON.Object([("strict", true)]))
    let loose = try Workshop.load(
      "\(Workshop.source("several.c")):close_enough", parameters: JSON.Object([("tolerance", 2), ("unit", "köln")]))
    defer {
      strict.close()
      loose.close()
    }
    var samples = Workshop.samples("a", "b", "c", "d")
    samples[0].columns = JSON.Object([("value", 1)])
    samples[1].columns = JSON.Object([("value", 2.5)])
    samples[2].columns = JSON.Object([("value", "1")])
    samples[3].columns = JSON.Object([("value", 9)])
    let a = try strict.score(samples, context: RewardContext())
    let b = try loose.score(samples, context: RewardContext())
    #expect(a.map(\.score) == [1, 0, nil, 0])
    #expect(b.map(\.score) == [1, 1, nil, 0])
    #expect(a[2].status == .failed)
    #expect(a[2].log == "no column value")
    #expect(a[0].log == "m")
    #expect(b[0].log == "köln")
  }

  private final class Notes: RewardServices {
    let lines = Mutex<[String]>([])
    func log(reward: String, level: Int, text: String) { lines.withLock { $0.append("\(reward) \(level) \(text)") } }
    func metric(reward: String, name: String, value: Double) {
      lines.withLock { $0.append("\(reward) \(name) \(value)") }
    }
    func decode(_ ids: [Int32]) -> String? { "<\(ids.map(String.init).joined(separator: " "))>" }
  }

  @Test(arguments: [RewardSpecification.Isolation.worker, .inline])
  func everythingThatAnOutcomeHolds(_ isolation: RewardSpecification.Isolation) throws {
    let reward = try Workshop.load("several.c", name: "explain", isolation: isolation)
    defer { reward.close() }
    let picture = Picture(width: 2, height: 2, pixels: Array(1...12))
    var samples = Workshop.samples("one", "two")
    for i in samples.indices {
      samples[i].messages = [Message(role: "user", text: "hi")]
      samples[i].tokenIDs = [4, 6, 8]
      samples[i].logprobs = [-0.25, -1, -2]
      samples[i].images = Array(repeating: RewardImage(picture), count: i + 1)
      samples[i].columns = JSON.Object([("list", JSON.array([1, "zwei", JSON.null]))])
    }
    var context = RewardContext()
    context.step = 7
    let notes = Notes()
    context.services = notes
    let outcomes = try reward.score(samples, context: context)
    #expect(outcomes.map(\.score) == [1, 1])
    #expect(outcomes[0].tokenRewards == [2, 3, 4])
    #expect(outcomes[1].stepRewards == [RewardStep(tokens: 0..<3, value: 2, label: "all")])
    let components = Dictionary(uniqueKeysWithValues: outcomes[1].components.map { ($0.name, $0.value) })
    #expect(components["images"] == 2)
    #expect(components["pixels"] == 156)
    #expect(components["logprob"] == -0.25)
    #expect(components["place"] == 1)
    #expect(components["step"] == 7)
    #expect(outcomes[0].log == #"{"role": "user", "content": "hi"} | [1, "zwei", null] | <4 6 8>"#)
    #expect(
      notes.lines.withLock { $0 } == [
        "explain seen 1.0", "explain 2 explained", "explain seen 1.0", "explain 2 explained",
      ])
    #expect(outcomes[0].json["token_rewards"] == [2, 3, 4])
  }

  @Test func workerAndInlineAgreeBitForBit() throws {
    var samples = Workshop.samples("one", "two", "three")
    for i in samples.indices { samples[i].tokenIDs = [Int32(i), 5] }
    for name in ["explain", "silent", "close_enough"] {
      let worker = try Workshop.load("several.c", name: name)
      let inline = try Workshop.load("several.c", name: name, isolation: .inline)
      defer { worker.close() }
      var context = RewardContext()
      context.seed = 99
      let a = try worker.score(samples, context: context)
      let b = try inline.score(samples, context: context)
      #expect(a.map { $0.json.text() } == b.map { $0.json.text() })
    }
  }

  @Test(arguments: [RewardSpecification.Isolation.worker, .inline])
  func swiftTypes(_ isolation: RewardSpecification.Isolation) throws {
    let reward = try Workshop.load(
      "kinds.swift", name: "wishes", parameters: JSON.Object([("factor", 2)]), isolation: isolation)
    defer { reward.close() }
    #expect(reward.descriptor.range == nil)
    var samples = Workshop.samples("four", "nothing", "throw", "invalid", "tokens", "columns")
    samples[4].tokenIDs = [1, 2]
    samples[5].reference = "12"
    samples[5].columns = JSON.Object([
      ("value", JSON.double(3.5)), ("flag", JSON.bool(true)), ("name", JSON.string("Ada")),
      ("list", JSON.array([1, 2])),
    ])
    let outcomes = try reward.score(samples, context: RewardContext())
    #expect(outcomes.map(\.score) == [8, nil, nil, nil, 1, 3.5])
    #expect(outcomes.map(\.status) == [.ok, .notApplicable, .failed, .invalid, .ok, .ok])
    #expect(outcomes[2].log == "asked to throw")
    #expect(outcomes[3].log == "asked to be invalid")
    #expect(outcomes[4].tokenRewards == [1, 2])
    #expect(outcomes[4].stepRewards == [RewardStep(tokens: 0..<2, value: 0.5, label: "step")])
    #expect(outcomes[5].log == #"Ada [1, 2] a "b" \ c"#)
    #expect(outcomes[5].components.map(\.value) == [1, 12])
  }

  @Test func swiftClosures() throws {
    let brief = try Workshop.load("closures.swift", name: "brief")
    let match = try Workshop.load("closures.swift", name: "has_reference")
    defer {
      brief.close()
      match.close()
    }
    var samples = Workshop.samples("abc", "abc", "abc")
    samples[0].reference = "b"
    samples[1].reference = "x"
    #expect(try brief.score(samples, context: RewardContext()).map(\.score) == [0.25, 0.25, 0.25])
    #expect(try match.score(samples, context: RewardContext()).map(\.score) == [1, 0, nil])
  }

  @Test func wholeGroups() throws {
    let reward = try Workshop.load("kinds.swift", name: "rank")
    defer { reward.close() }
    #expect(reward.descriptor.needsGroup)
    #expect(reward.descriptor.range == 0...1)
    var samples = Workshop.samples("a", "bbb", "cc", "d", "trap", "e")
    for i in samples.indices { samples[i].groupID = UInt64(i / 3) }
    let outcomes = try reward.score(samples, context: RewardContext())
    let expected: [Double?] = [2.0 / 3, 0, 1.0 / 3]
    #expect(outcomes.prefix(3).map(\.score) == expected)
    #expect(
      outcomes[3...5].allSatisfy {
        $0.status == .failed && $0.log.contains("while scoring the group of samples 3 to 5")
      })
  }

  @Test func stateIsSavedAndLoaded() throws {
    let reward = try Workshop.load("counter.c", parameters: JSON.Object([("start", 10)]))
    defer { reward.close() }
    #expect(try reward.score(Workshop.samples("a", "b"), context: RewardContext()).map(\.score) == [10, 11])
    let state = try #require(try reward.saveState())
    #expect(try reward.score(Workshop.samples("a"), context: RewardContext()).map(\.score) == [12])
    // A worker that is started again goes on from what was saved last.
    #expect(try reward.score(Workshop.samples("crash"), context: RewardContext())[0].status == .failed)
    #expect(try reward.score(Workshop.samples("a"), context: RewardContext()).map(\.score) == [12])
    let other = try Workshop.load("counter.c", parameters: JSON.Object([("start", 0)]), isolation: .inline)
    try other.loadState(state)
    #expect(try other.score(Workshop.samples("a"), context: RewardContext()).map(\.score) == [12])
    expectAttuneError(containing: "cannot load its state: not my state") { try other.loadState([1, 2]) }
    expectAttuneError(containing: "cannot load its state: not my state") { try reward.loadState([1, 2]) }
  }

  @Test(arguments: [RewardSpecification.Isolation.worker, .inline])
  func columnsThatARewardRequires(_ isolation: RewardSpecification.Isolation) throws {
    let reward = try Workshop.load("requires_column.c", isolation: isolation)
    defer { reward.close() }
    #expect(reward.descriptor.columns == ["price"])
    var samples = Workshop.samples("a", "b", "c")
    samples[0].columns = JSON.Object([("price", 3)])
    samples[1].columns = JSON.Object([("price", .null)])
    let outcomes = try reward.score(samples, context: RewardContext())
    #expect(outcomes.map(\.status) == [.ok, .invalid, .invalid])
    #expect(outcomes[2].log == "the sample has no column 'price', which the reward requires")
  }

  private final class OneJudge: RewardServices {
    func judge(_ request: JudgeRequest, reward: String) -> JudgeReply {
      guard request.judge == "j" else { return JudgeReply(status: .notApplicable, message: "who?") }
      let asked = request.messages[0]?["content"]?.string == "how much?"
      return JudgeReply(status: .ok, text: asked ? "0.75" : "?")
    }
  }

  @Test(arguments: [RewardSpecification.Isolation.worker, .inline])
  func whatTheSwiftKitShows(_ isolation: RewardSpecification.Isolation) throws {
    let reward = try Workshop.load("everything.swift", isolation: isolation)
    defer { reward.close() }
    var samples = Workshop.samples("look", "ask")
    samples[0].references = ["a", "b"]
    let boxes: JSON = .array([["w": 1], ["w": 2.5], ["w": 4]])
    let calls: JSON = .array([["id": 1]])
    samples[0].columns = JSON.Object([("boxes", boxes)])
    samples[0].messages = [
      Message(role: "user", text: "q"),
      Message(role: "assistant", text: "", fields: JSON.Object([("tool_calls", calls)])),
    ]
    samples[0].completionMessages = [Message(role: "assistant", text: "x"), Message(role: "tool", text: "42")]
    samples[0].images = [RewardImage(Picture(width: 2, height: 1, pixels: [1, 2, 3, 4, 5, 6]))]
    samples[0].images[0].coordinateRange = 1000
    var context = RewardContext()
    context.services = OneJudge()
    let outcomes = try reward.score(samples, context: context)
    #expect(outcomes.map(\.score) == [21, 0.75], "\(outcomes.map(\.log))")
    #expect(outcomes[0].components.map(\.value) == [2, 0.002, 2.5, 3])
    #expect(outcomes[0].notes.map(\.text) == ["user assistant", #"[{"id": 1}]"#, "42"])
    // Without a judge the reason is the sample's log.
    let alone = try reward.score([samples[1]], context: RewardContext())
    #expect(alone[0].status == .failed && alone[0].log == "this host has no judges")
  }
}
