import Core
import Foundation
import TestSupport
import Testing

@testable import Lab

/// Alarms on made-up series: each fires where it should, none on a run that goes well.
@Suite struct RewardWatchTests {
  private static let recipe = try! Recipe.parse(
    """
    model: {path: "preset:tiny"}
    data: {train: {kind: jsonl, file: none.jsonl}}
    stages:
      - {objective: grpo, steps: 200, prompts: 8, generations: 8}
    rewards:
      - {source: exact_match.c, name: right}
      - {source: form.c, name: form, weight: 0.5}
      - {source: style.c, name: style, weight: 0}
    """, file: "/none/recipe.yaml", checkFiles: false)

  /// A run that learns in 160 steps what it can, with the noise of 64 samples a step.
  private static func healthy(_ step: Int, seed: UInt64) -> [String: Double] {
    let random = Randomness(seed: seed, for: .testing)
    func noise(_ k: Int) -> Double { (0..<4).reduce(0) { $0 + random.uniform(step, k, $1) } - 2 }
    let done = 1 / (1 + exp(-(Double(step) - 60) / 15))
    let right = min(1, max(0, 0.15 + 0.7 * done + 0.06 * noise(0)))
    let form = min(1, 0.8 + 0.15 * done + 0.03 * noise(1))
    let style = 0.5 + 0.06 * noise(2)
    func spread(_ share: Double) -> Double { max(0, share * (1 - share)).squareRoot() }
    var metrics = [
      "reward": right + 0.5 * form, "reward_min": 0, "reward_max": 1.5,
      "reward_length_correlation": 0.2 + 0.3 * noise(3),
      "completions/mean_length": 100 + 5 * noise(4), "entropy": 1.5 - 1.3 * done,
      "frac_reward_zero_std": 0.1 + 0.5 * done,
    ]
    for (name, mean, share) in [("right", right, 0.8), ("form", form, 0.2), ("style", style, 0)] {
      metrics["rewards/\(name)/mean"] = mean
      metrics["rewards/\(name)/std"] = spread(mean)
      metrics["rewards/\(name)/min"] = 0
      metrics["rewards/\(name)/max"] = 1
      metrics["rewards/\(name)/failed"] = 0
      metrics["rewards/\(name)/seconds"] = 2e-3 * (1 + 0.3 * noise(5))
      metrics["rewards/\(name)/zero_spread"] = 0.3
      metrics["rewards/\(name)/advantage_share"] = share + (name == "right" ? 0.1 : -0.1) * noise(6)
    }
    return metrics
  }

  private func alarms(
    seed: UInt64 = 1, steps: Int = 200, _ change: (Int, inout [String: Double]) -> Void = { _, _ in }
  ) -> [RewardAlarm] {
    let watch = RewardWatch(Self.recipe, run: "latest")
    return (0..<steps).flatMap { step in
      var metrics = Self.healthy(step, seed: seed)
      change(step, &metrics)
      return watch.raise(after: step, metrics, samples: 64)
    }
  }

  @Test(arguments: 1...20) func aRunThatGoesWellRaisesNone(seed: Int) {
    let raised = alarms(seed: UInt64(seed))
    #expect(raised.isEmpty, "\(raised.map(\.line))")
  }

  /// Exactly one alarm of this kind, soon after `step`, with its numbers and a way to look.
  private func expectOne(
    _ kind: RewardAlarm.Kind, of subject: String, from step: Int, within steps: Int = 12,
    also allowed: Set<RewardAlarm.Kind> = [], _ change: (Int, inout [String: Double]) -> Void
  ) throws -> RewardAlarm {
    let raised = alarms(change)
    let own = raised.filter { $0.kind == kind && $0.subject == subject }
    let alarm = try #require(own.first, "\(raised.map(\.line))")
    #expect(own.count == 1 && (step..<step + steps).contains(alarm.step), "\(own.map(\.line))")
    #expect(raised.allSatisfy { $0.kind == kind || allowed.contains($0.kind) }, "\(raised.map(\.line))")
    #expect(!alarm.numbers.isEmpty && alarm.look.hasPrefix("attune runs samples latest") && !alarm.meaning.isEmpty)
    return alarm
  }

  @Test func aJump() throws {
    let alarm = try expectOne(.jump, of: "form", from: 150, within: 1) { step, metrics in
      if step >= 150 { metrics["rewards/form/mean"] = 0.2 }
    }
    #expect(alarm.text.contains("jumped") && alarm.numbers.contains { $0.name == "drift" && $0.value < -6 })
  }

  /// A reward that is nearly always won: one step in which all win is no jump, though it has no spread itself.
  @Test func theLastFewPointsAreNoJump() {
    let raised = alarms { step, metrics in
      metrics["rewards/form/mean"] = step < 150 ? 0.99609375 : 1
      metrics["rewards/form/std"] = step < 150 ? 0.0625 : 0
    }
    #expect(!raised.contains { $0.kind == .jump }, "\(raised.map(\.line))")
  }

  @Test func aSpreadThatCollapses() throws {
    _ = try expectOne(.collapse, of: "right", from: 130, also: [.jump]) { step, metrics in
      if step >= 130 {
        metrics["rewards/right/mean"] = 0.5
        metrics["rewards/right/std"] = 0.01
      }
    }
  }

  @Test func groupsWithoutSpread() throws {
    let low = try expectOne(.collapse, of: "reward", from: 20) { step, metrics in
      if (20..<60).contains(step) { metrics["frac_reward_zero_std"] = 0.97 }
    }
    #expect(low.text.contains("97 %"))
    // The same at the top of the scale is a task that is done.
    let high = try expectOne(.saturation, of: "reward", from: 150) { step, metrics in
      if step >= 150 {
        metrics["frac_reward_zero_std"] = 0.97
        metrics["reward"] = 1.49
      }
    }
    #expect(high.meaning.contains("Nothing is left to learn"))
  }

  @Test func oneRewardThatDecides() throws {
    let alarm = try expectOne(.dominance, of: "right", from: 100) { step, metrics in
      if step >= 100 {
        metrics["rewards/right/advantage_share"] = 0.995
        metrics["rewards/form/advantage_share"] = 0.005
      }
    }
    #expect(alarm.meaning.contains("form"))
    // A reward that has nothing to say any more is not silenced by another.
    let quiet = alarms { step, metrics in
      metrics["rewards/right/advantage_share"] = 1
      metrics["rewards/form/zero_spread"] = 0.9
    }
    #expect(quiet.isEmpty)
  }

  @Test func whatIsOnlyLookedAtFalls() throws {
    _ = try expectOne(.opposition, of: "style", from: 45, within: 60) { step, metrics in
      metrics["rewards/style/mean"] = (metrics["rewards/style/mean"] ?? 0) - 0.004 * Double(max(0, step - 30))
    }
  }

  @Test func heldOutValuesFall() {
    let watch = RewardWatch(Self.recipe, run: "latest")
    var raised: [RewardAlarm] = []
    for (step, value) in [(20, 0.4), (60, 0.7), (100, 0.68), (140, 0.45), (180, 0.4)] {
      for each in (step - 20)..<step { raised += watch.raise(after: each, Self.healthy(each, seed: 3), samples: 64) }
      // Failures that grow rarer are no loss.
      raised += watch.raise(
        evaluation: ["eval/exact_match": value, "eval/rewards/form/failed": 1 - Double(step) / 200], count: 512,
        step: step)
    }
    #expect(raised.map(\.kind) == [.opposition] && raised.map(\.subject) == ["eval/exact_match"])
    #expect(raised.map(\.step) == [140])
  }

  @Test func rewardsThatFollowLength() throws {
    _ = try expectOne(.length, of: "reward", from: 100, within: 40) { step, metrics in
      if step >= 100 {
        metrics["reward_length_correlation"] = 0.85
        metrics["completions/mean_length"] = 100 + 3 * Double(step - 100)
      }
    }
    #expect(alarms { step, metrics in if step >= 100 { metrics["reward_length_correlation"] = 0.85 } }.isEmpty)
  }

  @Test func anEntropyThatCollapsesEarly() throws {
    _ = try expectOne(.entropy, of: "entropy", from: 25) { step, metrics in
      if (25..<50).contains(step) { metrics["entropy"] = 0.05 }
    }
  }

  /// A KL that is measured every tenth step: two looks running say so, one does not.
  @Test func aPolicyThatLeavesItsReference() throws {
    let alarm = try expectOne(.kl, of: "kl", from: 109, within: 1) { step, metrics in
      if step % 10 == 9 { metrics["kl"] = step > 95 ? 3 : 0.3 }
    }
    #expect(alarm.numbers.map(\.value) == [3, 0.3] && alarm.meaning.contains("learning rate"))
    #expect(alarms { step, metrics in if step % 10 == 9 { metrics["kl"] = step == 99 ? 30 : 0.3 } }.isEmpty)
  }

  /// What a person is told to turn is there to be turned.
  @Test func remediesAreTheObjectives() throws {
    var rules = AlarmRules(rewards: [("right", 1)], settings: Self.recipe.watch)
    var history = MetricHistory(window: 20)
    for step in 0..<40 { history.append(["entropy": step < 20 ? 1 : 0.01, "kl": 4]) }
    func meanings() -> [String] {
      rules.readings(history, samples: 8).filter { [.entropy, .kl].contains($0.kind) }.map(\.meaning)
    }
    #expect(meanings().allSatisfy { $0.hasSuffix("lower the learning rate.") || $0.hasSuffix("or iterations.") })
    rules.parameters = ["entropy_coef", "beta"]
    #expect(meanings().count == 2 && meanings().allSatisfy { $0.hasSuffix("a KL term (beta).") })
    #expect(meanings()[0].contains("an entropy bonus (entropy_coef)"))
  }

  /// Where groups without spread are left out, how many there were is what tells.
  @Test func dynamicSamplingThatFindsNothing() throws {
    _ = try expectOne(.collapse, of: "reward", from: 100) { step, metrics in
      metrics["frac_reward_zero_std"] = 0
      metrics["dynamic_sampling/flat_share"] = step >= 100 ? 0.95 : 0.5
      metrics["dynamic_sampling/reward"] = 0.2
    }
    _ = try expectOne(.saturation, of: "reward", from: 100) { step, metrics in
      metrics["frac_reward_zero_std"] = 0
      metrics["dynamic_sampling/flat_share"] = step >= 100 ? 0.95 : 0.5
      metrics["dynamic_sampling/reward"] = step >= 95 ? 1.45 : 0.5
    }
  }

  @Test func failuresAndSlowness() throws {
    _ = try expectOne(.failing, of: "form", from: 100, within: 6) { step, metrics in
      if step >= 100 { metrics["rewards/form/failed"] = 0.2 }
    }
    // Half of the samples are enough in one step.
    _ = try expectOne(.failing, of: "style", from: 0, within: 1) { _, metrics in metrics["rewards/style/failed"] = 0.6 }
    #expect(alarms { step, metrics in if step == 100 { metrics["rewards/form/failed"] = 0.4 } }.isEmpty)
    _ = try expectOne(.slow, of: "right", from: 100) { step, metrics in
      if step >= 100 { metrics["rewards/right/seconds"] = 2e-2 }
    }
  }

  @Test func anAlarmComesAgainOnlyAfterItWasOver() {
    let raised = alarms { step, metrics in
      if (40..<70).contains(step) || (120..<150).contains(step) { metrics["rewards/form/failed"] = 0.3 }
    }
    #expect(raised.map(\.kind) == [.failing, .failing])
    #expect((raised.first?.step ?? 0) < 70 && (raised.last?.step ?? 0) >= 120)
    // Around the level it does not flicker.
    #expect(alarms { step, metrics in metrics["rewards/form/failed"] = step % 2 == 0 ? 0.09 : 0.12 }.count <= 1)
  }

  /// A run that goes on in the middle of a stage raises what it would have raised, and nothing twice.
  @Test func aResumedRunRaisesTheSame() throws {
    func metrics(_ step: Int) -> [String: Double] {
      var metrics = Self.healthy(step, seed: 9)
      if step >= 50 { metrics["rewards/form/failed"] = 0.3 }
      if step >= 120 { metrics["rewards/style/failed"] = 0.3 }
      return metrics
    }
    let whole = RewardWatch(Self.recipe, run: "latest")
    let expected = (0..<160).flatMap { whole.raise(after: $0, metrics($0), samples: 64) }
    #expect(expected.count == 2)
    let folder = try TemporaryFolder()
    let store = try RunStore.example(in: folder.path)
    for step in 0..<80 { try store.write(RunStore.Step(stage: 0, step: step, metrics: metrics(step))) }
    let resumed = RewardWatch(Self.recipe, run: "latest")
    try resumed.begin(stage: 0, stepsDone: 80, store: store)
    let rest = (80..<160).flatMap { resumed.raise(after: $0, metrics($0), samples: 64) }
    #expect(rest.map(\.step) == expected.filter { $0.step >= 80 }.map(\.step) && rest.count == 1)
  }

  @Test func alarmsCanBeSwitchedOff() throws {
    var recipe = Self.recipe
    recipe.watch.alarms = false
    let watch = RewardWatch(recipe, run: "latest")
    for step in 0..<20 {
      var metrics = Self.healthy(step, seed: 1)
      metrics["rewards/form/failed"] = 1
      #expect(watch.raise(after: step, metrics, samples: 64).isEmpty)
    }
  }

  // MARK: The store

  @Test func surveysAndAlarmsAreKept() throws {
    let folder = try TemporaryFolder()
    let store = try RunStore.example(in: folder.path)
    let alarm = RewardAlarm(
      kind: .jump, subject: "form", stage: 1, stageName: "grpo", step: 4, numbers: [.init(name: "drift", value: 8)],
      text: "it jumped.",
      meaning: "why", look: "attune runs samples")
    try store.write(alarm)
    try store.write(alarm)
    let shown = try store.show()
    #expect(shown["alarms"] == [alarm.json])
    #expect(alarm.json["numbers"]?["drift"]?.double == 8 && alarm.json["kind"]?.string == "jump")
    try store.forget(after: 1, step: 3)
    #expect(try store.alarms().isEmpty)
    #expect(try store.survey(stage: 1) == nil)
  }
}
