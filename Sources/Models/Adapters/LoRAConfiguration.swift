import Core

/// What of a model is adapted, and how (LoRA, 2106.09685; DoRA, 2402.09353): the settings of PEFT's `LoraConfig`.
public struct LoRAConfiguration: Sendable, Equatable {
  /// A choice of modules.
  public enum Modules: Sendable, Equatable, ExpressibleByArrayLiteral {
    /// Every linear layer but the head, as PEFT 0.21 with transformers 5 finds them: patch embeddings are convolutions,
    /// routers and routed experts are no linear layers.
    case allLinear
    /// Whole names, or ends of names behind a dot.
    case names([String])
    /// A regular expression that matches the whole name.
    case pattern(String)

    /// An empty list stands for all linear layers.
    public init(arrayLiteral elements: String...) { self = elements.isEmpty ? .allLinear : .names(elements) }
  }

  /// Which biases of the model are trained besides the factors.
  public enum Bias: String, Sendable, CaseIterable {
    case none
    /// All of the model.
    case all
    /// Those of adapted layers.
    case loraOnly = "lora_only"
  }

  public var rank: Int
  public var alpha: Double
  /// Probability that an input of the factors is dropped in training.
  public var dropout = 0.0
  public var targets: Modules
  /// Parameters that are adapted, by whole names or ends behind a dot: PEFT's way to weights that are no linear layers to it,
  /// such as `experts.down_proj` of all experts or `gate.weight` of a router.
  public var targetParameters: [String] = []
  public var excluded: Modules?
  /// Indices of the layers that are adapted; nil for all. Goes with a list of names alone.
  public var layers: [Int]?
  /// Names of lists of layers that `layers` counts in, regular expressions; empty takes the first list of every name.
  public var layersPatterns: [String] = []
  /// Scale by alpha / sqrt(rank) instead of alpha / rank (2312.03732).
  public var rankStabilized: Bool
  /// Weight-decomposed: a trained magnitude for each output (2402.09353).
  public var dora = false
  public var bias = Bias.none
  /// A bias behind the second factor.
  public var factorBias = false
  /// Ends of names of modules that are trained and saved whole.
  public var modulesToSave: [String] = []
  /// Other ranks and alphas, by regular expressions that match a name or its end behind a dot; the first that does counts.
  public var rankPattern: NamePatterns<Int>
  public var alphaPattern: NamePatterns<Double>

  public init(
    rank: Int = 16, alpha: Double = 32, targets: Modules = .allLinear, rankStabilized: Bool = false,
    rankPattern: NamePatterns<Int> = [:], alphaPattern: NamePatterns<Double> = [:]
  ) {
    self.rank = rank
    self.alpha = alpha
    self.targets = targets
    self.rankStabilized = rankStabilized
    self.rankPattern = rankPattern
    self.alphaPattern = alphaPattern
  }

  /// - Throws: `.request` for a number out of its range, or settings that exclude each other.
  public func validate() throws {
    func positive(_ rank: Int, _ what: String) throws {
      guard rank > 0 else { throw AttuneError.request("\(what) is \(rank), 1 or more was expected") }
    }
    try positive(rank, "the LoRA rank")
    for (name, rank) in rankPattern.entries { try positive(rank, "the rank of '\(name)'") }
    guard dropout >= 0, dropout < 1 else {
      throw AttuneError.request("the LoRA dropout is \(dropout), 0 to below 1 was expected")
    }
    if dora, factorBias {
      throw AttuneError.request("lora_bias does not go with DoRA", hint: "leave out one of lora_bias and use_dora")
    }
    if case .pattern = targets, layers != nil || !layersPatterns.isEmpty {
      throw AttuneError.request(
        "layers_to_transform and layers_pattern do not go with a pattern of modules",
        hint: #"put the layers into the pattern, as in '.*\.layers\.(3|5)\..*\.q_proj'"#)
    }
    if !layersPatterns.isEmpty, layers == nil {
      throw AttuneError.request("layers_pattern is given without layers_to_transform")
    }
  }
}

/// Values by regular expressions over module names, in the order in which they are tried.
public struct NamePatterns<Value: Sendable & Equatable>: Sendable, Equatable, ExpressibleByDictionaryLiteral {
  public var entries: [(pattern: String, value: Value)]

  public init(_ entries: [(pattern: String, value: Value)]) { self.entries = entries }
  public init(dictionaryLiteral elements: (String, Value)...) {
    entries = elements.map { (pattern: $0.0, value: $0.1) }
  }

  public static func == (a: NamePatterns, b: NamePatterns) -> Bool {
    a.entries.map(\.pattern) == b.entries.map(\.pattern) && a.entries.map(\.value) == b.entries.map(\.value)
  }
}
