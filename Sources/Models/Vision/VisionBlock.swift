import AttuneTensor

/// A block of a vision transformer (2010.11929): attention inside a view and an approximate GELU, each behind a layer norm and
/// added to the stream.
struct VisionBlock {
  private let norm1: LayerNorm
  private let norm2: LayerNorm
  private let qkv: Projection
  private let projection: Projection
  private let fc1: Projection
  private let fc2: Projection
  private let heads: AttentionHeads

  /// - Parameter units: names of the two linear layers behind the attention.
  init(
    _ prefix: String, width: Int, heads count: Int, intermediate: Int, units: (String, String), epsilon: Double,
    from source: ParameterSource
  ) throws {
    let size = width / count
    heads = AttentionHeads(heads: count, kvHeads: count, size: size, scale: 1 / Double(size).squareRoot())
    norm1 = try LayerNorm("\(prefix).norm1", width, epsilon: epsilon, from: source)
    norm2 = try LayerNorm("\(prefix).norm2", width, epsilon: epsilon, from: source)
    func one(_ name: String, _ width: Int, _ out: Int) throws -> Projection {
      Projection([try Linear("\(prefix).\(name)", in: width, out: out, bias: true, from: source)])
    }
    qkv = try one("attn.qkv", width, 3 * width)
    projection = try one("attn.proj", width, width)
    fc1 = try one(units.0, width, intermediate)
    fc2 = try one(units.1, intermediate, width)
  }

  var linears: [Linear] { qkv.linears + projection.linears + fc1.linears + fc2.linears }

  /// - Parameter angles: nil where positions are learned alone.
  func callAsFunction(_ tape: Tape, _ input: Tensor, _ angles: RotaryAngles?, _ plan: AttentionPlan) -> Tensor {
    let all = qkv(tape, norm1(tape, input, for: qkv.precision))
    let attended = tape.attention(all, HeadTransform(angles: angles), plan, heads, for: projection.precision)
    let middle = tape.add(input, projection(tape, attended))
    let inner = fc1(tape, norm2(tape, middle, for: fc1.precision))
    return tape.add(middle, fc2(tape, tape.gelu(inner, .tanh, for: fc2.precision)))
  }
}
