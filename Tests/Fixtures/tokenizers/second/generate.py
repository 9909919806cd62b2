"""Pipelines around small models, as published tokenizers have them and as chance has them, and what they produce.

    python generate.py

writes `models.json` (each model trained once) and `pipelines.json`: per pipeline its description without the model, what
it changes in the model, texts and id sequences with what the tokenizers library makes of them.
"""

import copy
import json
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from corpus import lines
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers.decoders import DecodeStream

TEXTS = lines(20)
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
BYTES = [f"<0x{b:02X}>" for b in range(256)]


def trained(model, splitter, trainer):
    tok = Tokenizer(model)
    tok.pre_tokenizer = splitter
    tok.train_from_iterator(TEXTS, trainer)
    return json.loads(tok.to_str())["model"]


def train_models():
    bpe, pre, quiet = trainers.BpeTrainer, pre_tokenizers, dict(show_progress=False)
    unk = lambda: models.BPE(unk_token="<unk>")
    spm = trained(
        unk(), pre.Metaspace(), bpe(vocab_size=500, special_tokens=["<unk>", "<s>", "</s>"], limit_alphabet=150, **quiet)
    )
    for token in [*BYTES, "▁▁", "▁▁▁▁"]:
        spm["vocab"].setdefault(token, len(spm["vocab"]))
    spm["merges"] += [["▁", "▁"], ["▁▁", "▁▁"]]
    words = ["[UNK]", "[CLS]", "[SEP]"]
    unigram = trainers.UnigramTrainer(
        vocab_size=400, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", **quiet
    )
    return {
        "byte": trained(
            models.BPE(), pre.ByteLevel(add_prefix_space=False), bpe(vocab_size=500, initial_alphabet=ALPHABET, **quiet)
        ),
        "spm": spm,
        "char": trained(unk(), pre.WhitespaceSplit(), bpe(vocab_size=400, special_tokens=["<unk>"], **quiet)),
        "suffix": trained(
            unk(), pre.Whitespace(), bpe(vocab_size=500, special_tokens=["<unk>"], end_of_word_suffix="</w>", **quiet)
        ),
        "prefix": trained(
            unk(),
            pre.Whitespace(),
            bpe(vocab_size=500, special_tokens=["<unk>"], continuing_subword_prefix="##", **quiet),
        ),
        "wordpiece": trained(
            models.WordPiece(unk_token="[UNK]"),
            pre.BertPreTokenizer(),
            trainers.WordPieceTrainer(vocab_size=500, special_tokens=words, **quiet),
        ),
        "wordlevel": trained(
            models.WordLevel(unk_token="[UNK]"),
            pre.Whitespace(),
            trainers.WordLevelTrainer(vocab_size=300, special_tokens=["[UNK]"], **quiet),
        ),
        "unigram": trained(models.Unigram(), pre.Metaspace(), unigram),
    }


# MARK: Parts of a description

QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = [
    QWEN,
    CASED,
    r"\p{N}{1,3}",
    r"(?=\d)",
    r"\s+",
    r"[^\W\d_]+",
    r"(?<=\p{L})(?=\p{P})",
    r"[\r\n]",
    r"\s+$",
    r"\w+|[^\w\s]+",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"(?=(\d{3})+(?!\d))",
    r"b*",
    r"[A-Za-z]+",
    r"\p{Lu}\p{Ll}*",
    r"^.",
    r".$",
    r"(?m:.+)",
    r"[\p{L}&&[^a-m]]+",
    r"[^\p{Han}\s]+",
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"[[:alpha:]]+",
    r"[[:punct:]]",
    r"\p{Punct}",
    r"\R|\h+",
]
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
ADDED = (
    "<s> </s> <|im_start|> <|im_end|> <|im the note é e\u0301 <x> <xy> <x><y> [INST] <image> ABC ﬁ ▁a <｜User｜> 你好 👍 "
    "a\u0301 <pad> 12"
).split() + [" a", "  ", "\n"]
PIECES = (
    "a b e t h the 1 23 4567 . , ! 's 'S é e\u0301 a\u0301 Å \u212b 你好 龘 日本 한 \u1112\u1161\u11ab م ש \u05b0 ก ि 😀 "
    "👩‍👧 🏳️‍🌈 ▁ Ġ ﬁ ½ İ ß ſ Σ \ufeff \ufffd \U00010400 _ - <0x41> # ## A BC É \u0323\u0301 \U000e0067 \u0345 ﾞ ｶ ㎏ Ⅷ ’ “"
).split() + [" ", " ", "  ", "\n", "\r\n", "\t", "\u0000", "\u0007", "\u00a0", "\u200b", "\u3000", "\u2028"]


def split(pattern, behavior="Isolated", invert=False):
    return dict(type="Split", pattern=dict(Regex=pattern), behavior=behavior, invert=invert)


def byte_level(prefix=False, trim=True, regex=False):
    return dict(type="ByteLevel", add_prefix_space=prefix, trim_offsets=trim, use_regex=regex)


def metaspace(scheme="always", splits=True):
    return dict(type="Metaspace", replacement="▁", prepend_scheme=scheme, split=splits)


def steps(*items):
    return dict(type="Sequence", pretokenizers=list(items))


SPM_DECODER = dict(
    type="Sequence",
    decoders=[
        dict(type="Replace", pattern=dict(String="▁"), content=" "),
        dict(type="ByteFallback"),
        dict(type="Fuse"),
        dict(type="Strip", content=" ", start=1, stop=0),
    ],
)


def token(content, **flags):
    base = dict(content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    return dict(base, **flags)


def template(*single):
    items = [dict(Sequence=dict(id="A", type_id=0)) if s == "A" else dict(SpecialToken=dict(id=s, type_id=0)) for s in single]
    pair = [dict(Sequence=dict(id=name, type_id=i)) for i, name in enumerate("AB")]
    return dict(type="TemplateProcessing", single=items, pair=pair)


def published():
    """In the manner of the published ones: name, model, changes of the model, added tokens, pipeline."""
    chat = [token("<|endoftext|>"), token("<|im_start|>"), token("<|im_end|>"), token("<think>", special=False)]
    deepseek = [r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+", r"[!-/:-~]?[A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|\s+"]
    spm = [token("<s>"), token("</s>"), token("[INST]", special=False)]
    fallback = dict(byte_fallback=True, fuse_unk=True)
    yield "qwen", "byte", {}, chat, dict(
        normalizer=dict(type="NFC"), pre_tokenizer=steps(split(QWEN), byte_level()), post_processor=byte_level(), decoder=byte_level()
    )
    yield "llama3", "byte", dict(ignore_merges=True), [token("<|begin_of_text|>"), token("<|eot_id|>")], dict(
        pre_tokenizer=steps(split(QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")), byte_level()),
        post_processor=dict(type="Sequence", processors=[byte_level(True), template("<|begin_of_text|>", "A")]),
        decoder=byte_level(True, True, True),
    )
    yield "cased", "byte", dict(ignore_merges=True), chat, dict(
        pre_tokenizer=steps(split(CASED), byte_level()), decoder=byte_level()
    )
    yield "deepseek", "byte", {}, [token("<｜begin▁of▁sentence｜>"), token("<｜User｜>")], dict(
        normalizer=dict(type="Sequence", normalizers=[]),
        pre_tokenizer=steps(*map(split, deepseek), byte_level()),
        post_processor=template("<｜begin▁of▁sentence｜>", "A"),
        decoder=byte_level(),
    )
    yield "digits", "byte", {}, [token("<|endoftext|>"), token("<jupyter_text>")], dict(
        pre_tokenizer=steps(dict(type="Digits", individual_digits=True), byte_level(regex=True)), decoder=byte_level()
    )
    yield "gpt2", "byte", {}, [token("<|endoftext|>")], dict(
        pre_tokenizer=byte_level(regex=True), post_processor=byte_level(), decoder=byte_level()
    )
    yield "roberta", "byte", {}, [token("<s>", normalized=True), token("</s>", normalized=True), token("<mask>", lstrip=True)], dict(
        pre_tokenizer=byte_level(True, True, True), post_processor="roberta", decoder=byte_level()
    )
    yield "llama2", "spm", fallback, spm, dict(
        normalizer=dict(
            type="Sequence",
            normalizers=[dict(type="Prepend", prepend="▁"), dict(type="Replace", pattern=dict(String=" "), content="▁")],
        ),
        post_processor=template("<s>", "A"),
        decoder=SPM_DECODER,
    )
    yield "mistral", "spm", fallback, spm, dict(
        pre_tokenizer=metaspace("first", False), post_processor=template("<s>", "A"), decoder=SPM_DECODER
    )
    yield "old_metaspace", "spm", fallback, spm, dict(
        pre_tokenizer=dict(type="Metaspace", replacement="▁", add_prefix_space=True, str_rep="▁"), decoder=metaspace()
    )
    yield "gemma", "spm", fallback, [token("<start_of_turn>"), token("\n\n", special=False)], dict(
        normalizer=dict(type="Replace", pattern=dict(String=" "), content="▁"),
        pre_tokenizer=split(" ", "MergedWithPrevious"),
        decoder=dict(
            type="Sequence",
            decoders=[dict(type="Replace", pattern=dict(String="▁"), content=" "), dict(type="ByteFallback"), dict(type="Fuse")],
        ),
    )
    yield "phi", "spm", fallback, [token("<|user|>", rstrip=True), token("<|end|>", rstrip=True), token("<s>")], dict(
        normalizer=dict(type="Sequence", normalizers=[dict(type="Prepend", prepend="▁"), dict(type="Replace", pattern=dict(String=" "), content="▁")]),
        decoder=SPM_DECODER,
    )
    yield "bert", "wordpiece", {}, [token("[CLS]"), token("[SEP]")], dict(
        normalizer=dict(type="BertNormalizer", clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True),
        pre_tokenizer=dict(type="BertPreTokenizer"),
        post_processor=template("[CLS]", "A", "[SEP]"),
        decoder=dict(type="WordPiece", prefix="##", cleanup=True),
    )
    yield "unigram", "unigram", {}, [token("<s>"), token("</s>")], dict(
        normalizer=dict(type="Sequence", normalizers=[dict(type="Nmt"), dict(type="NFKC"), dict(type="Replace", pattern=dict(Regex=" {2,}"), content=" ")]),
        pre_tokenizer=metaspace(),
        post_processor=template("A", "</s>"),
        decoder=metaspace(),
    )


class Chance:
    """Parts of pipelines by chance."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, *items):
        return self.random.choice(items)

    def flip(self, p=0.5):
        return self.random.random() < p

    def some(self, make, most):
        return [make() for _ in range(self.random.randint(0, most))]

    def pattern(self):
        if self.flip(0.75):
            return dict(Regex=self.pick(*PATTERNS))
        return dict(String=self.pick(" ", "a", "▁", "the", "  ", "\n", "", "é", "'"))

    def space(self):
        return dict(metaspace(self.pick("always", "first", "never"), self.flip()), replacement=self.pick("▁", "▁", "_"))

    def bytes(self):
        return byte_level(self.flip(), self.flip(), self.flip())

    def normalizer(self):
        kind = self.pick(
            *"NFC NFD NFKC NFKD Lowercase StripAccents Strip Prepend Replace Nmt BertNormalizer ByteLevel".split()
        )
        keys = {
            "Strip": lambda: dict(strip_left=self.flip(), strip_right=self.flip()),
            "Prepend": lambda: dict(prepend=self.pick("▁", " ", "x", "▁▁")),
            "Replace": lambda: dict(pattern=self.pattern(), content=self.pick("▁", " ", "", "é", "XY")),
            "BertNormalizer": lambda: dict(
                clean_text=self.flip(),
                handle_chinese_chars=self.flip(),
                strip_accents=self.pick(None, True, False),
                lowercase=self.flip(),
            ),
        }
        return dict(type=kind, **keys.get(kind, dict)())

    def pre_tokenizer(self):
        kind = self.pick(
            *"ByteLevel Metaspace Split Split Digits Punctuation Whitespace WhitespaceSplit BertPreTokenizer".split(),
            "CharDelimiterSplit",
            "FixedLength",
        )
        keys = {
            "ByteLevel": self.bytes,
            "Metaspace": self.space,
            "Split": lambda: dict(pattern=self.pattern(), behavior=self.pick(*BEHAVIORS), invert=self.flip()),
            "Digits": lambda: dict(individual_digits=self.flip()),
            "Punctuation": lambda: dict(behavior=self.pick(*BEHAVIORS)),
            "CharDelimiterSplit": lambda: dict(delimiter=self.pick(" ", "a", "é")),
            "FixedLength": lambda: dict(length=self.random.randint(1, 7)),
        }
        return dict(keys.get(kind, dict)(), type=kind)

    def decoder(self):
        kind = self.pick(*"ByteLevel ByteFallback Fuse Metaspace Replace Strip WordPiece BPEDecoder CTC".split())
        atStart = self.flip()
        keys = {
            "ByteLevel": self.bytes,
            "Metaspace": self.space,
            "Replace": lambda: dict(pattern=self.pattern(), content=self.pick(" ", "", "x")),
            "Strip": lambda: dict(
                content=self.pick(" ", "▁", "e"),
                start=self.random.randint(0, 2) if atStart else 0,
                stop=0 if atStart else self.random.randint(0, 1),
            ),
            "WordPiece": lambda: dict(prefix=self.pick("##", ""), cleanup=self.flip()),
            "BPEDecoder": lambda: dict(suffix=self.pick("</w>", "e")),
            "CTC": lambda: dict(pad_token=self.pick("e", "<pad>"), word_delimiter_token="|", cleanup=self.flip()),
        }
        return dict(keys.get(kind, dict)(), type=kind)

    def processor(self, ids):
        kind = self.pick("TemplateProcessing", "ByteLevel", "BertProcessing", "RobertaProcessing")
        named = lambda: (lambda i: [ids[i], i])(self.random.choice(sorted(ids)))
        if kind == "ByteLevel":
            return self.bytes()
        if kind == "BertProcessing":
            return dict(type=kind, sep=named(), cls=named())
        if kind == "RobertaProcessing":
            return dict(type=kind, sep=named(), cls=named(), trim_offsets=self.flip(), add_prefix_space=self.flip())
        before, after = self.some(lambda: named()[0], 2), self.some(lambda: named()[0], 2)
        return template(*before, *(["A", "A"] if self.flip(0.1) else ["A"]), *after)

    def added(self):
        result = []
        for content in self.random.sample(ADDED, self.random.randint(0, 6)):
            odd = self.flip(0.4)
            result.append(
                token(
                    content,
                    single_word=odd and self.flip(0.4),
                    lstrip=odd and self.flip(),
                    rstrip=odd and self.flip(),
                    normalized=self.flip(0.4),
                    special=self.flip(),
                )
            )
        return result

    def text(self):
        r = self.random.random()
        if r < 0.2:
            return self.pick(*TEXTS)[:100]
        if r < 0.3:
            return self.pick(*PIECES, *ADDED) * self.random.randint(1, 60)
        if r < 0.38:
            ranges = [(32, 127), (0x20, 0x2FFF), (0xE000, 0x1FFFF)]
            return "".join(chr(self.random.randrange(*self.pick(*ranges))) for _ in range(self.random.randint(1, 20)))
        return "".join(self.pick(*PIECES, *ADDED) for _ in range(self.random.randint(0, 20)))

    def pipeline(self, kind, ids):
        wrap = lambda make, key, most: make() if self.flip() else dict(type="Sequence", **{key: self.some(make, most)})
        processor = lambda: self.processor(ids)
        result = dict(
            normalizer=None if self.flip() else wrap(self.normalizer, "normalizers", 3),
            pre_tokenizer=None if self.flip(0.25) else wrap(self.pre_tokenizer, "pretokenizers", 3),
            post_processor=None if self.flip(0.3) else wrap(processor, "processors", 2),
            decoder=None if self.flip(0.15) else wrap(self.decoder, "decoders", 3),
        )
        if kind == "byte" and self.flip(0.7):
            result["pre_tokenizer"] = steps(*self.some(lambda: split(self.pick(*PATTERNS), self.pick(*BEHAVIORS)), 2), self.bytes())
            result["decoder"] = self.bytes()
        if kind in ("spm", "unigram") and self.flip():
            result["decoder"] = SPM_DECODER
        return result

    def changes(self, model, kind):
        if model["type"] == "Unigram":
            return dict(byte_fallback=self.flip())
        if model["type"] == "WordPiece":
            return dict(max_input_chars_per_word=self.random.randint(3, 100))
        if model["type"] != "BPE":
            return {}
        return dict(byte_fallback=self.flip() and kind != "byte", fuse_unk=self.flip(), ignore_merges=self.flip(0.25))


# MARK: Observing


def vocabulary(model):
    vocab = model["vocab"]
    return {t: i for t, i in vocab.items()} if isinstance(vocab, dict) else {t[0]: i for i, t in enumerate(vocab)}


def described(model, changes, added, parts):
    """The whole tokenizer.json, ids of added tokens as the library gives them out."""
    vocab = vocabulary(model)
    size, numbered, largest = len(model["vocab"]), [], None
    for entry in added:
        following = size if largest is None else max(size, largest + 1)
        number = vocab.get(entry["content"], following)
        largest = number if largest is None else max(largest, number)
        numbered.append(dict(id=number, **entry))
    ids = {**vocab, **{e["content"]: e["id"] for e in numbered}}

    def filled(step):
        if step == "roberta":
            return dict(type="RobertaProcessing", sep=["</s>", ids["</s>"]], cls=["<s>", ids["<s>"]], trim_offsets=True, add_prefix_space=True)
        if step and step["type"] == "Sequence":
            return dict(step, processors=[filled(s) for s in step["processors"]])
        if step and step["type"] == "TemplateProcessing":
            names = {i["SpecialToken"]["id"] for i in step["single"] if "SpecialToken" in i}
            special = {n: dict(id=n, ids=[ids[n]], tokens=[n]) for n in sorted(names)}
            return dict(step, special_tokens=special)
        return step

    parts = {k: parts.get(k) for k in ("normalizer", "pre_tokenizer", "post_processor", "decoder")}
    parts["post_processor"] = filled(parts["post_processor"])
    outer = dict(version="1.0", truncation=None, padding=None, added_tokens=numbered, **parts)
    return outer, dict(model, **changes)


def streamed(tok, ids, skip):
    stream = DecodeStream(skip_special_tokens=skip)
    try:
        return [stream.step(tok, i) for i in ids]
    except Exception:
        return None


def observe(tok, chance, texts, sequences):
    rows = []
    for _ in range(texts):
        text, special = chance.text(), chance.flip()
        try:
            ids = tok.encode(text, add_special_tokens=special).ids
            rows.append(dict(text=text, special=special, ids=ids, decoded=tok.decode(ids, skip_special_tokens=False)))
        except BaseException:
            continue
    for _ in range(sequences):
        ids, skip = [chance.random.randrange(tok.get_vocab_size()) for _ in range(chance.random.randint(0, 12))], chance.flip()
        try:
            row = dict(ids=ids, skip=skip, decoded=tok.decode(ids, skip_special_tokens=skip))
        except BaseException:
            continue
        stream = streamed(tok, ids, skip)
        rows.append(row if stream is None else dict(row, stream=stream))
    return rows


def main(count=110, seed=7):
    chance = Chance(seed)
    trained_models = train_models()
    pipelines = []

    def add(name, kind, changes, added, parts):
        outer, model = described(copy.deepcopy(trained_models[kind]), changes, added, parts)
        tok = Tokenizer.from_str(json.dumps(dict(outer, model=model)))
        empties = [t for t in added if t["normalized"] and tok.normalizer and not tok.normalizer.normalize_str(t["content"])]
        if empties:
            return
        cases = observe(tok, chance, 9 if name == "chance" else 25, 3)
        pipelines.append(dict(name=name, model=kind, changes=changes, outer=outer, cases=cases))

    for entry in published():
        add(*entry)
    while len(pipelines) < count:
        kind = chance.pick("byte", "byte", *trained_models)
        model = trained_models[kind]
        ids = {i: t for t, i in vocabulary(model).items()}
        try:
            add("chance", kind, chance.changes(model, kind), chance.added(), chance.pipeline(kind, ids))
        except BaseException:  # a description that the library refuses, some by a panic
            continue
    write = lambda name, rows: (HERE / name).write_text(
        "[\n" + ",\n".join(json.dumps(r, ensure_ascii=False, separators=(",", ":")) for r in rows) + "\n]\n", encoding="utf-8"
    )
    write("models.json", [dict(name=n, model=m) for n, m in trained_models.items()])
    write("pipelines.json", pipelines)


if __name__ == "__main__":
    main()
