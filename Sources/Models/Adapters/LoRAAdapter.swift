import AttuneTensor
import Core

/// A named set of changes to a model: low-rank factors beside linear layers, and values that stand in for some of the
/// model's own. Switched off it leaves the model as it was, which turns the policy into its reference model.
public final class LoRAAdapter {
  public let name: String
  public let configuration: LoRAConfiguration
  public internal(set) var layers: [LoRALayer] = []
  /// Values of biases and whole modules that the adapter brings.
  var standIns: [StandIn] = []
  /// The head of a model whose embedding is its head, where the adapter tells them apart.
  var head: (group: WeightGroup, parameter: Parameter, isSaved: Bool)?
  /// Keys of the configuration file that the adapter was read from, to be written again.
  var fileKeys: JSON.Object?
  /// What a person should know of what is adapted; a sentence.
  public internal(set) var remark: String?
  /// Weights and biases with the factors folded in, while they are.
  var folded: [(parameter: Parameter, id: Int)] = []
  /// True while the factors are folded into the weights.
  public var isMerged: Bool { !folded.isEmpty }
  /// False makes every layer compute as if the adapter were not there.
  public var isEnabled = true {
    didSet { if isEnabled != oldValue { model?.showValues() } }
  }
  weak var model: LanguageModel?
  /// Unlike that of any other adapter of the model.
  let number: Int

  /// Values that stand in for those of a parameter while the adapter is on.
  struct StandIn {
    let parameter: Parameter
    let id: Int
    /// The key in PEFT's file.
    let key: String
  }

  init(_ configuration: LoRAConfiguration, name: String, number: Int) {
    self.configuration = configuration
    self.name = name
    self.number = number
  }

  /// The parameters that are trained with it: the factors, then the model's own that have values of the adapter's.
  public var parameters: [Parameter] {
    layers.flatMap(\.factors.parameters) + standIns.map(\.parameter) + [head].compactMap { $0?.parameter }
  }
}

/// The factors beside one weight.
public final class LoRALayer {
  public let module: String
  public let factors: LowRankFactors
  /// `[rank, in]`.
  public var a: Parameter { factors.a }
  /// `[out, rank]`.
  public var b: Parameter { factors.b }
  public var scaling: Double { factors.scale }
  unowned let adapter: LoRAAdapter

  init(module: String, factors: LowRankFactors, adapter: LoRAAdapter) {
    self.module = module
    self.factors = factors
    self.adapter = adapter
  }

  /// What PEFT's file calls a tensor of the layer.
  static func key(_ module: String, _ rest: String) -> String { PEFTFile.prefix + module + "." + rest }

  /// The layer's parameters by the keys of PEFT's file.
  var tensors: [(key: String, parameter: Parameter)] {
    // PEFT writes the magnitude without the `.weight` that its parameter's name has.
    factors.parameters.map { parameter in
      parameter === factors.magnitude
        ? (String(parameter.name.dropLast(".weight".count)), parameter) : (parameter.name, parameter)
    }
  }
}
