import Core

/// The sizes of Qwen3-VL's vision tower.
public struct Qwen3VLVisionConfiguration: Sendable {
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

extension Qwen3VLVisionConfiguration {
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
