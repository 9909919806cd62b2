extension ModelFamily {
  /// Qwen3: an RMS norm of every query and key head (transformers' `modeling_qwen3.py`).
  public static let qwen3 = ModelFamily("qwen3", classifier: "Qwen3ForSequenceClassification") { family, reader in
    try ModelConfiguration(family, reader, text: try qwen3Text(reader, headSize: 128))
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
