"""Compares the vectors of the reward `math` with Math-Verify.

    python3 -m venv /tmp/math-verify && /tmp/math-verify/bin/pip install math-verify==0.9.0
    /tmp/math-verify/bin/python Tests/Interop/math_answers.py [--all]

Every line of Tests/Fixtures/rewards/built-in/math.jsonl is judged by Math-Verify, set up as ms-swift and TRL set it up: a
completion without answer tags is searched for anchored LaTeX with the box first, a span is parsed permissively, as is the
reference. Prints the share of agreement and each difference; with --all, every line. The differences that are meant are
explained in Tests/Fixtures/rewards/built-in/README.md. Nothing in the tests depends on this script.
"""

import json
import pathlib
import re
import sys
import warnings

from latex2sympy2_extended import NormalizationConfig
from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

warnings.filterwarnings("ignore")
VECTORS = pathlib.Path(__file__).parent.parent / "Fixtures/rewards/built-in/math.jsonl"
ANCHORED = [
    LatexExtractionConfig(
        normalization_config=NormalizationConfig(units=True), boxed_match_priority=0, try_extract_without_anchor=False
    )
]
PERMISSIVE = [LatexExtractionConfig(), ExprExtractionConfig()]
SPAN = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.DOTALL)


def span(text, which):
    found = SPAN.findall(text)
    if which == "none" or not found:
        return None
    return found[0] if which == "first" else found[-1]


def reference(text, which):
    text = span(text, which) or text
    gold = parse(text, PERMISSIVE, extraction_mode="first_match")
    # Bare LaTeX is mathematics for data sets; Math-Verify wants signs around it.
    if not gold or ("\\" in text or "^" in text) and "$" not in text:
        gold = parse(f"${text}$", PERMISSIVE, extraction_mode="first_match") or gold
    return gold


def judge(line):
    which = line.get("parameters", {}).get("answer_span", "last")
    references = line.get("reference", "")
    references = references if isinstance(references, list) else [references]
    golds = [gold for gold in (reference(text, which) for text in references) if gold]
    if not golds:
        return None
    inner = span(line["completion"], which)
    answer = parse(line["completion"], ANCHORED) if inner is None else parse(inner, PERMISSIVE)
    return 1 if any(verify(gold, answer) for gold in golds) else 0


def main():
    agreed, differ = 0, []
    for number, text in enumerate(VECTORS.read_text(encoding="utf-8").splitlines(), 1):
        line = json.loads(text)
        ours, theirs = line["expected"]["reward"], judge(line)
        if ours == theirs:
            agreed += 1
        else:
            differ.append((number, ours, theirs, line))
        if "--all" in sys.argv:
            print(number, ours, theirs, json.dumps(line.get("reference")), line["completion"][:100])
    print(f"{agreed} of {agreed + len(differ)} agree")
    for number, ours, theirs, line in differ:
        print(f"line {number}: ours {ours}, Math-Verify {theirs}: {json.dumps(line.get('reference'))} | {line['completion'][:100]!r}")


main()
