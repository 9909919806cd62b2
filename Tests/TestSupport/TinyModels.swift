import AttuneTensor
import Core
import Models

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
  /// Biases everywhere, scaled frequencies.
  public static let llama: JSON = [
    "model_type": "llama", "vocab_size": 97, "hidden_size": 44, "intermediate_size": 60, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 12, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
    "tie_word_embeddings": false, "attention_bias": true, "mlp_bias": true,
    "rope_scaling": [
      "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 32,
    ],
  ]
  /// A window shorter than the prompts, in the upper of the layers.
  public static let qwen2Window: JSON = [
    "model_type": "qwen2", "vocab_size": 97, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3,
    "num_attention_heads": 6, "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
    "tie_word_embeddings": true, "use_sliding_window": true, "sliding_window": 21, "max_window_layers": 1,
  ]
  /// Latent attention with values of another size than keys, and a choice among groups of experts.
  public static let deepSeekV2: JSON = [
    "model_type": "deepseek_v2", "vocab_size": 97, "hidden_size": 40, "intermediate_size": 56, "num_hidden_layers": 3,
    "num_attention_heads": 3, "num_key_value_heads": 3, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
    "tie_word_embeddings": false, "q_lora_rank": 18, "kv_lora_rank": 22, "qk_nope_head_dim": 14, "qk_rope_head_dim": 6,
    "v_head_dim": 11, "n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 21,
    "n_shared_experts": 2, "first_k_dense_replace": 1, "topk_method": "group_limited_greedy", "n_group": 4,
    "topk_group": 2, "routed_scaling_factor": 2.5, "scoring_func": "softmax",
    "rope_scaling": [
      "type": "yarn", "factor": 4, "mscale": 0.7, "mscale_all_dim": 0.7, "original_max_position_embeddings": 32,
    ],
  ]
  public static let qwen3VLMoE: JSON = [
    "model_type": "qwen3_vl_moe", "image_token_id": 90, "vision_start_token_id": 91, "vision_end_token_id": 92,
    "tie_word_embeddings": false,
    "text_config": [
      "vocab_size": 97, "hidden_size": 40, "intermediate_size": 72, "num_hidden_layers": 3, "num_attention_heads": 4,
      "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "num_experts": 7,
      "num_experts_per_tok": 3, "moe_intermediate_size": 21, "norm_topk_prob": true,
      "rope_scaling": ["rope_type": "default", "mrope_interleaved": true, "mrope_section": [4, 2, 2]],
    ],
    "vision_config": [
      "depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "patch_size": 4, "temporal_patch_size": 2,
      "spatial_merge_size": 2, "out_hidden_size": 40, "num_position_embeddings": 16, "in_channels": 3,
      "deepstack_visual_indexes": [0, 1],
    ],
  ]
  /// Plain attention, softmax routing; an odd number of patches along a side.
  public static let deepSeekVL2: JSON = deepSeekVL2(language: [("use_mla", false), ("kv_lora_rank", .null)], view: 13)
  /// Latent attention, sigmoid routing with a bias.
  public static let deepSeekVL2Large: JSON = deepSeekVL2(
    language: [
      ("use_mla", true), ("kv_lora_rank", 22), ("qk_nope_head_dim", 14), ("qk_rope_head_dim", 6), ("v_head_dim", 22),
      ("topk_method", "noaux_tc"), ("scoring_func", "sigmoid"), ("norm_topk_prob", true),
      ("routed_scaling_factor", 2.0),
      ("n_group", 2), ("topk_group", 1),
    ], view: 16)

  private static func deepSeekVL2(language: [(String, JSON)], view: Int) -> JSON {
    [
      "model_type": "deepseek_vl_v2", "image_token_id": 90, "tile_tag": "2D", "global_view_pos": "head",
      "language_config": .object(
        [
          ("vocab_size", 97), ("hidden_size", 40), ("intermediate_size", 56), ("num_hidden_layers", 3),
          ("num_attention_heads", 4), ("num_key_value_heads", 4), ("q_lora_rank", .null), ("n_routed_experts", 8),
          ("num_experts_per_tok", 3), ("moe_intermediate_size", 21), ("n_shared_experts", 2),
          ("first_k_dense_replace", 1),
        ] + language),
      "projector_config": ["input_dim": 24, "n_embed": 40],
      "vision_config": [
        "heads": 2, "image_size": .int(view), "layers": 2, "mlp_ratio": 2.3, "patch_size": 4, "width": 24,
      ],
    ]
  }

  public static let all: [(name: String, json: JSON)] = [
    ("qwen2", qwen2), ("qwen2 with a window", qwen2Window), ("qwen3", qwen3), ("qwen3_moe", qwen3MoE),
    ("qwen3_vl", qwen3VL), ("qwen3_vl_moe", qwen3VLMoE), ("llama", llama), ("deepseek_v2", deepSeekV2),
    ("deepseek_vl2", deepSeekVL2), ("deepseek_vl2, large", deepSeekVL2Large),
  ]

  /// A small picture of noise.
  public static func picture(_ vision: VisionArchitecture, _ random: inout Randomness.Stream) -> PictureInput {
    func noise(_ count: Int) -> [Float] { (0..<count).map { _ in Float(random.uniform(-1, 1)) } }
    switch vision {
    case .qwen3VL(let vision):
      let height = 2 * (1 + random.integer(below: 3))
      let width = 2 * (1 + random.integer(below: 4))
      return PictureInput(
        patches: noise(height * width * vision.patchWidth), grid: (frames: 1, height: height, width: width))
    case .deepSeekVL2(let vision):
      let (across, down) = (1 + random.integer(below: 2), 1 + random.integer(below: 2))
      return PictureInput(
        values: noise((1 + across * down) * 3 * vision.viewSize * vision.viewSize),
        kind: .tiles(across: across, down: down))
    }
  }
}
