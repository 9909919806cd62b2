"""Inputs for a checkpoint, in the form that `attune score` and `generate` read."""

import json

import pictures
from families import PICTURED, decoder_of
from libraries import FIXTURES
from weights import stream

# `<image>` of the stored tokenizer.
DEEPSEEK_IMAGE = next(
    token["id"]
    for token in json.loads((FIXTURES / "tokenizers/deepseek/tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    if token["content"] == "<image>"
)
TEXTS = [
    "The lighthouse keeper counted seven gulls before breakfast.",
    "2 + 2 = 4, and 12 - 5 = 7.",
    "图片里有一只黑色的猫。 Привет!  \n\n\tx",
]
MESSAGES = [
    {"role": "user", "content": "How many apples are on the table?"},
    {"role": "assistant", "content": "Three apples."},
    {"role": "user", "content": "And in the red box?"},
]


def forbidden(config):
    """Ids that stand for pictures: random ids must not hold them."""
    named = {config[k] for k in config if k.endswith("_token_id") and ("image" in k or "video" in k or "vision" in k)}
    return named | ({DEEPSEEK_IMAGE} if config["model_type"] == "deepseek_vl_v2" else set())


def random_ids(config, length, seed):
    vocabulary, banned = decoder_of(config)["vocab_size"], forbidden(config)
    found = stream("ids", seed, length).integers(0, vocabulary, length).tolist()
    return [next(i for i in range(id, id + 99) if i % vocabulary not in banned) % vocabulary for id in found]


def ids_cases(config, seed, lengths=(1, 2, 23, 150)):
    return [(f"ids {n}", {"input_ids": random_ids(config, n, seed)}) for n in lengths]


def text_cases(config):
    return [(f"text {i}", {"text": text}) for i, text in enumerate(TEXTS)]


def chat_cases():
    return [
        ("chat", {"messages": MESSAGES, "add_generation_prompt": True}),
        ("chat without prompt", {"messages": MESSAGES[:2], "add_generation_prompt": False}),
    ]


def parts(*content):
    """A user's message; names in angle brackets become pictures or films."""
    kinds = {"<image>": {"type": "image"}, "<video>": {"type": "video"}}
    return {"role": "user", "content": [kinds.get(c) or {"type": "text", "text": c} for c in content]}


def picture_cases(folder, seed, sizes=((64, 96), (101, 70), (40, 40))):
    """One, two and three pictures; two in a conversation of several turns. `sizes` are heights and widths."""
    paths = [pictures.picture(f"{folder}/picture{i}.png", *size, (seed, i)) for i, size in enumerate(sizes)]
    turns = [
        parts("First: ", "<image>", "\nSecond: ", "<image>", "\nCompare them."),
        {"role": "assistant", "content": [{"type": "text", "text": "The second is taller."}]},
        parts("Sure?"),
    ]
    return [
        ("picture", {"messages": [parts("<image>", "\nDescribe this.")], "images": paths[:1], "add_generation_prompt": True}),
        ("two pictures", {"messages": turns, "images": paths[:2], "add_generation_prompt": True}),
        (
            "three pictures",
            {"messages": [parts("<image>", "<image>", "<image>", "Which?")], "images": paths, "add_generation_prompt": True},
        ),
    ]


def film_cases(folder, seed, shape=(5, 64, 64)):
    frames = pictures.film(f"{folder}/film", *shape, seed)
    more = pictures.picture(f"{folder}/still.png", 50, 90, seed)
    return [
        ("film", {"messages": [parts("<video>", "What happens?")], "videos": [frames], "add_generation_prompt": True}),
        (
            "picture and film",
            {
                "messages": [parts("<image>", "<video>", "The same place?")], "images": [more], "videos": [frames],
                "add_generation_prompt": True,
            },
        ),
    ]


def all_cases(folder, spec, films=True):
    config, seed = spec["config"], spec["seed"]
    found = ids_cases(config, seed) + text_cases(config) + chat_cases()
    if config["model_type"] in PICTURED:
        found += picture_cases(f"{folder}/pictures", seed)
        if films and config["model_type"].startswith("qwen3_vl"):
            found += film_cases(f"{folder}/pictures", seed)
    return found
