extension ModelFamily {
  /// Qwen3: an RMS norm of every query and key head (transformers' `modeling_qwen3.py`).
  public static let qwen3 = ModelFamily("qwen3") { family, reader in
    try ModelConfiguration(family, reader, text: try qwen3Text(reader, headSize: 128))
  }

  /// Qwen3-MoE: Qwen3 whose layers have experts, stored one by one (transformers' `modeling_qwen3_moe.py`).
  public static let qwen3MoE = ModelFamily("qwen3_moe") { family, reader in
    var text = try qwen3Text(reader, windows: false)
    if try reader.optionalBool("use_sliding_window") ?? false, case .grouped(var attention) = text.attention {
      // Unlike in the dense family, a window that is switched on is in every layer.
      attention.window = try reader.int("sliding_window", in: 1...(1 << 30))
      attention.windowLayers = Set(0..<text.layers)
      text.attention = .grouped(attention)
    }
    text.experts = try ExpertConfiguration(qwen: reader, normalized: nil)
    return try ModelConfiguration(family, reader, text: text)
  }

  /// The decoder of Qwen3 and all that is built on it.
  ///
  /// - Parameters:
  ///   - headSize: where the file has none.
  ///   - theta: likewise.
  static func qwen3Text(
    _ reader: ConfigurationReader, headSize: Int? = nil, theta: Double = 10_000, windows: Bool = true
  ) throws -> TextConfiguration {
    var attention = try GroupedAttention(reader, headSize: headSize)
    attention.headNorms = true
    let bias = try reader.optionalBool("attention_bias") ?? false
    attention.inputBias = bias
    attention.outputBias = bias
    if windows { try attention.readWindow(reader) }
    return try TextConfiguration(
      reader, attention: .grouped(attention), rope: try RopeConfiguration(reader, theta: theta))
  }
}
