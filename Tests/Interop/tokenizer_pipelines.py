"""Tokenizers of many kinds, trained here in a moment with the tokenizers library."""

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    "The quick brown fox jumps over the lazy dog. 1234567890 times!", "Don't panic; it's only a test, isn't it?",
    "Привет, мир! Как дела сегодня?", "漢字と仮名が混ざった文章です。", "naïve café résumé über Straße", "x = 3.14 * (y + 2) / z_0  # math",
    "the the the cat cat sat sat on on the mat mat", "  indented\n\tcode\r\n block  ", "email@example.com http://a.b/c?d=e&f=g",
] * 6
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CASED = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+"
ALPHABET = pre_tokenizers.ByteLevel.alphabet()


def byte_level(split=None, normalizer=None, prefix=False, post=None, special=("<|end|>",), **model):
    """Byte-level BPE behind a split by a pattern; without one, by ByteLevel's own."""

    def build():
        tokenizer = Tokenizer(models.BPE(**model))
        tokenizer.normalizer = normalizer
        level = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=split is None)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*split, level]) if split else level
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=ALPHABET, special_tokens=list(special), show_progress=False)
        tokenizer.train_from_iterator(CORPUS, trainer)
        tokenizer.post_processor = post() if post else processors.ByteLevel(trim_offsets=False)
        tokenizer.add_tokens([AddedToken("<think>", normalized=False), AddedToken("lone", single_word=True, normalized=True)])
        tokenizer.add_special_tokens([AddedToken("<left>", lstrip=True), AddedToken("<right>", rstrip=True)])
        return tokenizer

    return build


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def sentencepiece(pre=None, normalizer=None, decoder=None, **model):
    """BPE over characters with bytes to fall back on, in the manner of SentencePiece."""

    def build():
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", **model))
        tokenizer.normalizer = normalizer
        if pre:
            tokenizer.pre_tokenizer = pre
        names = ["<unk>", "<s>", "</s>"] + ([f"<0x{i:02X}>" for i in range(256)] if model.get("byte_fallback") else [])
        tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=600, special_tokens=names, show_progress=False))
        # The trainer knows no difference between special tokens and byte tokens: of these only three are special.
        import json

        value = json.loads(tokenizer.to_str())
        value["added_tokens"] = value["added_tokens"][:3]
        tokenizer = Tokenizer.from_str(json.dumps(value))
        tokenizer.decoder = decoder
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
        return tokenizer

    return build


def metaspace_decoder(strip=True):
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence(steps + ([decoders.Strip(content=" ", left=1)] if strip else []))


def begin():
    return processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(single="<|end|> $A", special_tokens=[("<|end|>", 0)]),
    ])


def all():
    """Names and functions that build a tokenizer."""
    accents = lambda: normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()])
    prepend = lambda: normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return [
        ("gpt2", byte_level()),
        ("gpt2-prefix-space", byte_level(prefix=True, post=begin)),
        ("llama3-pattern", byte_level([split(LLAMA3)], ignore_merges=True, post=begin)),
        ("cased-pattern", byte_level([split(CASED)], normalizers.NFC())),
        ("nfkc", byte_level([split(GPT2)], normalizers.NFKC())),
        ("no-accents", byte_level([split(GPT2)], accents())),
        ("digits-then-split", byte_level([pre_tokenizers.Digits(individual_digits=True), split(GPT2)])),
        ("joined-digits", byte_level([pre_tokenizers.Digits(individual_digits=False), split(GPT2)])),
        ("punctuation", byte_level([pre_tokenizers.Punctuation("isolated"), split(GPT2)])),
        ("three-splits", byte_level([split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(r"\p{N}{1,3}")])),
        ("removed", byte_level([split(r"\s+", "removed")])),
        ("merged-with-previous", byte_level([split(r"\s", "merged_with_previous")])),
        ("merged-with-next", byte_level([split(r"\s", "merged_with_next")])),
        ("contiguous", byte_level([split(r"\p{P}", "contiguous")])),
        ("inverted", byte_level([split(r"\p{L}+|\p{N}", "isolated", True)])),
        ("inverted-removed", byte_level([split(r"[\p{L}\p{N}]+", "removed", True)])),
        ("replaced", byte_level([split(GPT2)], normalizers.Replace(Regex(r"\s+"), " "))),
        ("stripped", byte_level([split(GPT2)], normalizers.Strip())),
        ("sentencepiece", sentencepiece(None, prepend(), metaspace_decoder(), byte_fallback=True, fuse_unk=True)),
        ("metaspace-always", sentencepiece(
            pre_tokenizers.Metaspace(prepend_scheme="always"), None, decoders.Metaspace(prepend_scheme="always"), byte_fallback=True)),
        ("metaspace-first", sentencepiece(
            pre_tokenizers.Metaspace(prepend_scheme="first", split=False), None, metaspace_decoder(), byte_fallback=True, fuse_unk=True)),
        ("metaspace-never", sentencepiece(
            pre_tokenizers.Metaspace(prepend_scheme="never"), None, metaspace_decoder(False), byte_fallback=True)),
        ("unknowns-apart", sentencepiece(pre_tokenizers.Metaspace(prepend_scheme="first"), None, metaspace_decoder())),
        ("unknowns-fused", sentencepiece(pre_tokenizers.Metaspace(prepend_scheme="first"), None, metaspace_decoder(), fuse_unk=True)),
    ]
