import Core
import Objectives

/// Settings of a stage's reference, and of objectives that learn from preferences, that have no meaning together.
extension RecipeChecks {
  static func checkReference(
    _ entry: ObjectiveEntry, _ objective: any Objective, _ stage: JSON, _ recipe: JSON, _ path: String,
    _ reader: inout RecipeReader
  ) {
    let isAdapted = recipe["model"]?["train"]?.string == Recipe.Model.Training.lora.rawValue
    let kind = stage["reference"]?.string.flatMap(Recipe.Stage.Reference.Kind.init)
    let place = path + ".reference"
    if kind == .adapter, !isAdapted {
      reader.add(
        "\(place): adapter is the policy with its adapter off, but train: full has none", at: place,
        hint: "set reference to copy or cached, or model.train to lora")
    }
    if kind == .cached, entry.kind == .rollouts {
      reader.add(
        "\(place): cached needs completions that are known before the stage begins, but \(entry.name) samples them",
        at: place, hint: "set reference to auto")
    }
    guard stage["sync_ref_model"]?.bool == true else { return }
    let sync = path + ".sync_ref_model"
    if isAdapted {
      reader.add(
        "\(sync): the reference of an adapter is the model beneath it, which does not move", at: sync,
        hint: "set sync_ref_model to false, or model.train to full")
    } else if kind == .cached {
      reader.add(
        "\(sync): a reference that moves cannot be cached", at: sync,
        hint: "set reference to copy, or sync_ref_model to false")
    }
    let usesReference =
      objective.usesReference || (objective as? any PolicyObjective)?.usesReferenceInReward == true
    if !usesReference {
      let term = entry.objective.parameters.first { ["beta", "kl_coef"].contains($0.name) }?.name
      reader.add(
        "\(sync): the objective reads no reference\(term.map { ", as its \($0) is 0" } ?? "")", at: sync,
        hint: term.map { "set \(path).\(entry.objective.name).\($0) above 0" })
    }
  }

  /// A step of one completion has no other to be mismatched with.
  static func checkBatch(
    _ entry: ObjectiveEntry, _ objective: any Objective, _ stage: JSON, _ path: String, _ reader: inout RecipeReader
  ) {
    guard (objective as? any UnpairedObjective)?.usesMismatched == true, stage["batch"]?.int == 1 else { return }
    reader.add(
      "\(path).batch: found 1, but \(entry.name) estimates its KL term from completions of other prompts of the step; it needs at least 2",
      at: path + ".batch", hint: "or set \(path).kto.loss_type to apo_zero_unpaired")
  }
}
