"""Random configurations of every family, within what the reference accepts: other sizes, and every switch now and then."""

import copy

import families
from families import PICTURED, decoder_of, family, newer_style, processor_files
from weights import stream

# Ids that each tokenizer knows; a model's vocabulary is at least as large.
KNOWN = {"qwen": 570, "llama3": 612, "llama2": 906, "deepseek": 640}


class Dice:
    def __init__(self, *seed):
        self.random = stream("dice", *seed)

    def one(self, *choices):
        return choices[int(self.random.integers(0, len(choices)))]

    def number(self, low, high):
        """Both ends belong to it."""
        return int(self.random.integers(low, high + 1))

    def chance(self, probability):
        return bool(self.random.random() < probability)

    def some(self, count, of):
        return sorted(int(i) for i in self.random.permutation(of)[:count])


def vary(name, seed):
    """A spec as `families.family` gives, and what kind of files to write: dtype and shards."""
    dice = Dice(name, seed)
    spec = family(name, f"sweep-{seed}")
    config = spec["config"]
    decoder = decoder_of(config)
    sizes(dice, decoder, name)
    decoder["vocab_size"] = KNOWN[spec["tokenizer"]] + dice.number(1, 60)
    if name == "deepseek_vl_v2":
        spec = deepseek_vl2(dice, spec)
    elif name.startswith("deepseek"):
        latent(dice, decoder)
        experts_of_deepseek(dice, decoder)
        decoder["rope_scaling"] = yarn(dice, dice.one(True, True, False)) if dice.chance(0.6) else None
        decoder["attention_bias"] = dice.chance(0.15)
    else:
        switches(dice, decoder, name)
    if "vision_config" in config and name.startswith("qwen3_vl"):
        tower(dice, spec)
    if dice.chance(0.4) and name != "deepseek_vl_v2":
        spec["config"] = newer_style(config)
        spec["published_experts"] = False
    if dice.chance(0.2):
        spec["files"].pop("generation_config.json", None)
    kind = dict(dtype=dice.one("float32", "float32", "float32", "bfloat16", "float16"), shard="30KB" if dice.chance(0.3) else None)
    return spec, kind


def sizes(dice, decoder, name):
    heads = dice.one(2, 3, 4, 5, 6, 8)
    decoder["num_attention_heads"] = heads
    per_head = 2 * dice.number(4, 12)
    decoder["hidden_size"] = heads * dice.number(40 // heads + 1, 96 // heads)
    decoder["intermediate_size"] = dice.number(30, 130)
    decoder["num_hidden_layers"] = dice.number(1, 5)
    decoder["num_key_value_heads"] = dice.one(*[n for n in range(1, heads + 1) if heads % n == 0])
    decoder["rms_norm_eps"] = dice.one(1e-5, 1e-6, 1e-6)
    decoder["max_position_embeddings"] = dice.one(64, 512, 4096)
    if name.startswith("deepseek"):
        return
    if "head_dim" in decoder or dice.chance(0.5):
        decoder["head_dim"] = per_head
    elif decoder["hidden_size"] // heads % 2:
        decoder["hidden_size"] += heads
    decoder["tie_word_embeddings"] = dice.chance(0.4)
    decoder["rope_theta"] = dice.one(10000.0, 500000.0, 1000000.0, 123.5)


def yarn(dice, scales):
    """`scales`: with DeepSeek's mscale pair."""
    found = dict(rope_type="yarn", factor=dice.one(2.0, 4.0, 40), original_max_position_embeddings=dice.one(16, 64, 1000))
    if scales:
        found.update(mscale=dice.one(0.707, 1.0), mscale_all_dim=dice.one(0.707, 1.0, 0.5))
    elif dice.chance(0.3):
        found["attention_factor"] = dice.one(1.0, 1.37)
    if dice.chance(0.3):
        found.update(beta_fast=dice.one(16, 32, 8.5), beta_slow=dice.one(1, 2))
    if dice.chance(0.3):
        found["truncate"] = dice.chance(0.3)
    return found


def rope(dice, name):
    kind = dice.one("none", "linear", "yarn", "llama3", "none") if name != "qwen3_vl" else dice.one("none", "yarn")
    if kind == "none":
        return None
    if kind == "linear":
        return {dice.one("type", "rope_type"): "linear", "factor": dice.one(2.0, 3.5)}
    if kind == "yarn":
        return yarn(dice, dice.chance(0.2))
    low, high = dice.one((1.0, 4.0), (1.0, 2.0), (2.0, 8.0))
    return dict(
        rope_type="llama3", factor=dice.one(4.0, 8.0, 32.0), low_freq_factor=low, high_freq_factor=high,
        original_max_position_embeddings=dice.one(32, 64, 8192),
    )


def switches(dice, decoder, name):
    multimodal = name.startswith("qwen3_vl")
    scaling = rope(dice, name) if not multimodal or dice.chance(0.3) else None
    if multimodal:
        half = decoder["head_dim"] // 2
        height = dice.number(1, half // 3)
        width = dice.one(height, dice.number(1, half // 3))
        scaling = dict(scaling or {"rope_type": "default"}) if (scaling or {}).get("rope_type") in (None, "yarn") else {"rope_type": "default"}
        scaling.update(mrope_interleaved=True, mrope_section=[half - height - width, height, width])
    decoder["rope_scaling"] = scaling
    if name.startswith("llama"):
        decoder["attention_bias"], decoder["mlp_bias"] = dice.chance(0.3), dice.chance(0.3)
    elif name != "qwen2":
        decoder["attention_bias"] = dice.chance(0.25)
    if name in ("qwen2", "qwen3", "qwen3_moe") and dice.chance(0.5):
        layers = decoder["num_hidden_layers"]
        decoder["use_sliding_window"] = dice.chance(0.8)
        decoder["sliding_window"] = dice.one(1, 5, 20, 64, 70, 1000)
        decoder["max_window_layers"] = dice.number(0, layers)
        if name != "qwen3_moe" and dice.chance(0.4) and decoder["use_sliding_window"]:
            decoder["layer_types"] = [dice.one("full_attention", "sliding_attention") for _ in range(layers)]
    if "num_experts" in decoder:
        layers = decoder["num_hidden_layers"]
        decoder["num_experts"] = dice.number(2, 13)
        decoder["num_experts_per_tok"] = dice.number(1, min(4, decoder["num_experts"]))
        decoder["moe_intermediate_size"] = dice.number(9, 40)
        if dice.chance(0.15):
            decoder["moe_intermediate_size"] = decoder["hidden_size"] // dice.one(1, 2)  # square expert matrices
        decoder["decoder_sparse_step"] = dice.one(1, 1, 2, 3)
        decoder["mlp_only_layers"] = dice.some(dice.number(0, layers - 1), layers) if dice.chance(0.4) else []
        decoder["norm_topk_prob"] = dice.chance(0.6)


def latent(dice, decoder):
    decoder["num_key_value_heads"] = decoder["num_attention_heads"]
    decoder["q_lora_rank"] = dice.one(None, dice.number(9, 30))
    # Even, or the reference cannot read rotary pairs in place.
    decoder["kv_lora_rank"] = 2 * dice.number(4, 16)
    decoder["qk_nope_head_dim"] = 2 * dice.number(2, 12)
    decoder["qk_rope_head_dim"] = 2 * dice.number(2, 8)
    decoder["v_head_dim"] = dice.number(5, 40)


def experts_of_deepseek(dice, decoder, softmax=True):
    groups = dice.one(1, 2, 3, 4)
    each = dice.number(2, 4)
    kept = dice.number(1, groups)
    decoder["n_routed_experts"], decoder["n_group"], decoder["topk_group"] = groups * each, groups, kept
    decoder["num_experts_per_tok"] = dice.number(1, min(5, kept * each))
    decoder["topk_method"] = dice.one("greedy", "group_limited_greedy") if softmax else "noaux_tc"
    decoder["moe_intermediate_size"] = dice.number(9, 40)
    decoder["n_shared_experts"] = dice.number(1, 3)
    decoder["first_k_dense_replace"] = dice.number(0, min(2, decoder["num_hidden_layers"]))
    decoder["routed_scaling_factor"] = dice.one(1.0, 2.5, 16.0)
    if not softmax:
        decoder.update(scoring_func="sigmoid", norm_topk_prob=dice.chance(0.5))


def tower(dice, spec):
    config = spec["config"]
    layers = config["text_config"]["num_hidden_layers"]
    heads = dice.one(1, 2, 3)
    depth = dice.number(1, 4)
    patch, merge = dice.one(8, 14, 16), dice.one(2, 2, 2, 1, 3)
    config["vision_config"].update(
        depth=depth, num_heads=heads, hidden_size=heads * 4 * dice.number(2, 4), intermediate_size=dice.number(20, 70),
        patch_size=patch, spatial_merge_size=merge, num_position_embeddings=dice.number(3, 9) ** 2,
        deepstack_visual_indexes=dice.some(dice.number(0, min(depth, layers)), depth),
        out_hidden_size=config["text_config"]["hidden_size"],
    )
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"]
    low = dice.one(4, 9) * (patch * merge) ** 2
    spec["files"].update(processor_files(patch, merge, 2, low, low * dice.one(2, 4)))
    if dice.chance(0.3):
        for file in ("preprocessor_config.json", "video_preprocessor_config.json"):
            spec["files"][file].update(image_mean=[0.48, 0.45, 0.4], image_std=[0.26, 0.27, 0.28])


def deepseek_vl2(dice, spec):
    decoder = copy.deepcopy(spec["config"]["language_config"])
    kind = dice.one("mha", "mla", "noaux")
    decoder["tie_word_embeddings"] = False
    if kind == "mha":
        decoder.update(use_mla=False, kv_lora_rank=None, qk_nope_head_dim=0, qk_rope_head_dim=0, v_head_dim=0, q_lora_rank=None)
        if decoder["hidden_size"] // decoder["num_attention_heads"] % 2:
            decoder["hidden_size"] += decoder["num_attention_heads"]
    else:
        latent(dice, decoder)
    experts_of_deepseek(dice, decoder, softmax=kind != "noaux")
    patch = dice.one(8, 14, 16)
    heads = dice.one(2, 3, 4)
    grid = dice.number(3, 7)
    base = patch * grid + dice.one(0, 0, 3)
    tiles = [(1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1), (3, 2), (4, 1)][: dice.number(2, 8)]
    ratio = dice.one(2, 2, 3)
    made = families.deepseek_vl_v2(
        base=base, tiles=tiles, language=decoder,
        vision=dict(patch_size=patch, width=heads * 8, heads=heads, layers=dice.number(1, 3), mlp_ratio=dice.one(3.7362, 2, 4.0)),
        projector=dict(depth=dice.one(2, 2, 3, 4), mlp_ratio=dice.one(1, 2), downsample_ratio=ratio),
        global_view_pos=dice.one("head", "head", "tail"),
    )
    made["seed"] = spec["seed"]
    return made


def picture_sizes(dice):
    return [(dice.number(20, 150), dice.number(20, 150)) for _ in range(3)]


def film_shape(dice, config):
    """Frames, height and width; of a size that needs no resizing, where the library's two backends differ."""
    vision = config["vision_config"]
    side = vision["patch_size"] * vision["spatial_merge_size"]
    return dice.one(2, 3, 4, 5, 7, 30), side * dice.number(3, 4), side * 3
