"""Tokenizers and chat templates: the tokenizers library and transformers' renderer against `attune tokenize` and `render`."""

import datetime
import json
from pathlib import Path

from libraries import FIXTURES, transformers

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

import tokenizer_pipelines
from weights import stream

STORED = ("qwen", "llama3", "llama2", "deepseek", "deepseek_old", "metaspace")
NOW = datetime.datetime(2026, 3, 9, 14, 5, 6)
SCRIPTS = [
    "abcdefghij ABC xyz ", "the of and ing tion ", "0123456789", ".,;:!?'\"()[]{}<>@#$%^&*-_=+/\\|~`", " \t\n\r  \u00a0\u3000\u2009",
    "éàüßñçøåœ", "привет мир Ёж", "漢字仮名カタカナ한국어", "עברית العربية ٣٤", "👍🏽👩‍👩‍👧🇩🇪❤️", "e\u0301a\u0308o\u0328\u0301", "ﬁ①½㎏Ａｂ", "\u200b\u200d\ufeff\u00ad",
    "don't I'LL we've ſ'S", "\x00\x01\x7f\x85\u2028\u2029", "𝔘𝟘𐍈𠀋",
]


def check(report, program, work, wanted):
    for name in STORED:
        report.guard(f"tokenizer {name}", tokenizer, report, program, f"tokenizer {name}", FIXTURES / "tokenizers" / name, 400)
    for name, build in tokenizer_pipelines.all():
        folder = Path(work) / "tokenizers" / name
        folder.mkdir(parents=True, exist_ok=True)
        build().save(str(folder / "tokenizer.json"))
        report.guard(f"tokenizer {name}", tokenizer, report, program, f"tokenizer {name}", folder, 120)
    templates = sorted((FIXTURES / "chat_templates").glob("*.json"))
    for path in templates:
        if path.stem != "features":
            report.guard(f"template {path.stem}", template, report, program, work, path)


def strings(seed, count, special=()):
    """Texts of all scripts, of odd mixtures, and with special tokens inside."""
    random = stream("strings", seed)
    found = ["", " ", "\n", "  two  spaces  ", "a" * 300, "\ufffd"]
    for _ in range(count):
        pieces = []
        for _ in range(int(random.integers(1, 9))):
            if special and random.random() < 0.1:
                pieces.append(special[int(random.integers(0, len(special)))])
                continue
            script = SCRIPTS[int(random.integers(0, len(SCRIPTS)))]
            pieces.append("".join(script[int(i)] for i in random.integers(0, len(script), int(random.integers(1, 12)))))
        found.append("".join(pieces))
    return found


def tokenizer(report, program, name, folder, count):
    reference = Tokenizer.from_file(str(folder / "tokenizer.json"))
    special = [token.content for token in reference.get_added_tokens_decoder().values()]
    texts = strings(name, count, special)
    rows = [{"text": text, "add_special_tokens": bool(i % 2)} for i, text in enumerate(texts)]
    truths = [reference.encode(row["text"], add_special_tokens=row["add_special_tokens"]).ids for row in rows]
    answers = program.lines("tokenize", rows, "--model", folder)
    wrong = [(row, a["ids"], truth) for row, a, truth in zip(rows, answers, truths) if a["ids"] != truth]
    note = f"{json.dumps(wrong[0][0])}: {wrong[0][1][:40]} against {wrong[0][2][:40]}" if wrong else f"{len(rows)} texts the same"
    report.expect(f"{name} encodes", not wrong, f"{len(wrong)} of {len(rows)} differ, {note}" if wrong else note)
    decode(report, program, name, folder, reference, truths)


def decode(report, program, name, folder, reference, truths):
    """Whole and id by id, of the texts' ids and of random ones."""
    random, size = stream("decode", name), reference.get_vocab_size()
    lists = [ids for ids in truths if ids] + [random.integers(0, size, int(random.integers(1, 20))).tolist() for _ in range(60)]
    rows = [{"ids": ids, "skip_special_tokens": bool(i % 2)} for i, ids in enumerate(lists)]
    answers = program.lines("tokenize", rows, "--model", folder)
    whole, parts = [], []
    for row, answer in zip(rows, answers):
        skip = row["skip_special_tokens"]
        if answer["text"] != reference.decode(row["ids"], skip_special_tokens=skip):
            whole.append((row, answer["text"], reference.decode(row["ids"], skip_special_tokens=skip)))
        stepper = DecodeStream(skip_special_tokens=skip)
        try:
            pieces = [stepper.step(reference, id) or "" for id in row["ids"]]
        except Exception:  # the library gives some sequences of broken characters up
            continue
        # What the library withholds at the end may come or not.
        if not "".join(p or "" for p in answer["pieces"]).startswith("".join(pieces)):
            parts.append((row, answer["pieces"], pieces))
    for kind, wrong in (("decodes", whole), ("streams", parts)):
        note = f"{len(wrong)} of {len(rows)} differ, first {json.dumps(wrong[0])[:400]}" if wrong else f"{len(rows)} the same"
        report.expect(f"{name} {kind}", not wrong, note)


class Clock(datetime.datetime):
    @classmethod
    def now(cls, zone=None):
        return NOW


def conversations(seed, count):
    random = stream("conversations", seed)
    texts = [t for t in strings(seed, 60) if t]
    word = lambda: texts[int(random.integers(0, len(texts)))]
    for i in range(count):
        messages = [{"role": "system", "content": word()}] if random.random() < 0.5 else []
        for _ in range(int(random.integers(1, 4))):
            messages += [{"role": "user", "content": word()}, {"role": "assistant", "content": word()}]
        if random.random() < 0.5:
            messages.append({"role": "user", "content": word()})
        yield messages, messages[-1]["role"] == "user"


def template(report, program, work, path):
    stored = json.loads(path.read_text(encoding="utf-8"))
    folder = Path(work) / "templates" / path.stem
    folder.mkdir(parents=True, exist_ok=True)
    source = FIXTURES / "tokenizers" / stored["tokenizer"]
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    text = (path.parent / "templates" / f"{path.stem}.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").write_text(text, encoding="utf-8")
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(str(folder))
    masked = "generation" in text and "{%- generation" in text or "{% generation" in text
    rows, truths = [], []
    for messages, prompt in conversations(path.stem, 60):
        rows.append({"messages": messages, "add_generation_prompt": prompt})
        truths.append(render(tokenizer, text, messages, prompt, masked))
    flags = ["--model", folder, "--now", NOW.isoformat(), "--keep-going"]
    wrong = []
    for row, answer, truth in zip(rows, program.lines("render", rows, *flags), truths):
        if truth is None:
            same = "error" in answer
        else:
            same = [answer.get(key) for key in truth] == list(truth.values())
        if not same:
            wrong.append((row, answer, truth))
    note = f"{len(wrong)} of {len(rows)} differ, first {json.dumps(wrong[0], ensure_ascii=False)[:900]}" if wrong else f"{len(rows)} conversations the same"
    report.expect(f"template {path.stem}", not wrong, note)


def render(tokenizer, text, messages, prompt, masked):
    """The text, its ids and, of templates that mark them, the assistant's tokens; None where the library refuses."""
    import transformers.utils.chat_template_utils as library

    before, library.datetime = library.datetime, Clock
    options = dict(chat_template=text, add_generation_prompt=prompt)
    try:
        rendered = tokenizer.apply_chat_template(messages, tokenize=False, **options)
        found = {"text": rendered, "input_ids": tokenizer.encode(rendered, add_special_tokens=False)}
        if masked:
            both = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True, **options)
            found["assistant_mask"] = both["assistant_masks"]
        return found
    except Exception:
        return None
    finally:
        library.datetime = before
