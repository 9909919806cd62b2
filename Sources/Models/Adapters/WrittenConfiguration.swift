import AttuneTensor
import Core

extension LanguageModel {
  /// The configuration by which PEFT finds the adapted modules and no others.
  func writtenConfiguration(_ adapter: LoRAAdapter) throws -> LoRAConfiguration {
    if let configuration = try configurationWithParameters(adapter) { return configuration }
    var c = adapter.configuration
    let adapted = Set(adapter.layers.map(\.module))
    let matching = try ModuleMatching(c)
    let others = Set(parameterModules).subtracting(adapted)
    let fits =
      try c.targets != .allLinear && others.allSatisfy { try !matching.isTarget($0) }
      && adapted.allSatisfy { try matching.isTarget($0) }
    if !fits { c.targets = .names(Self.shortestEnds(of: adapted, unlike: others)) }
    return c
  }

  /// For each name its shortest end, of so many words or more, that no other name has; sorted.
  private static func shortestEnds(
    of names: some Collection<String>, unlike others: Set<String>, words least: Int = 1
  ) -> [String] {
    let ends = names.map { name in
      let words = name.split(separator: ".")
      return (min(least, words.count)...words.count).lazy.map { words.suffix($0).joined(separator: ".") }.first { end in
        !others.contains { ModuleMatching.ends($0, in: end) }
      } ?? name
    }
    return Set(ends).sorted()
  }

  /// The configuration by which PEFT finds the adapted modules where some are parameters to it; nil if none is.
  private func configurationWithParameters(_ adapter: LoRAAdapter) throws -> LoRAConfiguration? {
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
