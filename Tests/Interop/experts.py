"""Adapters on experts: those that PEFT wrote, in its older form (factors of each expert) and its newer one (of a layer's experts
together), and those that Attune trained, in PEFT.

Of the newer form PEFT itself is the truth. Of the older one it is the weights with the products of the factors added here: PEFT, which
converts such files, loses the factors of dense layers and shared experts on the way.
"""

import json
import re
import shutil
from pathlib import Path

from libraries import torch

from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

import cases
from compare import close_logprobs
from families import PICTURED, family
from fine_tunes import PICTURE_DATA, TEXT_DATA, recipe
from merged import placed
from program import Refused
from reference import ROUTER_GAP, Reference
from weights import random_tensor, write_checkpoint, write_json

ATTENTION = ["q_proj", "o_proj"]
UNITS = ["gate_proj", "up_proj", "down_proj"]
# Together: what LoraConfig is asked for.
TOGETHER = {
    "both matrices": dict(target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]),
    "gate and up": dict(target_parameters=["mlp.experts.gate_up_proj"]),
    "down": dict(target_parameters=["experts.down_proj"]),
    "rank by pattern": dict(
        target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
        rank_pattern={r".*\.gate_up_proj": 6}, alpha_pattern={r".*\.gate_up_proj": 18}),
    "rank-stabilised": dict(target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"], use_rslora=True),
}
# Of each expert, and of dense layers and shared experts as well: the layers' names.
APART = {"all": UNITS, "down": ["down_proj"]}
# Of those that Attune trains: keys of the recipe.
TRAINED = {
    "everything": dict(targets=".*"),
    "experts alone": dict(targets=r".*\.experts\..*"),
    "down and the routers": dict(targets=["experts.down_proj", "gate", "q_proj"]),
    "no experts": dict(rank_pattern={"o_proj": 2}),
    "various ranks": dict(
        targets=".*", rank_stabilized=True, rank_pattern={r".*layers\.1\..*": 3, "o_proj": 1},
        alpha_pattern={r".*layers\.2\..*(down|gate_up)_proj": 30, r".*layers\.0\.mlp.*": 5}),
    "magnitudes": dict(dora=True, targets="all-linear"),
    "dropout": dict(dropout=0.2, targets="all-linear"),
}


def check(report, program, work, wanted):
    for name in ("qwen3_moe", "deepseek_v2", "qwen3_vl_moe"):
        if name not in wanted:
            continue
        for label, options in TOGETHER.items():
            report.guard(f"{name}, experts together, {label}", together, report, program, work, name, label, options)
        for label, lora in TRAINED.items():
            report.guard(f"{name}, trained, {label}", trained, report, program, work, name, label, lora)
        if name != "qwen3_vl_moe":
            for label, targets in APART.items():
                report.guard(f"{name}, experts apart, {label}", apart, report, program, work, name, label, targets)


def together(report, program, work, name, label, options):
    folder = Path(f"{work}/experts/{name}-{label.replace(' ', '-')}")
    base = write_checkpoint(folder / "base", family(name, 51))
    plain = Reference(base)
    model = get_peft_model(plain.model, LoraConfig(r=3, lora_alpha=6, task_type="CAUSAL_LM", target_modules=ATTENTION, **options))
    with torch.no_grad():
        for key, value in model.named_parameters():
            if "lora_" in key:
                value.copy_(0.4 * random_tensor(key, tuple(value.shape), "experts"))
    model.save_pretrained(folder / "adapter")
    compare(report, program, f"{name}, experts together, {label}", base, folder / "adapter", Reference(base, folder / "adapter"))


def trained(report, program, work, name, label, lora):
    folder = Path(f"{work}/experts/{name}-trained-{label.replace(' ', '-')}")
    base = write_checkpoint(folder / "base", family(name, 53))
    path, run = folder / "recipe.yaml", folder / "run"
    data = PICTURE_DATA if name in PICTURED else TEXT_DATA
    write_json(path, recipe(base, data, "f32", train="lora", lora={"rank": 4, "alpha": 12, **lora}))
    shutil.rmtree(run, ignore_errors=True)
    program.run("run", path, "--output", run)
    reference = Reference(base, run / "adapter")
    compare(report, program, f"{name}, trained, {label}", base, run / "adapter", reference)
    report.expect(f"{name}, trained, {label}: every factor placed", placed(reference.model, run / "adapter"), "all of the file's tensors are in the model")


def apart(report, program, work, name, label, targets):
    """A file as PEFT wrote it beside transformers 4."""
    folder = Path(f"{work}/experts/{name}-apart-{label}")
    base = write_checkpoint(folder / "base", family(name, 52))
    wanted = re.compile(rf"\.({'|'.join(ATTENTION + targets)})\.weight$")
    tensors, merged = {}, load_file(base / "model.safetensors")
    for key, value in list(merged.items()):
        if wanted.search(key):
            stem = f"base_model.model.{key.removesuffix('.weight')}"
            a = 0.4 * random_tensor(f"{stem}.A", (3, value.shape[1]), "apart")
            b = 0.4 * random_tensor(f"{stem}.B", (value.shape[0], 3), "apart")
            tensors[f"{stem}.lora_A.weight"], tensors[f"{stem}.lora_B.weight"] = a, b
            merged[key] = value + 2 * b @ a
    (folder / "adapter").mkdir(exist_ok=True)
    save_file(tensors, folder / "adapter" / "adapter_model.safetensors")
    write_json(folder / "adapter" / "adapter_config.json", dict(
        peft_type="LORA", task_type="CAUSAL_LM", r=3, lora_alpha=6, lora_dropout=0.0, bias="none", target_modules=ATTENTION + targets,
        base_model_name_or_path=str(base), inference_mode=True, rank_pattern={}, alpha_pattern={},
    ))
    truth = write_checkpoint(folder / "truth", family(name, 52))
    save_file(merged, truth / "model.safetensors", metadata={"format": "pt"})
    compare(report, program, f"{name}, experts apart, {label}", base, folder / "adapter", Reference(truth))


def compare(report, program, label, base, adapter, reference):
    """Beside the base, and merged into it."""
    plain = Reference(base)
    config = json.loads((base / "config.json").read_text())
    lines = [{"input_ids": cases.random_ids(config, length, (label, attempt))} for length in (20, 90) for attempt in range(3)]
    lines = [line for line in lines if min(reference.logprobs(line)[2], plain.logprobs(line)[2]) >= ROUTER_GAP]
    truths = [reference.logprobs(line)[1] for line in lines]
    moved = max(float((truth - plain.logprobs(line)[1]).abs().max()) for truth, line in zip(truths, lines))
    assert moved > 0.1, f"the adapter moves log-probabilities by {moved} only"
    try:
        answers = program.score(base, lines, "--adapter", adapter)
    except Refused as refusal:
        clear = refusal.status == 2 and "expert" in refusal.text
        (report.skip if clear else report.fail)(label, f"refused: {refusal.text.strip()[:300]}")
        return
    close_logprobs(report, label, sum((a["logprobs"] for a in answers), []), torch.cat(truths))
    merged = adapter.parent / "merged"
    program.run("adapter", "merge", "--model", base, "--adapter", adapter, merged)
    whole = Reference(merged)
    close_logprobs(report, f"{label}, merged", torch.cat([whole.logprobs(line)[1] for line in lines]).tolist(), torch.cat(truths))
