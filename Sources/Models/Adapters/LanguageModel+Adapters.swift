import AttuneTensor
import Core

/// Several adapters may stand beside one model; at most one of them is active.
extension LanguageModel {
  /// Name of an adapter that was given none.
  public static let defaultAdapterName = "default"

  /// Names of the adapters, in the order in which they came.
  public var adapterNames: [String] { adapters.map(\.name) }

  /// Makes the adapter of that name the one that computes; nil leaves the model as its checkpoint has it.
  public func activateAdapter(_ name: String?) throws {
    guard adapter?.name != name else { return }
    let next = try name.map { try named($0) }
    guard adapter?.isMerged != true else {
      throw AttuneError.request(
        "adapter '\(adapter!.name)' is folded into the weights", hint: "take it out of them first")
    }
    adapter = next
    placeActiveAdapter()
  }

  /// Forgets an adapter; the model is without one if it was the active one.
  public func removeAdapter(_ name: String) throws {
    let old = try named(name)
    if old.isMerged { try unmergeAdapter() }
    if adapter === old { try activateAdapter(nil) }
    for standIn in old.standIns { standIn.parameter.removeStandIn(standIn.id) }
    adapters.removeAll { $0 === old }
  }

  func named(_ name: String) throws -> LoRAAdapter {
    if let found = adapters.first(where: { $0.name == name }) { return found }
    throw AttuneError.request(
      "there is no adapter '\(name)'",
      hint: nearestName(to: name, among: adapterNames).map { "did you mean '\($0)'?" }
        ?? (adapters.isEmpty ? "the model has none" : "there are: \(adapterNames.joined(separator: ", "))"))
  }

  /// Puts the active adapter's layers and values in place.
  private func placeActiveAdapter() {
    for linear in linears where linear.lora != nil && linear.lora?.adapter !== adapter { linear.lora = nil }
    if let adapter {
      let places = Dictionary(adapter.layers.map { ($0.module, $0) }, uniquingKeysWith: { a, _ in a })
      for linear in linears where linear.lora == nil { linear.lora = places[linear.name] }
    }
    showValues()
  }

  /// Shows the values of the active adapter, or the model's own where it is off. Layers heed that by themselves, so this is all
  /// that a switch for a reference pass takes.
  func showValues() {
    for other in adapters where other !== adapter || !other.isEnabled {
      for standIn in other.standIns where standIn.parameter.shown == standIn.id { standIn.parameter.show(0) }
      for (parameter, id) in other.folded where parameter.shown == id { parameter.show(0) }
    }
    head = ownHead
    guard let adapter, adapter.isEnabled else { return }
    for standIn in adapter.standIns { standIn.parameter.show(standIn.id) }
    for (parameter, id) in adapter.folded { parameter.show(id) }
    if let other = adapter.head { head = other.group }
  }

  // MARK: Fresh adapters

  /// Puts a fresh adapter beside the model and makes it the active one: a uniform in ±1/√in as PEFT (Kaiming, a = √5), b and
  /// biases zero, magnitudes the norms of the weights, whole modules copies of the model's.
  ///
  /// - Parameter parts: the parts of the model that are adapted.
  /// - Throws: `.request` for settings that exclude each other, or name what the model does not have.
  public func attachLoRA(
    _ configuration: LoRAConfiguration, seed: UInt64, name: String = LanguageModel.defaultAdapterName,
    parts: Set<ModelPart> = Set(ModelPart.allCases)
  ) throws {
    let randomness = Randomness(seed: seed, for: .initialization)
    let matching = try ModuleMatching(configuration)
    try checkNames(configuration)
    var chosen = try adaptable.filter { try parts.contains(ModelPart(of: $0.name)) && matching.isTarget($0.name) }
    guard !chosen.isEmpty || !configuration.modulesToSave.isEmpty else { throw nothingAdapted(configuration) }
    let adapter = try newAdapter(configuration, name: name)
    if configuration.targets == .allLinear, let reason = configuration.reasonAgainstParameters {
      let (left, rest) = (chosen.filter { isParameter($0.name) }, chosen.filter { !isParameter($0.name) })
      if !left.isEmpty {
        let names = Set(left.map { String(ModuleMatching.plain($0.name).split(separator: ".").last!) }).sorted()
        adapter.remark =
          "\(names.joined(separator: ", ")) get no factors: \(reason) does not go with them in PEFT on a \(self.configuration.family.name) model"
        chosen = rest
      }
    }
    for linear in chosen {
      let (rank, scaling) = (try matching.rank(of: linear.name), try matching.scaling(of: linear.name))
      let (out, width) = (linear.weight.shape[0], linear.weight.shape[1])
      var stream = randomness.stream(named: linear.name, 1)
      let bound = 1 / Double(width).squareRoot()
      func parameter(_ rest: String, _ value: Tensor) -> Parameter {
        Parameter(
          name: LoRALayer.key(linear.name, rest), value: value, precision: precision, trainable: true,
          backend: backend)
      }
      let a = parameter(
        "lora_A.weight",
        backend.computes
          ? backend.upload((0..<rank * width).map { _ in Float(stream.uniform(-bound, bound)) }, [rank, width])
          : backend.empty([rank, width], .f32))
      let b = parameter("lora_B.weight", backend.zeros([out, rank], .f32))
      adapter.layers.append(
        LoRALayer(
          module: linear.name,
          factors: LowRankFactors(
            a, b, scaling,
            bias: configuration.factorBias ? parameter("lora_B.bias", backend.zeros([out], .f32)) : nil,
            magnitude: configuration.dora
              ? parameter(
                "lora_magnitude_vector.weight", backend.rowNorms(of: linear.weight, a, b, scale: scaling))
              : nil), adapter: adapter))
    }
    try checkExperts(adapter)
    for saved in try savedParameters(configuration, layers: adapter.layers)
    where saved.parameter.map({ parts.contains(ModelPart(of: $0.name)) }) ?? parts.contains(.language) {
      addStandIn(saved, copy(saved.parameter ?? ownHead.weights[0]), to: adapter)
    }
    finish(adapter, trainable: true)
  }

  private func copy(_ parameter: Parameter) -> Tensor {
    let own = parameter.value(of: 0)
    let value = backend.empty(own.shape, .f32)
    backend.convert(value, own)
    return value
  }

  /// Every name that was given must mean something.
  private func checkNames(_ configuration: LoRAConfiguration) throws {
    guard case .names(let names) = configuration.targets else { return }
    for name in names where !adaptable.contains(where: { ModuleMatching.means(name, $0.name) }) {
      if let known = ["lm_head", "embed_tokens"].first(where: { ModuleMatching.ends(name, in: $0) }) {
        throw AttuneError.request(
          "\(known) takes no low-rank factors: products with the whole vocabulary are computed by the fused head",
          hint: "modules_to_save: [\(known)] trains a full copy of it")
      }
      let ends = Set(adaptable.map { String(ModuleMatching.plain($0.name).split(separator: ".").last!) }).sorted()
      throw AttuneError.request(
        "no linear layer is called \(name)",
        hint: (nearestName(to: name, among: ends).map { "did you mean \($0)? " } ?? "")
          + "there are: \(ends.joined(separator: ", "))")
    }
  }

  private func nothingAdapted(_ configuration: LoRAConfiguration) -> AttuneError {
    guard case .pattern(let text) = configuration.targets else {
      return .request("no linear layer is adapted: all that are named are excluded or frozen")
    }
    let example = adaptable.first.map { "a pattern matches a whole name, such as \($0.name)" }
    return .request(
      "no linear layer matches the pattern '\(text)', or all that do are excluded or frozen",
      hint: [example, "names are given as a list: [\(text)]"].compactMap { $0 }.joined(separator: "; "))
  }

  // MARK: Parts of an adapter

  /// Linear layers that take factors. The patch embedding is a convolution in the checkpoint.
  var adaptable: [Linear] { linears.filter { !$0.name.hasSuffix("patch_embed.proj") } }

  func newAdapter(_ configuration: LoRAConfiguration, name: String) throws -> LoRAAdapter {
    guard !adapterNames.contains(name) else {
      throw AttuneError.request("there is an adapter '\(name)' already", hint: "give each a name of its own")
    }
    adapterCount += 1
    let adapter = LoRAAdapter(configuration, name: name, number: adapterCount)
    adapter.model = self
    return adapter
  }

  /// Makes a complete adapter the active one; what stands in for the model's own values is trained or not.
  func finish(_ adapter: LoRAAdapter, trainable: Bool) {
    if isTied, let standIn = adapter.standIns.first(where: { $0.parameter === ownHead.weights[0] }), adapter.head == nil
    {
      // The head goes on with the checkpoint's values.
      let old = standIn.parameter
      let parameter = Parameter(
        name: headName + ".weight", value: old.value(of: 0), precision: precision, format: old.format, trainable: false,
        backend: backend)
      adapter.head = (WeightGroup([parameter]), parameter, false)
    }
    adapters.append(adapter)
    self.adapter = adapter
    placeActiveAdapter()
    for standIn in adapter.standIns { standIn.parameter.setTrainable(trainable) }
    if let head = adapter.head, head.isSaved { head.parameter.setTrainable(trainable) }
  }

  /// A parameter that an adapter has values of its own for; nil stands for the head of a model that ties it.
  struct Saved {
    let parameter: Parameter?
    let key: String
  }

  func addStandIn(_ saved: Saved, _ value: Tensor, to adapter: LoRAAdapter) {
    if let parameter = saved.parameter {
      adapter.standIns.append(.init(parameter: parameter, id: parameter.addStandIn(value), key: saved.key))
    } else {
      let parameter = Parameter(
        name: headName + ".weight", value: value, precision: precision, format: ownHead.weights[0].format,
        trainable: false, backend: backend)
      adapter.head = (WeightGroup([parameter]), parameter, true)
    }
  }

  var isTied: Bool { configuration.tiedEmbeddings && hasHead }
  /// The head's module: beside the decoder, whatever that is called.
  var headName: String { String(configuration.headName.dropLast(".weight".count)) }

  /// The biases and whole modules that a configuration trains.
  ///
  /// - Throws: `.request` for a module that the model does not have, or that other programs know under other names.
  func savedParameters(_ configuration: LoRAConfiguration, layers: [LoRALayer]) throws -> [Saved] {
    var saved: [Saved] = []
    var taken: Set<String> = []
    let modules = Set(
      parameters.flatMap { parameter -> [String] in
        let words = parameter.name.split(separator: ".").dropLast()
        return words.indices.map { words[...$0].joined(separator: ".") }
      } + (hasHead ? [headName] : []))
    for target in configuration.modulesToSave {
      // As PEFT: the end of a name, with or without a dot before it.
      let found = modules.filter { $0.hasSuffix(target) }.sorted()
      guard !found.isEmpty else {
        let ends = Set(modules.map { String($0.split(separator: ".").last!) }).filter { Int($0) == nil }.sorted()
        throw AttuneError.request(
          "no module is called \(target), which is to be saved whole",
          hint: nearestName(to: target, among: ends).map { "did you mean \($0)?" })
      }
      for module in found {
        if module == headName, isTied {
          guard taken.insert(module).inserted else { continue }
          saved.append(Saved(parameter: nil, key: PEFTFile.prefix + module + ".weight"))
          continue
        }
        for parameter in parameters where parameter.name.hasPrefix(module + ".") {
          guard !ModuleMatching.isRoutedExpert(parameter.name) else {
            throw AttuneError.request(
              "\(target) holds experts, which other programs keep as stacked parameters under other names",
              hint: "train all weights, or name modules without experts")
          }
          guard taken.insert(parameter.name).inserted else { continue }
          saved.append(Saved(parameter: parameter, key: PEFTFile.prefix + parameter.name))
        }
      }
    }
    guard configuration.bias != .none else { return saved }
    let adapted = Set(layers.map(\.module))
    for parameter in parameters where parameter.name.hasSuffix(".bias") && !taken.contains(parameter.name) {
      let module = String(parameter.name.dropLast(".bias".count))
      let isAdapted = adapted.contains(module)
      guard isAdapted || configuration.bias == .all else { continue }
      saved.append(
        Saved(parameter: parameter, key: PEFTFile.prefix + module + (isAdapted ? ".base_layer.bias" : ".bias")))
    }
    return saved
  }
}
