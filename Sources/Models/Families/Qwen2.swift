extension ModelFamily {
  /// Qwen2 and Qwen2.5: biases on queries, keys and values, and windows in the upper layers where they are switched on
  /// (transformers' `modeling_qwen2.py`).
  public static let qwen2 = ModelFamily("qwen2", classifier: "Qwen2ForSequenceClassification") { family, reader in
    var attention = try GroupedAttention(reader)
    attention.inputBias = true
    try attention.readWindow(reader)
    return try ModelConfiguration(
      family, reader,
      text: try TextConfiguration(reader, attention: .grouped(attention), rope: try RopeConfiguration(reader)))
  }
}
