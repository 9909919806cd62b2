import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

/// What goes wrong costs what it must and no more.
@Suite struct TroubleTests {
  @Test func aCrashCostsTheSampleBeingScored() throws {
    let reward = try Workshop.load("troubled.c")
    defer { reward.close() }
    let outcomes = try reward.score(
      Workshop.samples("a", "b", "c", "crash", "d", "exit", "abort", "null", "e"), context: RewardContext())
    #expect(outcomes.map(\.score) == [0.25, 0.25, 0.25, nil, 0.25, nil, nil, nil, 0.25])
    #expect(outcomes[3].status == .failed)
    #expect(outcomes[3].log == "the plugin was stopped by signal 11 (SIGSEGV) while scoring sample 3")
    #expect(outcomes[5].log == "the plugin ended its process with exit status 3 while scoring sample 5")
    #expect(outcomes[6].log == "the plugin was stopped by signal 6 (SIGABRT) while scoring sample 6")
    #expect(outcomes[7].log.contains("SIGSEGV"))
    // The worker is started again for the next call.
    #expect(try reward.score(Workshop.samples("a", "b"), context: RewardContext()).map(\.score) == [0.25, 0.25])
  }

  /// What one sample damages, another one dies of: it is scored again as the first of a fresh worker.
  @Test func whoDiesOfAnotherSamplesDamageDoesNotPay() throws {
    let reward = try Workshop.load("troubled.c")
    defer { reward.close() }
    let outcomes = try reward.score(
      Workshop.samples("a", "damage", "frail", "frail", "crash", "b"), context: RewardContext())
    #expect(outcomes.map(\.score) == [0.25, nil, 0.25, 0.25, nil, 0.25], "\(outcomes.map(\.log))")
    #expect(outcomes[1].log == "damaged")
    #expect(outcomes[4].log.contains("SIGSEGV) while scoring sample 4"))
  }

  /// The first of a call has nobody to blame: it pays at once.
  @Test func theFirstOfACallPaysAtOnce() throws {
    let reward = try Workshop.load("troubled.c")
    defer { reward.close() }
    let worker = try #require(reward as? WorkerReward)
    _ = try reward.score(Workshop.samples("crash", "a"), context: RewardContext())
    #expect(worker.deaths == 1)
    _ = try reward.score(Workshop.samples("crash"), context: RewardContext())
    #expect(worker.deaths == 2)
    _ = try reward.score(Workshop.samples("a", "crash", "b"), context: RewardContext())
    #expect(worker.deaths == 4)
  }

  @Test func aHangCostsTheSampleBeingScored() throws {
    let reward = try Workshop.load("troubled.c", timeout: 0.3)
    defer { reward.close() }
    let outcomes = try reward.score(
      Workshop.samples("a", "hang", "b", "hang until cancelled", "hang"), context: RewardContext())
    #expect(outcomes.map(\.score) == [0.25, nil, 0.25, nil, nil])
    #expect(outcomes.map(\.status) == [.ok, .timedOut, .ok, .timedOut, .timedOut])
    #expect(outcomes[1].log == "the plugin was stopped after 0.3 s, its time limit, while scoring sample 1")
  }

  @Test func aPluginThatMarksNothing() throws {
    let reward = try Workshop.load("unmarked.c", timeout: 0.3)
    defer { reward.close() }
    let crashed = try reward.score(Workshop.samples("a", "crash", "b"), context: RewardContext())
    #expect(crashed.map(\.score) == [0.5, nil, 0.5])
    #expect(crashed[1].log.contains("SIGSEGV) while scoring sample 1"))
    let hung = try reward.score(Workshop.samples("a", "hang", "b"), context: RewardContext())
    #expect(hung.map(\.status) == [.ok, .timedOut, .ok])
    let gaveUp = try reward.score(Workshop.samples("a", "give up", "b"), context: RewardContext())
    #expect(gaveUp.map(\.status) == [.failed, .failed, .failed])
    #expect(gaveUp[0].log == "the whole call failed")
  }

  @Test func aSwiftTrapCostsTheSampleBeingScored() throws {
    let reward = try Workshop.load("kinds.swift", name: "wishes")
    defer { reward.close() }
    let outcomes = try reward.score(Workshop.samples("four", "trap", "xx"), context: RewardContext())
    #expect(outcomes.map(\.score) == [4, nil, 2])
    #expect(outcomes[1].log.contains("while scoring sample 1"))
  }

  @Test func aWorkerThatIsKilledFromOutsideOrSpoilsItsSocket() throws {
    let reward = try Workshop.load("troubled.c", timeout: 2)
    defer { reward.close() }
    let outcomes = try reward.score(Workshop.samples("a", "garbage on the socket", "b"), context: RewardContext())
    #expect(outcomes[0].score == 0.25)
    #expect(outcomes[1].status == .failed)
    #expect(outcomes[2].score == 0.25)
  }

  @Test func restartsAreBounded() throws {
    let reward = try Workshop.load("troubled.c")
    defer { reward.close() }
    var samples = Array(repeating: RewardSample(prompt: "", completion: "exit"), count: 80)
    samples.append(RewardSample(prompt: "", completion: "fine"))
    let outcomes = try reward.score(samples, context: RewardContext())
    #expect(outcomes[0...79].allSatisfy { $0.status == .failed })
    #expect(outcomes[79].log.contains("not scored: the plugin was stopped 64 times in a row"))
    #expect(try reward.score(Workshop.samples("a"), context: RewardContext())[0].score == 0.25)
  }

  @Test(arguments: [RewardSpecification.Isolation.worker, .inline])
  func answersThatAreNoScores(_ isolation: RewardSpecification.Isolation) throws {
    let reward = try Workshop.load("troubled.c", isolation: isolation)
    defer { reward.close() }
    let outcomes = try reward.score(
      Workshop.samples("nan", "infinity", "fail", "invalid", "status 77", "fine"), context: RewardContext())
    #expect(outcomes.map(\.status) == [.notApplicable, .invalid, .failed, .invalid, .invalid, .ok])
    #expect(outcomes.map(\.score) == [nil, nil, nil, nil, nil, 0.25])
    #expect(outcomes[1].log == "the reward returned the score inf")
    #expect(outcomes[2].log == "asked to fail")
    #expect(outcomes[4].log == "the reward returned the status 77, which does not exist")
  }

  @Test(arguments: [RewardSpecification.Isolation.worker, .inline])
  func tokenRewardsOutsideThePolicy(_ isolation: RewardSpecification.Isolation) throws {
    let reward = try Workshop.load("several.c", name: "explain", isolation: isolation)
    defer { reward.close() }
    var samples = Workshop.samples("a", "b")
    for i in samples.indices {
      samples[i].tokenIDs = [0, 4]
      samples[i].policyMask = [true, i == 0]
    }
    let outcomes = try reward.score(samples, context: RewardContext())
    #expect(outcomes.map(\.status) == [.ok, .invalid])
    #expect(outcomes[1].log.hasPrefix("the reward returned a token reward at token 1, which the policy did not write"))
  }

  @Test(arguments: [
    ("one too many", "outcome 1 of a batch of 1 samples (one score too many)"),
    ("past an outcome", "outcome 0, behind it"),
    ("struct_size", "struct_size of outcome 0"), ("past memory", "memory of allocate, behind it"),
    ("before an outcome", "outcome 0, in front of it"), ("before memory", "memory of allocate, in front of it"),
  ])
  func aPluginThatWritesWhereItMustNot(_ wish: String, _ place: String) throws {
    // In this process memory of the program may be damaged; in a worker it is the worker's.
    let inline = try Workshop.load("greedy.c", isolation: .inline)
    #expect(try inline.score(Workshop.samples("nothing"), context: RewardContext()).map(\.score) == [1])
    expectAttuneError(containing: "the reward greedy", "greedy.so", "wrote outside its outcomes", place) {
      _ = try inline.score(Workshop.samples(wish), context: RewardContext())
    }
    let worker = try Workshop.load("greedy.c")
    defer { worker.close() }
    let outcomes = try worker.score(Workshop.samples(wish, "nothing", "more"), context: RewardContext())
    #expect(outcomes.map(\.score) == [nil, 1, 1])
    #expect(
      outcomes[0].log
        == "the plugin wrote outside its outcomes (\(place) was touched) and was stopped while scoring sample 0")
    #expect(try worker.score(Workshop.samples("nothing"), context: RewardContext()).map(\.score) == [1])
  }

  /// Of two outcomes too, and with an array of outcomes whose size is no multiple of 16.
  @Test(arguments: [2, 3])
  func theByteInFrontOfAnOutcome(_ count: Int) throws {
    let inline = try Workshop.load("greedy.c", isolation: .inline)
    for (wish, index) in [("before an outcome", 0), ("before the second outcome", 1)] {
      let samples = (0..<count).map { _ in RewardSample(prompt: "p", completion: wish) }
      expectAttuneError(containing: "wrote outside its outcomes", "outcome \(index), in front of it") {
        _ = try inline.score(samples, context: RewardContext())
      }
    }
  }

  /// Every byte between two pieces belongs to a guard, whatever their sizes.
  @Test func guardsHaveNoGaps() throws {
    for size in 0...33 {
      let arena = GuardedArena()
      let first = try #require(arena.allocate(size, "first"))
      let second = try #require(arena.allocate(size, "second"))
      for place in -64..<0 {
        let byte = first + place
        let was = byte.load(as: UInt8.self)
        byte.storeBytes(of: ~was, as: UInt8.self)
        #expect(arena.violation() == "first, in front of it")
        byte.storeBytes(of: was, as: UInt8.self)
      }
      for place in size..<(second - first) {
        let byte = first + place
        let was = byte.load(as: UInt8.self)
        byte.storeBytes(of: ~was, as: UInt8.self)
        let isNear = place - size < ((second - first) - size) / 2
        #expect(arena.violation() == (isNear ? "first, behind it" : "second, in front of it"))
        byte.storeBytes(of: was, as: UInt8.self)
      }
      #expect(arena.violation() == nil)
    }
  }

  @Test func createMayRefuse() throws {
    for isolation in [RewardSpecification.Isolation.worker, .inline] {
      expectAttuneError(containing: "refused to start: cannot start below 0") {
        _ = try Workshop.load("counter.c", parameters: JSON.Object([("start", -1)]), isolation: isolation)
      }
      expectAttuneError(containing: "refused to start: 13 is no factor") {
        _ = try Workshop.load(
          "kinds.swift", name: "wishes", parameters: JSON.Object([("factor", 13)]), isolation: isolation)
      }
    }
  }

  @Test func aClosedRewardSaysSo() throws {
    let reward = try Workshop.load("brief.c")
    reward.close()
    reward.close()
    expectAttuneError(containing: "the reward reward was closed") {
      _ = try reward.score(Workshop.samples("a"), context: RewardContext())
    }
  }
}
