import AttuneTensor

/// y = x wᵀ + b, with an optional low-rank adapter beside the weight.
public final class Linear {
  /// The checkpoint's key without `.weight`.
  public let name: String
  public let weight: Parameter
  public let bias: Parameter?
  /// Set by `LanguageModel.attach`.
  public internal(set) var lora: LoRALayer?

  init(_ name: String, in width: Int, out: Int, bias: Bool, from source: ParameterSource) throws {
    self.name = name
    weight = try source.parameter("\(name).weight", [out, width], .normal)
    self.bias = bias ? try source.parameter("\(name).bias", [out], .zeros) : nil
  }

  func callAsFunction(_ tape: Tape, _ x: Tensor) -> Tensor {
    let y = tape.linear(x, weight, bias: bias)
    guard let lora, lora.adapter.isEnabled else { return y }
    return tape.addScaled(y, tape.linear(tape.linear(x, lora.a), lora.b), by: lora.scaling)
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

  func callAsFunction(_ tape: Tape, _ x: Tensor) -> Tensor { tape.rmsNorm(x, weight, epsilon: epsilon) }
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

  func callAsFunction(_ tape: Tape, _ x: Tensor) -> Tensor { tape.layerNorm(x, weight, bias, epsilon: epsilon) }
}
