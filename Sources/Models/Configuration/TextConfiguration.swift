import AttuneTensor
import Core

/// The decoder's sizes.
public struct TextConfiguration: Sendable {
  public var vocabularySize: Int
  public var hiddenSize: Int
  public var intermediateSize: Int
  public var layers: Int
  public var attention: AttentionConfiguration
  public var normEpsilon: Double
  /// Biases in the dense layers behind the attention.
  public var mlpBias = false
  public var rope: RopeConfiguration
  /// Nil where every layer is dense.
  public var experts: ExpertConfiguration?

  /// Heads as attention of a layer sees them, and as their keys and values are kept.
  public func attentionHeads(layer: Int) -> AttentionHeads {
    switch attention {
    case .grouped(let grouped): grouped.attentionHeads(layer: layer)
    case .latent(let latent): latent.heads.attention
    }
  }

  /// Columns of a head that rotary angles turn.
  var rotarySize: Int {
    switch attention {
    case .grouped(let grouped): grouped.headSize
    case .latent(let latent): latent.heads.turned
    }
  }

  /// Numbers that one token's keys and values take in a layer.
  public var keyValueWidth: Int {
    let heads = attentionHeads(layer: 0)
    return heads.kvHeads * (heads.size + heads.valueSize)
  }
}

/// The two kinds of attention that decoders have.
public enum AttentionConfiguration: Sendable {
  case grouped(GroupedAttention)
  case latent(LatentAttention)
}

/// Query heads in groups that share a key and a value (2305.13245).
public struct GroupedAttention: Sendable {
  public var heads: Int
  public var kvHeads: Int
  public var headSize: Int
  /// Biases on queries, keys and values.
  public var inputBias = false
  /// A bias on what the heads are joined by.
  public var outputBias = false
  /// RMS norm of each query and key head.
  public var headNorms = false
  /// Keys that a query sees at most in `windowLayers`, itself included.
  public var window: Int?
  public var windowLayers: Set<Int> = []

  func attentionHeads(layer: Int) -> AttentionHeads {
    AttentionHeads(
      heads: heads, kvHeads: kvHeads, size: headSize, scale: 1 / Double(headSize).squareRoot(),
      window: windowLayers.contains(layer) ? window : nil)
  }
}

/// Multi-head latent attention (DeepSeek-V2, 2405.04434): queries, and keys with values, are expanded from narrow latents.
public struct LatentAttention: Sendable {
  public var heads: LatentHeads
  /// Width of the queries' latent; nil where queries are made directly.
  public var queryRank: Int?
  public var keyValueRank: Int
  /// Biases on what makes the latents, and on what the heads are joined by.
  public var bias: Bool
}

extension TextConfiguration {
  /// What every decoder has; the family says the rest.
  init(
    _ reader: ConfigurationReader, attention: AttentionConfiguration, rope: RopeConfiguration
  ) throws {
    vocabularySize = try reader.int("vocab_size", in: 2...(1 << 24))
    hiddenSize = try reader.int("hidden_size", in: 1...(1 << 17))
    intermediateSize = try reader.int("intermediate_size", in: 1...(1 << 19))
    layers = try reader.layerCount()
    normEpsilon = try reader.optionalNumber("rms_norm_eps", in: 0...1) ?? 1e-6
    try reader.require("hidden_act", "silu")
    self.attention = attention
    self.rope = rope
  }
}

extension GroupedAttention {
  /// - Parameter headSize: where the file has none; that of the hidden size divided among the heads unless given.
  init(_ reader: ConfigurationReader, headSize fallback: Int? = nil) throws {
    let hidden = try reader.int("hidden_size", in: 1...(1 << 17))
    heads = try reader.int("num_attention_heads", in: 1...4096)
    kvHeads = try reader.optionalInt("num_key_value_heads", in: 1...4096) ?? heads
    headSize = try reader.optionalInt("head_dim", in: 2...4096) ?? fallback ?? hidden / heads
    guard heads % kvHeads == 0 else {
      throw reader.error("num_key_value_heads", "is \(kvHeads), which does not divide num_attention_heads \(heads)")
    }
    guard headSize > 0, headSize % 2 == 0 else {
      throw reader.error("head_dim", "is \(headSize), an even number was expected")
    }
  }

  /// Qwen2's and Qwen3's windows: `layer_types` where it is given, else from layer `max_window_layers` on.
  mutating func readWindow(_ reader: ConfigurationReader) throws {
    let layers = try reader.layerCount()
    let size = try reader.optionalInt("sliding_window", in: 1...(1 << 30))
    let isOn = try reader.optionalBool("use_sliding_window") ?? false
    if let types = reader.json["layer_types"], !types.isNull {
      guard let kinds = types.array?.map(\.string), kinds.count == layers else {
        throw reader.error("layer_types", "is no list of \(layers) strings, one for each layer")
      }
      for (layer, kind) in kinds.enumerated() {
        switch kind {
        case "full_attention": break
        case "sliding_attention": windowLayers.insert(layer)
        default:
          throw reader.unsupported(
            "layer_types", "holds \(kind ?? "no string"); full_attention and sliding_attention are available")
        }
      }
    } else if isOn {
      let first = try reader.optionalInt("max_window_layers", in: 0...1024) ?? 28
      windowLayers = Set((0..<layers).filter { $0 >= first })
    }
    guard !windowLayers.isEmpty else { return }
    guard let size, isOn else {
      throw reader.error("sliding_window", "is missing or switched off, layers with sliding attention need it")
    }
    window = size
  }
}

extension ConfigurationReader {
  func layerCount() throws -> Int { try int("num_hidden_layers", in: 1...1024) }
}
