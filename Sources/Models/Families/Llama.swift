extension ModelFamily {
  /// Llama 2 and 3: grouped attention, no norms of heads, biases where the configuration says so (transformers'
  /// `modeling_llama.py`). Llama 3.1 and later scale their rotary frequencies.
  public static let llama = ModelFamily("llama", classifier: "LlamaForSequenceClassification") { family, reader in
    var attention = try GroupedAttention(reader)
    let bias = try reader.optionalBool("attention_bias") ?? false
    attention.inputBias = bias
    attention.outputBias = bias
    var text = try TextConfiguration(
      reader, attention: .grouped(attention), rope: try RopeConfiguration(reader))
    text.mlpBias = try reader.optionalBool("mlp_bias") ?? false
    return try ModelConfiguration(family, reader, text: text)
  }
}
