import AttuneTensor
import Core

/// Names of PEFT's files and of what is in them.
enum PEFTFile {
  static let prefix = "base_model.model."
  static let configuration = "adapter_config.json"
  static let tensors = "adapter_model.safetensors"
  /// What PEFT saves whole of every sequence classifier, whichever of them it has.
  static let scoreModules = ["score", "classifier"]
}

extension LanguageModel {
  /// Reads a PEFT adapter folder (`adapter_config.json`, `adapter_model.safetensors`) and makes it the active adapter.
  ///
  /// - Parameters:
  ///   - trainable: false takes no memory for gradients.
  ///   - parts: the parts of the model whose adapters are trained.
  ///   - scoreHead: the head of a reward model or critic, which takes its values from the adapter's file where
  ///     `modules_to_save` names it.
  /// - Throws: `.request` naming file and tensor, for a kind of adapter other than LoRA, an option that is not built, or
  ///   tensors that are missing, too many, or do not fit the model.
  public func loadAdapter(
    folder: String, name: String = LanguageModel.defaultAdapterName, trainable: Bool = true,
    parts: Set<ModelPart> = Set(ModelPart.allCases), scoreHead: ScoreHead? = nil
  ) throws {
    let configurationPath = folder + "/" + PEFTFile.configuration
    let file = try PEFTConfiguration(path: configurationPath)
    var configuration = file.configuration
    var headValues: [(Parameter, Tensor)] = []
    let reading = try AdapterReading(SafeTensors(folder + "/" + PEFTFile.tensors))
    do {
      let matching = try ModuleMatching(configuration)
      if let scoreHead, scoreHead.layout == .classification,
        configuration.modulesToSave.contains(where: PEFTFile.scoreModules.contains)
      {
        configuration.modulesToSave.removeAll(where: PEFTFile.scoreModules.contains)
        headValues = try scoreHead.parameters.map {
          ($0, try reading.take(PEFTFile.prefix + $0.name, or: nil, $0.shape, on: backend))
        }
      }
      if file.keys["ensure_weight_tying"]?.bool == true, isTied,
        configuration.modulesToSave.contains(where: { $0.hasSuffix("lm_head") || $0.hasSuffix("embed_tokens") })
      {
        throw AttuneError.request(
          "ensure_weight_tying is true, which is not available: a saved embedding and the head are told apart",
          at: (file.keys["ensure_weight_tying"]!).location(in: configurationPath))
      }
      let aims = configuration.targetParameters
      guard aims.isEmpty || adaptable.contains(where: { matching.isTargetedParameter($0.name) }) else {
        throw AttuneError.request(
          "target_parameters is \(aims), of which the model has none that takes factors",
          at: file.keys["target_parameters"]!.location(in: configurationPath))
      }
      // The tensors say which modules are adapted; those that the configuration means must be among them.
      var modules = reading.modules
      let known = Set(adaptable.map(\.name))
      for module in modules where !known.contains(module) { throw unknown(module, reading, among: known) }
      let adapter = try newAdapter(configuration, name: name)
      adapter.layers = try readExperts(reading, matching, adapter, trainable: trainable && parts.contains(.language))
      let found = Set(modules + adapter.layers.map(\.module))
      for linear in adaptable where !found.contains(linear.name) {
        // A list of names means experts where a file has any: files of older programs may have none.
        guard try matching.isTarget(linear.name) else { continue }
        guard !ModuleMatching.isRoutedExpert(linear.name) else {
          if matching.isTargetedParameter(linear.name) { throw missingExperts(linear.name, reading) }
          continue
        }
        modules.append(linear.name)
      }
      guard
        !modules.isEmpty || !adapter.layers.isEmpty || !configuration.modulesToSave.isEmpty || !headValues.isEmpty
      else {
        throw AttuneError.request("no tensor ends in .lora_A.weight", at: .init(file: reading.path))
      }
      adapter.fileKeys = file.keys
      let places = Dictionary(adaptable.map { ($0.name, $0) }, uniquingKeysWith: { a, _ in a })
      for module in modules {
        adapter.layers.append(
          try layer(
            places[module]!, reading, matching, configuration, adapter,
            trainable: trainable && parts.contains(ModelPart(of: module))))
      }
      let order = Dictionary(
        adaptable.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
      adapter.layers.sort { order[$0.module]! < order[$1.module]! }
      if trainable { try checkExperts(adapter) }
      var standIns: [(Saved, Tensor)] = []
      for saved in try savedParameters(configuration, layers: adapter.layers) {
        let shape = (saved.parameter ?? ownHead.weights[0]).shape
        standIns.append((saved, try reading.take(saved.key, or: saved.plainKey, shape, on: backend)))
      }
      try reading.expectNothingMore(configuration)
      for (saved, value) in standIns { addStandIn(saved, value, to: adapter) }
      for (parameter, value) in headValues { parameter.setValue(value) }
      finish(adapter, trainable: trainable)
      for parameter in adapter.standIns.map(\.parameter) where !parts.contains(ModelPart(of: parameter.name)) {
        parameter.setTrainable(false)
      }
    } catch let error as AttuneError { throw error.located(in: configurationPath) }
  }

  private func unknown(_ module: String, _ reading: AdapterReading, among known: Set<String>) -> AttuneError {
    if let whole = ["lm_head", "embed_tokens"].first(where: { ModuleMatching.ends(module, in: $0) }) {
      return .request(
        "the adapter has factors for \(module): \(whole) takes none here, since products with the whole vocabulary are computed by the fused head",
        at: .init(file: reading.path), hint: "merge the adapter with PEFT, or train a full copy by modules_to_save")
    }
    return .request(
      "the adapter has factors for \(module), the model has no such linear layer", at: .init(file: reading.path),
      hint: nearestName(to: module, among: known.sorted()).map { "the nearest is \($0)" })
  }

  private func layer(
    _ linear: Linear, _ reading: AdapterReading, _ matching: ModuleMatching, _ configuration: LoRAConfiguration,
    _ adapter: LoRAAdapter, trainable: Bool
  ) throws -> LoRALayer {
    let (rank, scaling) = (try matching.rank(of: linear.name), try matching.scaling(of: linear.name))
    let (out, width) = (linear.weight.shape[0], linear.weight.shape[1])
    func parameter(_ rest: String, or other: String? = nil, _ shape: [Int]) throws -> Parameter {
      let key = LoRALayer.key(linear.name, rest)
      let value = try reading.take(key, or: other.map { LoRALayer.key(linear.name, $0) }, shape, on: backend)
      return Parameter(
        name: other.map { LoRALayer.key(linear.name, $0) } ?? key, value: value, precision: precision,
        trainable: trainable, backend: backend)
    }
    return LoRALayer(
      module: linear.name,
      factors: LowRankFactors(
        try parameter("lora_A.weight", [rank, width]), try parameter("lora_B.weight", [out, rank]), scaling,
        bias: configuration.factorBias ? try parameter("lora_B.bias", [out]) : nil,
        magnitude: configuration.dora
          ? try parameter("lora_magnitude_vector", or: "lora_magnitude_vector.weight", [out]) : nil),
      adapter: adapter)
  }

  // MARK: Writing

  /// Writes the active adapter as PEFT does.
  ///
  /// - Parameter scoreHead: the head of a reward model or critic that is trained with it: a classifier's is among the adapter's
  ///   tensors as PEFT's `modules_to_save` has it (`task_type` SEQ_CLS), a value head in TRL's file beside them.
  public func saveAdapter(folder: String, baseModel: String? = nil, scoreHead: ScoreHead? = nil) throws {
    guard let adapter else { throw AttuneError.work("the model has no adapter to save") }
    try checkExperts(adapter)
    var tensors = adapter.layers.filter { !$0.module.contains("[") }.flatMap { layer in
      layer.tensors.map { ($0.key, $0.parameter.value) }
    }
    tensors += writtenExperts(adapter)
    tensors += adapter.standIns.map { ($0.key, $0.parameter.value(of: $0.id)) }
    if let head = adapter.head, head.isSaved {
      tensors.append((PEFTFile.prefix + head.parameter.name, head.parameter.value))
    }
    var configuration = try writtenConfiguration(adapter)
    var task: String?
    if let scoreHead, scoreHead.layout == .classification {
      tensors += scoreHead.parameters.map { (PEFTFile.prefix + $0.name, $0.value) }
      configuration.modulesToSave.append(PEFTFile.scoreModules[0])
      task = "SEQ_CLS"
    }
    try ScoreHead.writeValueFile(scoreHead, folder: folder)
    try SafeTensors.write(tensors, to: folder + "/" + PEFTFile.tensors, from: backend)
    try AtomicFile.write(
      folder + "/" + PEFTFile.configuration,
      text: PEFTConfiguration.text(configuration, kept: adapter.fileKeys, base: baseModel, task: task))
  }
}

extension LanguageModel.Saved {
  /// What PEFT wrote before it kept the layer below an adapter under a name of its own.
  var plainKey: String? {
    key.hasSuffix(".base_layer.bias") ? String(key.dropLast(".base_layer.bias".count)) + ".bias" : nil
  }
}

/// The tensors of an adapter's file, each of which must be taken once.
final class AdapterReading {
  private let tensors: SafeTensors
  private var left: Set<String>
  /// Modules with a tensor of low-rank factors, in the file's order.
  let modules: [String]
  /// What PEFT calls the layers' lists of experts where it has the factors of all of them in one tensor, `….mlp.experts`.
  let expertLists: [String]
  var path: String { tensors.path }

  init(_ tensors: SafeTensors) throws {
    self.tensors = tensors
    left = Set(tensors.entries.map(\.name))
    var modules: [String] = []
    var (seen, lists): (Set<String>, Set<String>) = ([], [])
    for entry in tensors.entries {
      guard entry.name.hasPrefix(PEFTFile.prefix) else {
        throw AttuneError.request(
          "tensor \(entry.name) does not begin with \(PEFTFile.prefix), as PEFT's names do",
          at: .init(file: tensors.path))
      }
      guard let range = entry.name.firstRange(of: ".lora_") else { continue }
      let module = String(entry.name[..<range.lowerBound].dropFirst(PEFTFile.prefix.count))
      if entry.name[range.upperBound...].hasPrefix("embedding_") {
        throw AttuneError.request(
          "tensor \(entry.name) adapts an embedding, which is not available", at: .init(file: tensors.path),
          hint: "modules_to_save trains a full copy of it")
      }
      if let list = Self.expertList(module) {
        lists.insert(list)
      } else if seen.insert(module).inserted {
        modules.append(module)
      }
    }
    self.modules = modules
    expertLists = lists.sorted()
  }

  private static func expertList(_ module: String) -> String? {
    let wrapped = ".base_layer"
    let list = module.hasSuffix(wrapped) ? String(module.dropLast(wrapped.count)) : module
    return list.hasSuffix(".experts") ? list : nil
  }

  func has(_ name: String) -> Bool { tensors.entry(name) != nil }

  /// - Throws: `.request` if there is no tensor of that name.
  func shape(of name: String) throws -> [Int] { try tensors.require(name).shape }

  /// The tensor of that name (or its other name), f32.
  func take(_ name: String, or other: String?, _ shape: [Int], on backend: any Backend) throws -> Tensor {
    let name = other.map { tensors.entry(name) == nil && tensors.entry($0) != nil ? $0 : name } ?? name
    let entry = try tensors.require(name)
    guard entry.shape == shape else {
      throw AttuneError.request(
        "tensor \(name) has shape \(entry.shape), \(shape) was expected", at: .init(file: path))
    }
    left.remove(name)
    return backend.upload(try tensors.floats(name), shape)
  }

  func expectNothingMore(_ configuration: LoRAConfiguration) throws {
    guard let extra = left.min() else { return }
    let hint: String
    switch true {
    case extra.contains("lora_magnitude_vector"): hint = "magnitudes belong to use_dora: true"
    case extra.hasSuffix(".lora_B.bias"): hint = "biases of factors belong to lora_bias: true"
    case extra.hasSuffix(".bias"):
      hint = "biases belong to bias: all or lora_only; here it is \(configuration.bias.rawValue)"
    default: hint = "whole modules belong to modules_to_save; here it is \(configuration.modulesToSave)"
    }
    throw AttuneError.request(
      "tensor \(extra) is not one of this adapter's (\(left.count) such)", at: .init(file: path), hint: hint)
  }
}
