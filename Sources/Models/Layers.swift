import AttuneTensor

/// y = x wᵀ + b: a named layer of the checkpoint, with an optional low-rank adapter beside the weight.
public final class Linear {
  /// The checkpoint's key without `.weight`; of an expert in a stacked tensor the tensor's, with its number in brackets.
  public let name: String
  public let weight: Parameter
  public let bias: Parameter?
  /// Set by `LanguageModel.attach`.
  public internal(set) var lora: LoRALayer? {
    didSet { adapterVersion += 1 }
  }
  fileprivate var adapterVersion = 0

  /// The layer's parameters, those of an adapter included.
  var parameters: [Parameter] {
    [weight, bias].compactMap { $0 } + (lora?.factors.parameters ?? [])
  }

  init(_ name: String, in width: Int, out: Int, bias: Bool, from source: ParameterSource) throws {
    self.name = name
    weight = try source.matrix("\(name).weight", [out, width])
    self.bias = bias ? try source.parameter("\(name).bias", [out], .zeros) : nil
  }

  /// A layer without a bias whose weight was taken from the source already.
  init(_ name: String, weight: Parameter) {
    self.name = name
    self.weight = weight
    bias = nil
  }
}

/// Linear layers that read the same input, such as queries, keys and values: one product computes them side by side.
public final class Projection {
  public let linears: [Linear]
  let weights: WeightGroup
  private var lowRank: LowRankGroup?
  private var versions: [Int] = []

  init(_ linears: [Linear]) {
    self.linears = linears
    weights = WeightGroup(linears.map(\.weight))
  }

  var precision: Precision { weights.precision }

  /// - Returns: `[tokens, Σ out]`.
  func callAsFunction(_ tape: Tape, _ x: Tensor) -> Tensor {
    tape.linear(x, weights, biases: linears.map(\.bias), lowRank: adapters())
  }

  /// The adapters beside the layers, those that are switched on.
  func adapters() -> LowRankGroup? {
    guard let adapter = linears.lazy.compactMap(\.lora?.adapter).first, adapter.isEnabled, !adapter.isMerged else {
      return nil
    }
    let now = linears.map(\.adapterVersion)
    if let lowRank, versions == now { return lowRank }
    var from = 0
    let columns = linears.map { linear -> Range<Int> in
      defer { from += linear.weight.shape[0] }
      return from..<from + linear.weight.shape[0]
    }
    // FNV-1a of the name: layers that read the same input share one dropout mask.
    let layer = linears[0].name.utf8.reduce(UInt32(2_166_136_261)) { ($0 ^ UInt32($1)) &* 16_777_619 }
    let group = LowRankGroup(
      factors: linears.map { $0.lora?.factors }, columns: columns, dropout: adapter.configuration.dropout,
      layer: layer)
    lowRank = group
    versions = now
    return group
  }
}

/// RMS norm with a learned gain.
struct RMSNorm {
  let weight: Parameter
  let epsilon: Double

  init(_ name: String, _ width: Int, epsilon: Double, from source: ParameterSource) throws {
    weight = try source.parameter("\(name).weight", [width], .ones)
    self.epsilon = epsilon
  }

  /// - Parameter precision: of the product that reads the result.
  func callAsFunction(_ tape: Tape, _ x: Tensor, for precision: Precision) -> Tensor {
    tape.rmsNorm(x, weight, epsilon: epsilon, for: precision)
  }
}

/// Layer norm with learned gain and shift.
struct LayerNorm {
  let weight: Parameter
  let bias: Parameter
  let epsilon: Double

  init(_ name: String, _ width: Int, epsilon: Double, from source: ParameterSource) throws {
    weight = try source.parameter("\(name).weight", [width], .ones)
    bias = try source.parameter("\(name).bias", [width], .zeros)
    self.epsilon = epsilon
  }

  /// - Parameter precision: of the product that reads the result.
  func callAsFunction(_ tape: Tape, _ x: Tensor, for precision: Precision) -> Tensor {
    tape.layerNorm(x, weight, bias, epsilon: epsilon, for: precision)
  }
}
