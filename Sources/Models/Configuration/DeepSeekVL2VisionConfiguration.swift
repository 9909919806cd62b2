import Core

/// The sizes of DeepSeek-VL2's vision tower and projector.
public struct DeepSeekVL2VisionConfiguration: Sendable {
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

extension DeepSeekVL2VisionConfiguration {
  /// Defaults are those of the published configuration classes.
  init(vision: ConfigurationReader, projector: ConfigurationReader, wholeViewFirst: Bool) throws {
    self.wholeViewFirst = wholeViewFirst
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
  }
}
