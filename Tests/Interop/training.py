"""Three steps of supervised training, in Attune and in torch on the library's model: the same log-probabilities after them.

All weights, or a LoRA or DoRA adapter that PEFT made and both go on with.

The batch is the whole data set, so that its order says nothing. AdamW's epsilon is large: it then follows the gradient's size, where
the usual one would turn rounding errors of tiny gradients into whole steps.
"""

import json
import shutil
from pathlib import Path

from libraries import torch

import cases
import pictures
from families import PICTURED, decoder_of, family
from reference import ROUTER_GAP, Reference
from weights import random_tensor, write_checkpoint, write_json

STEPS, RATE, EPSILON, NORM = 3, 0.05, 0.01, 1.0
# After three steps; a wrong gradient of any one tensor shows as 1e-2 and more.
TOLERANCE = 1e-3
ADAPTERS = {"LoRA": {}, "DoRA": {"use_dora": True}}
# Names that mean one linear layer in every family, and not an expert.
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "kv_b_proj", "kv_a_proj_with_mqa", "qkv", "linear_fc1", "linear_fc2"]
QUESTIONS = ["How many apples?", "And in the red box?", "2 + 2 =", "Which is larger, the first or the second?"]
ANSWERS = ["Three apples.", "None.", "4", "The second one, by far."]


def check(report, program, work, wanted):
    for name in wanted:
        report.guard(f"{name} trained", one_family, report, program, work, name)
        if name != "deepseek_vl_v2":  # PEFT wraps models of transformers
            for kind in ADAPTERS:
                report.guard(f"{name} with {kind}", one_family, report, program, work, name, kind)


def rows(name, folder):
    """Four conversations of one turn; with one, two or no picture where the family has eyes."""
    found = []
    for i, (question, answer) in enumerate(zip(QUESTIONS, ANSWERS)):
        row = {"prompt": [{"role": "user", "content": question}], "completion": answer}
        count = (1, 2, 0, 1)[i] if name in PICTURED else 0
        if count:
            row["images"] = [pictures.picture(f"{folder}/picture{i}{j}.png", 40 + 30 * i, 60 + 20 * j, (name, i, j)) for j in range(count)]
            row["prompt"] = [cases.parts(*["<image>"] * count, question)]
        found.append(row)
    return found


def one_family(report, program, work, name, kind=None):
    spec = family(name, 31)
    folder = Path(f"{work}/trained/{name}-{kind or 'full'}")
    shutil.rmtree(folder, ignore_errors=True)
    base = write_checkpoint(folder / "base", spec)
    data = rows(name, folder)
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data))
    start = kind and make_adapter(base, folder / "start", ADAPTERS[kind])
    optimizer = {"learning_rate": RATE, "schedule": "constant", "epsilon": EPSILON, "max_grad_norm": NORM, "beta2": 0.99}
    write_json(folder / "recipe.yaml", {
        "name": "interop", "seed": 1, "model": {"path": str(base), **({"train": "lora", "adapter": str(start)} if start else {})},
        "data": {"train": {"kind": "jsonl", "file": str(folder / "data.jsonl")}},
        "stages": [{"objective": "sft", "steps": STEPS, "batch": len(data), "optimizer": optimizer}],
    })
    program.run("run", folder / "recipe.yaml", "--output", folder / "run")
    reference, before = Reference(base, start), Reference(base, start)
    train(reference, data, end_id(spec))
    lines = [line for line in cases.all_cases(folder, spec, films=False) if line[0] in ("ids 23", "ids 150", "chat", "two pictures")]
    trained = (base, "--adapter", folder / "run" / "adapter") if start else (folder / "run" / "model",)
    answers = program.score(trained[0], [line for _, line in lines], *trained[1:])
    worst = moved = 0.0
    for (_, line), answer in zip(lines, answers):
        _, truth, gap = reference.logprobs(line)
        moved = max(moved, float((truth - before.logprobs(line)[1]).abs().max()))
        if gap >= ROUTER_GAP:
            worst = max(worst, float((torch.tensor(answer["logprobs"]) - truth).abs().max()))
    note = f"moved by up to {moved:.2f}, differ from torch's by at most {worst:.1e}"
    report.expect(f"{name} trained for {STEPS} steps, {kind or 'all weights'}", worst < TOLERANCE and moved > 0.1, note)


def end_id(spec):
    ids = spec["files"].get("generation_config.json", decoder_of(spec["config"]))["eos_token_id"]
    return ids if isinstance(ids, int) else ids[0]


def make_adapter(base, folder, options):
    """An adapter whose factors are all random, saved by PEFT."""
    from peft import LoraConfig, get_peft_model

    reference = Reference(base)
    words = {name.split(".")[-1] for name, _ in reference.model.named_modules()}
    targets = [target for target in TARGETS if target in words]
    model = get_peft_model(reference.model, LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", target_modules=targets, **options))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                value.copy_(0.3 * random_tensor(name, tuple(value.shape), "adapter"))
    model.save_pretrained(folder)
    return folder


def train(reference, data, end):
    model = reference.model.train()
    weights = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=RATE, betas=(0.9, 0.99), eps=EPSILON, weight_decay=0.0)
    batch = [encode(reference, row, end) for row in data]
    count = sum(targets for _, targets in batch)
    for _ in range(STEPS):
        optimizer.zero_grad()
        for inputs, targets in batch:
            logits = forward(reference, inputs)
            logprobs = torch.log_softmax(logits[:-1].float(), -1).gather(-1, inputs["input_ids"][0, 1:, None])[:, 0]
            (-logprobs[-targets:].sum() / count).backward()
        torch.nn.utils.clip_grad_norm_(weights, NORM)
        optimizer.step()
    model.eval()


def forward(reference, inputs):
    if reference.kind == "deepseek_vl_v2":
        return reference.model(**inputs)[0]
    return reference.model(**inputs, use_cache=False).logits[0]


def encode(reference, row, end):
    """The model's input of prompt, completion and end, and how many ids of it are to be learnt."""
    line = {"messages": row["prompt"], "images": row.get("images", []), "add_generation_prompt": True}
    inputs = reference.inputs(line)
    targets = reference.tokenizer.encode(row["completion"], add_special_tokens=False) + [end]
    for id in targets:
        inputs = reference.grown(inputs, id)
    return inputs, len(targets)
