"""Log-probabilities of the checkpoints beside this file with their weights rounded to F16 and to BF16.

What transformers computes in float32 from the rounded weights; reading a checkpoint of that type must give the same.
Usage: python weight_types.py FAMILY...
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import torchvision_shim

torchvision_shim.load()

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

torch.set_num_threads(1)
IDS = [5, 81, 300, 17, 222, 9, 400, 41, 123, 64, 255, 7]
result = {"reference": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, float32"}
for family in sys.argv[1:]:
    folder = HERE / family
    has_pictures = hasattr(AutoConfig.from_pretrained(folder), "vision_config")
    kind = AutoModelForImageTextToText if has_pictures else AutoModelForCausalLM
    item = {"input_ids": IDS}
    for name, dtype in [("F16", torch.float16), ("BF16", torch.bfloat16)]:
        model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        with torch.no_grad():
            # Parameters alone: rotary frequencies are computed, not stored.
            for parameter in model.parameters():
                parameter.copy_(parameter.to(dtype).float())
            logits = model(input_ids=torch.tensor([IDS])).logits[0]
            logprobs = torch.log_softmax(logits.double()[:-1], -1)
        item[name] = logprobs.gather(-1, torch.tensor(IDS[1:])[:, None])[:, 0].tolist()
    result[family] = item
(HERE / "weight_types.json").write_text(json.dumps(result, indent=1) + "\n")
