import Core
import Text

extension LoRAConfiguration {
  /// - Throws: `.request` if the text is no regular expression.
  public static func checkPattern(_ text: String) throws { _ = try NamePattern(text) }
}

/// A configuration's patterns, compiled: which modules it means, and their ranks. Matches as PEFT 0.21 does
/// (`check_target_module_exists`, `get_pattern_key`).
struct ModuleMatching {
  private let configuration: LoRAConfiguration
  private let targets: Choice
  private let excluded: Choice?
  private let saved: [NamePattern]
  private let layerLists: [NamePattern]
  private let ranks: [(NamePattern, Int)]
  private let alphas: [(NamePattern, Double)]

  private enum Choice {
    case allLinear
    case names([String])
    case pattern(NamePattern)

    init(_ modules: LoRAConfiguration.Modules) throws {
      switch modules {
      case .allLinear: self = .allLinear
      case .names(let names): self = .names(names)
      case .pattern(let text): self = .pattern(try NamePattern(text))
      }
    }

    func contains(_ module: String) throws -> Bool {
      switch self {
      case .allLinear: !ModuleMatching.isRoutedExpert(module)
      case .names(let names): names.contains { ModuleMatching.ends(module, in: $0) }
      case .pattern(let pattern): try pattern.matchesWhole(module)
      }
    }
  }

  /// - Throws: `.request` for a pattern that is no regular expression, or settings that exclude each other.
  init(_ configuration: LoRAConfiguration) throws {
    try configuration.validate()
    self.configuration = configuration
    targets = try Choice(configuration.targets)
    excluded = try configuration.excluded.map(Choice.init)
    saved = try configuration.modulesToSave.map { try NamePattern("(?:^|.*\\.)\($0)(?:$|\\..*)") }
    layerLists =
      try configuration.layersPatterns.isEmpty
      ? [NamePattern(#".*?\.[^.]*\.(?P<idx>\d+)\."#)]
      : configuration.layersPatterns.map { try NamePattern("(?:^|.*?\\.)\($0)\\.(?P<idx>\\d+)\\.") }
    func endings<V>(_ patterns: NamePatterns<V>) throws -> [(NamePattern, V)] {
      try patterns.entries.map { (try NamePattern("(.*\\.)?(\($0.pattern))"), $0.value) }
    }
    ranks = try endings(configuration.rankPattern)
    alphas = try endings(configuration.alphaPattern)
  }

  /// True if the end of `module` behind a dot, or all of it, is `name`.
  static func ends(_ module: String, in name: String) -> Bool { module == name || module.hasSuffix("." + name) }

  /// Experts of transformers 5 are stacked parameters, not linear layers.
  static func isRoutedExpert(_ module: String) -> Bool {
    guard let range = module.firstRange(of: ".experts.") else { return false }
    return module[range.upperBound...].first?.isNumber ?? false
  }

  /// True if the configuration adapts the linear layer of that name.
  func isTarget(_ module: String) throws -> Bool {
    if let excluded, try excluded.contains(module) { return false }
    // A module that is saved whole takes no factors.
    for pattern in saved where try pattern.matchesWhole(module) { return false }
    guard try targets.contains(module) else { return false }
    guard let layers = configuration.layers, !layers.isEmpty, case .names(let names) = targets,
      !names.contains(module)
    else { return true }
    for pattern in layerLists {
      if let index = try pattern.beginning(of: module, group: "idx") { return layers.contains { "\($0)" == index } }
    }
    return false
  }

  func rank(of module: String) throws -> Int {
    try ranks.first { try $0.0.matchesWhole(module) }?.1 ?? configuration.rank
  }

  func scaling(of module: String) throws -> Double {
    let alpha = try alphas.first { try $0.0.matchesWhole(module) }?.1 ?? configuration.alpha
    let rank = Double(try rank(of: module))
    return configuration.rankStabilized ? alpha / rank.squareRoot() : alpha / rank
  }
}
