"""Many more checkpoints of every family: a fixed list in which every switch is set once, and a random sweep.

Alone:  check.py ATTUNE WORK --only second_set [--family NAME] --sweep 100 --seed 1
"""

import copy
import shutil

from libraries import torch

import cases
import variations
from compare import TOLERANCE, greedy_lines, score_lines
from families import decoder_of, family
from program import Refused
from reference import ROUTER_GAP, Reference
from weights import write_checkpoint

PER_FAMILY = 3

MOE = dict(num_experts=7, num_experts_per_tok=2, moe_intermediate_size=24)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32)
SIGMOID = dict(topk_method="noaux_tc", scoring_func="sigmoid", norm_topk_prob=True, routed_scaling_factor=2.5)

# Name of the family, what is shown, changes of the decoder's configuration; nothing stands for "take the key out".
FIXED = [
    ("llama", "biases", dict(attention_bias=True, mlp_bias=True)),
    ("llama", "linear rope, one kv head", dict(rope_scaling={"type": "linear", "factor": 3.0}, num_key_value_heads=1)),
    ("llama", "tied, derived head size", dict(tie_word_embeddings=True, head_dim="nothing", rope_scaling=None)),
    ("llama", "yarn", dict(rope_scaling=dict(YARN, beta_fast=16, beta_slow=2))),
    ("qwen2", "window of all layers", dict(use_sliding_window=True, sliding_window=9, max_window_layers=0)),
    ("qwen2", "window from layer 2", dict(use_sliding_window=True, sliding_window=70, max_window_layers=2)),
    ("qwen2", "window switched off", dict(use_sliding_window=False, sliding_window=4, max_window_layers=0)),
    ("qwen2", "layer types", dict(
        use_sliding_window=True, sliding_window=16, layer_types=["sliding_attention", "full_attention", "sliding_attention"])),
    ("qwen3", "attention biases", dict(attention_bias=True)),
    ("qwen3", "head size by default", dict(head_dim="nothing", num_attention_heads=2, num_key_value_heads=1)),
    ("qwen3", "yarn, attention factor", dict(rope_scaling=dict(YARN, attention_factor=1.3))),
    ("qwen3", "yarn, not truncated", dict(rope_scaling=dict(YARN, truncate=False))),
    ("qwen3", "yarn, mscale", dict(rope_scaling=dict(YARN, mscale=1.0, mscale_all_dim=0.7))),
    ("qwen3", "window", dict(use_sliding_window=True, sliding_window=33, max_window_layers=1)),
    ("qwen3", "one layer, one head", dict(num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1)),
    ("qwen3_moe", "dense layers among sparse ones", dict(MOE, num_hidden_layers=4, decoder_sparse_step=2, mlp_only_layers=[3])),
    ("qwen3_moe", "weights not renormalised", dict(MOE, norm_topk_prob=False)),
    ("qwen3_moe", "one expert a token, window", dict(MOE, num_experts_per_tok=1, use_sliding_window=True, sliding_window=11)),
    ("qwen3_vl", "untied", dict(tie_word_embeddings=False)),
    ("qwen3_vl", "yarn", dict(rope_scaling=dict(YARN, mrope_interleaved=True, mrope_section=[4, 2, 2]))),
    ("qwen3_vl", "unequal sections", dict(
        rope_scaling=dict(rope_type="default", mrope_interleaved=True, mrope_section=[5, 1, 2]))),
    ("qwen3_vl_moe", "square experts", dict(moe_intermediate_size=24)),
    ("qwen3_vl_moe", "dense layers", dict(mlp_only_layers=[0], norm_topk_prob=False)),
    ("deepseek_v2", "queries compressed, groups", dict(
        q_lora_rank=20, n_group=4, topk_group=2, topk_method="group_limited_greedy", routed_scaling_factor=16.0)),
    ("deepseek_v2", "wide values, no scaling", dict(v_head_dim=40, rope_scaling=None)),
    ("deepseek_v2", "all layers sparse, unequal mscale", dict(
        first_k_dense_replace=0, rope_scaling=dict(YARN, mscale=1.0, mscale_all_dim=0.5))),
    ("deepseek_v2", "all layers dense", dict(first_k_dense_replace=3)),
    ("deepseek_vl_v2", "plain attention", dict(
        use_mla=False, kv_lora_rank=None, qk_nope_head_dim=0, qk_rope_head_dim=0, v_head_dim=0)),
    ("deepseek_vl_v2", "sigmoid routing", SIGMOID),
    ("deepseek_vl_v2", "sigmoid routing in groups", dict(SIGMOID, n_group=4, topk_group=2, q_lora_rank=18)),
    ("deepseek_vl_v2", "sigmoid routing, not renormalised", dict(SIGMOID, norm_topk_prob=False)),
]

# Right or refused; a refusal names the word.
DOUBTFUL = [
    ("llama", "dynamic", dict(rope_scaling={"type": "dynamic", "factor": 2.0})),
    ("llama", "longrope", dict(rope_scaling=dict(
        rope_type="longrope", short_factor=[1.0] * 8, long_factor=[2.0] * 8, original_max_position_embeddings=32, factor=4.0))),
    ("qwen3", "partial_rotary_factor", dict(partial_rotary_factor=0.5)),
    ("qwen2", "hidden_act", dict(hidden_act="gelu")),
    ("qwen3_moe", "hidden_act", dict(hidden_act="relu")),
]


def check(report, program, work, wanted, sweep, seed):
    for name, label, changes in FIXED:
        if name in wanted:
            report.guard(f"{name}, {label}", fixed, report, program, work, name, label, changes)
    for name, word, changes in DOUBTFUL:
        if name in wanted:
            report.guard(f"{name}, {word}", doubtful, report, program, work, name, word, changes)
    for number in range(seed, seed + max(sweep, PER_FAMILY)):
        for name in wanted:
            report.guard(f"{name} {number}", drawn, report, program, work, name, number)


def changed(name, changes):
    spec = family(name)
    decoder = decoder_of(spec["config"])
    for key, value in changes.items():
        if value == "nothing":
            decoder.pop(key, None)
        else:
            decoder[key] = copy.deepcopy(value)
    if "text_config" in spec["config"]:
        spec["config"]["tie_word_embeddings"] = decoder["tie_word_embeddings"]
    return spec


def fixed(report, program, work, name, label, changes):
    spec = changed(name, changes)
    folder = f"{work}/second/{name}-{label.replace(' ', '-').replace(',', '')}"
    compare(report, program, f"{name}, {label}", folder, spec, {}, variations.Dice(name, label))


def drawn(report, program, work, name, number):
    """One checkpoint of the sweep; configurations that the reference itself refuses are drawn again."""
    for attempt in range(20):
        spec, kind = variations.vary(name, f"{number}.{attempt}")
        folder = f"{work}/second/{name}-{number}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            write_checkpoint(folder, spec, **kind)
            reference = Reference(folder)
            reference.logprobs({"input_ids": [5, 6, 7]})
        except Exception as error:
            last = error
            continue
        compare(report, program, f"{name} {number}", folder, spec, kind, variations.Dice(name, number), reference)
        return
    raise last


def compare(report, program, label, folder, spec, kind, dice, reference=None):
    if reference is None:
        write_checkpoint(folder, spec, **kind)
        reference = Reference(folder)
    config, seed = spec["config"], spec["seed"]
    lengths = (1, 2, dice.number(3, 60), dice.number(129, 200))
    lines = clear(cases.ids_cases(config, seed, lengths), config, seed, reference)
    lines += cases.text_cases(config)[:2] + cases.chat_cases()[:1]
    if config["model_type"] in ("qwen3_vl", "qwen3_vl_moe", "deepseek_vl_v2"):
        lines += cases.picture_cases(f"{folder}/pictures", seed, variations.picture_sizes(dice))
    if config["model_type"].startswith("qwen3_vl"):
        lines += cases.film_cases(f"{folder}/pictures", seed, variations.film_shape(dice, config))
    score_lines(report, program, label, folder, lines, reference=reference)
    greedy_lines(report, program, label, folder, lines[2:3] + lines[-1:], 6, reference)
    if reference.kind != "deepseek_vl_v2":
        left_padded(report, program, label, folder, config, seed, reference)


def clear(lines, config, seed, reference):
    """Other random ids where two experts are too near each other."""
    found = []
    for case, line in lines:
        for attempt in range(10):
            if reference.logprobs(line)[2] >= ROUTER_GAP:
                break
            line = {"input_ids": cases.random_ids(config, len(line["input_ids"]), (seed, attempt))}
        found.append((case, line))
    return found


def left_padded(report, program, label, folder, config, seed, reference):
    """A batch of the reference, padded on the left, is what Attune computes line by line."""
    rows = [cases.random_ids(config, length, (seed, "padded")) for length in (7, 31, 80)]
    reference.gaps.smallest = float("inf")
    theirs = reference.padded_logprobs(rows)
    if reference.gaps.smallest < ROUTER_GAP:
        return
    ours = program.score(folder, [{"input_ids": row} for row in rows])
    gap = max(float((torch.tensor(o["logprobs"]) - t).abs().max()) for o, t in zip(ours, theirs))
    if gap >= TOLERANCE:
        report.fail(f"{label}, left-padded", f"log-probabilities differ by {gap:.1e}")


def doubtful(report, program, work, name, word, changes):
    spec = changed(name, changes)
    label, folder = f"{name}, {word}", f"{work}/second/{name}-{word}"
    try:
        write_checkpoint(folder, spec)
        reference = Reference(folder)
        reference.logprobs({"input_ids": [5, 6, 7]})
    except Exception:
        reference = None
    try:
        program.score(folder, [{"input_ids": [5, 6, 7]}])
    except Refused as refusal:
        clear = refusal.status == 2 and word in refusal.text
        report.expect(label, clear, "refused by name" if clear else f"unclear refusal: {refusal}")
        return
    if reference is None:
        report.fail(label, "the reference refuses it, Attune does not")
        return
    score_lines(report, program, label, folder, cases.ids_cases(spec["config"], 1, (20, 90)), reference=reference)
