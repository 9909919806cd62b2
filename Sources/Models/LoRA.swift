import AttuneTensor
import Core

/// What of a model is adapted, and how strongly (LoRA, 2106.09685).
public struct LoRAConfiguration: Sendable, Equatable {
  public var rank: Int
  public var alpha: Double
  /// Names of modules, matched as PEFT does: a whole name or the end of one after a dot. Empty stands for all linear layers.
  public var targets: [String]
  /// Scale by alpha / sqrt(rank) instead of alpha / rank (2312.03732).
  public var rankStabilized: Bool
  /// Other ranks and alphas for modules whose name ends so.
  public var rankPattern: [String: Int]
  public var alphaPattern: [String: Double]

  public init(
    rank: Int = 16, alpha: Double = 32, targets: [String] = [], rankStabilized: Bool = false,
    rankPattern: [String: Int] = [:], alphaPattern: [String: Double] = [:]
  ) {
    self.rank = rank
    self.alpha = alpha
    self.targets = targets
    self.rankStabilized = rankStabilized
    self.rankPattern = rankPattern
    self.alphaPattern = alphaPattern
  }

  func matches(_ module: String) -> Bool {
    targets.isEmpty || targets.contains { module == $0 || module.hasSuffix("." + $0) }
  }
  func rank(of module: String) -> Int { LoRAConfiguration.lookUp(module, rankPattern) ?? rank }
  func scaling(of module: String) -> Double {
    let alpha = LoRAConfiguration.lookUp(module, alphaPattern) ?? alpha
    let rank = Double(rank(of: module))
    return rankStabilized ? alpha / rank.squareRoot() : alpha / rank
  }

  private static func lookUp<V>(_ module: String, _ pattern: [String: V]) -> V? {
    pattern.keys.sorted().first { module == $0 || module.hasSuffix("." + $0) }.flatMap { pattern[$0] }
  }
}

/// A set of low-rank layers that can be switched off together, which turns the policy into its reference model.
public final class LoRAAdapter {
  public let configuration: LoRAConfiguration
  public internal(set) var layers: [LoRALayer] = []
  /// False makes every adapted layer compute as if the adapter were not there.
  public var isEnabled = true

  init(_ configuration: LoRAConfiguration) { self.configuration = configuration }

  public var parameters: [Parameter] { layers.flatMap { [$0.a, $0.b] } }
}

/// The two factors beside one weight: y += scaling · (x aᵀ) bᵀ.
public final class LoRALayer {
  public let module: String
  /// `[rank, in]`.
  public let a: Parameter
  /// `[out, rank]`.
  public let b: Parameter
  public let scaling: Double
  unowned let adapter: LoRAAdapter

  init(module: String, a: Parameter, b: Parameter, scaling: Double, adapter: LoRAAdapter) {
    self.module = module
    self.a = a
    self.b = b
    self.scaling = scaling
    self.adapter = adapter
  }
}

extension LanguageModel {
  /// Puts fresh low-rank layers beside the target modules: a uniform in ±1/√in as PEFT (Kaiming, a = √5), b zero.
  public func attachLoRA(_ configuration: LoRAConfiguration, seed: UInt64) throws {
    let randomness = Randomness(seed: seed, for: .initialization)
    try attach(configuration) { module, shape, isA in
      guard isA else { return self.backend.zeros(shape, .f32) }
      var stream = randomness.stream(named: module, 1)
      let bound = 1 / Double(shape[1]).squareRoot()
      return self.backend.upload((0..<shape[0] * shape[1]).map { _ in Float(stream.uniform(-bound, bound)) }, shape)
    }
  }

  private func attach(_ configuration: LoRAConfiguration, value: (String, [Int], Bool) throws -> Tensor) throws {
    guard configuration.rank > 0 else {
      throw AttuneError.request("a LoRA rank of \(configuration.rank); 1 or more was expected")
    }
    let adapter = LoRAAdapter(configuration)
    for target in configuration.targets
    where !linears.contains(where: { $0.name == target || $0.name.hasSuffix("." + target) }) {
      let ends = Set(linears.map { String($0.name.split(separator: ".").last!) }).sorted()
      throw AttuneError.request(
        "no linear layer is called \(target)",
        hint: (nearestName(to: target, among: ends).map { "did you mean \($0)? " } ?? "")
          + "there are: \(ends.joined(separator: ", "))")
    }
    for linear in linears where configuration.matches(linear.name) && !isPatchEmbedding(linear) {
      let rank = configuration.rank(of: linear.name)
      let a = Parameter(
        name: "base_model.model.\(linear.name).lora_A.weight",
        value: try value(linear.name, [rank, linear.weight.value.width], true),
        precision: precision, trainable: true, backend: backend)
      let b = Parameter(
        name: "base_model.model.\(linear.name).lora_B.weight",
        value: try value(linear.name, [linear.weight.value.rows, rank], false),
        precision: precision, trainable: true, backend: backend)
      let layer = LoRALayer(
        module: linear.name, a: a, b: b, scaling: configuration.scaling(of: linear.name), adapter: adapter)
      linear.lora = layer
      adapter.layers.append(layer)
    }
    self.adapter = adapter
  }

  /// The patch embedding is a convolution in the checkpoint, which PEFT's linear layers do not cover.
  private func isPatchEmbedding(_ linear: Linear) -> Bool { linear.name.hasSuffix("patch_embed.proj") }

  // MARK: PEFT's files

  /// Reads a PEFT adapter folder (`adapter_config.json`, `adapter_model.safetensors`).
  ///
  /// - Throws: `.request` for a kind of adapter other than LoRA, an option that changes its arithmetic, or tensors that do
  ///   not fit the model.
  public func loadAdapter(folder: String) throws {
    let path = folder + "/adapter_config.json"
    let json = try JSON.parse(MappedFile.read(path), file: path)
    func refuse(_ key: String, _ what: String) -> AttuneError {
      .request("\(key) \(what)", at: (json[key] ?? json).location(in: path))
    }
    guard let type = json["peft_type"]?.string, type == "LORA" else {
      throw refuse("peft_type", "is \(json["peft_type"]?.text() ?? "missing"), \"LORA\" was expected")
    }
    for key in ["use_dora", "lora_bias", "fan_in_fan_out", "use_qalora", "use_bdlora"] where json[key]?.bool == true {
      throw refuse(key, "is true, which is not available")
    }
    if let bias = json["bias"]?.string, bias != "none" { throw refuse("bias", "is \"\(bias)\", \"none\" was expected") }
    if let saved = json["modules_to_save"], saved.array?.isEmpty == false {
      throw refuse("modules_to_save", "is not empty, which is not available")
    }
    guard let rank = json["r"]?.int, rank > 0 else {
      throw refuse("r", "is \(json["r"]?.text() ?? "missing"), a rank was expected")
    }
    let tensors = try SafeTensors(folder + "/adapter_model.safetensors")
    var configuration = LoRAConfiguration(
      rank: rank, alpha: json["lora_alpha"]?.double ?? 8, rankStabilized: json["use_rslora"]?.bool ?? false,
      rankPattern: (json["rank_pattern"]?.object?.entries).map {
        Dictionary($0.compactMap { k, v in v.int.map { (k, $0) } }, uniquingKeysWith: { a, _ in a })
      } ?? [:],
      alphaPattern: (json["alpha_pattern"]?.object?.entries).map {
        Dictionary($0.compactMap { k, v in v.double.map { (k, $0) } }, uniquingKeysWith: { a, _ in a })
      } ?? [:])
    // The tensors say which modules are adapted, whatever pattern the configuration used to choose them.
    let suffix = ".lora_A.weight"
    let prefix = "base_model.model."
    let modules = tensors.entries.map(\.name).filter { $0.hasPrefix(prefix) && $0.hasSuffix(suffix) }
      .map { String($0.dropFirst(prefix.count).dropLast(suffix.count)) }
    guard !modules.isEmpty else {
      throw AttuneError.request("no tensor ends in \(suffix)", at: .init(file: tensors.path))
    }
    for module in modules where !linears.contains(where: { $0.name == module }) {
      throw AttuneError.request(
        "the adapter has factors for \(module), the model has no such linear layer", at: .init(file: tensors.path),
        hint: nearestName(to: module, among: linears.map(\.name)).map { "the nearest is \($0)" })
    }
    guard tensors.entries.count == 2 * modules.count else {
      throw AttuneError.request(
        "\(tensors.entries.count) tensors for \(modules.count) modules, two each were expected",
        at: .init(file: tensors.path))
    }
    configuration.targets = modules
    try attach(configuration) { module, shape, isA in
      let name = "\(prefix)\(module).lora_\(isA ? "A" : "B").weight"
      let entry = try tensors.require(name)
      guard entry.shape == shape else {
        throw AttuneError.request(
          "tensor \(name) has shape \(entry.shape), \(shape) was expected", at: .init(file: tensors.path))
      }
      return self.backend.upload(try tensors.floats(name), shape)
    }
    let given = (json["target_modules"]?.array ?? []).compactMap(\.string)
    adapterTargets = given.isEmpty ? modules : given
  }

  /// The end of a module's name that PEFT finds it by: its last word, or two where one would also find the patch
  /// embedding, a convolution.
  private func plainTarget(_ module: String) -> String {
    let words = module.split(separator: ".")
    return words.suffix(words.last == "proj" ? 2 : 1).joined(separator: ".")
  }

  /// Writes the adapter as PEFT does.
  public func saveAdapter(folder: String, baseModel: String) throws {
    guard let adapter else { throw AttuneError.work("the model has no adapter to save") }
    let c = adapter.configuration
    let targets =
      adapterTargets
      ?? (c.targets.isEmpty
        ? Set(adapter.layers.map { plainTarget($0.module) }).sorted() : c.targets)
    let json: JSON = [
      "peft_type": "LORA", "base_model_name_or_path": .string(baseModel), "task_type": "CAUSAL_LM",
      "inference_mode": true,
      "r": .int(c.rank), "lora_alpha": c.alpha == c.alpha.rounded() ? .int(Int(c.alpha)) : .double(c.alpha),
      "lora_dropout": 0.0, "use_rslora": .bool(c.rankStabilized), "use_dora": false, "bias": "none",
      "fan_in_fan_out": false,
      "init_lora_weights": true, "modules_to_save": .null,
      "target_modules": .array(targets.map { .string($0) }),
      "rank_pattern": .object(c.rankPattern.sorted { $0.key < $1.key }.map { ($0.key, .int($0.value)) }),
      "alpha_pattern": .object(c.alphaPattern.sorted { $0.key < $1.key }.map { ($0.key, .double($0.value)) }),
    ]
    try SafeTensors.write(
      adapter.parameters.map { ($0.name, $0.value) }, to: folder + "/adapter_model.safetensors", from: backend)
    try AtomicFile.write(folder + "/adapter_config.json", text: json.text(.pretty) + "\n")
  }

  /// The weight with the adapter folded in: w + scaling · b a, f32 `[out, in]`.
  public func merged(_ linear: Linear) -> Tensor {
    let w = linear.weight.value
    let sum = backend.empty(w.shape, .f32)
    backend.convert(sum, w)
    guard let lora = linear.lora else { return sum }
    let product = backend.empty([w.rows, w.width], .f32)
    backend.matmulTurned(product, lora.b.value.allColumns, backend.pack([lora.a.value], for: .full), accumulate: false)
    backend.addScaled(sum, product, lora.scaling)
    return sum
  }
}
