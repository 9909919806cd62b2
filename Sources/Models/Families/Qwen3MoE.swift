extension ModelFamily {
  /// Qwen3-MoE: Qwen3 whose layers have experts, stored one by one (transformers' `modeling_qwen3_moe.py`).
  public static let qwen3MoE = ModelFamily("qwen3_moe", classifier: "Qwen3MoeForSequenceClassification") {
    family, reader in
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
}
