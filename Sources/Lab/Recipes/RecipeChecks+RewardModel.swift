import Core
import Objectives

/// A recipe that trains a reward model does nothing else: its model has a score where others have words.
extension RecipeChecks {
  static func checkRewardModel(_ recipe: JSON, _ reader: inout RecipeReader) {
    let kinds = (recipe["stages"]?.array ?? []).map { $0["objective"]?.string.flatMap(ObjectiveRegistry.named)?.kind }
    guard let first = kinds.firstIndex(of: .scores) else { return }
    if let other = kinds.firstIndex(where: { $0 != nil && $0 != .scores }) {
      reader.add(
        "stages.\(first): a reward stage gives the model a score in the place of its words, which stages.\(other) needs",
        at: "stages.\(first).objective",
        hint: "train the reward model in a recipe of its own, and name RUN/model in 'rewards'")
      return
    }
    if recipe["rewards"]?.array?.isEmpty == false {
      reader.add(
        "rewards: a reward model writes no completions that rewards could score", at: "rewards",
        hint: "take the section out; pairs are in 'data'")
    }
    if recipe["evaluation"]?["data"]?.string != nil {
      reader.add(
        "evaluation.data: a reward model writes no completions", at: "evaluation.data",
        hint: "name held-out pairs in evaluation.preferences")
    }
    for (index, stage) in (recipe["stages"]?.array ?? []).enumerated() {
      guard let name = stage["data"]?.string,
        recipe["data"]?[name]?["kind"]?.string == Recipe.Source.Kind.sampled.rawValue
      else { continue }
      reader.add(
        "stages.\(index).data: '\(name)' is sampled from the model that is trained, but a reward model writes no completions",
        at: "stages.\(index).data", hint: "`attune data pairs` makes a file of pairs of another model")
    }
  }

  /// Held-out pairs are of use to stages that learn from preferences alone.
  static func checkHeldOutPairs(_ recipe: JSON, _ reader: inout RecipeReader) {
    guard let name = recipe["evaluation"]?["preferences"]?.string else { return }
    let place = "evaluation.preferences"
    let source = recipe["data"]?[name]
    let kind = source?["kind"]?.string
    if kind == Recipe.Source.Kind.sampled.rawValue {
      reader.add(
        "\(place): '\(name)' is sampled while the run trains, held-out pairs are of the kind jsonl or digits", at: place
      )
    }
    if kind == Recipe.Source.Kind.digits.rawValue, source?["count"]?.int == 0 {
      reader.add(
        "\(place): the source '\(name)' is endless, so all of its pairs cannot be evaluated", at: place,
        hint: "set data.\(name).count")
    }
    let kinds = (recipe["stages"]?.array ?? []).compactMap {
      $0["objective"]?.string.flatMap(ObjectiveRegistry.named)?.kind
    }
    if !kinds.isEmpty, kinds.allSatisfy({ $0 == .supervised || $0 == .rollouts }) {
      reader.add(
        "\(place): no stage learns from preferences", at: place, hint: "take the key out")
    }
  }
}
