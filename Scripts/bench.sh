#!/usr/bin/env bash
# Attune beside the machine's limits, and beside its peers where Tests/Interop/peers/setup.sh has installed them.
set -euo pipefail
cd "$(dirname "$0")/.."
attune=${ATTUNE_BINARY:-.build/release/attune}
peers=${PEERS:-.build/peers}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$attune" bench kernels --baseline Tests/Fixtures/bench/kernels.json
"$attune" init mini "$work/mini" >/dev/null
"$attune" init mini-vl "$work/mini-vl" >/dev/null
show() { echo; echo "attune bench $*"; "$attune" bench "$@"; }
show rollout --model "$work/mini" --dtype bf16
show rollout --model "$work/mini-vl" --pictures 1 --dtype bf16
show train --model "$work/mini" --prompt-tokens 1 --new-tokens 255 --dtype bf16
show train --model "$work/mini" --prompt-tokens 1 --new-tokens 255 --adapter lora --dtype bf16
show train --model "$work/mini" --objective grpo --rows 4 --prompt-tokens 64 --new-tokens 64 --adapter lora --dtype bf16
show train --model "$work/mini" --objective dpo --adapter lora --dtype bf16
show train --model "$work/mini" --objective kto --adapter lora --dtype bf16
show cost --model "$work/mini" --dtype bf16
echo
Scripts/memory.sh
echo
if [ -x "$peers/main/bin/python" ]; then
  "$peers/main/bin/python" Tests/Interop/peers/compare.py "$attune" "$peers"
else
  echo "peers are not installed (Tests/Interop/peers/setup.sh puts them into $peers)"
fi
