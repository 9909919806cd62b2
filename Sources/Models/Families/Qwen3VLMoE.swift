extension ModelFamily {
  /// Qwen3-VL-MoE: the same over a decoder with experts, which stand in one tensor a layer and whose weights are always
  /// normalised (transformers' `modeling_qwen3_vl_moe.py`).
  public static let qwen3VLMoE = ModelFamily("qwen3_vl_moe") { family, reader in
    let section = try reader.section("text_config")
    var text = try qwen3Text(section, theta: 500_000, windows: false)
    var experts = try ExpertConfiguration(qwen: section, normalized: true)
    experts.isStacked = true
    text.experts = experts
    return try qwen3VL(family, reader, text: text)
  }
}
