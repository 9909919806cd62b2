extension RecipeTable {
  /// Preference data that a run makes of its own completions.
  static let sampled: [RecipeKey] = {
    let sampled = RecipeKey.Condition(key: "kind", values: ["sampled"])
    func key(
      _ name: String, _ kind: RecipeKey.Kind, _ fallback: RecipeKey.Default, in bounds: RecipeKey.Bounds? = nil,
      _ summary: String
    ) -> RecipeKey { row("data.*." + name, kind, fallback, in: bounds, only: sampled, summary) }

    return [
      key("from", .string, .required, "Name of the data source with the prompts."),
      key("prompts", .int, .value(0), in: count(from: 0), "Prompts to sample; 0 all."),
      key("completions", .int, .value(8), in: .within(2, 1_000_000), "Completions of each prompt."),
      key("max_new_tokens", .int, .value(512), in: .within(1, 10_000_000), "Longest completion, tokens."),
      key("temperature", .number, .value(1.0), in: .above(0, upTo: 1000), "Sampling temperature."),
      key("top_k", .int, .value(0), in: count(from: 0), "Sample from the k likeliest ids; 0 from all."),
      key(
        "top_p", .number, .value(1.0), in: .above(0, upTo: 1), "Sample from the likeliest ids that hold p together."),
      key(
        "min_p", .number, .value(0), in: .within(0, 1),
        "Sample from ids at least this likely, as a fraction of the likeliest."),
      key(
        "pairs", choice(PreferenceSettings.Pairing.self), .value("best_worst"),
        "Pairs of a prompt: the best completion with the worst, or every two of unlike reward."),
      key(
        "margin", .number, .value(0), in: .atLeast(0),
        "Least difference of the rewards of a pair; equal ones never make a pair."),
      key(
        "max_pairs", .int, .value(0), in: count(from: 0),
        "Most pairs of a prompt, largest differences first; 0 has no limit."),
      key(
        "labels", choice(Recipe.Sampled.Labels.self), .value("threshold"),
        "Where a stage learns from labels: each completion against `threshold`, or both of each pair, one desirable."),
      key("threshold", .number, .value(0.5), "Labels: completions with at least this reward are desirable."),
      key("drop_truncated", .bool, .value(true), "Leave out completions that hit the length limit."),
    ]
  }()
}
