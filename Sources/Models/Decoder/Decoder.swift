import AttuneTensor

/// Keeps keys and values of earlier tokens for decoding.
public protocol KeyValueStore: AnyObject {
  /// The pages of a layer, and where the batch that is being computed belongs.
  func pages(layer: Int) -> KeyValuePages
}

/// How one forward pass is run; only dropout changes the results.
public struct PassOptions {
  /// Keep only each layer's input for the way back, and run the layer again there.
  public var recomputesLayers = false
  /// Where keys and values are kept; nil when the batch sees itself alone.
  public var cache: KeyValueStore?
  public var observe: LayerObserver?
  /// Set in training where layers have dropout; the batch then names its rows (`PackedBatch.places`).
  public var dropout: DropoutPass?

  public init(recomputesLayers: Bool = false, cache: KeyValueStore? = nil, observe: LayerObserver? = nil) {
    self.recomputesLayers = recomputesLayers
    self.cache = cache
    self.observe = observe
  }
}

/// Sees intermediate results by name; for tests and debugging.
public typealias LayerObserver = (String, Tensor) -> Void

/// The decoder of every family: layers of attention and gated units over one stream of hidden states.
final class Decoder {
  let configuration: TextConfiguration
  let embedding: Parameter
  let layers: [DecoderLayer]
  let norm: RMSNorm
  private let precision: Precision
  private let rotary: RotaryTable

  /// - Parameters:
  ///   - prefix: `model` or `model.language_model`.
  ///   - tied: the head multiplies by the embedding.
  init(_ configuration: TextConfiguration, prefix: String, tied: Bool, from source: ParameterSource) throws {
    self.configuration = configuration
    precision = source.precision
    // Lookups read the values themselves, however the head's products hold them.
    let name = "\(prefix).embed_tokens.weight"
    let shape = [configuration.vocabularySize, configuration.hiddenSize]
    embedding = try tied ? source.matrix(name, shape) : source.parameter(name, shape, .normal)
    layers = try (0..<configuration.layers).map {
      try DecoderLayer(configuration, index: $0, prefix: "\(prefix).layers.\($0)", from: source)
    }
    norm = try RMSNorm("\(prefix).norm", configuration.hiddenSize, epsilon: configuration.normEpsilon, from: source)
    rotary = RotaryTable(configuration.rope, size: configuration.rotarySize)
  }

  var linears: [Linear] { layers.flatMap(\.linears) }

  /// Hidden states after the final norm, `[tokens, hidden]`, rounded to bf16 where the head reads that.
  func callAsFunction(_ tape: Tape, _ batch: PackedBatch, pictures: VisionFeatures?, _ options: PassOptions) -> Tensor {
    var x = tape.embedding(embedding, batch.ids)
    if let pictures { x = tape.putRows(x, pictures.merged, at: batch.pictureRows) }
    let angles = rotary.angles(batch.positions, on: tape.backend)
    for (i, layer) in layers.enumerated() {
      let cache = options.cache?.pages(layer: i)
      var router = options.observe.map { Decoder.routerObserver($0, layer: i, tape.backend) }
      if options.recomputesLayers {
        x = tape.recomputed(x, parameters: layer.parameters) { layer($0, $1, angles, batch.plan, cache, router) }
        // The second run shows nothing new.
        router = nil
      } else {
        x = layer(tape, x, angles, batch.plan, cache, router)
      }
      options.observe?("layer.\(i)", x)
      if let pictures, i < pictures.deepstack.count {
        x = tape.addRows(x, pictures.deepstack[i], at: batch.pictureRows)
      }
    }
    x = norm(tape, x, for: precision)
    options.observe?("final_norm", x)
    return x
  }

  private static func routerObserver(
    _ observe: @escaping LayerObserver, layer: Int, _ backend: any Backend
  ) -> RouterObserver {
    { scores, weights, chosen in
      observe("router.\(layer).logits", scores)
      observe("router.\(layer).weights", weights)
      observe("router.\(layer).chosen", backend.upload(chosen.map(Float.init), weights.shape))
    }
  }
}

/// One decoder layer: attention and gated units, each behind an RMS norm and added to the stream.
final class DecoderLayer {
  private let inputNorm: RMSNorm
  private let postNorm: RMSNorm
  private let attention: any SelfAttention
  private let feedForward: any FeedForward

  init(_ c: TextConfiguration, index: Int, prefix: String, from source: ParameterSource) throws {
    inputNorm = try RMSNorm("\(prefix).input_layernorm", c.hiddenSize, epsilon: c.normEpsilon, from: source)
    switch c.attention {
    case .grouped(let grouped):
      attention = try GroupedSelfAttention(
        "\(prefix).self_attn", hidden: c.hiddenSize, grouped, c.attentionHeads(layer: index), epsilon: c.normEpsilon,
        from: source)
    case .latent(let latent):
      attention = try LatentSelfAttention("\(prefix).self_attn", hidden: c.hiddenSize, latent, from: source)
    }
    postNorm = try RMSNorm("\(prefix).post_attention_layernorm", c.hiddenSize, epsilon: c.normEpsilon, from: source)
    if let experts = c.experts, experts.layers.contains(index) {
      feedForward = try SparseFeedForward("\(prefix).mlp", hidden: c.hiddenSize, experts, bias: c.mlpBias, from: source)
    } else {
      feedForward = try DenseFeedForward(
        "\(prefix).mlp", hidden: c.hiddenSize, intermediate: c.intermediateSize, bias: c.mlpBias, from: source)
    }
  }

  var linears: [Linear] { attention.linears + feedForward.linears }

  /// All of the layer's parameters, adapters included.
  var parameters: [Parameter] {
    [inputNorm.weight, postNorm.weight] + attention.otherParameters + feedForward.otherParameters
      + linears.flatMap(\.parameters)
  }

  func callAsFunction(
    _ tape: Tape, _ input: Tensor, _ angles: RotaryAngles, _ plan: AttentionPlan, _ cache: KeyValuePages?,
    _ observe: RouterObserver?
  ) -> Tensor {
    let attended = attention(
      tape, inputNorm(tape, input, for: attention.precision), angles: angles, plan: plan, cache: cache)
    let middle = tape.add(input, attended)
    let normed = postNorm(tape, middle, for: feedForward.precision)
    return tape.add(middle, feedForward(tape, normed, trees: plan.treeStarts, observe: observe))
  }
}
