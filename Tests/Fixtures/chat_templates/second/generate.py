"""Render the second suite of chat templates with the reference library: text, token ids, assistant spans and masks."""

import sys
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in (HERE.parents[1], HERE.parent, HERE):
    sys.path.insert(0, str(folder))

import goldenlib
from cases import CASES, TOKENIZERS
from transformers.utils import chat_template_utils

first = goldenlib.load_module(HERE.parent / "generate.py", "first_suite")
NOW = datetime(2026, 11, 3, 4, 5, 6)


def build(out, only):
    first.freeze_clock(NOW)
    for name, cases in CASES.items():
        if only is not None and name not in only and f"{name}.json" not in only:
            continue
        template = (HERE / "templates" / f"{name}.jinja").read_text(encoding="utf-8")
        tok = first.load_tokenizer(HERE.parents[1] / "tokenizers", TOKENIZERS[name])
        rows = []
        for label, messages, options in cases:
            options = dict(options)
            tools = options.pop("tools", None)
            # The reference gives no mask for a message that is continued.
            masked = "generation %}" in template and "continue_final_message" not in options
            row = {"name": label, "messages": messages, "tools": tools, "options": options}
            row.update(first.one(tok, template, messages, tools, masked, **options))
            rows.append(row)
        head = {
            "template": f"{name}.jinja",
            "tokenizer": TOKENIZERS[name],
            "special_tokens": tok.special_tokens_map,
            "now": NOW.isoformat(),
        }
        goldenlib.write_json_rows(out / f"{name}.json", head, "cases", rows)


if __name__ == "__main__":
    goldenlib.run(build, HERE)
