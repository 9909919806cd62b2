import Core
import Objectives
import Rewards
import TestSupport
import Testing

@testable import Lab

@Suite struct RewardMatrixTests {
  private func ok(_ score: Double, _ components: [(name: String, value: Double)] = []) -> RewardOutcome {
    RewardOutcome(score: score, status: .ok, components: components)
  }

  private func matrix(
    _ rules: [ScoringRule], _ outcomes: [[RewardOutcome]], cut: Set<Int> = []
  ) throws -> RewardMatrix {
    try RewardMatrix(
      rules, outcomes: outcomes, finishReasons: outcomes[0].indices.map { cut.contains($0) ? .length : .stop })
  }

  private func advantages(_ matrix: RewardMatrix, groupSize: Int) throws -> GroupAdvantages.Scores {
    let columns = matrix.weighted.map { matrix.columns[$0] }
    return try GroupAdvantages(.init(groupSize: groupSize, rewardWeights: columns.map(\.weight)))
      .compute(rewards: matrix.weightedValues, names: columns.map(\.name))
  }

  @Test func totalsAndFailures() throws {
    let a = [ok(1), ok(2), .none(.notApplicable, ""), .none(.notApplicable, "")]
    let b = [ok(10), .none(.failed, "x"), ok(30), .none(.timedOut, "y")]
    let c = [ok(5), ok(5), ok(5), ok(5)]
    let plain = try matrix(
      [ScoringRule(name: "a", weight: 2), ScoringRule(name: "b", weight: 0.5), ScoringRule(name: "c", weight: 0)],
      [a, b, c])
    #expect(plain.columns.map(\.name) == ["a", "b", "c"])
    #expect(plain.values[0] == [1, 10, 5] && plain.values[1][1].isNaN && plain.values[2][0].isNaN)
    // By hand: 2*1 + 0.5*10, 2*2, 0.5*30; the last has only a reward that is logged.
    #expect((0..<4).map(plain.total) == [7, 4, 15, nil])
    #expect(plain.isUnscored == [false, false, false, true])
    let filled = try matrix([ScoringRule(name: "a"), ScoringRule(name: "b", failure: .value(-1))], [a, b])
    #expect(filled.values[1] == [2, -1] && filled.values[3][0].isNaN && filled.values[3][1] == -1)
    // No opinion is no failure.
    _ = try matrix([ScoringRule(name: "a", failure: .abort)], [a])
    #expect {
      try matrix([ScoringRule(name: "b", failure: .abort)], [b])
    } throws: {
      "\($0)".contains("reward b failed on 2 of 4 samples, first on sample 1 (failed): x")
    }
  }

  @Test func truncatedCompletions() throws {
    let outcomes = [ok(1, [("exact", 1)]), ok(2, [("exact", 0)]), .none(.failed, "x"), .none(.notApplicable, "")]
    let all: Set = [1, 2, 3]
    func first(_ truncation: ScoringRule.Truncation) throws -> [Double] {
      try matrix([ScoringRule(name: "a", truncation: truncation)], [outcomes], cut: all).values.map { $0[0] }
    }
    #expect(try first(.score).map(\.isNaN) == [false, false, true, true])
    #expect(try first(.notApplicable).map(\.isNaN) == [false, true, true, true])
    let valued = try first(.value(-2))
    // A cut completion counts the value whether the reward failed or not; a reward without an opinion has none.
    #expect(valued[0...2] == [1, -2, -2] && valued[3].isNaN)
    // What the length limit decides is no failure.
    _ = try matrix([ScoringRule(name: "a", failure: .abort, truncation: .notApplicable)], [outcomes], cut: all)
    let parts = try matrix(
      [ScoringRule(name: "a", truncation: .value(-2), components: [("exact", 1)])], [outcomes], cut: all)
    #expect(parts.values.map { $0[1].isNaN } == [false, true, true, true])
  }

  @Test func clippingTouchesScoresAlone() throws {
    let outcomes = [ok(5), ok(-5), ok(0.5), .none(.failed, "")]
    let clipped = try matrix([ScoringRule(name: "a", failure: .value(-9), clip: -1...1)], [outcomes])
    #expect(clipped.values.map { $0[0] } == [1, -1, 0.5, -9] && clipped.clipped == [2])
    let metrics = RewardStatistics.metrics(
      clipped, [ScoringRule(name: "a", clip: -1...1)], outcomes: [outcomes], groupSize: 2, seconds: nil)
    #expect(metrics.first { $0.name == "rewards/a/clipped" }?.value == 0.5)
  }

  @Test func componentsAreColumns() throws {
    let outcomes = [ok(1, [("exact", 1), ("close", 0.5)]), ok(0, [("close", 0.25)]), .none(.failed, "")]
    let rule = ScoringRule(name: "a", weight: 2, components: [("exact", 0.5), ("close", -1)])
    let parts = try matrix([rule], [outcomes])
    #expect(parts.columns.map(\.name) == ["a", "a.exact", "a.close"])
    #expect(parts.columns.map(\.weight) == [2, 0.5, -1])
    // 2·1 + 0.5·1 − 0.5; then 2·0 − 0.25, since the sample has no component `exact`.
    #expect((0..<3).map(parts.total) == [2, -0.25, nil])
    var names = ComponentNames()
    try names.note([rule], [outcomes], file: nil)
    // Seen once is enough, also after a checkpoint.
    names = ComponentNames(names.json)
    try names.note([rule], [[ok(1)]], file: nil)
    let slip = ScoringRule(name: "a", components: [("exakt", 1)])
    var fresh = ComponentNames()
    // A batch without a score says nothing about components.
    try fresh.note([slip], [[.none(.failed, "")]], file: nil)
    #expect {
      try fresh.note([slip], [outcomes], file: nil)
    } throws: {
      "\($0)".contains("'exakt' of reward a") && "\($0)".contains("did you mean 'exact'?")
    }
  }

  @Test func tokenAndStepRewards() {
    var outcome = ok(1)
    outcome.tokenRewards = [0, 0.5, 0, -1]
    outcome.stepRewards = [RewardStep(tokens: 1..<3, value: 2, label: "")]
    let rules = [ScoringRule(name: "a", tokenWeight: 0.5), ScoringRule(name: "b", weight: 0)]
    #expect(
      TokenRewards.sum(rules, [outcome, outcome], tokenCount: 4, isTruncated: false) == [0, 1.25, 1, -0.5])
    let mask = [true, true, false, true]
    #expect(
      TokenRewards.sum(rules, [outcome, outcome], tokenCount: 4, isTruncated: false, policyMask: mask)
        == [0, 1.25, 0, -0.5])
    // Without an effect there is nothing to add.
    #expect(TokenRewards.sum(rules, [ok(1), outcome], tokenCount: 4, isTruncated: false) == nil)
    #expect(
      TokenRewards.sum(
        [ScoringRule(name: "a", truncation: .notApplicable)], [outcome], tokenCount: 4, isTruncated: true) == nil)
  }

  /// The other half's mean and deviation; no gradient for the half without an opinion unless another reward has one.
  @Test func aRewardThatSaysNothingAboutHalfAGroup() throws {
    let none = RewardOutcome.none(.notApplicable, "")
    let half = [ok(1), ok(3), none, none]
    let scores = try advantages(try matrix([ScoringRule(name: "a")], [half]), groupSize: 4)
    // Mean 2, deviation √2.
    expectClose(
      scores.advantages, [-1 / (2.0.squareRoot() + 1e-4), 1 / (2.0.squareRoot() + 1e-4), 0, 0], absolute: 1e-12)
    #expect(scores.rewards[2].isNaN)
    let other = try advantages(
      try matrix([ScoringRule(name: "a"), ScoringRule(name: "b")], [half, [none, none, ok(7), ok(9)]]), groupSize: 4)
    #expect(other.advantages[2] != 0 && other.advantages[3] > 0)
  }

  /// Out of the group, counted, and never a 0.
  @Test func aSampleThatNoRewardScores() throws {
    let outcomes = [ok(1), ok(3), .none(.notApplicable, "")]
    let rules = [ScoringRule(name: "a"), ScoringRule(name: "log", weight: 0)]
    let combined = try matrix(rules, [outcomes, [ok(9), ok(9), ok(9)]])
    let scores = try advantages(combined, groupSize: 3)
    #expect(scores.advantages[2] == 0 && scores.rewards[2].isNaN)
    // −1/(√2 + 1e-4): with a 0 in the group the mean would not be 2.
    expectClose([scores.advantages[0]], [-1 / (2.0.squareRoot() + 1e-4)], absolute: 1e-12)
    let metrics = RewardStatistics.metrics(
      combined, rules, outcomes: [outcomes, [ok(9), ok(9), ok(9)]], groupSize: 3, seconds: [3, 6])
    func metric(_ name: String) -> Double? { metrics.first { $0.name == name }?.value }
    #expect(metric("unscored") == 1 && metric("rewards/a/mean") == 2 && metric("rewards/log/mean") == 9)
    #expect(metric("rewards/a/applicable") == 2.0 / 3 && metric("rewards/log/zero_spread") == 1)
    #expect(metric("rewards/a/seconds") == 1 && metric("rewards/log/seconds") == 2)
  }

  @Test func equalScoresGiveNoAdvantage() throws {
    let same = [RewardOutcome](repeating: ok(Double(Float(0.1))), count: 7)
    let scores = try advantages(
      try matrix([ScoringRule(name: "a", weight: 0.3), ScoringRule(name: "b")], [same, same]), groupSize: 7)
    #expect(scores.advantages == [Double](repeating: 0, count: 7))
  }

  @Test func oneAgainstSevenStaysBounded() throws {
    let scores = [ok(0.35)] + [RewardOutcome](repeating: ok(0), count: 7)
    let found = try advantages(try matrix([ScoringRule(name: "a")], [scores]), groupSize: 8).advantages
    #expect(found.allSatisfy { abs($0) <= 10 } && found[0] > 2)
  }

  @Test func statisticsOfFailuresAndSpread() throws {
    let outcomes = [ok(1), ok(3), .none(.timedOut, "slow"), .none(.failed, "bad")]
    let rules = [ScoringRule(name: "a", failure: .value(0))]
    let combined = try matrix(rules, [outcomes])
    let metrics = RewardStatistics.metrics(combined, rules, outcomes: [outcomes], groupSize: 2, seconds: nil)
    func metric(_ name: String) -> Double? { metrics.first { $0.name == "rewards/a/" + name }?.value }
    #expect(metric("failed") == 0.5 && metric("timed_out") == 0.25 && metric("zero_spread") == 0.5)
    // What stands in for a failure counts in the mean, but the reward scored half of them.
    #expect(metric("mean") == 1 && metric("applicable") == 0.5 && metric("normalized_mean") == 0)
    // ±1/(√2 + 1e-4)·… in the first group, 0 and 0 in the second: √(2·(1/(√2+1e-4))²/3).
    let z = 1 / (2.0.squareRoot() + 1e-4)
    expectClose([metric("normalized_std") ?? .nan], [(2 * z * z / 3).squareRoot()], absolute: 1e-12)
  }

  /// The table before a stage, a step's metrics and an evaluation say the same; a group with one score is not compared.
  @Test func oneDefinitionOfEveryNumber() throws {
    let none = RewardOutcome.none(.notApplicable, "")
    let outcomes = [ok(1, [("c", 2)]), ok(3), ok(2), none, ok(5), ok(5), none, .none(.failed, "bad")]
    let rules = [ScoringRule(name: "a", components: [("c", 1)])]
    let combined = try matrix(rules, [outcomes])
    let metrics = RewardStatistics.metrics(combined, rules, outcomes: [outcomes], groupSize: 2, seconds: nil)
    func metric(_ name: String) -> Double { metrics.first { $0.name == "rewards/" + name }?.value ?? .nan }
    #expect(metric("a/zero_spread") == 0.5 && metric("a/applicable") == 5 / 8.0 && metric("a/failed") == 1 / 8.0)
    #expect(metric("a.c/zero_spread").isNaN && metric("a.c/applicable") == 5 / 8.0)
    let evaluated = RewardStatistics.evaluationMetrics(combined, outcomes: [outcomes])
    let recipe = try Recipe.parse(
      """
      model: {path: "preset:tiny"}
      data: {train: {kind: jsonl, file: x.jsonl}}
      stages: [{objective: grpo, steps: 1, generations: 2}]
      rewards: [{source: r.c}]
      """, file: "/lab/r.yaml", checkFiles: false)
    let batch = RewardBatch(combined, outcomes: [outcomes], lengths: [Int](repeating: 1, count: 8), recipe.stages[0])
    for summary in batch.summaries() {
      let json = summary.json
      for name in ["mean", "std", "applicable", "failed", "zero_spread"] {
        let value = metric("\(summary.name)/\(name)")
        #expect(json[name]?.double == (value.isFinite ? value : nil), "\(summary.name)/\(name)")
        if let found = evaluated.first(where: { $0.name == "eval/rewards/\(summary.name)/\(name)" }) {
          #expect(found.value == value, "\(summary.name)/\(name)")
        }
      }
    }
  }

  @Test func limits() throws {
    let outcomes = [ok(1), .none(.failed, "no model"), .none(.failed, "no model"), .none(.timedOut, "slow")]
    let rules = [ScoringRule(name: "a")]
    let combined = try matrix(rules, [outcomes])
    func check(_ limits: String) throws {
      let recipe = try Recipe.parse(
        """
        model: {path: "preset:tiny"}
        data: {train: {kind: jsonl, file: x.jsonl}}
        stages: [{objective: sft, steps: 1}]
        reward_limits: \(limits)
        """, file: "/nowhere/r.yaml", checkFiles: false)
      try recipe.rewardLimits.check(rules, [outcomes], combined, occasion: "step 3")
    }
    try check("{}")
    try check("{max_failed: 0.75, max_unscored: 0.75}")
    #expect {
      try check("{max_failed: 0.5}")
    } throws: {
      "\($0)".contains("reward a failed on 3 of 4 samples of step 3") && "\($0)".contains("most often: no model")
    }
    #expect {
      try check("{max_unscored: 0.5}")
    } throws: {
      "\($0)".contains("no reward scored 3 of 4 samples") && "\($0)".contains("a: no model")
    }
  }
}
