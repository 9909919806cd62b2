import Core

/// The configurations of presets, in the checkpoint's own words.
extension Preset {
  /// `config.json`.
  ///
  /// - Parameters:
  ///   - end: the id that ends an answer.
  ///   - id: the id of a special token.
  func configuration(vocabulary: Int, end: JSON, id: (String) throws -> JSON) throws -> JSON {
    let text: [(String, JSON)] = [
      ("vocab_size", .int(vocabulary)), ("hidden_size", .int(hidden)), ("intermediate_size", .int(intermediate)),
      ("num_hidden_layers", .int(layers)), ("num_attention_heads", .int(heads)), ("num_key_value_heads", .int(kvHeads)),
      ("head_dim", .int(headSize)), ("hidden_act", "silu"), ("rms_norm_eps", 1e-6), ("attention_bias", false),
      ("attention_dropout", 0.0), ("initializer_range", 0.02), ("max_position_embeddings", 4096),
      ("rope_theta", 10000.0), ("use_cache", true), ("tie_word_embeddings", true), ("eos_token_id", end),
      ("bos_token_id", try id("<|endoftext|>")),
    ]
    let plain: [(String, JSON)] = [("rope_scaling", .null), ("torch_dtype", "float32")]
    let unwindowed: [(String, JSON)] = [("sliding_window", .null), ("use_sliding_window", false)]
    func model(_ type: String, _ name: String, _ parts: [(String, JSON)]) -> JSON {
      .object([("architectures", [.string(name)]), ("model_type", .string(type))] + parts)
    }
    switch architecture {
    case .qwen3: return model("qwen3", "Qwen3ForCausalLM", text + unwindowed + plain)
    case .llama: return model("llama", "LlamaForCausalLM", text + [("mlp_bias", false)] + plain)
    case .qwen3MoE:
      let experts: [(String, JSON)] = [
        ("num_experts", 8), ("num_experts_per_tok", 2), ("moe_intermediate_size", .int(intermediate / 2)),
        ("norm_topk_prob", true), ("decoder_sparse_step", 1), ("mlp_only_layers", []), ("router_aux_loss_coef", 0.001),
      ]
      return model("qwen3_moe", "Qwen3MoeForCausalLM", text + experts + unwindowed + plain)
    case .deepSeekV2:
      return model("deepseek_v2", "DeepseekV2ForCausalLM", text.filter { $0.0 != "head_dim" } + latent + plain)
    case .deepSeekVL2: return deepSeekVL2(text)
    case .qwen3VL: return try qwen3VL(text, id: id)
    }
  }

  /// DeepSeek-V2's attention and experts.
  private var latent: [(String, JSON)] {
    [
      ("q_lora_rank", .null), ("kv_lora_rank", .int(hidden / 2)), ("qk_nope_head_dim", .int(headSize)),
      ("qk_rope_head_dim", .int(headSize / 2)), ("v_head_dim", .int(headSize)), ("n_routed_experts", 8),
      ("num_experts_per_tok", 2), ("n_shared_experts", 1), ("moe_intermediate_size", .int(intermediate / 2)),
      ("first_k_dense_replace", 1), ("moe_layer_freq", 1), ("topk_method", "greedy"), ("scoring_func", "softmax"),
      ("n_group", 1), ("topk_group", 1), ("routed_scaling_factor", 1.0), ("norm_topk_prob", false),
    ]
  }

  private func deepSeekVL2(_ text: [(String, JSON)]) -> JSON {
    let language = text.filter { $0.0 != "head_dim" && $0.0 != "tie_word_embeddings" }
    return [
      "architectures": ["DeepseekVLV2ForCausalLM"], "model_type": "deepseek_vl_v2", "tile_tag": "2D",
      "global_view_pos": "head", "torch_dtype": "float32", "candidate_resolutions": resolutions,
      "language_config": .object(
        [("model_type", "deepseek_v2"), ("use_mla", true)] + language + latent + [("tie_word_embeddings", false)]),
      "projector_config": [
        "model_type": "mlp_projector", "input_dim": .int(visionHidden), "n_embed": .int(hidden), "downsample_ratio": 2,
      ],
      "vision_config": [
        "model_type": "vision", "model_name": "siglip_so400m_patch14_384", "layers": .int(visionDepth),
        "width": .int(visionHidden), "heads": 4, "image_size": .int(4 * patch), "patch_size": .int(patch),
        "mlp_ratio": .double(Double(visionIntermediate) / Double(visionHidden)),
      ],
    ]
  }

  /// Sizes that a picture is tiled to.
  private var resolutions: JSON {
    let side = 4 * patch
    return .array(
      [(1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1)].map { [.int($0.0 * side), .int($0.1 * side)] as JSON })
  }

  private func qwen3VL(_ text: [(String, JSON)], id: (String) throws -> JSON) throws -> JSON {
    let half = headSize / 2
    let third = half / 3
    return .object([
      ("architectures", ["Qwen3VLForConditionalGeneration"]), ("model_type", "qwen3_vl"), ("tie_word_embeddings", true),
      ("image_token_id", try id("<|image_pad|>")), ("video_token_id", try id("<|video_pad|>")),
      ("vision_start_token_id", try id("<|vision_start|>")), ("vision_end_token_id", try id("<|vision_end|>")),
      (
        "text_config",
        .object(
          [("model_type", "qwen3_vl_text"), ("dtype", "float32")] + text + [
            (
              "rope_scaling",
              [
                "rope_type": "default", "mrope_interleaved": true,
                "mrope_section": [.int(half - 2 * third), .int(third), .int(third)],
              ]
            )
          ])
      ),
      (
        "vision_config",
        [
          "model_type": "qwen3_vl", "depth": .int(visionDepth), "hidden_size": .int(visionHidden), "num_heads": 4,
          "intermediate_size": .int(visionIntermediate), "in_channels": 3, "patch_size": .int(patch),
          "temporal_patch_size": 2, "spatial_merge_size": 2, "out_hidden_size": .int(hidden),
          "num_position_embeddings": .int(positions), "hidden_act": "gelu_pytorch_tanh", "initializer_range": 0.02,
          "deepstack_visual_indexes": .array((0..<min(2, visionDepth)).map { .int($0) }),
        ]
      ),
    ])
  }

  /// The files that say how pictures and films are cut.
  var processors: [(name: String, json: JSON)] {
    let colours: [(String, JSON)] = [("image_mean", [0.15, 0.15, 0.15]), ("image_std", [0.35, 0.35, 0.35])]
    switch architecture {
    case .qwen3VL:
      func processor(_ kind: (String, String), most: Int, _ more: [(String, JSON)]) -> JSON {
        .object(
          [
            (kind.0, .string(kind.1)), ("processor_class", "Qwen3VLProcessor"), ("patch_size", .int(patch)),
            ("temporal_patch_size", 2), ("merge_size", 2),
            ("size", ["shortest_edge": .int(4 * patch * patch), "longest_edge": .int(most * patch * patch)]),
          ] + colours + more)
      }
      return [
        (
          "preprocessor_config.json",
          processor(("image_processor_type", "Qwen2VLImageProcessorFast"), most: 4096, [])
        ),
        (
          "video_preprocessor_config.json",
          processor(
            ("video_processor_type", "Qwen3VLVideoProcessor"), most: 32768,
            [("fps", 2), ("min_frames", 4), ("max_frames", 64)])
        ),
      ]
    case .deepSeekVL2:
      return [
        (
          "processor_config.json",
          .object(
            [
              ("processor_class", "DeepseekVLV2Processor"), ("candidate_resolutions", resolutions),
              ("patch_size", .int(patch)), ("downsample_ratio", 2), ("image_token", "<|image_pad|>"),
              ("pad_token", "<|endoftext|>"), ("normalize", true), ("sft_format", "plain"),
              ("add_special_token", false),
              ("ignore_id", -100), ("mask_prompt", false),
            ] + colours)
        )
      ]
    default: return []
    }
  }
}
