import AttuneTensor

/// Keeps keys and values of earlier tokens for decoding.
public protocol KeyValueStore: AnyObject {
  /// Stores a batch's keys and values of one layer, each `[tokens, kvHeads * size]`; returns what attention is to read.
  func update(layer: Int, keys: Tensor, values: Tensor) -> (keys: Tensor, values: Tensor)
}

/// The decoder that Qwen2, Qwen3 and the text side of Qwen3-VL share.
///
/// Ports the behaviour of transformers' `modeling_qwen2.py`, `modeling_qwen3.py` and `modeling_qwen3_vl.py`.
final class Decoder {
  let configuration: TextConfiguration
  let embedding: Parameter
  let layers: [DecoderLayer]
  let norm: RMSNorm
  private let rotary: RotaryTable

  /// - Parameter prefix: `model` or `model.language_model`.
  init(_ configuration: TextConfiguration, prefix: String, from source: ParameterSource) throws {
    self.configuration = configuration
    embedding = try source.parameter(
      "\(prefix).embed_tokens.weight", [configuration.vocabularySize, configuration.hiddenSize], .normal)
    layers = try (0..<configuration.layers).map {
      try DecoderLayer(configuration, index: $0, prefix: "\(prefix).layers.\($0)", from: source)
    }
    norm = try RMSNorm("\(prefix).norm", configuration.hiddenSize, epsilon: configuration.normEpsilon, from: source)
    rotary = RotaryTable(configuration.rope, size: configuration.headSize)
  }

  var linears: [Linear] { layers.flatMap(\.linears) }

  /// Hidden states after the final norm, `[tokens, hidden]`.
  func callAsFunction(
    _ tape: Tape, _ batch: PackedBatch, pictures: VisionFeatures?, cache: KeyValueStore?, observe: LayerObserver?
  ) -> Tensor {
    var x = tape.embedding(embedding, batch.ids)
    if let pictures { x = tape.putRows(x, pictures.merged, at: batch.pictureRows) }
    let angles = rotary.angles(batch.positions, on: tape.backend)
    for (i, layer) in layers.enumerated() {
      x = layer(tape, x, angles, batch.plan, cache)
      observe?("layer.\(i)", x)
      if let pictures, i < pictures.deepstack.count {
        x = tape.addRows(x, pictures.deepstack[i], at: batch.pictureRows)
      }
    }
    x = norm(tape, x)
    observe?("final_norm", x)
    return x
  }
}

/// Sees intermediate results by name; for tests and debugging.
public typealias LayerObserver = (String, Tensor) -> Void

/// One decoder layer: attention and SwiGLU, each behind an RMS norm and added to the stream.
final class DecoderLayer {
  private let index: Int
  private let heads: AttentionHeads
  private let inputNorm: RMSNorm
  private let postNorm: RMSNorm
  private let queryNorm: RMSNorm?
  private let keyNorm: RMSNorm?
  private let q: Linear
  private let k: Linear
  private let v: Linear
  private let o: Linear
  private let gate: Linear
  private let up: Linear
  private let down: Linear

  init(_ c: TextConfiguration, index: Int, prefix: String, from source: ParameterSource) throws {
    self.index = index
    heads = AttentionHeads(
      heads: c.heads, kvHeads: c.kvHeads, size: c.headSize, scale: 1 / Double(c.headSize).squareRoot())
    inputNorm = try RMSNorm("\(prefix).input_layernorm", c.hiddenSize, epsilon: c.normEpsilon, from: source)
    let attention = "\(prefix).self_attn"
    q = try Linear(
      "\(attention).q_proj", in: c.hiddenSize, out: c.heads * c.headSize, bias: c.attentionBias, from: source)
    k = try Linear(
      "\(attention).k_proj", in: c.hiddenSize, out: c.kvHeads * c.headSize, bias: c.attentionBias, from: source)
    v = try Linear(
      "\(attention).v_proj", in: c.hiddenSize, out: c.kvHeads * c.headSize, bias: c.attentionBias, from: source)
    o = try Linear("\(attention).o_proj", in: c.heads * c.headSize, out: c.hiddenSize, bias: false, from: source)
    queryNorm = c.headNorms ? try RMSNorm("\(attention).q_norm", c.headSize, epsilon: c.normEpsilon, from: source) : nil
    keyNorm = c.headNorms ? try RMSNorm("\(attention).k_norm", c.headSize, epsilon: c.normEpsilon, from: source) : nil
    postNorm = try RMSNorm("\(prefix).post_attention_layernorm", c.hiddenSize, epsilon: c.normEpsilon, from: source)
    gate = try Linear("\(prefix).mlp.gate_proj", in: c.hiddenSize, out: c.intermediateSize, bias: false, from: source)
    up = try Linear("\(prefix).mlp.up_proj", in: c.hiddenSize, out: c.intermediateSize, bias: false, from: source)
    down = try Linear("\(prefix).mlp.down_proj", in: c.intermediateSize, out: c.hiddenSize, bias: false, from: source)
  }

  var linears: [Linear] { [q, k, v, o, gate, up, down] }

  func callAsFunction(
    _ tape: Tape, _ input: Tensor, _ angles: RotaryAngles, _ plan: AttentionPlan, _ cache: KeyValueStore?
  ) -> Tensor {
    let normal = inputNorm(tape, input)
    var queries = q(tape, normal)
    var keys = k(tape, normal)
    var values = v(tape, normal)
    if let queryNorm { queries = queryNorm(tape, queries) }
    if let keyNorm { keys = keyNorm(tape, keys) }
    queries = tape.rotary(queries, angles, size: heads.size)
    keys = tape.rotary(keys, angles, size: heads.size)
    if let cache { (keys, values) = cache.update(layer: index, keys: keys, values: values) }
    let attended = tape.attention(queries, keys, values, plan, heads)
    let middle = tape.add(input, o(tape, attended))
    let inner = postNorm(tape, middle)
    return tape.add(middle, down(tape, tape.swiGLU(gate: gate(tape, inner), up: up(tape, inner))))
  }
}
