"""Checkpoints that transformers wrote: read by Attune, whole and in shards, in float32, bfloat16 and float16."""

import cases
from compare import greedy_lines, score_lines
from families import decoder_of, family, newer_style
from reference import ROUTER_GAP, Reference
from weights import write_checkpoint


def check(report, program, work, wanted):
    for name in wanted:
        report.guard(name, one_family, report, program, work, name)


def one_family(report, program, work, name):
    folder, spec, lines, reference = clear_checkpoint(f"{work}/checkpoints/{name}", name)
    score_lines(report, program, name, folder, lines, reference=reference)
    chosen = [line for line in lines if line[0] in ("ids 23", "chat", "two pictures", "film")]
    greedy_lines(report, program, name, folder, chosen, 12, reference)
    ends = spec["files"].get("generation_config.json", decoder_of(spec["config"]))["eos_token_id"]
    greedy_lines(report, program, f"{name} to its end", folder, lines[:1] + chosen, 40, reference, [ends] if isinstance(ends, int) else ends)
    few = [line for line in lines if line[0] in ("ids 23", "ids 150", "picture")]
    for label, dtype, shard in (("bfloat16", "bfloat16", None), ("float16", "float16", None), ("in shards", "float32", "40KB")):
        other = write_checkpoint(f"{work}/checkpoints/{name}-{label.replace(' ', '-')}", spec, dtype, shard)
        score_lines(report, program, f"{name} {label}", other, few)
    if name != "deepseek_vl_v2":
        newer = dict(spec, config=newer_style(spec["config"]), published_experts=False)
        other = write_checkpoint(f"{work}/checkpoints/{name}-newer", newer)
        score_lines(report, program, f"{name} as transformers 5 writes it", other, few)


def clear_checkpoint(path, name):
    """The first seed's weights under which no input leaves the choice of an expert to rounding."""
    for seed in range(1, 13):
        spec = family(name, seed)
        folder = write_checkpoint(path, spec)
        lines, reference = cases.all_cases(folder, spec), Reference(folder)
        if min(reference.logprobs(line)[2] for _, line in lines) > 2 * ROUTER_GAP:
            break
    return folder, spec, lines, reference
