import Core

extension RecipeTable {
  /// What is scored, how outcomes become a total, and what the code may take.
  static let rewards: [RecipeKey] = [
    section("rewards", as: .sections, "Rewards, for stages that sample and for evaluation."),
    row(
      "rewards[].source", .path(.reward), .required,
      "A source file (.c, .swift), a library (.so, .so:name), a reward model's folder, a shipped reward's name, or 'LIBRARY: C SIGNATURE'."
    ),
    row(
      "rewards[].name", .name,
      .derived(meaning: "from the source's name") {
        .string(RecipePaths.rewardName($0.siblings["source"]?.string ?? ""))
      },
      "The reward's name, unlike any other reward's."),
    row("rewards[].weight", .number, .value(1.0), "Factor in the total reward; 0 only logs."),
    row("rewards[].parameters", .parameters, .value(.object([])), "Handed to the reward as it is."),
    row(
      "rewards[].components", .parameters, .value(.object([])),
      "Weights of named components, `{exact: 0.5}`: each is a column NAME.COMPONENT of its own beside the score."),
    row(
      "rewards[].token_weight", .number, .sameAs("weight"),
      "Factor of token and step rewards, which are added to the advantages of their tokens."),
    row(
      "rewards[].clip", .numbers(count: 2, ascending: true), .unset(meaning: "scores stay as they are"),
      "Least and greatest score that counts; the share of clipped scores is logged."),
    row(
      "rewards[].truncated", choice(Recipe.Reward.Truncated.self), .value("score"),
      "What a completion counts that hit the length limit: its score, nothing, or `truncated_value`."),
    row(
      "rewards[].truncated_value", .number, .required, only: .init(key: "truncated", values: ["value"]),
      "The score of a completion that hit the length limit."),
    row(
      "rewards[].on_failure", choice(Recipe.Reward.FailurePolicy.self), .value("skip"),
      "When a sample cannot be scored: leave it out, stop the run, or take `failure_value`."),
    row(
      "rewards[].failure_value", .number, .required, only: .init(key: "on_failure", values: ["value"]),
      "The score of a sample that failed."),
    row(
      "rewards[].isolation", choice(Recipe.Reward.Isolation.self), .value("worker"),
      "Run in a process of its own, or in this one."),
    row("rewards[].timeout", .number, .value(5), in: .above(0, upTo: 1e6), "Seconds that one sample may take."),
    row("rewards[].memory_mib", .int, .value(4096), in: count(from: 1), "MiB that a worker may take."),
    row("rewards[].network", .bool, .value(false), "Whether a worker may open connections."),
    row("rewards[].writable", .folders, .value([]), "Folders that a worker may write to."),
    section("reward_limits", "When rewards go so wrong that the run stops."),
    row(
      "reward_limits.max_failed", .number, .value(1), in: .within(0, 1),
      "Largest share of a step's samples on which a reward may fail."),
    row(
      "reward_limits.max_unscored", .number, .value(1), in: .within(0, 1),
      "Largest share of a step's samples that no reward with a weight may score."),
  ]
}
