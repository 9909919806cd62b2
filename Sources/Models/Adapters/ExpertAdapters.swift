import AttuneTensor
import Core

/// Mixtures of experts to PEFT: what is a linear layer here may be a parameter there, with rules of its own.
///
/// transformers 5 keeps the experts of a layer in two parameters, and the router in one. PEFT 0.21 adapts those by
/// `target_parameters`, which knows neither dropout nor DoRA nor biases of factors. Files with factors of each expert it converts,
/// which takes every name that ends in `gate_proj`, `up_proj` or `down_proj` for experts', dense layers' too.
extension LanguageModel {
  /// How the reading program has experts.
  private enum ExpertForm {
    /// As linear layers.
    case apart
    /// As parameters that it joins from the linear layers of files.
    case joined
    /// As parameters in its files too.
    case stacked
  }

  private var expertForm: ExpertForm {
    if !stacks.isEmpty { return .stacked }
    return [.qwen3MoE, .deepSeekV2].contains(configuration.family) ? .joined : .apart
  }

  /// True if PEFT adapts the module as a parameter.
  func isParameter(_ module: String) -> Bool {
    if ModuleMatching.isRouter(module) { return true }
    return switch expertForm {
    case .apart: false
    case .joined: ["gate_proj", "up_proj", "down_proj"].contains { ModuleMatching.ends(module, in: $0) }
    case .stacked: module.contains("[")
    }
  }

  /// Refuses what PEFT could not read, or would drop, if the adapter were written.
  ///
  /// - Throws: `.request` with the reason and what would be read.
  func checkExperts(_ adapter: LoRAAdapter) throws {
    let layers = adapter.layers.filter { isParameter($0.module) }
    guard let first = layers.first else { return }
    if let reason = adapter.configuration.reasonAgainstParameters {
      throw AttuneError.request(
        "\(reason) does not go with an adapter on \(ModuleMatching.plain(first.module)): to PEFT it is a parameter of a \(configuration.family.name) model, and \(reason) is for linear layers",
        hint: expertForm == .joined
          ? "leave out \(reason), or gate_proj, up_proj, down_proj and gate"
          : "leave out \(reason), or experts and routers")
    }
    guard expertForm == .joined else { return }
    let experts = Dictionary(grouping: layers.filter { ModuleMatching.isRoutedExpert($0.module) }) {
      String($0.module[..<$0.module.firstRange(of: ".experts.")!.upperBound])
    }
    for (place, layers) in experts.sorted(by: { $0.key < $1.key }) {
      try checkList(layers, at: String(place.dropLast()))
    }
  }

  /// Layers of one list of experts: all of them alike, and what is joined in one parameter together.
  private func checkList(_ layers: [LoRALayer], at list: String) throws {
    let units = Dictionary(grouping: layers) { String($0.module.split(separator: ".").last!) }
    let names = units.keys.sorted()
    guard names == ["down_proj"] || names == ["down_proj", "gate_proj", "up_proj"] else {
      throw AttuneError.request(
        "an adapter on \(names.joined(separator: " and ")) of the experts alone could not be read by PEFT (\(list))",
        hint: "name gate_proj, up_proj and down_proj together, or down_proj alone")
    }
    let count = configuration.text.experts?.count ?? 0
    for (name, layers) in units where layers.count != count {
      throw AttuneError.request(
        "the adapter has factors for \(name) of \(layers.count) of the \(count) experts, which PEFT could not read (\(list))",
        hint: "adapt all experts of a layer, or none")
    }
    func isUneven(_ layers: [LoRALayer]) -> Bool {
      layers.contains { $0.a.shape[0] != layers[0].a.shape[0] || $0.scaling != layers[0].scaling }
    }
    for together in [units["down_proj"] ?? [], (units["gate_proj"] ?? []) + (units["up_proj"] ?? [])]
    where isUneven(together) {
      throw AttuneError.request(
        "the experts' factors have various ranks or alphas, which PEFT could not read (\(list))",
        hint: "rank_pattern and alpha_pattern may tell layers apart, not the experts of a layer")
    }
  }

  // MARK: Writing

  /// The configuration by which PEFT finds the adapted modules where some are parameters to it; nil if none is.
  func configurationWithParameters(_ adapter: LoRAAdapter) throws -> LoRAConfiguration? {
    let form = expertForm
    let parameters = adapter.layers.filter { isParameter($0.module) }
    guard !parameters.isEmpty || form == .joined else { return nil }
    let experts = form == .joined ? parameters.filter { ModuleMatching.isRoutedExpert($0.module) } : []
    var c = adapter.configuration
    if let expert = experts.first {
      // Joining doubles ranks and alphas; the root of a doubled rank would be another scale.
      c.rankStabilized = false
      (c.rank, c.alpha) = (expert.a.shape[0], Self.alpha(expert, stabilized: false))
    }
    // Experts of a layer go by one name.
    func listed(_ module: String) -> String { ModuleMatching.withoutExpert(ModuleMatching.plain(module)) }
    let others = Set(parameterModules.map(listed)).subtracting(adapter.layers.map { listed($0.module) })
    // Joined ones by an end that dense layers without factors have not.
    let names = Set((adapter.layers.filter { !isParameter($0.module) } + experts).map { listed($0.module) })
    c.targets = .names(Self.shortestEnds(of: names, unlike: others))
    let whole = Set(parameters.map(\.module)).subtracting(experts.map(\.module))
    let otherParameters = others.compactMap { name in
      name.contains(".experts.") ? (form == .stacked ? name : nil) : name + ".weight"
    }
    c.targetParameters = Self.shortestEnds(
      of: Set(whole.map(ModuleMatching.parameterName)), unlike: Set(otherParameters), words: 2)
    (c.rankPattern, c.alphaPattern) = patterns(adapter, c)
    return c
  }

  /// Modules that have parameters, members of stacks apart.
  private var parameterModules: [String] {
    parameters.map { parameter in
      parameter.name.contains("[")
        ? parameter.name : parameter.name.split(separator: ".").dropLast().joined(separator: ".")
    } + [headName]
  }

  /// Ranks and alphas other than a configuration's, by patterns that match under every name by which PEFT looks for them.
  private func patterns(
    _ adapter: LoRAAdapter, _ c: LoRAConfiguration
  ) -> (NamePatterns<Int>, NamePatterns<Double>) {
    var (ranks, alphas): (NamePatterns<Int>, NamePatterns<Double>) = ([:], [:])
    var seen: Set<String> = []
    for layer in adapter.layers {
      let (rank, alpha) = (layer.a.shape[0], Self.alpha(layer, stabilized: c.rankStabilized))
      var name = ModuleMatching.plain(layer.module)
      // Per pattern how many factors are side by side.
      var entries: [(pattern: String, times: Int)]
      func escaped(_ name: String) -> String { name.replacing(".", with: "\\.") }
      if expertForm == .joined, ModuleMatching.isRoutedExpert(name) {
        name = ModuleMatching.parameterName(of: name)
        let words = name.split(separator: ".")
        let list = escaped(words.dropLast().joined(separator: "."))
        entries =
          words.last == "down_proj"
          ? [(list + "\\.(\\d+\\.)?down_proj", 1)]
          : [(list + "\\.\\d+\\.(gate|up)_proj", 1), (list + "\\.gate_up_proj", 2)]
      } else {
        let suffix = isParameter(layer.module) && !layer.module.contains("[") ? "(\\.weight)?" : ""
        entries = [(escaped(name) + suffix, 1)]
      }
      guard seen.insert(name).inserted else { continue }
      if rank != c.rank { ranks.entries += entries.map { ($0.pattern, rank * $0.times) } }
      if alpha != c.alpha { alphas.entries += entries.map { ($0.pattern, alpha * Double($0.times)) } }
    }
    return (ranks, alphas)
  }

  /// The alpha by which a reader computes the very scale of a layer.
  private static func alpha(_ layer: LoRALayer, stabilized: Bool) -> Double {
    let rank = Double(layer.a.shape[0])
    let divisor = stabilized ? rank.squareRoot() : rank
    let near = layer.scaling * divisor
    let candidates = [near.rounded(), near, near.nextUp, near.nextDown]
    return candidates.first { $0 / divisor == layer.scaling } ?? near
  }
}

extension LoRAConfiguration {
  /// The first of the settings that PEFT refuses for adapters on parameters; nil if there is none.
  var reasonAgainstParameters: String? {
    dropout > 0 ? "dropout" : dora ? "DoRA" : factorBias ? "lora_bias" : nil
  }
}
