/// How a stage turns gradients into steps, and what that keeps in memory.
public enum OptimizerMethod: Sendable, Equatable {
  /// AdamW (1711.05101), both moments in f32.
  case adamW
  /// AdamW with both moments in 8 bits (2110.02861).
  case adamW8Bit
  case sgd(SGD)
  case muon(Muon)
  case galore(GaLore)

  /// The word of a recipe.
  public enum Kind: String, Sendable, CaseIterable {
    case adamW = "adamw"
    case adamW8Bit = "adamw_8bit"
    case sgd
    case muon
    case galore
  }

  /// Gradient descent with momentum, as torch has it.
  public struct SGD: Sendable, Equatable {
    /// 0 keeps no state.
    public var momentum = 0.9
    public var nesterov = false
    /// Weight decay is part of the gradient (L2).
    public var couplesDecay = true

    public init() {}
  }

  /// Orthogonalized momentum for the matrices of hidden layers, AdamW for all else.
  public struct Muon: Sendable, Equatable {
    /// How long a step is.
    public enum Scale: String, Sendable, CaseIterable {
      /// 0.2 √max(rows, columns): as long as AdamW's steps usually are (2502.16982, section 2.2).
      case matchRMSAdamW = "match_rms_adamw"
      /// √max(1, rows / columns), Keller Jordan's.
      case original
    }

    public var momentum = 0.95
    public var nesterov = true
    public var steps = 5
    public var scale = Scale.matchRMSAdamW
    /// How many times as fast the parameters learn that AdamW updates.
    public var adamWRateRatio = 1.0

    public init() {}
  }

  /// AdamW on gradients projected to a subspace (2403.03507), for the matrices of hidden layers.
  public struct GaLore: Sendable, Equatable {
    /// Dimensions of the subspace; matrices whose smaller side is not larger are updated by AdamW.
    public var rank = 128
    /// Steps between two choices of the subspace.
    public var gap = 200
    /// Multiplies the steps.
    public var scale = 0.25

    public init() {}
  }

  /// The method of a kind with its defaults.
  public init(_ kind: Kind) {
    switch kind {
    case .adamW: self = .adamW
    case .adamW8Bit: self = .adamW8Bit
    case .sgd: self = .sgd(SGD())
    case .muon: self = .muon(Muon())
    case .galore: self = .galore(GaLore())
    }
  }

  public var kind: Kind {
    switch self {
    case .adamW: .adamW
    case .adamW8Bit: .adamW8Bit
    case .sgd: .sgd
    case .muon: .muon
    case .galore: .galore
    }
  }

  /// Bytes of the state that is kept for parameters of these names and shapes from the first step on; masters, gradients and
  /// what a step needs while it runs are not among them.
  public func stateBytes(for parameters: [(name: String, shape: [Int])]) -> Int {
    parameters.reduce(0) { sum, parameter in
      let rule = rule(for: parameter.name, parameter.shape, seed: 0)
      return rule.slots(for: parameter.shape, .f32).reduce(sum) { $0 + $1.byteCount }
    }
  }

  /// How one parameter is updated.
  func rule(for name: String, _ shape: [Int], seed: UInt64) -> any UpdateRule {
    switch self {
    case .adamW: return AdamWRule()
    case .adamW8Bit:
      return shape.reduce(1, *) < QuantizedAdamWRule.smallest ? AdamWRule() : QuantizedAdamWRule()
    case .sgd(let settings): return SGDRule(settings: settings)
    case .muon(let settings):
      return Self.isHiddenMatrix(name, shape)
        ? MuonRule(settings: settings) : AdamWRule(rateRatio: settings.adamWRateRatio)
    case .galore(let settings):
      return Self.isHiddenMatrix(name, shape) && shape.min()! > settings.rank
        ? GaLoreRule(settings: settings, seed: seed) : AdamWRule()
    }
  }

  /// True for the matrices inside the layers: neither embeddings (of ids, positions and patches) nor heads, no vectors, and
  /// nothing with more than two axes.
  static func isHiddenMatrix(_ name: String, _ shape: [Int]) -> Bool {
    let outer = ["lm_head", "score", "tile_indicators"]
    return shape.count == 2
      && !name.split(separator: ".").contains { $0.contains("embed") || outer.contains(String($0)) }
  }
}
