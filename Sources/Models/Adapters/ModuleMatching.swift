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
      case .allLinear: !ModuleMatching.isRoutedExpert(module) && !ModuleMatching.isRouter(module)
      case .names(let names): names.contains { ModuleMatching.means($0, module) }
      case .pattern(let pattern): try pattern.matchesWhole(ModuleMatching.plain(module))
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

  /// True if a name of a list means the module: experts go by names without their number too, as in `experts.down_proj`.
  static func means(_ name: String, _ module: String) -> Bool {
    ends(module, in: name) || ends(withoutExpert(plain(module)), in: name)
  }

  /// A module's name to PEFT: an expert's part of a stacked tensor goes by the tensor's.
  static func plain(_ module: String) -> String { module.firstIndex(of: "[").map { String(module[..<$0]) } ?? module }

  /// `…experts.down_proj` for `…experts.3.down_proj`; other names as they are.
  static func withoutExpert(_ module: String) -> String {
    guard let range = module.firstRange(of: ".experts.") else { return module }
    let rest = module[range.upperBound...].drop { $0.isNumber }.drop { $0 == "." }
    return String(module[..<range.upperBound] + rest)
  }

  /// Experts of transformers 5 are stacked parameters, not linear layers.
  static func isRoutedExpert(_ name: String) -> Bool {
    guard let range = name.firstRange(of: ".experts.") else { return false }
    return name[range.upperBound...].first?.isNumber ?? false || name.contains("[")
  }

  /// What chooses among experts is a parameter too, not a linear layer.
  static func isRouter(_ module: String) -> Bool { module.hasSuffix(".mlp.gate") }

  /// The parameter that holds a module's weight in transformers 5, which has gate and up of all experts in one.
  static func parameterName(of module: String) -> String {
    guard isRoutedExpert(module) else { return module + ".weight" }
    guard !module.contains("[") else { return plain(module) }
    return withoutExpert(module).replacing(".gate_proj", with: ".gate_up_proj")
      .replacing(".up_proj", with: ".gate_up_proj")
  }

  /// True if `target_parameters` means the module's weight.
  func isTargetedParameter(_ module: String) -> Bool {
    guard !configuration.targetParameters.isEmpty else { return false }
    let name = Self.parameterName(of: module)
    return configuration.targetParameters.contains { Self.ends(name, in: $0) }
  }

  /// The name that patterns of ranks and alphas are compared with.
  private func patternName(_ module: String) -> String {
    isTargetedParameter(module) ? Self.parameterName(of: module) : Self.plain(module)
  }

  /// True if the configuration adapts the linear layer of that name.
  func isTarget(_ module: String) throws -> Bool {
    // As in PEFT, nothing but the list itself chooses parameters.
    if isTargetedParameter(module) { return true }
    if let excluded, try excluded.contains(module) { return false }
    // A module that is saved whole takes no factors.
    for pattern in saved where try pattern.matchesWhole(Self.plain(module)) { return false }
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
    let name = patternName(module)
    return try ranks.first { try $0.0.matchesWhole(name) }?.1 ?? configuration.rank
  }

  func scaling(of module: String) throws -> Double {
    let name = patternName(module)
    let alpha = try alphas.first { try $0.0.matchesWhole(name) }?.1 ?? configuration.alpha
    let rank = Double(try rank(of: module))
    return configuration.rankStabilized ? alpha / rank.squareRoot() : alpha / rank
  }
}
