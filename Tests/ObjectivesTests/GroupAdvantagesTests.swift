import Core
import TestSupport
import Testing

@testable import Objectives

@Suite struct GroupAdvantagesTests {
  static func column(_ values: [Double]) -> [[Double]] { values.map { [$0] } }

  /// Rewards 0 and 1: mean ½, deviation √½.
  @Test func pair() throws {
    let scores = try GroupAdvantages(.init(groupSize: 2)).compute(rewards: Self.column([0, 1]), names: ["r"])
    let expected = 0.5 / (0.5.squareRoot() + 1e-4)
    #expect(abs(scores.advantages[0] + expected) < 1e-15)
    #expect(abs(scores.advantages[1] - expected) < 1e-15)
    #expect(
      scores.metrics.map(\.name) == ["rewards/r/mean", "rewards/r/std", "reward", "reward_std", "frac_reward_zero_std"])
  }

  /// Rounding residue is no signal: a third summed three times is not exactly the same in every order.
  @Test(arguments: GroupAdvantages.Scaling.allCases)
  func flatGroupsGiveExactlyZero(scaling: GroupAdvantages.Scaling) throws {
    let a = 0.1 + 0.2 + 0.3
    let b = 0.3 + 0.2 + 0.1
    #expect(a != b)
    let rewards = Self.column([a, b, a, b, 0, 0, 1, 1])
    let scores = try GroupAdvantages(.init(groupSize: 4, scaling: scaling)).compute(rewards: rewards, names: ["r"])
    #expect(scores.advantages[0..<4].allSatisfy { $0 == 0 })
    #expect(scores.advantages[4..<8].allSatisfy { $0 != 0 })
    #expect(scores.groupIsFlat == [true, false])
    #expect(scores.metrics.last?.value == (scaling == .batch ? 0 : 0.5))
  }

  /// The bound is relative to the mean: large equal rewards differ in their last bits.
  @Test func flatnessIsRelative() {
    #expect(Spread([1e12, 1e12 + 500]).isFlat)
    #expect(!Spread([1e12, 1e12 + 2000]).isFlat)
    #expect(Spread([0, 1e-9]).isFlat)
    #expect(!Spread([0, 2e-9]).isFlat)
  }

  @Test func missingRewards() throws {
    // The second reward is missing once, all are missing once; the lone member of the second group has no baseline.
    let rewards: [[Double]] = [[1, 0], [0, .nan], [.nan, .nan], [5, 1], [.nan, .nan], [.nan, .nan]]
    let scores = try GroupAdvantages(.init(groupSize: 3, rewardWeights: [1, 2], scaling: .none))
      .compute(rewards: rewards, names: ["a", "b"])
    #expect(scores.rewards.map(\.isNaN) == [false, false, true, false, true, true])
    #expect(scores.advantages == [0.5, -0.5, 0, 0, 0, 0])
    #expect(scores.groupIsFlat == [false, true])
    #expect(scores.metrics.first { $0.name == "reward" }?.value == (1 + 0 + 7) / 3.0)
    #expect(scores.metrics.last == .init("frac_reward_zero_std", 0))
  }

  @Test func nothingScorable() throws {
    let rewards = Self.column([.nan, .nan])
    for aggregation in GroupAdvantages.Aggregation.allCases {
      let scores = try GroupAdvantages(.init(groupSize: 2, aggregation: aggregation)).compute(
        rewards: rewards, names: ["r"])
      #expect(scores.advantages == [0, 0])
    }
  }

  /// A flat reward adds nothing under GDPO, however large its weight.
  @Test func flatRewardUnderNormalizeThenSum() throws {
    func advantages(_ weight: Double) throws -> [Double] {
      try GroupAdvantages(.init(groupSize: 2, rewardWeights: [1, weight], aggregation: .normalizeThenSum))
        .compute(rewards: [[0, 3], [1, 3], [2, 4], [0, 4]], names: ["a", "flat"]).advantages
    }
    let light = try advantages(1)
    let heavy = try advantages(100)
    #expect(light == heavy)
  }

  @Test func refusals() throws {
    expectAttuneError(containing: "num_generations is 1", "at least 2") {
      try GroupAdvantages.Configuration(groupSize: 1).validate()
    }
    expectAttuneError(containing: "5 completions", "multiple of 2") {
      try GroupAdvantages.Configuration(groupSize: 2).validate(generationBatch: 5)
    }
    expectAttuneError(containing: "reward_weights has 1 values for 2 rewards") {
      _ = try GroupAdvantages(.init(groupSize: 2, rewardWeights: [1])).compute(
        rewards: [[0, 0], [0, 0]], names: ["a", "b"])
    }
    expectAttuneError(containing: "'a'", "completion 1", "inf") {
      _ = try GroupAdvantages(.init(groupSize: 2)).compute(rewards: Self.column([0, .infinity]), names: ["a"])
    }
    expectAttuneError(containing: "scale_rewards is 'groups'", "group, batch, none", "did you mean 'group'?") {
      _ = try GroupAdvantages.Scaling.named("groups", key: "scale_rewards")
    }
  }

  @Test func completionStatistics() {
    let statistics = CompletionStatistics(lengths: [2, 4, 3], terminated: [true, false, true])
    let expected: [ObjectiveResult.Metric] = [
      .init("completions/mean_length", 3), .init("completions/min_length", 2), .init("completions/max_length", 4),
      .init("completions/clipped_ratio", 1.0 / 3), .init("completions/mean_terminated_length", 2.5),
      .init("completions/min_terminated_length", 2), .init("completions/max_terminated_length", 3),
    ]
    #expect(statistics.metrics == expected)
    var mask = [Bool](repeating: true, count: 9)
    statistics.maskTruncated(&mask, rowOffsets: TokenStreams.offsets(ofLengths: statistics.lengths))
    #expect(mask == [true, true, false, false, false, false, true, true, true])
  }
}
