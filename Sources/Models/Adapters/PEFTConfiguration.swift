import AttuneTensor
import Core

/// `adapter_config.json` as PEFT 0.21 writes and reads it.
struct PEFTConfiguration {
  var configuration: LoRAConfiguration
  /// The keys of the file, to be kept when the adapter is written again.
  var keys: JSON.Object

  /// Keys that change what an adapter computes in ways that are not built, and why each is refused when it is set.
  private static let refused: [(key: String, reason: String)] = [
    ("fan_in_fan_out", "weights are stored [out, in] in every model that is read here"),
    ("layer_replication", "the model keeps the layers of its checkpoint"),
    ("trainable_token_indices", "an embedding is trained whole, by modules_to_save"),
    ("alora_invocation_tokens", "an adapter is on for all tokens or for none"),
    ("megatron_config", "the model is not split among machines"),
    ("arrow_config", "one adapter is active at a time"),
    ("use_qalora", "quantised weights are decoded, not pooled"),
    ("use_bdlora", "factors are not block diagonal"),
    ("kasa_config", "factors are not scaled by singular values"),
    ("monteclora_config", "factors have no distribution"),
    ("velora_config", "gradients are not compressed"),
  ]
  /// Ways to begin that change the checkpoint's own weights too.
  private static let weightChangingStarts = ["pissa", "olora", "corda", "loftq", "lora_ga"]

  /// Keys that are written by name; everything else of a file is kept as it was.
  private static let defaults: JSON.Object = .init([
    ("alora_invocation_tokens", .null), ("alpha_pattern", .object([])), ("arrow_config", .null),
    ("auto_mapping", .null),
    ("base_model_name_or_path", .null), ("bias", "none"), ("corda_config", .null), ("ensure_weight_tying", false),
    ("eva_config", .null), ("exclude_modules", .null), ("fan_in_fan_out", false), ("inference_mode", true),
    ("init_lora_weights", true), ("kasa_config", .null), ("layer_replication", .null), ("layers_pattern", .null),
    ("layers_to_transform", .null), ("loftq_config", .object([])), ("lora_alpha", 8), ("lora_bias", false),
    ("lora_dropout", 0.0), ("lora_ga_config", .null), ("megatron_config", .null), ("megatron_core", "megatron.core"),
    ("modules_to_save", .null), ("monteclora_config", .null), ("peft_type", "LORA"), ("peft_version", "0.21.2"),
    ("qalora_group_size", 16), ("r", 8), ("rank_pattern", .object([])), ("revision", .null), ("target_modules", .null),
    ("target_parameters", .null), ("task_type", "CAUSAL_LM"), ("trainable_token_indices", .null),
    ("use_bdlora", .null), ("use_dora", false), ("use_qalora", false), ("use_rslora", false), ("velora_config", .null),
  ])

  /// - Throws: `.request` with the place in the file, for what is no LoRA configuration or asks for what is not built.
  init(path: String) throws {
    let json = try JSON.parse(MappedFile.read(path), file: path)
    guard let keys = json.object else {
      throw AttuneError.request(
        "found \(json.kind), a mapping of PEFT's settings was expected", at: json.location(in: path))
    }
    self.keys = keys
    let reader = Reader(json: json, path: path)
    guard json["peft_type"]?.string == "LORA" else {
      throw reader.refuse("peft_type", "is \(json["peft_type"]?.text() ?? "missing"), \"LORA\" was expected")
    }
    for (key, reason) in Self.refused where reader.isSet(key) {
      throw reader.refuse(key, "is \(json[key]!.text()), which is not available: \(reason)")
    }
    let start = json["init_lora_weights"]?.string ?? ""
    if let found = Self.weightChangingStarts.first(where: start.hasPrefix) {
      throw reader.refuse(
        "init_lora_weights", "is \"\(start)\": such an adapter belongs to weights that \(found) has changed",
        hint: "convert it to a plain LoRA with PEFT: save_pretrained(…, path_initial_model_for_weight_conversion=…)")
    }
    for (key, value) in keys.entries where Self.defaults[key] == nil && key.hasPrefix("use_") && value.bool == true {
      throw reader.refuse(
        key, "is true, which is not known here",
        hint: nearestName(to: key, among: Self.defaults.keys).map { "did you mean \($0)?" })
    }
    var c = LoRAConfiguration(rank: try reader.int("r") ?? 8, alpha: try reader.number("lora_alpha") ?? 8)
    c.dropout = try reader.number("lora_dropout") ?? 0
    c.targets = try reader.modules("target_modules") ?? .names([])
    c.targetParameters = try reader.strings("target_parameters") ?? []
    c.excluded = try reader.modules("exclude_modules")
    c.layers = try reader.layers("layers_to_transform")
    c.layersPatterns = try reader.strings("layers_pattern") ?? []
    c.rankStabilized = try reader.bool("use_rslora") ?? false
    c.dora = try reader.bool("use_dora") ?? false
    c.factorBias = try reader.bool("lora_bias") ?? false
    c.modulesToSave = try reader.strings("modules_to_save") ?? []
    if let text = try reader.string("bias") {
      guard let bias = LoRAConfiguration.Bias(rawValue: text) else {
        throw reader.refuse("bias", "is \"\(text)\", one of none, all, lora_only was expected")
      }
      c.bias = bias
    }
    c.rankPattern = try reader.patterns("rank_pattern") { $0.int }
    c.alphaPattern = try reader.patterns("alpha_pattern") { $0.double }
    do { try c.validate() } catch let error as AttuneError { throw error.located(in: path) }
    configuration = c
  }

  /// Typed access to the file's keys; a missing or null key gives nil.
  private struct Reader {
    let json: JSON
    let path: String

    func refuse(_ key: String, _ what: String, hint: String? = nil) -> AttuneError {
      .request("\(key) \(what)", at: (json[key] ?? json).location(in: path), hint: hint)
    }

    func isSet(_ key: String) -> Bool {
      guard let value = json[key] else { return false }
      return !(value.isNull || value.bool == false || value.array?.isEmpty == true || value.object?.isEmpty == true)
    }

    private func read<T>(_ key: String, _ expected: String, _ convert: (JSON) -> T?) throws -> T? {
      guard let value = json[key], !value.isNull else { return nil }
      guard let found = convert(value) else { throw refuse(key, "is \(value.text()), \(expected) was expected") }
      return found
    }

    func int(_ key: String) throws -> Int? { try read(key, "a whole number") { $0.int } }
    func number(_ key: String) throws -> Double? { try read(key, "a number") { $0.double } }
    func bool(_ key: String) throws -> Bool? { try read(key, "true or false") { $0.bool } }
    func string(_ key: String) throws -> String? { try read(key, "a string") { $0.string } }

    private static func strings(_ value: JSON) -> [String]? {
      if let text = value.string { return [text] }
      let texts = value.array?.compactMap(\.string)
      return texts?.count == value.array?.count ? texts : nil
    }

    func strings(_ key: String) throws -> [String]? {
      try read(key, "a list of strings") { Reader.strings($0) }
    }

    func modules(_ key: String) throws -> LoRAConfiguration.Modules? {
      try read(key, "a list of names or a pattern") { value in
        if let text = value.string { return text.lowercased() == "all-linear" ? .allLinear : .pattern(text) }
        return Reader.strings(value).map { .names($0) }
      }
    }

    func layers(_ key: String) throws -> [Int]? {
      try read(key, "a whole number or a list of them") { value in
        if let one = value.int { return [one] }
        let all = value.array?.compactMap(\.int)
        return all?.count == value.array?.count ? all : nil
      }
    }

    func patterns<V: Sendable>(_ key: String, _ convert: (JSON) -> V?) throws -> NamePatterns<V> {
      NamePatterns(
        try read(key, "a mapping from names to numbers") { value -> [(pattern: String, value: V)]? in
          guard let entries = value.object?.entries else { return nil }
          let pairs = entries.compactMap { name, value in convert(value).map { (pattern: name, value: $0) } }
          return pairs.count == value.object!.count ? pairs : nil
        } ?? [])
    }
  }

  // MARK: Writing

  /// The file's text: PEFT's keys in its order, then those of the file that the adapter came from.
  ///
  /// - Parameter task: PEFT's name for what the model is for; nil keeps the file's, `CAUSAL_LM` where there is none.
  static func text(
    _ c: LoRAConfiguration, kept: JSON.Object?, base: String?, task: String? = nil
  ) -> String {
    var keys = defaults
    for (key, value) in kept?.entries ?? JSON.Object().entries { keys[key] = value }
    func number(_ x: Double) -> JSON { x == x.rounded() && abs(x) < 1e15 ? .int(Int(x)) : .double(x) }
    func list(_ modules: LoRAConfiguration.Modules?) -> JSON {
      switch modules {
      case nil: .null
      case .allLinear: "all-linear"
      case .names(let names): .array(names.map { .string($0) })
      case .pattern(let text): .string(text)
      }
    }
    if let base { keys["base_model_name_or_path"] = .string(base) }
    if let task { keys["task_type"] = .string(task) }
    keys["inference_mode"] = true
    keys["r"] = .int(c.rank)
    keys["lora_alpha"] = number(c.alpha)
    keys["lora_dropout"] = .double(c.dropout)
    keys["target_modules"] = list(c.targets)
    keys["target_parameters"] = c.targetParameters.isEmpty ? .null : .array(c.targetParameters.map { .string($0) })
    keys["exclude_modules"] = list(c.excluded)
    keys["layers_to_transform"] = c.layers.map { .array($0.map { .int($0) }) } ?? .null
    keys["layers_pattern"] = c.layersPatterns.isEmpty ? .null : .array(c.layersPatterns.map { .string($0) })
    keys["use_rslora"] = .bool(c.rankStabilized)
    keys["use_dora"] = .bool(c.dora)
    keys["lora_bias"] = .bool(c.factorBias)
    keys["bias"] = .string(c.bias.rawValue)
    keys["modules_to_save"] = c.modulesToSave.isEmpty ? .null : .array(c.modulesToSave.map { .string($0) })
    keys["rank_pattern"] = .object(c.rankPattern.entries.map { ($0.pattern, .int($0.value)) })
    keys["alpha_pattern"] = .object(c.alphaPattern.entries.map { ($0.pattern, number($0.value)) })
    return JSON(.object(.init(keys.entries.sorted { $0.0 < $1.0 }))).text(.pretty) + "\n"
  }
}
