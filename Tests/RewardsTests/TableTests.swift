import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

@Suite struct TableTests {
  /// Outcomes that are known beforehand.
  private struct Fixed: Reward {
    let name: String
    let outcomes: [RewardOutcome]
    func score(_ samples: [RewardSample], context: RewardContext) throws -> [RewardOutcome] { outcomes }
  }

  private func ok(_ score: Double) -> RewardOutcome { RewardOutcome(score: score, status: .ok) }

  @Test func scoresAndTotals() throws {
    let a = Fixed(name: "a", outcomes: [ok(1), ok(2), .none(.notApplicable, ""), .none(.notApplicable, "")])
    let b = Fixed(name: "b", outcomes: [ok(10), .none(.failed, "x"), ok(30), .none(.timedOut, "y")])
    let c = Fixed(name: "c", outcomes: [ok(5), ok(5), ok(5), ok(5)])
    let samples = Workshop.samples("a", "b", "c", "d")
    let rewards = [WeightedReward(a, weight: 2), WeightedReward(b, weight: 0.5), WeightedReward(c, weight: 0)]
    let table = try RewardTable.score(rewards, samples, context: RewardContext())
    #expect(table.names == ["a", "b", "c"])
    #expect(table.scores[0] == [1, 10, 5])
    #expect(table.scores[1][1].isNaN && table.scores[2][0].isNaN)
    // By hand: 2*1 + 0.5*10, 2*2, 0.5*30, nobody with a weight.
    #expect((0..<4).map(table.total) == [7, 4, 15, nil])
    let filled = try RewardTable.score(
      [WeightedReward(a), WeightedReward(b, failure: .value(-1))], samples, context: RewardContext())
    #expect(filled.scores[1] == [2, -1])
    #expect(filled.scores[3][0].isNaN && filled.scores[3][1] == -1)
    // No opinion is no failure.
    _ = try RewardTable.score([WeightedReward(a, failure: .abort)], samples, context: RewardContext())
    expectAttuneError(containing: "the reward b has no score for sample 1 (failed): x") {
      _ = try RewardTable.score([WeightedReward(b, failure: .abort)], samples, context: RewardContext())
    }
  }

  @Test func pluginsSideBySide() throws {
    let specifications = [
      RewardSpecification(name: "digits", source: "digit_match", weight: 1),
      RewardSpecification(name: "format", source: "answer_format", weight: 0.2),
      RewardSpecification(name: "brief", source: Workshop.source("brief.c"), weight: 0, isolation: .inline),
    ]
    let rewards = try RewardLoader.load(specifications, workerCommand: Workshop.command)
    defer { for reward in rewards { reward.reward.close() } }
    var samples = Workshop.samples("<answer>407</answer>", "407", "none")
    for i in samples.indices { samples[i].reference = "407" }
    let table = try RewardTable.score(rewards, samples, context: RewardContext())
    #expect(table.names == ["digits", "format", "brief"])
    #expect(table.scores.map { Array($0[0...1]) } == [[1, 1], [1, 0], [0, 0]])
    expectClose((0..<3).map { table.total($0) ?? .nan }, [1.2, 1, 0], absolute: 1e-15)
  }

  @Test func anEmptyBatch() throws {
    let reward = try Workshop.load("brief.c")
    defer { reward.close() }
    let table = try RewardTable.score([WeightedReward(reward)], [], context: RewardContext())
    #expect(table.scores.isEmpty)
  }
}
