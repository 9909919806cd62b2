import Core

/// Names by which PEFT finds what an adapter's file holds.
struct WrittenTargets {
  /// `target_modules`.
  var modules: LoRAConfiguration.Modules
  /// `target_parameters`: weights of linear layers that PEFT would not find as modules.
  var parameters: [String] = []
}

extension LanguageModel {
  /// Names of gated units, which experts, dense layers and shared experts have in common.
  private static let units: Set = ["gate_proj", "up_proj", "down_proj"]

  /// Names by which PEFT finds the adapted modules and no others.
  ///
  /// For Qwen3-MoE and DeepSeek-V2, PEFT 0.21 beside transformers 5 takes every target that ends in gate_proj, up_proj or
  /// down_proj for the stacked experts, and drops the factors of dense layers and shared experts without a word
  /// (`_convert_peft_config_moe`). Named as parameters they are found; such factors have neither magnitudes nor biases, and with
  /// those PEFT refuses the file.
  func writtenTargets(_ adapter: LoRAAdapter) throws -> WrittenTargets {
    let c = adapter.configuration
    let adapted = Set(adapter.layers.map(\.module))
    let units = adapted.filter { Self.isUnit($0) && !ModuleMatching.isRoutedExpert($0) }
    guard !units.isEmpty, [.qwen3MoE, .deepSeekV2].contains(configuration.family), !c.dora, !c.factorBias else {
      return WrittenTargets(modules: try writtenModules(adapter, adapted))
    }
    let experts = adapted.filter(ModuleMatching.isRoutedExpert)
    let rest = adapted.subtracting(units).subtracting(experts)
    let names = Set(ends(of: rest) + experts.map { String($0.split(separator: ".").last!) })
    return WrittenTargets(
      modules: .names(names.sorted()), parameters: ends(of: units).map { $0 + ".weight" })
  }

  private static func isUnit(_ module: String) -> Bool {
    module.split(separator: ".").last.map { units.contains(String($0)) } ?? false
  }

  private func writtenModules(_ adapter: LoRAAdapter, _ adapted: Set<String>) throws -> LoRAConfiguration.Modules {
    let targets = adapter.configuration.targets
    let matching = try ModuleMatching(adapter.configuration)
    if targets != .allLinear, try others(than: adapted).allSatisfy({ try !matching.isTarget($0) }),
      try adapted.allSatisfy({ try matching.isTarget($0) })
    {
      return targets
    }
    return .names(ends(of: adapted))
  }

  /// All modules with parameters but these.
  private func others(than modules: Set<String>) -> Set<String> {
    Set(parameters.map { $0.name.split(separator: ".").dropLast().joined(separator: ".") } + [headName])
      .subtracting(modules)
  }

  /// The shortest end of each name that no other module has.
  private func ends(of modules: Set<String>) -> [String] {
    // Routed experts are no modules to transformers 5.
    let others = others(than: modules).filter { !ModuleMatching.isRoutedExpert($0) }
    return Set(
      modules.map { module in
        let words = module.split(separator: ".")
        return (1...words.count).lazy.map { words.suffix($0).joined(separator: ".") }.first { end in
          !others.contains { ModuleMatching.ends($0, in: end) }
        } ?? module
      }
    ).sorted()
  }
}
