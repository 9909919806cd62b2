import Core
import Models
import Objectives

extension LoRAConfiguration {
  /// The settings of `model.lora`.
  init(recipe values: RecipeValues) {
    self.init(
      rank: values.int("rank"), alpha: values.number("alpha"),
      targets: Modules(recipe: values.json("targets")) ?? .allLinear, rankStabilized: values.bool("rank_stabilized"),
      rankPattern: NamePatterns(recipe: values.json("rank_pattern")) { $0.int },
      alphaPattern: NamePatterns(recipe: values.json("alpha_pattern")) { $0.double })
    dropout = values.number("dropout")
    excluded = Modules(recipe: values.json("exclude"))
    dora = values.bool("dora")
    bias = values.choice("bias")
    factorBias = values.bool("lora_bias")
    modulesToSave = values.json("modules_to_save").array?.compactMap(\.string) ?? []
  }
}

extension LoRAConfiguration.Modules {
  /// A list of names, a pattern, or the word for all; nil for null.
  init?(recipe value: JSON) {
    if let text = value.string {
      self = text == "all-linear" ? .allLinear : .pattern(text)
    } else if let names = value.array?.compactMap(\.string) {
      self = .names(names)
    } else {
      return nil
    }
  }
}

extension NamePatterns {
  /// Entries whose value is no number are left out: `RecipeChecks` has refused them.
  init(recipe value: JSON, _ convert: (JSON) -> Value?) {
    self.init(
      (value.object?.entries).map { $0.compactMap { name, value in convert(value).map { (pattern: name, value: $0) } } }
        ?? [])
  }
}

extension RecipeChecks {
  /// What `model.freeze` and `model.lora` say together.
  static func checkAdapter(_ recipe: JSON, _ reader: inout RecipeReader) {
    guard let model = recipe["model"] else { return }
    let frozen = Set(model["freeze"]?.array?.compactMap(\.string) ?? [])
    if frozen.count == ModelPart.allCases.count {
      reader.add("model.freeze: all parts are frozen, so nothing is trained", at: "model.freeze")
    }
    guard model["train"]?.string == Recipe.Model.Training.lora.rawValue, let lora = model["lora"] else { return }
    let path = "model.lora"
    if lora["dora"]?.bool == true, lora["lora_bias"]?.bool == true {
      reader.add("\(path).lora_bias: a bias of the factors does not go with dora", at: path + ".lora_bias")
    }
    for key in ["targets", "exclude"] { checkPattern(lora[key]?.string, path + "." + key, &reader) }
    for (key, expected) in [("rank_pattern", "a whole number, ≥ 1"), ("alpha_pattern", "a number, > 0")] {
      for (name, value) in lora[key]?.object.map({ Array($0.entries) }) ?? [] {
        checkPattern(name, path + "." + key, &reader)
        let isFine = key == "rank_pattern" ? (value.int ?? 0) >= 1 : (value.double ?? 0) > 0
        if !isFine {
          reader.add("\(path).\(key): '\(name)' is \(value.text()), expected \(expected)", at: path + "." + key)
        }
      }
    }
    guard model["adapter"]?.string == nil, let dropout = lora["dropout"]?.double, dropout > 0 else { return }
    for (index, stage) in (recipe["stages"]?.array ?? []).enumerated()
    where stage["objective"]?.string.flatMap(ObjectiveRegistry.named)?.kind == .rollouts {
      reader.add(
        "\(path).dropout: found \(dropout), but stages.\(index) is on-policy: it trains on what was sampled without dropout",
        at: path + ".dropout", hint: "set model.lora.dropout to 0")
      return
    }
  }

  private static func checkPattern(_ text: String?, _ path: String, _ reader: inout RecipeReader) {
    guard let text else { return }
    do { try LoRAConfiguration.checkPattern(text) } catch {
      reader.add("\(path): \((error as? AttuneError)?.message ?? "\(error)")", at: path)
    }
  }
}
