#!/usr/bin/env bash
# What `attune check` says a run will take of memory, beside what the run takes: tensors, and the whole process.
set -euo pipefail
cd "$(dirname "$0")/.."
attune=${ATTUNE_BINARY:-.build/release/attune}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Rows with so many words in the prompt and so many in the completion.
rows() {
  awk -v words="$1" -v answer="$2" 'BEGIN {
    for (row = 0; row < 64; row++) {
      p = ""; c = ""
      for (i = 0; i < words; i++) p = p " word" (i + row) % 9
      for (i = 0; i < answer; i++) c = c " " (i + row) % 10
      printf "{\"prompt\": \"%s\", \"completion\": \"%s\"}\n", substr(p, 2), substr(c, 2)
    }
  }'
}
rows 12 12 > "$work/short.jsonl"
rows 120 60 > "$work/long.jsonl"

printf '%-16s %-5s %-44s %28s %28s\n' model stage settings "tensors, MiB (ratio)" "process, MiB (ratio)"
measure() {
  local preset=$1 data=$2 stage=$3 settings=$4
  local flags=() setting
  for setting in $settings; do flags+=(--set "$setting"); done
  local source="{kind: jsonl, file: $work/$data.jsonl}"
  if [ "$data" = digits ]; then
    source="{kind: digits, file: $PWD/recipes/data/digits/digits.csv, count: 64, canvas: [224, 224]}"
  fi
  local objective="{name: s, objective: sft, steps: 3, batch: 16}"
  if [ "$stage" = grpo ]; then
    objective="{name: s, objective: grpo, steps: 2, prompts: 4, generations: 8, max_new_tokens: 64}"
  fi
  cat > "$work/recipe.yaml" <<RECIPE
model: {path: 'preset:$preset'}
data: {train: $source}
optimizer: {learning_rate: 0}
watch: {before: false}
checkpoint: {every: 0}
rewards: [{name: length, source: 'libc.so.6: size_t strlen(const char *completion)', isolation: inline}]
stages: [$objective]
RECIPE
  "$attune" run "$work/recipe.yaml" --output "$work/run" "${flags[@]}" 2> "$work/log"
  rm -rf "$work/run"
  sed -n 's/^memory: estimated \([0-9]*\) MiB for tensors and \([0-9]*\) MiB in all, measured \([0-9]*\) MiB and \([0-9]*\) MiB$/\1 \2 \3 \4/p' "$work/log" |
    awk -v m="$preset" -v s="$stage" -v k="$data $settings" '{
      printf "%-16s %-5s %-44s %28s %28s\n", m, s, k, $1 " / " $3 " (" sprintf("%.3f", $1 / $3) ")", $2 " / " $4 " (" sprintf("%.3f", $2 / $4) ")"
    }'
}
for stage in sft grpo; do
  for data in short long; do
    measure mini "$data" "$stage" ""
    measure mini "$data" "$stage" "dtype=bf16"
    measure mini "$data" "$stage" "model.train=lora"
    measure mini "$data" "$stage" "model.train=lora dtype=bf16"
    measure mini "$data" "$stage" "model.train=lora dtype=bf16 model.weights=int4"
  done
  measure mini-vl digits "$stage" ""
  measure mini-vl digits "$stage" "model.train=lora dtype=bf16"
done
measure mini long grpo "stages.s.grpo.beta=0.1"
