"""Random checkpoints: every tensor depends on the seed and on its name alone."""

import hashlib
import json
import shutil
from pathlib import Path

from libraries import FIXTURES, torch, transformers

import numpy as np
from safetensors.torch import load_file, save_file

import deepseek_vl2_reference

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def stream(*seed):
    """Numbers that are the same on every machine; words may stand in the seed."""
    words = [int.from_bytes(hashlib.sha256(str(s).encode()).digest()[:6], "big") for s in seed]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


def random_tensor(name, shape, seed):
    """Sizes keep activations near 1 and logits well apart, so that a mistake anywhere is seen at the end."""
    value = stream(seed, name).standard_normal(shape)
    last = name.split(".")[-1]
    if "norm" in name and len(shape) == 1:
        value = 1 + 0.25 * value if last == "weight" else 0.1 * value
    elif last == "e_score_correction_bias":
        value = 0.05 * value
    elif len(shape) == 1:
        value = (0.2 if last == "bias" else 0.7) * value
    elif "embed" in name and "patch" not in name:
        value = 0.5 * value
    else:
        width = shape[-1] if "experts" in name else int(np.prod(shape[1:]))
        scale = 2.5 if "lm_head" in name else 2.0 if name.endswith("mlp.gate.weight") else 1.0
        value = value * scale / np.sqrt(width)
    return torch.from_numpy(np.asarray(value, np.float32))


def fill(model, seed):
    """Gives every parameter of a model (and the routers' correction biases) its random value."""
    biases = [(name, value) for name, value in model.named_buffers() if name.endswith("e_score_correction_bias")]
    with torch.no_grad():
        for name, value in list(model.named_parameters()) + biases:
            value.copy_(random_tensor(name, tuple(value.shape), seed))
    return model


def write_json(path, value):
    Path(path).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_side_files(folder, spec):
    """Everything of a checkpoint but its weights: `spec` names tokenizer, template and further files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(FIXTURES / "tokenizers" / spec["tokenizer"] / name, folder / name)
    template = FIXTURES / "chat_templates" / "templates" / f"{spec['template']}.jinja"
    shutil.copyfile(template, folder / "chat_template.jinja")
    write_json(folder / "config.json", spec["config"])
    for name, value in spec.get("files", {}).items():
        write_json(folder / name, value)


def write_checkpoint(folder, spec, dtype="float32", shard=None):
    """A checkpoint folder whose weights transformers wrote; returns the folder.

    `shard`: a size such as "40KB" splits the weights. DeepSeek-VL2, which transformers lacks, is written by safetensors
    under the published names.
    """
    folder = Path(folder)
    config = spec["config"]
    write_side_files(folder, spec)
    if config["model_type"] == "deepseek_vl_v2":
        shapes = deepseek_vl2_reference.tensor_shapes(config)
        tensors = {name: random_tensor(name, shape, spec["seed"]).to(DTYPES[dtype]) for name, shape in shapes.items()}
        save_tensors(folder, tensors, 2 if shard else 1)
        return folder
    built = transformers.AutoConfig.from_pretrained(str(folder))
    model = getattr(transformers, config["architectures"][0])._from_config(built, dtype=torch.float32)
    fill(model, spec["seed"]).to(DTYPES[dtype])
    model.save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
    write_side_files(folder, spec)  # the library also wrote a config.json in the style of its own version
    if spec.get("published_experts"):
        turn_experts(folder)
    return folder


def turn_experts(folder):
    """Published Qwen3-VL-MoE files keep experts as [experts, in, out]; the library writes [experts, out, in]."""
    for path in Path(folder).glob("model*.safetensors"):
        turned = {k: v.transpose(1, 2).contiguous() if ".mlp.experts." in k else v for k, v in load_file(path).items()}
        save_file(turned, path, metadata={"format": "pt"})


def save_tensors(folder, tensors, parts):
    """One file, or several with an index."""
    if parts == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names, index = sorted(tensors), {}
    for part in range(parts):
        file = f"model-{part + 1:05d}-of-{parts:05d}.safetensors"
        own = names[part * len(names) // parts : (part + 1) * len(names) // parts]
        save_file({name: tensors[name] for name in own}, folder / file, metadata={"format": "pt"})
        index.update({name: file for name in own})
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": index})
