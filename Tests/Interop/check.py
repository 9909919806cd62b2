"""Loads checkpoints and adapters that attune wrote into transformers and PEFT and compares log-probabilities."""

import json
import subprocess
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

attune, work = sys.argv[1:3]
TEXT = "Which number is written here? 407 and 12."
failures = 0


def ours(folder, adapter=None):
    command = [attune, "score", "--model", folder] + (["--adapter", adapter] if adapter else [])
    out = subprocess.run(command, input=json.dumps({"text": TEXT}), capture_output=True, text=True, check=True)
    line = json.loads(out.stdout)
    return line["input_ids"], torch.tensor(line["logprobs"])


def theirs(model, ids):
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0].float()
    return torch.log_softmax(logits[:-1], -1).gather(-1, torch.tensor(ids[1:])[:, None])[:, 0]


def compare(name, a, b):
    global failures
    gap = (a - b).abs().max().item()
    fine = gap < 2e-4
    failures += not fine
    print(f"{'ok    ' if fine else 'FAILED'} {name}: largest difference of log-probabilities {gap:.2e}")


for folder, kind in [
    (f"{work}/tiny", AutoModelForCausalLM),
    (f"{work}/tiny-vl", AutoModelForImageTextToText),
    (f"{work}/run/model", AutoModelForImageTextToText),
]:
    ids, logprobs = ours(folder)
    tokens = AutoTokenizer.from_pretrained(folder)(TEXT, add_special_tokens=False)["input_ids"]
    if tokens != ids:
        failures += 1
        print(f"FAILED {folder}: tokens {tokens}, attune says {ids}")
    compare(folder.removeprefix(work), logprobs, theirs(kind.from_pretrained(folder, dtype=torch.float32), ids))

ids, logprobs = ours(f"{work}/run/start", f"{work}/run/adapter")
base = AutoModelForImageTextToText.from_pretrained(f"{work}/run/start", dtype=torch.float32)
compare("adapter in PEFT", logprobs, theirs(PeftModel.from_pretrained(base, f"{work}/run/adapter"), ids))
print(f"{4 - failures if failures <= 4 else 0} passed, {failures} failed")
sys.exit(1 if failures else 0)
