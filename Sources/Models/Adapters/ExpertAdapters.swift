import AttuneTensor
import Core

/// Mixtures of experts to PEFT: what is a linear layer here may be a parameter there, with rules of its own.
///
/// transformers 5 keeps the experts of a layer in two parameters, and the router in one. PEFT 0.21 adapts those by
/// `target_parameters`, which knows neither dropout nor DoRA nor biases of factors. Files with factors of each expert it converts,
/// which takes every name that ends in `gate_proj`, `up_proj` or `down_proj` for experts', dense layers' too.
extension LanguageModel {
  /// How the reading program has experts.
  enum ExpertForm {
    /// As linear layers.
    case apart
    /// As parameters that it joins from the linear layers of files.
    case joined
    /// As parameters in its files too.
    case stacked
  }

  var expertForm: ExpertForm {
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
}

extension LoRAConfiguration {
  /// The first of the settings that PEFT refuses for adapters on parameters; nil if there is none.
  var reasonAgainstParameters: String? {
    dropout > 0 ? "dropout" : dora ? "DoRA" : factorBias ? "lora_bias" : nil
  }
}
