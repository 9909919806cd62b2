"""Attune trains every family a little; the libraries load what it wrote and compute the same."""

import json
import shutil
from pathlib import Path

from libraries import FIXTURES, torch

from safetensors import safe_open

import cases
from compare import score_lines
from families import PICTURED, family
from reference import Reference
from weights import write_checkpoint, write_json

ROOT = FIXTURES.parent.parent
TEXT_DATA = {"train": {"kind": "jsonl", "file": str(ROOT / "recipes/data/sums/sums.jsonl")}}
PICTURE_DATA = {
    "train": {
        "kind": "digits", "file": str(ROOT / "recipes/data/digits/digits.csv"), "records": [0, 1400], "placement": "cells",
        "canvas": [64, 16], "digit_size": 15, "shift": 1,
    }
}


def check(report, program, work, wanted):
    for name in wanted:
        for dtype in ("f32", "bf16") if name in ("qwen3", "qwen3_vl") else ("f32",):
            report.guard(f"{name} fine-tuned", one_family, report, program, work, name, dtype)


def recipe(base, data, dtype, **model):
    """A recipe (JSON is YAML) of a few large steps: every weight moves visibly."""
    optimizer = {"learning_rate": 5e-3, "schedule": "constant"}
    return {
        "name": "interop", "seed": 2, "dtype": dtype, "model": {"path": str(base), **model}, "data": data,
        "stages": [{"objective": "sft", "steps": 3, "batch": 4, "optimizer": optimizer}],
    }


def tensors(folder):
    """Name to (dtype, shape), over all files of a checkpoint."""
    found = {}
    for path in sorted(Path(folder).glob("model*.safetensors")):
        with safe_open(path, "pt") as file:
            found.update({name: (file.get_slice(name).get_dtype(), tuple(file.get_slice(name).get_shape())) for name in file.keys()})
    return found


def moved(base, trained):
    """Names of the tensors that training left as they were."""
    still = []
    for path in sorted(Path(trained).glob("model*.safetensors")):
        with safe_open(path, "pt") as new, safe_open(Path(base) / "model.safetensors", "pt") as old:
            still += [n for n in new.keys() if torch.equal(new.get_tensor(n).float(), old.get_tensor(n).float())]
    return still


def one_family(report, program, work, name, dtype):
    spec = family(name, 7)
    label = f"{name} fine-tuned in {dtype}"
    base = write_checkpoint(f"{work}/tuned/{name}-base", spec)
    path = Path(f"{work}/tuned/{name}-{dtype}.yaml")
    write_json(path, recipe(base, PICTURE_DATA if name in PICTURED else TEXT_DATA, dtype))
    run = Path(f"{work}/tuned/{name}-{dtype}")
    shutil.rmtree(run, ignore_errors=True)
    program.run("run", path, "--output", run)
    before, after = tensors(base), tensors(run / "model")
    shapes = lambda found: {n: shape for n, (_, shape) in found.items()}
    report.expect(f"{label}: names and shapes of the base", shapes(before) == shapes(after), difference(shapes(before), shapes(after)))
    # Rows of experts and ids that no sample used, and what the tower stores but never uses, may stay.
    still = [n for n in moved(base, run / "model") if ".experts." not in n and "attn_pool" not in n and "correction_bias" not in n]
    report.expect(f"{label}: every weight trained", not still, f"{len(after)} tensors, unmoved: {still[:5]}")
    lines = cases.all_cases(run / "model", spec, films=False)
    reference = score_lines(report, program, label, run / "model", lines)
    line = lines[2][1]
    gap = float((Reference(base).logprobs(line)[1] - reference.logprobs(line)[1]).abs().max())
    report.expect(f"{label}: unlike its base", gap > 0.01, f"log-probabilities moved by up to {gap:.2f}")
    config = json.loads((run / "model" / "config.json").read_text())
    report.expect(f"{label}: its configuration", config["architectures"] == spec["config"]["architectures"], str(config["architectures"]))


def difference(before, after):
    if before == after:
        return f"{len(after)} tensors"
    missing, extra = sorted(set(before) - set(after)), sorted(set(after) - set(before))
    other = [(n, before[n], after[n]) for n in before if n in after and before[n] != after[n]]
    return f"missing {missing[:4]}, extra {extra[:4]}, other shapes {other[:3]}"
