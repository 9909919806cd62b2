import AttuneTensor
import Core

/// Configurations of models small enough for tests, in the checkpoint's own words.
public enum TinyModels {
  public static let qwen2: JSON = [
    "model_type": "qwen2", "vocab_size": 97, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2,
    "num_attention_heads": 6, "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
    "tie_word_embeddings": true,
  ]
  public static let qwen3: JSON = [
    "model_type": "qwen3", "vocab_size": 97, "hidden_size": 40, "intermediate_size": 72, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
    "tie_word_embeddings": false,
  ]
  /// The first layer is dense; sizes are odd where they may be.
  public static let qwen3MoE: JSON = [
    "model_type": "qwen3_moe", "vocab_size": 97, "hidden_size": 40, "intermediate_size": 72, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
    "tie_word_embeddings": false, "num_experts": 7, "num_experts_per_tok": 3, "moe_intermediate_size": 21,
    "norm_topk_prob": true, "decoder_sparse_step": 1, "mlp_only_layers": [0],
  ]
  public static let qwen3VL: JSON = [
    "model_type": "qwen3_vl", "image_token_id": 90, "vision_start_token_id": 91, "vision_end_token_id": 92,
    "tie_word_embeddings": true,
    "text_config": [
      "vocab_size": 97, "hidden_size": 40, "intermediate_size": 72, "num_hidden_layers": 3, "num_attention_heads": 4,
      "num_key_value_heads": 1, "head_dim": 16, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
      "rope_scaling": ["rope_type": "default", "mrope_interleaved": true, "mrope_section": [4, 2, 2]],
    ],
    "vision_config": [
      "depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "patch_size": 4, "temporal_patch_size": 2,
      "spatial_merge_size": 2, "out_hidden_size": 40, "num_position_embeddings": 16, "in_channels": 3,
      "deepstack_visual_indexes": [0, 1],
    ],
  ]
  public static let all: [(name: String, json: JSON)] = [
    ("qwen2", qwen2), ("qwen3", qwen3), ("qwen3_moe", qwen3MoE), ("qwen3_vl", qwen3VL),
  ]
}
