"""Adapters between attune and PEFT, both ways: python adapters.py ATTUNE WORKDIR.

What attune wrote is loaded by PEFT, what PEFT wrote by `attune score --adapter`; log-probabilities must be equal. Prints one
line for each check, ok or FAILED, and exits with 1 if one failed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch

# A torchvision whose compiled part does not fit torch is made importable; none at all is fine.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "Fixtures"))
try:
    import torchvision_shim

    torchvision_shim.load()
except ImportError:
    pass

from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

LIMIT = 2e-4
TEXT = "Which number is written here? 407 and 12."
failures = 0


def report(name, holds, note):
    global failures
    failures += not holds
    print(f"{'ok    ' if holds else 'FAILED'} {name}: {note}", flush=True)


def guarded(name, check, *arguments):
    try:
        check(name, *arguments)
    except subprocess.CalledProcessError as error:
        report(name, False, f"exit {error.returncode}: {error.stderr.strip()[-600:]}")
    except Exception as error:  # the other checks still count
        report(name, False, f"{type(error).__name__}: {error}")


def run(*arguments, text=None):
    return subprocess.run(
        [ATTUNE, *map(str, arguments)], input=text, capture_output=True, text=True, check=True
    ).stdout


def ours(folder, *flags, **line):
    answer = json.loads(run("score", "--model", folder, *flags, text=json.dumps({"text": TEXT, **line})))
    return answer["input_ids"], torch.tensor(answer["logprobs"])


def theirs(model, ids):
    model = model.eval()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0].float()
    return torch.log_softmax(logits[:-1], -1).gather(-1, torch.tensor(ids[1:])[:, None])[:, 0]


def compare(name, a, b, limit=LIMIT):
    gap = (a - b).abs().max().item()
    report(name, gap < limit, f"largest difference of log-probabilities {gap:.2e}")


def load(folder):
    kind = AutoModelForImageTextToText if (Path(folder) / "preprocessor_config.json").exists() else AutoModelForCausalLM
    return kind.from_pretrained(str(folder), dtype=torch.float32, attn_implementation="eager")


def untied(tiny, folder, **changes):
    """A fresh checkpoint of another shape with the tokenizer of `tiny`."""
    config = AutoConfig.from_pretrained(str(tiny)).to_dict()
    config.update(changes, tie_word_embeddings=False)
    torch.manual_seed(5)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    for path in Path(tiny).iterdir():
        if path.name.startswith(("tokenizer", "vocab", "merges", "chat_template", "special")):
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


# ---------------------------------------------------------------- PEFT to attune

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def settings(biased):
    """Options by name; some need layers with biases."""
    yield "plain", dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])
    yield "all-linear, rank-stabilised", dict(r=3, lora_alpha=7, target_modules="all-linear", use_rslora=True)
    yield "pattern", dict(r=4, target_modules=r".*layers\.1\..*(q|up)_proj", lora_dropout=0.1)
    yield "excluded", dict(r=4, target_modules=ALL, exclude_modules=["down_proj"])
    yield "excluded by pattern", dict(r=4, target_modules=ALL, exclude_modules=r".*layers\.0\..*")
    yield "some layers", dict(r=4, target_modules=ALL, layers_to_transform=[1])
    yield "some layers of a list", dict(r=4, target_modules=ALL, layers_to_transform=0, layers_pattern="layers")
    yield "rank and alpha patterns", dict(
        r=4, lora_alpha=8, target_modules=ALL, rank_pattern={r"layers.0.*q_proj": 2, "q_proj": 5},
        alpha_pattern={"up_proj": 32}, use_rslora=True)
    yield "magnitudes", dict(r=4, target_modules=ALL, use_dora=True)
    yield "biases of adapted layers", dict(r=4, target_modules=["q_proj", "up_proj"], bias="lora_only")
    yield "all biases", dict(r=4, target_modules=["up_proj"], bias="all")
    yield "whole head and norm", dict(r=4, target_modules=["q_proj"], modules_to_save=["lm_head", "model.norm"])
    yield "whole embedding", dict(r=4, target_modules=["q_proj"], modules_to_save=["embed_tokens"])
    yield "whole layers among targets", dict(r=4, target_modules=ALL, modules_to_save=["down_proj"])
    if biased:
        yield "biases of factors", dict(r=4, target_modules=["q_proj", "v_proj"], lora_bias=True)


def shaken(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if not value.requires_grad:
                continue
            noise = torch.randn(value.shape, generator=generator)
            value.mul_(1 + 0.1 * noise) if "magnitude" in name else value.add_(0.05 * noise)
    return model


def with_picture(name, folder, model, adapter):
    """The same with a picture before the text, so that an adapter in the tower counts."""
    from PIL import Image
    from safetensors.torch import load_file

    picture = WORK / "picture.png"
    values = torch.randint(0, 256, (64, 96, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    Image.fromarray(values.numpy()).save(picture)
    run("preprocess", "--model", folder, "--output", WORK / "pixels.safetensors", picture)
    pixels = load_file(str(WORK / "pixels.safetensors"))
    content = [{"type": "image"}, {"type": "text", "text": TEXT}]
    line = {"messages": [{"role": "user", "content": content}], "images": [str(picture)]}
    answer = json.loads(run("score", "--model", folder, "--adapter", adapter, text=json.dumps(line)))
    ids = torch.tensor([answer["input_ids"]])
    places = (ids == model.config.image_token_id).int()
    with torch.no_grad():
        logits = model.eval()(
            input_ids=ids, pixel_values=pixels["pixel_values"], mm_token_type_ids=places,
            image_grid_thw=pixels["image_grid_thw"].long().reshape(-1, 3),
        ).logits[0].float()
    found = torch.log_softmax(logits[:-1], -1).gather(-1, ids[0, 1:, None])[:, 0]
    compare(f"{name}, with a picture", torch.tensor(answer["logprobs"]), found)


def peft_to_attune(name, folder, options, dtype=None):
    target = WORK / "peft" / name.replace(" ", "-").replace(",", "")
    model = shaken(get_peft_model(load(folder), LoraConfig(task_type="CAUSAL_LM", **options)), 3)
    model.save_pretrained(str(target))
    if dtype:
        from safetensors.torch import load_file, save_file

        path = str(target / "adapter_model.safetensors")
        save_file({k: v.to(dtype) for k, v in load_file(path).items()}, path)
        model = PeftModel.from_pretrained(load(folder), str(target))
    ids, logprobs = ours(folder, "--adapter", target)
    compare(name, logprobs, theirs(model, ids))
    if (folder / "preprocessor_config.json").exists():
        with_picture(name, folder, model, target)
    if options.get("lora_bias") or dtype:
        return
    merged = WORK / "merged"
    run("adapter", "merge", "--model", folder, "--adapter", target, merged)
    compare(f"{name}, merged by attune", theirs(load(merged), ids), logprobs)


def several(name, folder):
    paths = []
    for seed, targets in ((1, ["q_proj", "v_proj"]), (2, ["q_proj", "up_proj"])):
        model = shaken(get_peft_model(load(folder), LoraConfig(r=3, target_modules=targets)), seed)
        paths.append(WORK / "several" / f"{seed}")
        model.save_pretrained(str(paths[-1]))
    flags = [f for key, path in zip("ab", paths) for f in ("--adapter", f"{key}={path}")]
    model = PeftModel.from_pretrained(load(folder), str(paths[0]), adapter_name="a")
    model.load_adapter(str(paths[1]), adapter_name="b")
    for key in "ab":
        ids, logprobs = ours(folder, *flags, adapter=key)
        model.set_adapter(key)
        compare(f"{name}: {key}", logprobs, theirs(model, ids))
    ids, logprobs = ours(folder, *flags, adapter=None)
    with model.disable_adapter():
        compare(f"{name}: none", logprobs, theirs(model, ids))
    for kind, weights in (("cat", [0.7, -0.4]), ("linear", [0.7, 0.4])):
        target = WORK / "several" / kind
        run("adapter", "combine", "--model", folder, *flags, f"--weights={weights[0]},{weights[1]}", "--by", kind, target)
        model.add_weighted_adapter(["a", "b"], weights, kind, combination_type=kind)
        model.set_adapter(kind)
        ids, logprobs = ours(folder, "--adapter", target)
        compare(f"{name}: {kind}", logprobs, theirs(model, ids))


# ---------------------------------------------------------------- attune to PEFT


def recipe(folder, lora, freeze=()):
    return {
        "model": {"path": str(folder), "train": "lora", "lora": lora, "freeze": list(freeze)},
        "data": {"train": {"kind": "jsonl", "file": str(WORK / "rows.jsonl")}},
        "stages": [{
            "objective": "sft", "steps": 4, "batch": 4,
            "optimizer": {"learning_rate": 0.02, "schedule": "constant", "lora_plus_ratio": 2},
        }],
    }


def attune_to_peft(name, folder, lora, freeze=()):
    place = WORK / "attune" / name.replace(" ", "-").replace(",", "")
    place.parent.mkdir(parents=True, exist_ok=True)
    path = place.with_suffix(".yaml")
    path.write_text(json.dumps(recipe(folder, lora, freeze)))
    run("run", path, "--output", place)
    exported = place / "exported"
    run("adapter", "export", place, exported)
    ids, plain = ours(folder)
    _, logprobs = ours(folder, "--adapter", exported)
    moved = (plain - logprobs).abs().max().item()
    report(f"{name}, trained", moved > 0.01, f"log-probabilities moved by {moved:.2f}")
    model = PeftModel.from_pretrained(load(folder), str(exported))
    compare(f"{name}, in PEFT", logprobs, theirs(model, ids))
    if not lora.get("lora_bias"):
        compare(f"{name}, whole model in transformers", theirs(load(place / "model"), ids), logprobs)


def attune_settings(biased):
    yield "plain", {"rank": 4}
    yield "dropout", {"rank": 4, "dropout": 0.2, "targets": ["q_proj", "v_proj"]}
    yield "pattern", {"rank": 4, "targets": r".*layers\.1\..*(q|up)_proj", "rank_stabilized": True}
    yield "excluded", {"rank": 4, "exclude": ["down_proj"], "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 3}}
    yield "magnitudes", {"rank": 4, "dora": True, "dropout": 0.1}
    yield "whole modules", {"rank": 4, "targets": ["q_proj"], "modules_to_save": ["lm_head", "model.norm"]}
    if biased:
        yield "all biases", {"rank": 4, "targets": ["up_proj"], "bias": "all"}
        yield "biases of adapted layers", {"rank": 4, "targets": ["q_proj"], "bias": "lora_only"}
        yield "biases of factors", {"rank": 4, "targets": ["q_proj"], "lora_bias": True}


def main():
    for preset in ("tiny", "tiny-vl"):
        run("init", preset, WORK / preset)
    folders = {
        "tied": WORK / "tiny",
        "untied": untied(WORK / "tiny", WORK / "untied"),
        "with biases": untied(WORK / "tiny", WORK / "biased", model_type="qwen2", architectures=["Qwen2ForCausalLM"]),
    }
    with open(WORK / "rows.jsonl", "w") as file:
        for i in range(16):
            file.write(json.dumps({"prompt": f"What is {i} and {i + 3}?", "completion": f"{2 * i + 3}"}) + "\n")
    for kind, folder in folders.items():
        biased = kind == "with biases"
        for name, options in settings(biased):
            if kind == "tied" and name == "plain":
                for dtype in (torch.bfloat16, torch.float16):
                    guarded(f"{kind}, {name}, {dtype}", peft_to_attune, folder, options, dtype)
            guarded(f"{kind}, {name}", peft_to_attune, folder, options)
        for name, lora in attune_settings(biased):
            guarded(f"{kind}, {name}", attune_to_peft, folder, lora)
    guarded("several", several, folders["untied"])
    vision = WORK / "tiny-vl"
    for name, options in (
        ("plain", dict(r=4, target_modules="all-linear")), ("magnitudes", dict(r=4, target_modules="all-linear", use_dora=True)),
        ("all biases", dict(r=4, target_modules=["q_proj", "linear_fc1"], bias="all")),
        ("whole merger", dict(r=4, target_modules=["q_proj"], modules_to_save=["visual.merger"])),
    ):
        guarded(f"vision-language, {name}", peft_to_attune, vision, options)
    guarded("vision-language, frozen tower", attune_to_peft, vision, {"rank": 4}, ["vision", "aligner"])
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    ATTUNE, WORK = os.path.abspath(sys.argv[1]), Path(sys.argv[2]).resolve()
    WORK.mkdir(parents=True, exist_ok=True)
    main()
