import Core

extension RecipeTable {
  /// How rewards are looked at.
  static let watch: [RecipeKey] = [
    section("watch", "How rewards are looked at. Nothing here changes a step."),
    row(
      "watch.before", .bool, .value(true),
      "Sample and score a few groups before a stage that samples, and stop if nothing can be learnt from them."),
    row(
      "watch.groups", .int, .value(4), in: .within(1, 10_000),
      "Groups to sample; up to eight times as many while none has spread."),
    row("watch.override", .bool, .value(false), "Begin the stage all the same."),
    section("watch.alarms", "Warnings while training; each is raised once until it is over."),
    row("watch.alarms.enabled", .bool, .value(true), "Raise them."),
    row(
      "watch.alarms.window", .int, .value(20), in: .within(8, 100_000), "Steps that a value is compared with."),
    row(
      "watch.alarms.jump", .number, .value(6), in: .above(0),
      "A mean so many robust deviations away from the window before it."),
    row(
      "watch.alarms.spread", .number, .value(0.1), in: .within(0, 1),
      "A deviation fallen to this share of its largest, below the maximum."),
    row(
      "watch.alarms.flat", .number, .value(0.9), in: .above(0, upTo: 1),
      "Share of groups in which all rewards are equal."),
    row(
      "watch.alarms.dominance", .number, .value(0.98), in: .above(0),
      "Share of the advantages' variance that one of several rewards explains."),
    row(
      "watch.alarms.length", .number, .value(0.7), in: .above(0, upTo: 1),
      "Correlation of the reward with length within groups, grown by half of that, and lengths with it."),
    row(
      "watch.alarms.entropy", .number, .value(0.1), in: .within(0, 1),
      "The policy's entropy fallen to this share of what it was, with a reward in the lower half."),
    row(
      "watch.alarms.kl", .number, .value(1), in: .above(0),
      "Nats a token between the policy and its reference, as `kl` measures them."),
    row(
      "watch.alarms.opposition", .number, .value(5), in: .above(0),
      "Standard errors by which the total rises while a reward of weight 0, or a held-out value, falls."),
    row(
      "watch.alarms.failed", .number, .value(0.1), in: .above(0, upTo: 1), "Share of samples that a reward fails on."),
    row(
      "watch.alarms.slow", .number, .value(4), in: .above(1), "Times the time per sample that a reward took at first."),
  ]
}
