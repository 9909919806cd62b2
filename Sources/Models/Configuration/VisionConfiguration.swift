import Core

/// What sees pictures, by family.
public enum VisionArchitecture: Sendable {
  case qwen3VL(VisionConfiguration)
  case deepSeekVL2(TiledVisionConfiguration)
}

/// The sizes of Qwen3-VL's vision tower.
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

/// The sizes of DeepSeek-VL2's vision tower and projector.
public struct TiledVisionConfiguration: Sendable {
  public var depth: Int
  public var hiddenSize: Int
  public var heads: Int
  public var intermediateSize: Int
  /// Pixels along each side of a view.
  public var viewSize: Int
  public var patchSize: Int
  /// Patches along each side of a square that becomes one place.
  public var groupSize: Int
  public var projectorDepth: Int
  public var projectorWidth: Int
  public var outputSize: Int
  /// The whole picture stands before its tiles (`global_view_pos` "head"), or behind them.
  public var wholeViewFirst: Bool

  /// Patches along each side of a view; pixels that do not fill one are dropped.
  public var patchSide: Int { viewSize / patchSize }
  /// Places along each side of a view.
  public var placeSide: Int { (patchSide + groupSize - 1) / groupSize }

  /// Places of a picture: every row of the whole view and of the joined tiles ends in one, and one separates the two.
  public func places(across: Int, down: Int) -> Int {
    placeSide * (placeSide + 1) + 1 + down * placeSide * (across * placeSide + 1)
  }
}

extension VisionConfiguration {
  init(_ reader: ConfigurationReader) throws {
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
    try reader.require("hidden_act", "gelu_pytorch_tanh")
    deepstackBlocks = try reader.ints("deepstack_visual_indexes", "block numbers") { $0 >= 0 }
    guard deepstackBlocks.allSatisfy({ $0 < depth }), deepstackBlocks == Array(Set(deepstackBlocks)).sorted() else {
      throw reader.error(
        "deepstack_visual_indexes", "is \(deepstackBlocks); ascending numbers below depth \(depth) were expected")
    }
  }
}

extension TiledVisionConfiguration {
  /// Defaults are those of the published configuration classes.
  init(vision: ConfigurationReader, projector: ConfigurationReader) throws {
    depth = try vision.optionalInt("layers", in: 1...1024) ?? 27
    hiddenSize = try vision.optionalInt("width", in: 1...(1 << 16)) ?? 1152
    heads = try vision.optionalInt("heads", in: 1...1024) ?? 16
    viewSize = try vision.optionalInt("image_size", in: 1...8192) ?? 384
    patchSize = try vision.optionalInt("patch_size", in: 1...1024) ?? 16
    let ratio = try vision.optionalNumber("mlp_ratio") ?? 3.7362
    guard ratio > 0, ratio < 64 else { throw vision.error("mlp_ratio", "is \(ratio), a number in 0...64 was expected") }
    intermediateSize = Int(Double(hiddenSize) * ratio)
    guard hiddenSize % heads == 0, intermediateSize > 0 else {
      throw vision.error("heads", "is \(heads), which does not divide width \(hiddenSize)")
    }
    guard patchSize <= viewSize else {
      throw vision.error("patch_size", "is \(patchSize), more than image_size \(viewSize)")
    }
    for key in ["class_token", "reg_tokens"] where vision.json[key]?.bool == true || vision.json[key]?.int ?? 0 > 0 {
      throw vision.unsupported(key, "is set; a tower without extra tokens was expected")
    }
    if let type = try projector.optionalString("projector_type"), type != "downsample_mlp_gelu" {
      throw projector.unsupported("projector_type", "is \"\(type)\", \"downsample_mlp_gelu\" was expected")
    }
    let input = try projector.optionalInt("input_dim", in: 1...(1 << 16)) ?? hiddenSize
    guard input == hiddenSize else {
      throw projector.error("input_dim", "is \(input), the tower's width is \(hiddenSize)")
    }
    groupSize = try projector.optionalInt("downsample_ratio", in: 1...16) ?? 2
    projectorDepth = try projector.optionalInt("depth", in: 2...64) ?? 2
    outputSize = try projector.optionalInt("n_embed", in: 1...(1 << 17)) ?? 2048
    projectorWidth = outputSize * (try projector.optionalInt("mlp_ratio", in: 1...16) ?? 1)
    wholeViewFirst = true
  }
}
