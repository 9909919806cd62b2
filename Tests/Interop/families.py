"""One small checkpoint of every family, with configurations in the form of the published ones."""

import copy

QWEN_NAMES = (
    "endoftext im_start im_end object_ref_start object_ref_end box_start box_end quad_start quad_end "
    "vision_start vision_end vision_pad image_pad video_pad"
).split()
QWEN_IDS = {name: 556 + i for i, name in enumerate(QWEN_NAMES)}
QWEN_END = [QWEN_IDS["im_end"], QWEN_IDS["endoftext"]]


def text(architecture, model_type, **changes):
    """Sizes that all families of text models share."""
    config = dict(
        architectures=[architecture], model_type=model_type, vocab_size=611, hidden_size=48, intermediate_size=88,
        num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, hidden_act="silu", rms_norm_eps=1e-6,
        max_position_embeddings=4096, initializer_range=0.02, attention_dropout=0.0, use_cache=True,
        tie_word_embeddings=False, torch_dtype="float32", bos_token_id=QWEN_IDS["endoftext"],
        eos_token_id=QWEN_IDS["im_end"], rope_theta=1000000.0,
    )
    config.update(changes)
    return config


def qwen(config, template="qwen3", **more):
    files = {"generation_config.json": {"eos_token_id": QWEN_END, "pad_token_id": QWEN_IDS["endoftext"]}}
    return dict(config=config, tokenizer="qwen", template=template, files=files, **more)


def llama():
    end = [604, 609, 610]
    config = text(
        "LlamaForCausalLM", "llama", vocab_size=619, head_dim=16, attention_bias=False, mlp_bias=False, rms_norm_eps=1e-5,
        bos_token_id=603, eos_token_id=end, rope_theta=500000.0,
        rope_scaling=dict(
            factor=8.0, high_freq_factor=4.0, low_freq_factor=1.0, original_max_position_embeddings=64, rope_type="llama3"
        ),
    )
    files = {"generation_config.json": {"bos_token_id": 603, "eos_token_id": end}}
    return dict(config=config, tokenizer="llama3", template="llama3_masked", files=files)


def llama2():
    config = text(
        "LlamaForCausalLM", "llama", vocab_size=907, num_key_value_heads=4, rms_norm_eps=1e-5, rope_theta=10000.0,
        bos_token_id=1, eos_token_id=2, rope_scaling=None,
    )
    files = {"generation_config.json": {"bos_token_id": 1, "eos_token_id": 2}}
    return dict(config=config, tokenizer="llama2", template="llama2", files=files)


def qwen2():
    return qwen(
        text(
            "Qwen2ForCausalLM", "qwen2", tie_word_embeddings=True, num_attention_heads=6, sliding_window=32768,
            use_sliding_window=False, max_window_layers=3,
        ),
        template="qwen2_5",
    )


def qwen3():
    return qwen(text("Qwen3ForCausalLM", "qwen3", head_dim=16, attention_bias=False, rope_scaling=None))


def qwen3_moe():
    return qwen(
        text(
            "Qwen3MoeForCausalLM", "qwen3_moe", head_dim=16, attention_bias=False, decoder_sparse_step=1,
            mlp_only_layers=[], moe_intermediate_size=20, norm_topk_prob=True, num_experts=8, num_experts_per_tok=3,
            rope_scaling=None, router_aux_loss_coef=0.001,
        )
    )


def processor_files(patch, merge=2, temporal=2, low=None, high=None):
    """Preprocessor files of a Qwen3-VL checkpoint; sizes are limits on the number of pixels."""
    common = dict(
        patch_size=patch, temporal_patch_size=temporal, merge_size=merge, image_mean=[0.5] * 3, image_std=[0.5] * 3,
        processor_class="Qwen3VLProcessor",
    )
    low, high = low or 8 * patch**2, high or 32 * patch**2
    size = {"longest_edge": high, "shortest_edge": low}
    return {
        "preprocessor_config.json": {"size": size, **common, "image_processor_type": "Qwen2VLImageProcessorFast"},
        "video_preprocessor_config.json": {
            "size": {"longest_edge": 8 * high, "shortest_edge": low}, **common, "fps": 2, "min_frames": 2, "max_frames": 8,
            "video_processor_type": "Qwen3VLVideoProcessor",
        },
    }


def vision_language(architecture, model_type, vision, **changes):
    decoder = text(
        None, f"{model_type}_text", head_dim=16, rope_theta=5000000.0,
        rope_scaling={"mrope_interleaved": True, "mrope_section": [4, 2, 2], "rope_type": "default"}, **changes,
    )
    for key in ("architectures", "torch_dtype"):
        del decoder[key]
    tower = dict(
        model_type=model_type, depth=3, hidden_size=32, num_heads=2, intermediate_size=56, in_channels=3, patch_size=16,
        temporal_patch_size=2, spatial_merge_size=2, out_hidden_size=decoder["hidden_size"], num_position_embeddings=36,
        hidden_act="gelu_pytorch_tanh", initializer_range=0.02, deepstack_visual_indexes=[0, 2],
    )
    tower.update(vision)
    config = dict(
        architectures=[architecture], model_type=model_type, text_config=decoder, vision_config=tower,
        tie_word_embeddings=decoder["tie_word_embeddings"], image_token_id=QWEN_IDS["image_pad"],
        video_token_id=QWEN_IDS["video_pad"], vision_start_token_id=QWEN_IDS["vision_start"],
        vision_end_token_id=QWEN_IDS["vision_end"],
    )
    spec = qwen(config, template="qwen3_vl")
    spec["files"].update(processor_files(tower["patch_size"], tower["spatial_merge_size"], tower["temporal_patch_size"]))
    return spec


def qwen3_vl():
    return vision_language("Qwen3VLForConditionalGeneration", "qwen3_vl", {}, tie_word_embeddings=True)


def qwen3_vl_moe():
    return dict(
        vision_language(
            "Qwen3VLMoeForConditionalGeneration", "qwen3_vl_moe", dict(patch_size=8, num_position_embeddings=64),
            decoder_sparse_step=1, mlp_only_layers=[], moe_intermediate_size=20, norm_topk_prob=True, num_experts=8,
            num_experts_per_tok=3,
        ),
        published_experts=True,
    )


def deepseek(config, template, files):
    return dict(config=config, tokenizer="deepseek", template=template, files=files)


DEEPSEEK_DECODER = dict(
    vocab_size=643, num_key_value_heads=4, first_k_dense_replace=1, kv_lora_rank=24, moe_intermediate_size=20,
    moe_layer_freq=1, n_group=1, n_routed_experts=8, n_shared_experts=2, norm_topk_prob=False, num_experts_per_tok=3,
    q_lora_rank=None, qk_nope_head_dim=16, qk_rope_head_dim=8, rope_theta=10000, routed_scaling_factor=1.0,
    scoring_func="softmax", topk_group=1, topk_method="greedy", v_head_dim=12, bos_token_id=0, eos_token_id=1,
)


def deepseek_v2():
    config = text(
        "DeepseekV2ForCausalLM", "deepseek_v2", **DEEPSEEK_DECODER, attention_bias=False, aux_loss_alpha=0.001, seq_aux=True,
        rope_scaling=dict(
            beta_fast=32, beta_slow=1, factor=40, mscale=0.707, mscale_all_dim=0.707, original_max_position_embeddings=64,
            type="yarn",
        ),
    )
    return deepseek(config, "deepseek", {"generation_config.json": {"bos_token_id": 0, "eos_token_id": 1}})


def deepseek_vl_v2(base=72, tiles=((1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1)), vision=(), projector=(), language=(), **more):
    tower = dict(
        image_size=base, layers=2, mlp_ratio=3.7362, model_name="siglip_so400m_patch14_384", model_type="vision",
        patch_size=14, width=32, heads=2,
    )
    tower.update(vision)
    decoder = text("DeepseekV2ForCausalLM", "deepseek_v2", **DEEPSEEK_DECODER, lm_head=True, rm_head=False, use_mla=True)
    decoder.update(language)
    joint = dict(model_type="mlp_projector", input_dim=tower["width"], n_embed=decoder["hidden_size"])
    joint.update(projector)
    candidates = [[base * across, base * down] for across, down in tiles]
    config = dict(
        architectures=["DeepseekVLV2ForCausalLM"], candidate_resolutions=candidates, global_view_pos="head",
        language_config=decoder, model_type="deepseek_vl_v2", projector_config=joint, tile_tag="2D", torch_dtype="float32",
        vision_config=tower,
    )
    config.update(more)
    processor = dict(
        add_special_token=False, candidate_resolutions=candidates, downsample_ratio=joint.get("downsample_ratio", 2),
        ignore_id=-100, image_mean=[0.5] * 3, image_std=[0.5] * 3, image_token="<image>", mask_prompt=False, normalize=True,
        pad_token="<｜▁pad▁｜>", patch_size=tower["patch_size"], processor_class="DeepseekVLV2Processor", sft_format="deepseek",
    )
    return deepseek(config, "deepseek_vl2", {"processor_config.json": processor})


FAMILIES = dict(
    llama=llama, llama2=llama2, qwen2=qwen2, qwen3=qwen3, qwen3_moe=qwen3_moe, qwen3_vl=qwen3_vl, qwen3_vl_moe=qwen3_vl_moe,
    deepseek_v2=deepseek_v2, deepseek_vl_v2=deepseek_vl_v2,
)
PICTURED = ("qwen3_vl", "qwen3_vl_moe", "deepseek_vl_v2")


def family(name, seed=1):
    return dict(copy.deepcopy(FAMILIES[name]()), seed=f"{name}-{seed}")


def decoder_of(config):
    """The part of a configuration that describes the decoder."""
    return config.get("text_config") or config.get("language_config") or config


def newer_style(config):
    """The same with the keys of transformers 5: one `rope_parameters`, `dtype` instead of `torch_dtype`."""
    config = copy.deepcopy(config)
    for part in [config, config.get("text_config")]:
        if not part:
            continue
        if "torch_dtype" in part:
            part["dtype"] = part.pop("torch_dtype")
        if "rope_theta" in part:
            rope = dict(part.pop("rope_scaling", None) or {})
            rope["rope_type"] = rope.pop("type", rope.get("rope_type", "default"))
            part["rope_parameters"] = {**rope, "rope_theta": part.pop("rope_theta")}
    if "vision_config" in config and config["model_type"].startswith("qwen3_vl"):
        config["vision_config"]["model_type"] = f"{config['model_type']}_vision"
    return config
