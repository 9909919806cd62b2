"""Reward models: transformers' classes for sequence classification, and causal models with TRL's value head."""

import json
from pathlib import Path

from libraries import torch, transformers

from safetensors.torch import save_file

import cases
from families import family
from reference import ROUTER_GAP, RouterGaps
from weights import fill, random_tensor, write_side_files

# float32 against float32 in another order of sums; scores are near 1.
TOLERANCE = 1e-4
CLASSES = dict(
    llama="LlamaForSequenceClassification", llama2="LlamaForSequenceClassification", qwen2="Qwen2ForSequenceClassification",
    qwen3="Qwen3ForSequenceClassification", qwen3_moe="Qwen3MoeForSequenceClassification",
    deepseek_v2="DeepseekV2ForSequenceClassification",
)
# Presets whose reward models attune writes, by the library's class.
PRESETS = {"tiny": "qwen3", "tiny-llama": "llama", "tiny-moe": "qwen3_moe", "tiny-deepseek": "deepseek_v2"}
LABELS = 3
PROMPTS = [cases.MESSAGES[:1], cases.MESSAGES]
COMPLETIONS = ["Three apples.", "Three apples are on the table, and one is in the red box.", "", cases.TEXTS[2], "4"]


def check(report, program, work, wanted):
    for name in wanted:
        if name in CLASSES:
            report.guard(f"{name} reward model", classifier, report, program, f"{work}/reward_models/{name}", name)
            report.guard(f"{name} value head", value_head, report, program, f"{work}/reward_models/{name}-value", name)
    for preset, name in PRESETS.items():
        if name in wanted:
            report.guard(f"{preset} by attune", by_attune, report, program, f"{work}/reward_models/{preset}", preset)


def rows():
    """Lines for `attune reward try`: dialogues, then plain texts."""
    chats = [{"prompt": prompt, "completion": completion} for prompt in PROMPTS for completion in COMPLETIONS]
    return chats + [{"prompt": text + " ", "completion": completion} for text in cases.TEXTS[:2] for completion in COMPLETIONS[:2]]


def encoded(folder, tokenizer):
    """The ids of every row, as the library makes them."""
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    for row in rows():
        if isinstance(row["prompt"], str):
            yield tokenizer.encode(row["prompt"] + row["completion"])
            continue
        messages = row["prompt"] + [{"role": "assistant", "content": row["completion"]}]
        text = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False)
        yield tokenizer.encode(text, add_special_tokens=False)


def padded(sequences, padding):
    """One batch, filled up on the right: `input_ids` and `attention_mask`."""
    width = max(map(len, sequences))
    ids = torch.tensor([s + [padding] * (width - len(s)) for s in sequences])
    mask = torch.tensor([[1] * len(s) + [0] * (width - len(s)) for s in sequences])
    return dict(input_ids=ids, attention_mask=mask)


def written(path, name, architecture, **config):
    """A checkpoint, its model and its sequences, under the first seed that leaves no choice of an expert to rounding."""
    for seed in range(1, 13):
        spec = family(name, seed)
        spec["config"].update(architectures=[architecture], **config)
        folder = Path(path)
        write_side_files(folder, spec)
        built = transformers.AutoConfig.from_pretrained(str(folder))
        model = getattr(transformers, architecture)._from_config(built, dtype=torch.float32, attn_implementation="eager")
        fill(model, spec["seed"]).save_pretrained(folder)
        write_json_config(folder, spec["config"])
        model.eval()
        sequences = list(encoded(folder, transformers.PreTrainedTokenizerFast.from_pretrained(str(folder))))
        gaps = RouterGaps(model)
        with torch.no_grad():
            for ids in sequences:
                model(input_ids=torch.tensor([ids]), use_cache=False)
        if gaps.smallest > 2 * ROUTER_GAP:
            break
    return folder, model, sequences, spec


def write_json_config(folder, config):
    """The library also wrote a config.json in the style of its own version."""
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def classifier(report, program, path, name):
    # An id that no text holds: these rows are read at their last token.
    padding = 0 if name not in ("deepseek_v2",) else 2
    folder, model, sequences, _ = written(path, name, CLASSES[name], num_labels=LABELS, pad_token_id=padding)
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(str(folder), dtype=torch.float32).eval()
    report.expect(f"{name} reward model: the library's own class", type(loaded).__name__ == CLASSES[name], type(loaded).__name__)
    with torch.no_grad():
        logits = loaded(**padded(sequences, padding)).logits
    for label in range(LABELS):
        compare(report, program, f"{name} reward model, label {label}", folder, logits[:, label], "--set", f"label={label}")
    squashed = torch.sigmoid(logits[:, 0])
    compare(report, program, f"{name} reward model, sigmoid", folder, squashed, "--set", "activation=sigmoid")
    in_bfloat16 = program.lines("reward", rows(), "try", folder, "--set", "dtype=bf16")
    gap = max(abs(a["reward"] - float(b)) for a, b in zip(in_bfloat16, logits[:, 0]))
    report.expect(f"{name} reward model in bfloat16", 0 < gap < 0.2, f"scores differ from float32 by at most {gap:.1e}")


def by_attune(report, program, path, preset):
    """What attune writes: the library finds its class, every weight and the padding token of its batches."""
    folder = Path(path)
    program.run("init", preset, folder, "--head", "reward", "--seed", 5)
    loaded, info = transformers.AutoModelForSequenceClassification.from_pretrained(
        str(folder), dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    wrong = {key: value for key, value in info.items() if value}
    found = type(loaded).__name__
    expected = found == CLASSES[PRESETS[preset]] and loaded.num_labels == 1 and not wrong
    report.expect(f"{preset} by attune: the library's own class", expected, f"{found}, {loaded.num_labels} label, {wrong}")
    sequences = list(encoded(folder, transformers.PreTrainedTokenizerFast.from_pretrained(str(folder))))
    with torch.no_grad():
        logits = loaded.eval()(**padded(sequences, loaded.config.pad_token_id)).logits
    compare(report, program, f"{preset} by attune", folder, logits[:, 0])


def value_head(report, program, path, name):
    """`v_head.summary` over the last hidden states, as TRL's AutoModelForCausalLMWithValueHead has it."""
    architecture = CLASSES[name].replace("SequenceClassification", "CausalLM")
    folder, model, sequences, spec = written(path, name, architecture)
    width = spec["config"]["hidden_size"]
    head = torch.nn.Linear(width, 1)
    with torch.no_grad():
        for key, value in head.named_parameters():
            value.copy_(random_tensor(f"v_head.summary.{key}", tuple(value.shape), spec["seed"]))
        tensors = {f"v_head.summary.{key}": value.detach().clone() for key, value in head.named_parameters()}
        save_file(tensors, folder / "value_head.safetensors", metadata={"format": "pt"})
        batch = padded(sequences, 0)
        hidden = model(**batch, output_hidden_states=True, use_cache=False).hidden_states[-1]
        last = batch["attention_mask"].sum(-1) - 1
        values = head(hidden).squeeze(-1).gather(-1, last[:, None])[:, 0]
    compare(report, program, f"{name} value head", folder, values)


def compare(report, program, name, folder, truth, *flags):
    answers = program.lines("reward", rows(), "try", folder, *flags)
    bad = [answer for answer in answers if answer["status"] != "ok"]
    if bad:
        report.fail(name, str(bad[0]))
        return
    gap = max(abs(answer["reward"] - float(value)) for answer, value in zip(answers, truth))
    spread = float(truth.max() - truth.min())
    report.expect(name, gap < TOLERANCE and spread > 100 * TOLERANCE, f"{len(answers)} scores over {spread:.2f} differ by at most {gap:.1e}")
