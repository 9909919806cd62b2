"""Adapters that Attune trained: PEFT puts them on the base, transformers loads the base with them merged in."""

import shutil
from pathlib import Path

from safetensors.torch import load_file

import cases
from compare import close_logprobs, score_lines
from families import PICTURED, family
from fine_tunes import PICTURE_DATA, TEXT_DATA, difference, recipe, tensors
from reference import ROUTER_GAP, Reference
from weights import write_checkpoint, write_json

SHARD = "40KB"


def check(report, program, work, wanted):
    for name in wanted:
        report.guard(f"{name} merged", one_family, report, program, work, name)


def one_family(report, program, work, name):
    spec = family(name, 11)
    base = write_checkpoint(f"{work}/merged/{name}-base", spec)
    adapter = train(program, f"{work}/merged/{name}", base, name)
    lines = [line for line in cases.all_cases(base, spec, films=False) if line[0] in ("ids 23", "ids 150", "chat", "two pictures")]
    whole, parts = Path(f"{work}/merged/{name}-whole"), Path(f"{work}/merged/{name}-parts")
    for folder, flags in ((whole, []), (parts, ["--shard-size", SHARD])):
        shutil.rmtree(folder, ignore_errors=True)
        program.run("adapter", "merge", "--model", base, "--adapter", adapter, folder, *flags)
    report.expect(f"{name} merged: names and shapes of the base", shapes(base) == shapes(whole), difference(shapes(base), shapes(whole)))
    sharded = shapes(parts) == shapes(whole) and (parts / "model.safetensors.index.json").exists()
    report.expect(f"{name} merged, in shards", sharded, f"{len(list(parts.glob('model-*.safetensors')))} files")
    merged = score_lines(report, program, f"{name} merged", whole, lines)
    score_lines(report, program, f"{name} merged, in shards", parts, lines)
    unmerged(report, program, name, base, adapter, lines, merged)


def train(program, folder, base, name):
    """A LoRA on every linear layer, moved by a few large steps; returns the adapter's folder."""
    path = Path(f"{folder}.yaml")
    write_json(path, recipe(base, PICTURE_DATA if name in PICTURED else TEXT_DATA, "f32", train="lora", lora={"rank": 4, "alpha": 12}))
    shutil.rmtree(folder, ignore_errors=True)
    program.run("run", path, "--output", folder)
    return Path(folder) / "adapter"


def shapes(folder):
    return {name: shape for name, (_, shape) in tensors(folder).items()}


def unmerged(report, program, name, base, adapter, lines, merged):
    """The adapter beside the base: in Attune, and in PEFT where transformers has the family."""
    peft = None if name == "deepseek_vl_v2" else Reference(base, adapter)
    plain = Reference(base)
    answers = program.score(base, [line for _, line in lines], "--adapter", adapter)
    moved = 0.0
    for (case, line), answer in zip(lines, answers):
        ids, truth, gap = merged.logprobs(line)
        if min(gap, plain.logprobs(line)[2]) < ROUTER_GAP:
            continue
        close_logprobs(report, f"{name} adapter unmerged/{case}", answer["logprobs"], truth)
        if peft is not None:
            close_logprobs(report, f"{name} adapter in PEFT/{case}", answer["logprobs"], peft.logprobs(line)[1])
        moved = max(moved, float((truth - plain.logprobs(line)[1]).abs().max()))
    report.expect(f"{name} adapter does something", moved > 0.01, f"log-probabilities moved by up to {moved:.2f}")
    if peft is not None:
        report.expect(f"{name} adapter in PEFT: every factor placed", placed(peft.model, adapter), "all of the file's tensors are in the model")


def placed(model, adapter):
    """Whether PEFT holds what the file has: it drops what it does not know, with a warning at most.

    Counted in numbers other than zero, since what it joins (the experts of a layer) gains zeros.
    """
    stored = sum(int((value != 0).sum()) for value in load_file(adapter / "adapter_model.safetensors").values())
    held = sum(int((value != 0).sum()) for key, value in model.named_parameters() if "lora_" in key)
    return held >= stored
