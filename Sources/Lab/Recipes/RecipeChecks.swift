import Core
import Objectives

/// What the recipe table cannot say about one key alone: names that must exist, settings that exclude each other.
enum RecipeChecks {
  /// Adds what is wrong to the reader's problems. Values that could not be read are passed over.
  static func run(_ reader: inout RecipeReader) {
    let recipe = JSON(.object(reader.effective))
    checkModel(recipe, &reader)
    checkData(recipe, &reader)
    checkStages(recipe, &reader)
    checkUniqueNames(recipe, "judges", &reader)
    checkJudges(recipe, &reader)
    checkUniqueNames(recipe, "rewards", &reader)
    checkComponents(recipe, &reader)
    checkEvaluation(recipe, &reader)
    checkRewardModel(recipe, &reader)
    checkHeldOutPairs(recipe, &reader)
  }

  private static func checkModel(_ recipe: JSON, _ reader: inout RecipeReader) {
    checkWeights(recipe, &reader)
    checkAdapter(recipe, &reader)
    guard recipe["model"]?["train"]?.string == "full", recipe["model"]?["adapter"]?.string != nil else { return }
    reader.add(
      "model.adapter: an adapter can be trained only with train: lora", at: "model.adapter",
      hint: "set model.train to lora, or merge the adapter into the checkpoint first")
  }

  private static func checkWeights(_ recipe: JSON, _ reader: inout RecipeReader) {
    guard let weights = recipe["model"]?["weights"]?.string, weights != Recipe.Model.Weights.bf16.rawValue else {
      return
    }
    if recipe["model"]?["train"]?.string == Recipe.Model.Training.full.rawValue {
      reader.add(
        "model.weights: \(weights) codes hold frozen weights, but train: full changes them in every step",
        at: "model.weights", hint: "set model.train to lora, or model.weights to bf16")
    }
    if recipe["dtype"]?.string == Recipe.Precision.f32.rawValue {
      reader.add(
        "model.weights: \(weights) is for products of bf16, but dtype is f32", at: "model.weights",
        hint: "set dtype to bf16")
    }
  }

  private static func checkData(_ recipe: JSON, _ reader: inout RecipeReader) {
    for (name, source) in recipe["data"]?.object?.entries.map({ ($0, $1) }) ?? [] {
      if source["kind"]?.string == Recipe.Source.Kind.sampled.rawValue {
        checkSampled(source, "data." + name, recipe, &reader)
      }
      guard source["kind"]?.string == Recipe.Source.Kind.digits.rawValue else { continue }
      let path = "data." + name
      if let from = source["records"]?[0]?.int, from == source["records"]?[1]?.int {
        reader.add("\(path).records: no record lies between \(from) and \(from)", at: path + ".records")
      }
      if let side = source["digit_size"]?.int, let width = source["canvas"]?[0]?.int,
        let height = source["canvas"]?[1]?.int, side > min(width, height)
      {
        reader.add(
          "\(path).digit_size: a digit of \(side) pixels does not fit a canvas of \(width) x \(height)",
          at: path + ".digit_size")
      }
      if let answer = source["answer"]?.string, !answer.contains("{number}") {
        reader.add("\(path).answer: '{number}' is missing from '\(answer)'", at: path + ".answer")
      }
    }
  }

  private static func checkSampled(_ source: JSON, _ path: String, _ recipe: JSON, _ reader: inout RecipeReader) {
    checkSource(source["from"], recipe, path + ".from", &reader)
    if recipe["rewards"]?.array?.isEmpty == true {
      reader.add(
        "\(path): completions are compared by rewards, and the recipe has none", at: path + ".kind",
        hint: "add 'rewards: [{source: exact_match}]', or the source file of your own")
    }
    guard let from = source["from"]?.string, let prompts = recipe["data"]?[from] else { return }
    let kind = prompts["kind"]?.string
    if kind == Recipe.Source.Kind.sampled.rawValue {
      reader.add(
        "\(path).from: '\(from)' is sampled itself, expected a source of another kind", at: path + ".from")
    }
    if kind == Recipe.Source.Kind.digits.rawValue, prompts["count"]?.int == 0, source["prompts"]?.int == 0 {
      reader.add(
        "\(path).prompts: the source '\(from)' is endless, so all of it cannot be sampled", at: path + ".prompts",
        hint: "set \(path).prompts, or data.\(from).count")
    }
  }

  private static func checkStages(_ recipe: JSON, _ reader: inout RecipeReader) {
    checkUniqueNames(recipe, "stages", &reader)
    checkOptimizer(recipe["optimizer"], "optimizer", &reader)
    for (index, stage) in (recipe["stages"]?.array ?? []).enumerated() {
      let path = "stages.\(index)"
      checkSource(stage["data"], recipe, path + ".data", &reader)
      checkOptimizer(stage["optimizer"], path + ".optimizer", &reader)
      guard let entry = stage["objective"]?.string.flatMap(ObjectiveRegistry.named) else { continue }
      if entry.kind == .rollouts, recipe["rewards"]?.array?.isEmpty == true {
        reader.add(
          "\(path): a \(entry.name) stage needs rewards, and the recipe has none", at: path + ".objective",
          hint: "add 'rewards: [{source: exact_match}]', or the source file of your own")
      }
      checkObjective(entry, stage, recipe, path, &reader)
    }
  }

  /// What the objective itself says of its settings.
  private static func checkObjective(
    _ entry: ObjectiveEntry, _ stage: JSON, _ recipe: JSON, _ path: String, _ reader: inout RecipeReader
  ) {
    let section = path + "." + entry.objective.name
    do {
      let objective = try Recipe.Stage.objective(entry, stage.object ?? JSON.Object())
      if let objective = objective as? any PolicyObjective { checkGroups(entry, objective, stage, path, &reader) }
      checkReference(entry, objective, stage, recipe, path, &reader)
      checkBatch(entry, objective, stage, path, &reader)
      try objective.checkForTraining()
    } catch {
      // A key that could not be read has been told of; its neighbours then stand without it.
      guard let error = error as? AttuneError, reader.problems.error == nil else { return }
      let key = entry.objective.parameters.first { error.message.hasPrefix($0.name + " ") }
      let place = key.map { section + "." + $0.name } ?? section
      reader.add("\(section): \(error.message)", at: place, hint: error.hint)
    }
  }

  /// What is to be compared must be there.
  private static func checkGroups(
    _ entry: ObjectiveEntry, _ objective: any PolicyObjective, _ stage: JSON, _ path: String,
    _ reader: inout RecipeReader
  ) {
    guard stage["generations"]?.int == 1 else { return }
    let place = path + ".generations"
    if objective.comparesGroups {
      reader.add(
        "\(place): found 1, but \(entry.name) compares the completions of a prompt; it needs at least 2", at: place)
    } else if stage["dynamic_sampling"]?.bool == true {
      reader.add(
        "\(place): found 1, but dynamic_sampling looks for prompts whose completions differ; it needs at least 2",
        at: place, hint: "set generations to 2 or more, or dynamic_sampling to false")
    } else if stage["prompts"]?.int == 1 {
      reader.add(
        "\(place): found 1 completion of 1 prompt, with nothing to be compared with; a step needs at least 2",
        at: place,
        hint: "raise prompts or generations")
    }
  }

  private static func checkUniqueNames(_ recipe: JSON, _ list: String, _ reader: inout RecipeReader) {
    var first: [String: Int] = [:]
    for (index, item) in (recipe[list]?.array ?? []).enumerated() {
      guard let name = item["name"]?.string else { continue }
      if let other = first[name] {
        reader.add(
          "\(list).\(index): '\(name)' is also the name of \(list).\(other)", at: "\(list).\(index).name",
          hint: "give each a 'name' of its own")
      } else {
        first[name] = index
      }
    }
  }

  private static func checkComponents(_ recipe: JSON, _ reader: inout RecipeReader) {
    for (index, reward) in (recipe["rewards"]?.array ?? []).enumerated() {
      for (name, weight) in reward["components"]?.object?.entries.map({ ($0, $1) }) ?? []
      where weight.double?.isFinite != true {
        reader.add(
          "rewards.\(index).components.\(name): found \(weight.text()), expected a number, the component's weight",
          at: "rewards.\(index).components")
      }
    }
  }

  private static func checkOptimizer(_ optimizer: JSON?, _ path: String, _ reader: inout RecipeReader) {
    for key in ["warmup_steps", "decay_steps"] {
      guard let steps = optimizer?[key]?.double, steps >= 1, steps != steps.rounded() else { continue }
      reader.add(
        "\(path).\(key): found \(steps), expected a whole number of steps, or a fraction below 1", at: "\(path).\(key)")
    }
    if optimizer?["kind"]?.string == OptimizerMethod.Kind.sgd.rawValue, optimizer?["nesterov"]?.bool == true,
      optimizer?["momentum"]?.double == 0
    {
      reader.add(
        "\(path).nesterov: there is nothing to look ahead by with momentum: 0", at: "\(path).nesterov",
        hint: "set momentum to 0.9, or leave nesterov out")
    }
    if optimizer?["schedule"]?.string == LearningRateSchedule.Shape.polynomial.rawValue,
      let end = optimizer?["end_learning_rate"]?.double, let peak = optimizer?["learning_rate"]?.double, end >= peak
    {
      reader.add(
        "\(path).end_learning_rate: found \(end), expected less than the learning rate, \(peak)",
        at: "\(path).end_learning_rate")
    }
  }

  private static func checkSource(_ name: JSON?, _ recipe: JSON, _ path: String, _ reader: inout RecipeReader) {
    guard let name = name?.string, let sources = recipe["data"]?.object, sources[name] == nil else { return }
    let known = sources.keys
    reader.add(
      "\(path): there is no data source '\(name)'", at: path,
      hint: nearestName(to: name, among: known).map { "did you mean '\($0)'?" }
        ?? (known.isEmpty ? "describe it under 'data: {\(name): ...}'" : "known: " + known.joined(separator: ", ")))
  }

  private static func checkEvaluation(_ recipe: JSON, _ reader: inout RecipeReader) {
    guard let evaluation = recipe["evaluation"] else { return }
    checkSource(evaluation["data"], recipe, "evaluation.data", &reader)
    checkSource(evaluation["preferences"], recipe, "evaluation.preferences", &reader)
    if evaluation["data"]?.isNull == true, evaluation["preferences"]?.isNull == true,
      let every = evaluation["every"]?.int, every > 0
    {
      reader.add(
        "evaluation.every: there is no data to evaluate on", at: "evaluation.every",
        hint: "describe a source under 'data: {eval: ...}', or name one in evaluation.data")
    }
    if let name = evaluation["data"]?.string, let source = recipe["data"]?[name],
      source["kind"]?.string == Recipe.Source.Kind.digits.rawValue, source["count"]?.int == 0,
      evaluation["count"]?.int == 0
    {
      reader.add(
        "evaluation.count: the source '\(name)' is endless, so all of it cannot be evaluated",
        at: "evaluation.count", hint: "set evaluation.count, or data.\(name).count")
    }
  }
}
