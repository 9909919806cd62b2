"""Attune beside its peers on the same workloads, each in a process of its own, one after the other.

    python compare.py ATTUNE PEERS [--only NAME,..] [--json F]

PEERS is the folder that setup.sh made; the checkpoints are made in it. Prints a table of ratios (peer's time over
Attune's, peer's memory over Attune's) with the ratio each row is meant to reach.
"""
import argparse
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
MINI_TRAIN = "--prompt-tokens 1 --new-tokens 255"
PREFERENCE = "--rows 8 --prompt-tokens 128 --new-tokens 128 --adapter lora"
GROUP = "--objective grpo --rows 4 --generations 8 --new-tokens 64 --adapter lora"
# name, checkpoint, Attune's command, peers: (their name, environment, command, ratio of time to reach, of memory)
ROWS = [
    ("rollout mini", "mini", "rollout", [("vLLM, eager", "vllm", "vllm", 2, None), ("transformers", "main", "rollout", 6, None)]),
    ("rollout half", "half", "rollout --prompts 2 --new-tokens 64", [("vLLM, eager", "vllm", "vllm", 2, None)]),
    ("rollout mini-vl", "mini-vl", "rollout --pictures 1", [("transformers", "main", "rollout --pictures", 6, None)]),
    ("step mini, full", "mini", f"train {MINI_TRAIN} --repeats 7",
     [("torch", "main", "train --repeats 5", 1.8, None), ("torch.compile", "main", "train --compile --repeats 5", 1.2, None)]),
    ("step mini, LoRA", "mini", f"train {MINI_TRAIN} --adapter lora --repeats 7",
     [("torch, PEFT", "main", "train --lora --repeats 5", 2.5, None)]),
    ("step half, LoRA", "half", "train --prompt-tokens 1 --new-tokens 511 --rows 2 --adapter lora",
     [("torch, PEFT", "main", "train --lora --repeats 3", 1.7, None)]),
    ("GRPO mini", "mini", f"train {GROUP} --prompt-tokens 64", [("TRL", "main", "trl --trainer grpo", 4, 6)]),
    ("GRPO mini-vl", "mini-vl", f"train {GROUP} --prompt-tokens 113 --pictures 1",
     [("TRL", "main", "trl --trainer grpo --pictures", 4, 6)]),
    ("DPO mini", "mini", f"train --objective dpo {PREFERENCE}", [("TRL", "main", "trl --trainer dpo", 3.5, 6)]),
    ("DPO mini, full", "mini", f"train --objective dpo {PREFERENCE.replace('lora', 'none')}",
     [("TRL", "main", "trl --trainer dpo --full", 2, 4)]),
    ("CPO mini", "mini", f"train --objective cpo {PREFERENCE}", [("TRL", "main", "trl --trainer cpo", 2.5, 6)]),
    ("ORPO mini", "mini", f"train --objective orpo {PREFERENCE}", [("TRL", "main", "trl --trainer orpo", 2.5, 6)]),
    ("SFT mini", "mini", f"train --objective sft {PREFERENCE}", [("TRL", "main", "trl --trainer sft", 2, 6)]),
    ("RLOO mini", "mini", f"train {GROUP.replace('grpo', 'rloo')} --prompt-tokens 64",
     [("TRL", "main", "trl --trainer rloo", 4, 6)]),
    ("GRPO mini, full", "mini", f"train {GROUP.replace('lora', 'none')} --prompt-tokens 64",
     [("TRL", "main", "trl --trainer grpo --full", 3, 4)]),
    ("KTO mini", "mini", f"train --objective kto {PREFERENCE}", [("TRL", "main", "trl --trainer kto", 2.5, 6)]),
    ("decode half bf16", "half", "rollout --prompts 1 --completions 1 --new-tokens 64", [("llama.cpp bf16", "llama", "bf16", 1, None)]),
    ("decode half int8", "half", "rollout --prompts 1 --completions 1 --new-tokens 64 --weights int8",
     [("llama.cpp q8_0", "llama", "q8_0", 1, None)]),
    ("decode half int4", "half", "rollout --prompts 1 --completions 1 --new-tokens 64 --weights int4",
     [("llama.cpp q4_0", "llama", "q4_0", 1, None)]),
]


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout[done.stdout.index("{" if "{" in done.stdout else "["):])


def llama(peers, checkpoint, kind):
    """Seconds of one decoded token."""
    binaries = os.path.join(peers, "llama", "build", "bin")
    plain = os.path.join(peers, "half-bf16.gguf")
    if not os.path.exists(plain):
        subprocess.run([os.path.join(peers, "main", "bin", "python"), os.path.join(HERE, "measure.py"), "gguf", checkpoint, plain],
                       check=True)
    path = os.path.join(peers, f"half-{kind}.gguf")
    if not os.path.exists(path):
        subprocess.run([os.path.join(binaries, "llama-quantize"), plain, path, kind], check=True, capture_output=True)
    done = subprocess.run([os.path.join(binaries, "llama-bench"), "-m", path, "-t", os.environ.get("THREADS", "2"), "-p", "0",
                           "-n", "64", "-r", "3", "-o", "json"], capture_output=True, text=True, check=True)
    return {"seconds": 1 / json.loads(done.stdout)[0]["avg_ts"]}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("attune")
    p.add_argument("peers")
    p.add_argument("--only")
    p.add_argument("--json")
    a = p.parse_args()
    python = {e: os.path.join(a.peers, e, "bin", "python") for e in ("main", "vllm")}
    folder = os.path.join(a.peers, "checkpoints")
    if not os.path.isdir(folder):
        subprocess.run([python["main"], os.path.join(HERE, "measure.py"), "checkpoints", folder], check=True)
    results = []
    print(f"{'workload':18}{'peer':16}{'peer s':>9}{'Attune s':>10}{'ratio':>7}{'goal':>6}{'memory':>8}{'goal':>6}", flush=True)
    for name, checkpoint, ours, peers in ROWS:
        if a.only and not any(w in name for w in a.only.split(",")):
            continue
        path = os.path.join(folder, checkpoint)
        for peer, environment, command, goal, memory_goal in peers:
            try:
                if environment == "llama":
                    theirs = llama(a.peers, path, command)
                else:
                    verb, *flags = command.split()
                    theirs = run([python[environment], os.path.join(HERE, "measure.py"), verb, path, *flags])
                # Measured again beside each peer: both see the same machine.
                mine = run([a.attune, "bench", *ours.split(), "--model", path, "--dtype", "bf16", "--json"])
            except (RuntimeError, OSError, subprocess.CalledProcessError) as e:
                print(f"{name:18}{peer:16} not measured: {str(e).splitlines()[-1][:80]}", flush=True)
                continue
            seconds = mine.get("step_s") or mine["seconds"]
            if environment == "llama":
                seconds = 1 / mine["decode_tokens_per_s"]
            ratio = theirs["seconds"] / seconds
            memory = theirs["peak_rss_mib"] / mine["peak_rss_mib"] if "peak_rss_mib" in theirs else None
            results.append({"workload": name, "peer": peer, "peer_s": theirs["seconds"], "attune_s": seconds, "ratio": ratio,
                            "goal": goal, "memory_ratio": memory, "memory_goal": memory_goal, "attune": mine})
            print(f"{name:18}{peer:16}{theirs['seconds']:9.3f}{seconds:10.3f}{ratio:7.2f}{goal:6}"
                  f"{f'{memory:8.1f}' if memory else '       -'}{memory_goal or '':>6}", flush=True)
    if a.json:
        with open(a.json, "w") as f:
            json.dump(results, f, indent=1)
    missed = [r for r in results if r["ratio"] < r["goal"] or (r["memory_goal"] and r["memory_ratio"] < r["memory_goal"])]
    print(f"{len(results) - len(missed)} of {len(results)} reach their goal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
