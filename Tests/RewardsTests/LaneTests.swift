import Core
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Rewards

@Suite struct LaneTests {
  private struct Named: Reward {
    let name: String
    func score(_ samples: [RewardSample], context: RewardContext) throws -> [RewardOutcome] { [] }
  }

  private func groups(_ count: Int) -> [[RewardSample]] {
    (0..<count).map { group in
      (0..<3).map {
        var sample = RewardSample(prompt: "p", completion: "\(group) \($0)")
        sample.groupID = UInt64(group)
        return sample
      }
    }
  }

  /// One call per group, in the order of the groups, whoever is slow.
  @Test func everyRewardSeesGroupsInOrder() throws {
    let calls = Mutex<[Int: [Int]]>([:])
    let lanes = RewardLanes([Named(name: "a"), Named(name: "b")]) { reward, group, samples in
      if reward == 0, group == 0 { usleep(20_000) }
      calls.withLock { $0[reward, default: []].append(group) }
      return samples.map { RewardOutcome(score: Double(reward), status: .ok, log: $0.completion) }
    }
    for group in groups(5) { lanes.add(group) }
    let results = try lanes.finish()
    #expect(calls.withLock { $0 } == [0: [0, 1, 2, 3, 4], 1: [0, 1, 2, 3, 4]])
    let words = (0..<5).flatMap { group in (0..<3).map { "\(group) \($0)" } }
    #expect(results.outcomes.map { $0.map(\.log) } == [words, words])
    #expect(results.outcomes[1].allSatisfy { $0.score == 1 })
  }

  /// Scoring begins before the last group is there: the second group is added by the first one's scoring.
  @Test func scoringDoesNotWaitForTheLastGroup() throws {
    let begun = DispatchSemaphore(value: 0)
    let lanes = RewardLanes([Named(name: "a")]) { _, group, samples in
      if group == 0 { begun.signal() }
      return samples.map { _ in RewardOutcome(score: Double(group), status: .ok) }
    }
    let both = groups(2)
    lanes.add(both[0])
    begun.wait()
    lanes.add(both[1])
    #expect(try lanes.finish().outcomes[0].map(\.score) == [0, 0, 0, 1, 1, 1])
  }

  @Test func theEarliestErrorIsThrown() throws {
    let lanes = RewardLanes([Named(name: "a"), Named(name: "b")]) { reward, group, samples in
      if reward == 0, group == 2 { throw AttuneError.work("late") }
      if reward == 1, group == 1 {
        usleep(20_000)
        throw AttuneError.work("early")
      }
      return samples.map { _ in .none(.failed, "") }
    }
    for group in groups(4) { lanes.add(group) }
    expectAttuneError(containing: "early") { _ = try lanes.finish() }
  }

  @Test func abandonedGroupsAreNotScored() throws {
    let (begun, go) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
    let count = Atomic<Int>(0)
    let lanes = RewardLanes([Named(name: "a")]) { _, _, samples in
      count.add(1, ordering: .relaxed)
      begun.signal()
      go.wait()
      return samples.map { _ in .none(.failed, "") }
    }
    for group in groups(3) { lanes.add(group) }
    begun.wait()
    let ended = DispatchSemaphore(value: 0)
    Thread {
      lanes.abandon()
      ended.signal()
    }.start()
    // The call that runs may end before or after the request; at most one more can have begun.
    usleep(10_000)
    go.signal()
    go.signal()
    go.signal()
    ended.wait()
    #expect(count.load(ordering: .relaxed) < 3)
  }

  @Test func noRewardsAndNoGroups() throws {
    #expect(try RewardLanes([]) { _, _, _ in [] }.finish().outcomes.isEmpty)
    #expect(try RewardLanes([Named(name: "a")]) { _, _, _ in [] }.finish().outcomes.map(\.count) == [0])
  }

  /// Plugins of this process on one thread, those with a process on threads of their own, side by side.
  @Test func pluginsSideBySide() throws {
    let digits = try Workshop.load("digit_match", name: "digits")
    let format = try Workshop.load("answer_format", name: "format")
    let brief = try Workshop.load("brief.c", name: "brief", isolation: .inline)
    let rewards: [any PluginReward] = [digits, format, brief]
    defer { for reward in rewards { reward.close() } }
    let lanes = RewardLanes(rewards) { reward, _, samples in
      try rewards[reward].score(samples, context: RewardContext())
    }
    for text in ["<answer>407</answer>", "407", "none"] {
      var sample = RewardSample(prompt: "p", completion: text)
      sample.reference = "407"
      lanes.add([sample])
    }
    let outcomes = try lanes.finish().outcomes
    #expect(outcomes[0].map(\.score) == [1, 1, 0] && outcomes[1].map(\.score) == [1, 0, 0])
    #expect(outcomes[2].allSatisfy { $0.status == .ok })
  }

  @Test func identities() throws {
    let plugin = try Workshop.load("brief.c", name: "r")
    let linked = try Workshop.load("digit_match", name: "r")
    defer {
      plugin.close()
      linked.close()
    }
    func identity(_ source: String, _ reward: any PluginReward) throws -> RewardIdentity {
      try RewardIdentity(RewardSpecification(name: "r", source: source), source: source, reward.descriptor)
    }
    let first = try identity(Workshop.source("brief.c"), plugin)
    #expect(first.kind == .plugin && first.abi == "1.0" && first.reward == "brief")
    #expect(try first.hash == SHA256.hex([UInt8](Data(contentsOf: URL(fileURLWithPath: plugin.descriptor.path)))))
    let second = try identity("digit_match", linked)
    #expect(second.kind == .builtIn && second.hash == nil)
    #expect(first.differs(from: second) && !first.differs(from: first))
    var other = first
    other.hash = String(repeating: "0", count: 64)
    #expect(other.differs(from: first))
    // A library's own version says nothing that its hash does not.
    other = first
    other.version = "9"
    #expect(!other.differs(from: first))
    other.parameters = ["x": 1]
    #expect(other.differs(from: first))
    let code = try RewardLoader.codeFile(of: Workshop.source("brief.c"))
    #expect(code?.isCompiled == true && code?.path == plugin.descriptor.path)
    #expect(try RewardLoader.codeFile(of: "digit_match") == nil)
  }
}
