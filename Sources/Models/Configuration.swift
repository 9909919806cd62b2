import AttuneTensor
import Core

/// Families of models that Attune knows.
public enum ModelFamily: String, Sendable, CaseIterable {
  case qwen2
  case qwen3
  case qwen3MoE = "qwen3_moe"
  case qwen3VL = "qwen3_vl"
}

/// A checkpoint's `config.json`, read and checked.
public struct ModelConfiguration: Sendable {
  public var family: ModelFamily
  public var text: TextConfiguration
  public var vision: VisionConfiguration?
  /// Id that stands for one place of a picture.
  public var imageTokenID: Int32?
  public var visionStartID: Int32?
  public var visionEndID: Int32?
  public var tiedEmbeddings: Bool
  /// As in the file, to be written back unchanged.
  public var json: JSON
}

/// The decoder's sizes.
public struct TextConfiguration: Sendable {
  public var vocabularySize: Int
  public var hiddenSize: Int
  public var intermediateSize: Int
  public var layers: Int
  public var heads: Int
  public var kvHeads: Int
  public var headSize: Int
  public var normEpsilon: Double
  /// Qwen2: biases on queries, keys and values.
  public var attentionBias: Bool
  /// Qwen3: RMS norm of each query and key head.
  public var headNorms: Bool
  public var rope: RopeConfiguration
  /// Nil where every layer is dense.
  public var experts: ExpertConfiguration?
}

/// The vision tower's sizes (Qwen3-VL).
public struct VisionConfiguration: Sendable {
  public var depth: Int
  public var hiddenSize: Int
  public var heads: Int
  public var intermediateSize: Int
  public var channels: Int
  public var patchSize: Int
  public var temporalPatchSize: Int
  public var mergeSize: Int
  public var outputSize: Int
  /// Side of the square table of learned positions.
  public var positionSide: Int
  /// Blocks whose output is also injected into the decoder, in order.
  public var deepstackBlocks: [Int]

  public var patchWidth: Int { channels * temporalPatchSize * patchSize * patchSize }
}

/// How positions turn queries and keys.
public struct RopeConfiguration: Sendable {
  public enum Scaling: Sendable {
    case none
    case linear(factor: Double)
    /// YaRN (2309.00071).
    case yarn(
      factor: Double, original: Double, betaFast: Double, betaSlow: Double, attentionFactor: Double?, truncate: Bool)
  }
  public var theta: Double
  public var scaling: Scaling
  /// Frequencies per axis (time, height, width), interleaved; empty for text models.
  public var sections: [Int]
}

extension ModelConfiguration {
  /// Reads `config.json` of a checkpoint folder.
  ///
  /// - Throws: `.request` naming the file and key: missing, of a wrong kind, or a feature that no family here has.
  public static func load(folder: String) throws -> ModelConfiguration {
    let path = folder + "/config.json"
    let bytes: [UInt8]
    do { bytes = try MappedFile.read(path) } catch let error as AttuneError where error.message == "no such file" {
      throw AttuneError.request(
        "there is no config.json", at: .init(file: folder), hint: "a Hugging Face checkpoint folder was expected")
    }
    return try ModelConfiguration(json: JSON.parse(bytes, file: path), file: path)
  }

  public init(json: JSON, file: String) throws {
    let reader = ConfigurationReader(json: json, file: file, path: "")
    let type = try reader.string("model_type")
    guard let family = ModelFamily(rawValue: type) else {
      let known = ModelFamily.allCases.map(\.rawValue)
      throw AttuneError.request(
        "model_type is \"\(type)\", which Attune does not run", at: reader.location("model_type"),
        hint: (nearestName(to: type, among: known).map { "the nearest it runs is \($0); " } ?? "")
          + "families: \(known.joined(separator: ", "))")
    }
    self.json = json
    self.family = family
    let textReader = family == .qwen3VL ? try reader.section("text_config") : reader
    text = try TextConfiguration(textReader, family: family)
    tiedEmbeddings = json["tie_word_embeddings"]?.bool ?? textReader.json["tie_word_embeddings"]?.bool ?? false
    if family == .qwen3VL {
      vision = try VisionConfiguration(reader.section("vision_config"))
      guard vision!.outputSize == text.hiddenSize else {
        throw AttuneError.request(
          "vision_config.out_hidden_size is \(vision!.outputSize), the decoder's hidden_size is \(text.hiddenSize)",
          at: .init(file: file))
      }
      guard vision!.deepstackBlocks.count <= text.layers else {
        throw AttuneError.request(
          "\(vision!.deepstackBlocks.count) deepstack blocks for \(text.layers) decoder layers", at: .init(file: file))
      }
      imageTokenID = Int32(try reader.int("image_token_id", in: 0...Int(Int32.max)))
      visionStartID = json["vision_start_token_id"]?.int.map { Int32(truncatingIfNeeded: $0) }
      visionEndID = json["vision_end_token_id"]?.int.map { Int32(truncatingIfNeeded: $0) }
    }
  }
}

extension TextConfiguration {
  fileprivate init(_ reader: ConfigurationReader, family: ModelFamily) throws {
    vocabularySize = try reader.int("vocab_size", in: 2...(1 << 24))
    hiddenSize = try reader.int("hidden_size", in: 1...(1 << 17))
    intermediateSize = try reader.int("intermediate_size", in: 1...(1 << 19))
    layers = try reader.int("num_hidden_layers", in: 1...1024)
    heads = try reader.int("num_attention_heads", in: 1...4096)
    kvHeads = try reader.optionalInt("num_key_value_heads", in: 1...4096) ?? heads
    let derived = hiddenSize / heads
    headSize = try reader.optionalInt("head_dim", in: 2...4096) ?? derived
    normEpsilon = try reader.optionalNumber("rms_norm_eps") ?? 1e-6
    guard heads % kvHeads == 0 else {
      throw reader.error("num_key_value_heads", "is \(kvHeads), which does not divide num_attention_heads \(heads)")
    }
    guard headSize % 2 == 0 else { throw reader.error("head_dim", "is \(headSize), an even number was expected") }
    let activation = reader.json["hidden_act"]?.string ?? "silu"
    guard activation == "silu" else { throw reader.error("hidden_act", "is \"\(activation)\", \"silu\" was expected") }
    attentionBias = family == .qwen2
    headNorms = family != .qwen2
    if family != .qwen2, reader.json["attention_bias"]?.bool == true {
      throw reader.error("attention_bias", "is true, which this family's layers here do not have")
    }
    if reader.json["use_sliding_window"]?.bool == true {
      throw reader.error("use_sliding_window", "is true; attention windows are not available, only full attention")
    }
    rope = try RopeConfiguration(reader, headSize: headSize, family: family)
    if family == .qwen3MoE { experts = try ExpertConfiguration(reader, layers: layers) }
  }
}

extension ExpertConfiguration {
  fileprivate init(_ reader: ConfigurationReader, layers count: Int) throws {
    self.count = try reader.int("num_experts", in: 1...(1 << 16))
    choices = try reader.int("num_experts_per_tok", in: 1...(1 << 16))
    guard choices <= self.count else {
      throw reader.error("num_experts_per_tok", "is \(choices), more than num_experts \(self.count)")
    }
    intermediateSize = try reader.int("moe_intermediate_size", in: 1...(1 << 19))
    isNormalized = try reader.optionalBool("norm_topk_prob") ?? false
    let step = try reader.optionalInt("decoder_sparse_step", in: 1...(1 << 16)) ?? 1
    let dense = try (reader.json["mlp_only_layers"]?.array ?? []).map { value in
      guard let layer = value.int, (0..<count).contains(layer) else {
        throw reader.error("mlp_only_layers", "holds \(value.text()), numbers of the \(count) layers were expected")
      }
      return layer
    }
    layers = Set((0..<count).filter { !dense.contains($0) && ($0 + 1) % step == 0 })
  }
}

extension VisionConfiguration {
  fileprivate init(_ reader: ConfigurationReader) throws {
    depth = try reader.int("depth", in: 1...1024)
    hiddenSize = try reader.int("hidden_size", in: 1...(1 << 16))
    heads = try reader.int("num_heads", in: 1...1024)
    intermediateSize = try reader.int("intermediate_size", in: 1...(1 << 18))
    channels = try reader.optionalInt("in_channels", in: 1...16) ?? 3
    patchSize = try reader.int("patch_size", in: 1...256)
    temporalPatchSize = try reader.optionalInt("temporal_patch_size", in: 1...16) ?? 2
    mergeSize = try reader.optionalInt("spatial_merge_size", in: 1...16) ?? 2
    outputSize = try reader.int("out_hidden_size", in: 1...(1 << 17))
    let entries = try reader.int("num_position_embeddings", in: 1...(1 << 22))
    positionSide = Int(Double(entries).squareRoot().rounded())
    guard positionSide * positionSide == entries else {
      throw reader.error("num_position_embeddings", "is \(entries), a square number was expected")
    }
    guard hiddenSize % (4 * heads) == 0 else {
      throw reader.error(
        "num_heads", "is \(heads); hidden_size \(hiddenSize) must divide into heads of a multiple of 4")
    }
    let activation = reader.json["hidden_act"]?.string ?? "gelu_pytorch_tanh"
    guard activation == "gelu_pytorch_tanh" else {
      throw reader.error("hidden_act", "is \"\(activation)\", \"gelu_pytorch_tanh\" was expected")
    }
    deepstackBlocks = try (reader.json["deepstack_visual_indexes"]?.array ?? []).map { value in
      guard let block = value.int, block >= 0 else {
        throw reader.error("deepstack_visual_indexes", "holds \(value.text()), block numbers were expected")
      }
      return block
    }
    guard deepstackBlocks.allSatisfy({ $0 < depth }), deepstackBlocks == Array(Set(deepstackBlocks)).sorted() else {
      throw reader.error(
        "deepstack_visual_indexes", "is \(deepstackBlocks); ascending numbers below depth \(depth) were expected")
    }
  }
}

extension RopeConfiguration {
  fileprivate init(_ reader: ConfigurationReader, headSize: Int, family: ModelFamily) throws {
    // transformers 5 writes everything under rope_parameters, earlier versions use rope_theta and rope_scaling.
    let parameters = reader.json["rope_parameters"] ?? reader.json["rope_scaling"] ?? .null
    let key = reader.json["rope_parameters"] != nil ? "rope_parameters" : "rope_scaling"
    theta = parameters["rope_theta"]?.double ?? reader.json["rope_theta"]?.double ?? 10_000
    guard theta > 1 else { throw reader.error("rope_theta", "is \(theta), a number above 1 was expected") }
    let type = parameters["rope_type"]?.string ?? parameters["type"]?.string ?? "default"
    func number(_ name: String) throws -> Double {
      guard let value = parameters[name]?.double, value > 0 else {
        throw reader.error(
          "\(key).\(name)", "is \(parameters[name]?.text() ?? "missing"), a positive number was expected")
      }
      return value
    }
    switch type {
    case "default", "mrope": scaling = .none
    case "linear": scaling = .linear(factor: try number("factor"))
    case "yarn":
      let original =
        parameters["original_max_position_embeddings"]?.double ?? reader.json["max_position_embeddings"]?.double
      guard let original, original > 0 else {
        throw reader.error("\(key).original_max_position_embeddings", "is missing, YaRN needs it")
      }
      scaling = .yarn(
        factor: try number("factor"), original: original, betaFast: parameters["beta_fast"]?.double ?? 32,
        betaSlow: parameters["beta_slow"]?.double ?? 1, attentionFactor: parameters["attention_factor"]?.double,
        truncate: parameters["truncate"]?.bool ?? true)
    default:
      throw reader.error("\(key).rope_type", "is \"\(type)\"; default, linear and yarn are available")
    }
    sections = []
    if family == .qwen3VL {
      sections = (parameters["mrope_section"]?.array ?? []).compactMap(\.int)
      guard sections.count == 3, sections.allSatisfy({ $0 >= 0 }), sections.reduce(0, +) == headSize / 2 else {
        throw reader.error(
          "\(key).mrope_section",
          "is \(parameters["mrope_section"]?.text() ?? "missing"); three numbers that add up to head_dim / 2 = \(headSize / 2) were expected"
        )
      }
    }
  }
}

/// Values of one section of a configuration, with errors that name file, line and key.
private struct ConfigurationReader {
  let json: JSON
  let file: String
  let path: String

  func location(_ key: String) -> AttuneError.Location { (json[key] ?? json).location(in: file) }

  func error(_ key: String, _ what: String) -> AttuneError { .request("\(path)\(key) \(what)", at: location(key)) }

  func section(_ key: String) throws -> ConfigurationReader {
    guard let value = json[key], value.object != nil else { throw error(key, "is missing") }
    return ConfigurationReader(json: value, file: file, path: "\(path)\(key).")
  }

  func string(_ key: String) throws -> String {
    guard let value = json[key]?.string else {
      throw error(key, "is \(json[key]?.text() ?? "missing"), a string was expected")
    }
    return value
  }

  func int(_ key: String, in range: ClosedRange<Int>) throws -> Int {
    guard let value = try optionalInt(key, in: range) else { throw error(key, "is missing") }
    return value
  }

  func optionalInt(_ key: String, in range: ClosedRange<Int>) throws -> Int? {
    guard let found = json[key], !found.isNull else { return nil }
    guard let value = found.int, range.contains(value) else {
      throw error(key, "is \(found.text()), a whole number in \(range.lowerBound)...\(range.upperBound) was expected")
    }
    return value
  }

  func optionalBool(_ key: String) throws -> Bool? {
    guard let found = json[key], !found.isNull else { return nil }
    guard let value = found.bool else { throw error(key, "is \(found.text()), true or false was expected") }
    return value
  }

  func optionalNumber(_ key: String) throws -> Double? {
    guard let found = json[key], !found.isNull else { return nil }
    guard let value = found.double else { throw error(key, "is \(found.text()), a number was expected") }
    return value
  }
}
