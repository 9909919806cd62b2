import AttuneTensor

/// The part of a decoder layer behind its first norm.
protocol SelfAttention {
  /// Of the products that read the input.
  var precision: Precision { get }
  /// Linear layers that an adapter can stand beside.
  var linears: [Linear] { get }
  /// Parameters besides those of the linear layers.
  var otherParameters: [Parameter] { get }

  /// - Parameter x: `[tokens, hidden]`, normed.
  /// - Returns: `[tokens, hidden]`.
  func callAsFunction(
    _ tape: Tape, _ x: Tensor, angles: RotaryAngles, plan: AttentionPlan, cache: KeyValuePages?
  ) -> Tensor
}

/// Query heads in groups that share a key and a value: Llama, Qwen2, Qwen3, and DeepSeek's small models.
struct GroupedSelfAttention: SelfAttention {
  private let heads: AttentionHeads
  private let queryNorm: RMSNorm?
  private let keyNorm: RMSNorm?
  private let qkv: Projection
  private let o: Projection

  init(
    _ prefix: String, hidden: Int, _ c: GroupedAttention, _ heads: AttentionHeads, epsilon: Double,
    from source: ParameterSource
  ) throws {
    self.heads = heads
    func linear(_ name: String, _ width: Int, _ out: Int, bias: Bool) throws -> Linear {
      try Linear("\(prefix).\(name)", in: width, out: out, bias: bias, from: source)
    }
    qkv = Projection([
      try linear("q_proj", hidden, c.heads * c.headSize, bias: c.inputBias),
      try linear("k_proj", hidden, c.kvHeads * c.headSize, bias: c.inputBias),
      try linear("v_proj", hidden, c.kvHeads * c.headSize, bias: c.inputBias),
    ])
    o = Projection([try linear("o_proj", c.heads * c.headSize, hidden, bias: c.outputBias)])
    queryNorm = c.headNorms ? try RMSNorm("\(prefix).q_norm", c.headSize, epsilon: epsilon, from: source) : nil
    keyNorm = c.headNorms ? try RMSNorm("\(prefix).k_norm", c.headSize, epsilon: epsilon, from: source) : nil
  }

  var precision: Precision { qkv.precision }
  var linears: [Linear] { qkv.linears + o.linears }
  var otherParameters: [Parameter] { [queryNorm?.weight, keyNorm?.weight].compactMap { $0 } }

  func callAsFunction(
    _ tape: Tape, _ x: Tensor, angles: RotaryAngles, plan: AttentionPlan, cache: KeyValuePages?
  ) -> Tensor {
    let transform = HeadTransform(
      queryNorm: queryNorm?.weight, keyNorm: keyNorm?.weight, epsilon: queryNorm?.epsilon ?? 0, angles: angles)
    return o(tape, tape.attention(qkv(tape, x), transform, plan, heads, for: o.precision, cache: cache))
  }
}

/// Keys and values expanded from a latent that is all a token would have to keep, and queries from one as well where the model
/// is large (DeepSeek-V2, 2405.04434, section 2.1).
///
/// Sampling keeps the expanded keys and values, so that it adds the very numbers that training adds.
struct LatentSelfAttention: SelfAttention {
  private let shape: LatentAttention
  /// The queries, or their latent, beside the latent of keys and values and the key that all heads share.
  private let input: Projection
  private let queryNorm: RMSNorm?
  private let query: Projection?
  private let keyValueNorm: RMSNorm
  private let keyValue: Projection
  private let o: Projection
  /// Of the norms in here, whatever the configuration says of the others.
  private static let epsilon = 1e-6

  init(_ prefix: String, hidden: Int, _ c: LatentAttention, from source: ParameterSource) throws {
    shape = c
    let heads = c.heads
    func linear(_ name: String, _ width: Int, _ out: Int, bias: Bool = false) throws -> Linear {
      try Linear("\(prefix).\(name)", in: width, out: out, bias: bias, from: source)
    }
    func norm(_ name: String, _ width: Int) throws -> RMSNorm {
      try RMSNorm("\(prefix).\(name)", width, epsilon: Self.epsilon, from: source)
    }
    let queryWidth = heads.heads * (heads.plain + heads.turned)
    let first: Linear
    if let rank = c.queryRank {
      first = try linear("q_a_proj", hidden, rank, bias: c.bias)
      queryNorm = try norm("q_a_layernorm", rank)
      query = Projection([try linear("q_b_proj", rank, queryWidth)])
    } else {
      first = try linear("q_proj", hidden, queryWidth)
      queryNorm = nil
      query = nil
    }
    input = Projection([
      first, try linear("kv_a_proj_with_mqa", hidden, c.keyValueRank + heads.turned, bias: c.bias),
    ])
    keyValueNorm = try norm("kv_a_layernorm", c.keyValueRank)
    keyValue = Projection([
      try linear("kv_b_proj", c.keyValueRank, heads.heads * (heads.plain + heads.value))
    ])
    o = Projection([try linear("o_proj", heads.heads * heads.value, hidden, bias: c.bias)])
  }

  var precision: Precision { input.precision }
  var linears: [Linear] { input.linears + (query?.linears ?? []) + keyValue.linears + o.linears }
  var otherParameters: [Parameter] { [queryNorm?.weight, keyValueNorm.weight].compactMap { $0 } }

  func callAsFunction(
    _ tape: Tape, _ x: Tensor, angles: RotaryAngles, plan: AttentionPlan, cache: KeyValuePages?
  ) -> Tensor {
    let all = input(tape, x)
    let parts = tape.split(
      all, [all.width - shape.keyValueRank - shape.heads.turned, shape.keyValueRank, shape.heads.turned])
    var queries = parts[0]
    if let query, let queryNorm { queries = query(tape, queryNorm(tape, queries, for: query.precision)) }
    let expanded = keyValue(tape, keyValueNorm(tape, parts[1], for: keyValue.precision))
    return o(
      tape,
      tape.latentAttention(
        queries, expanded, parts[2], angles, plan, shape.heads, for: o.precision, cache: cache))
  }
}
