#!/usr/bin/env bash
# Other programs read what attune writes: transformers loads its checkpoints and PEFT its adapters, and they compute the same.
set -euo pipefail
cd "$(dirname "$0")/../.."
attune=${ATTUNE_BINARY:-.build/release/attune}
python=${PYTHON:-python3}
if [ ! -x .build/interop/bin/python ]; then
  "$python" -m venv .build/interop
  .build/interop/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2 safetensors pillow numpy
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for preset in tiny tiny-vl; do "$attune" init "$preset" "$work/$preset"; done
"$attune" run recipes/smoke/digits.yaml --set model.train=lora --set model.lora.rank=4 --output "$work/run"
.build/interop/bin/python Tests/Interop/check.py "$attune" "$work"
