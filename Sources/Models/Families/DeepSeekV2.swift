import AttuneTensor
import Core

extension ModelFamily {
  /// DeepSeek-V2 and V2-Lite: latent attention, routed and shared experts (transformers' `modeling_deepseek_v2.py`).
  public static let deepSeekV2 = ModelFamily("deepseek_v2", classifier: "DeepseekV2ForSequenceClassification") {
    family, reader in
    try ModelConfiguration(family, reader, text: try deepSeekText(reader))
  }

  /// The decoder of DeepSeek-V2 and of DeepSeek-VL2, whose small model has plain attention (`use_mla` false) and whose large
  /// one routes by sigmoids (`modeling_deepseek_v3.py`).
  static func deepSeekText(_ reader: ConfigurationReader) throws -> TextConfiguration {
    let rope = try RopeConfiguration(reader)
    let attention: AttentionConfiguration
    let bias = try reader.optionalBool("attention_bias") ?? false
    if try reader.optionalBool("use_mla") ?? true {
      let heads = try reader.int("num_attention_heads", in: 1...4096)
      let plain = try reader.int("qk_nope_head_dim", in: 0...4096)
      let turned = try reader.int("qk_rope_head_dim", in: 2...4096)
      guard turned % 2 == 0 else {
        throw reader.error("qk_rope_head_dim", "is \(turned), an even number was expected")
      }
      attention = .latent(
        LatentAttention(
          heads: LatentHeads(
            heads: heads, plain: plain, turned: turned, value: try reader.int("v_head_dim", in: 1...4096),
            scale: rope.latentScale / Double(plain + turned).squareRoot()),
          queryRank: try reader.optionalInt("q_lora_rank", in: 1...(1 << 17)),
          keyValueRank: try reader.int("kv_lora_rank", in: 1...(1 << 17)), bias: bias))
    } else {
      var grouped = try GroupedAttention(reader)
      grouped.inputBias = bias
      grouped.outputBias = bias
      attention = .grouped(grouped)
    }
    var text = try TextConfiguration(reader, attention: attention, rope: rope)
    text.mlpBias = try reader.optionalBool("mlp_bias") ?? false
    text.experts = try ExpertConfiguration(deepSeek: reader)
    return text
  }
}
