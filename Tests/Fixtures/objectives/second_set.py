#!/usr/bin/env python3
"""Random cases of every suite, computed by the reference and by Attune, compared under the tolerances of README.md.

    python second_set.py ATTUNE --cases 40 --seed 1            # every suite
    python second_set.py ATTUNE --only dpo rloo --keep FOLDER  # some, and the files stay

Needs what generate.py needs. A case that the reference itself refuses, or that lies on a clip bound (float32 and float64
disagree), is drawn again. Exit status 1 if a number differs.
"""

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile

import generate

DPO_TYPES = ["sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired",
             "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm"]
DIVERGENT = {"sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "robust", "discopop", "sft"}


class Draw(random.Random):
    def chance(self, p):
        return self.random() < p

    def near(self, low, high):
        return round(self.uniform(low, high), self.choice([1, 2, 4]))


def logprob(d):
    return dict(shape=(d.randint(1, 5), d.randint(2, 9), d.randint(2, 40)),
                config={"temperature": d.choice([1.0, 0.5, 0.7, 1.9]), "final_logit_softcapping": d.choice([None, 2.0, 30.0])})


def sft(d):
    vocabulary = d.randint(2, 12)
    config = {"loss_type": d.choice(["nll", "nll", "dft"])}
    if d.chance(0.3):
        config["label_smoothing_factor"] = d.choice([0.0, 0.05, 0.3])
    if d.chance(0.4):
        config["num_items_in_batch"] = d.randint(1, 200)
    if d.chance(0.25):
        lengths = [d.randint(1, 6) for _ in range(d.randint(1, 5))]
        order = list(range(len(lengths)))
        cut = d.randint(0, len(order))
        return dict(shape=(1, 1, vocabulary), config=config, packed={
            "doc_lengths": lengths, "prompt_lengths": [d.randint(0, n) for n in lengths],
            "rows": [r for r in (order[:cut], order[cut:]) if r]})
    return dict(shape=(d.randint(1, 6), d.randint(2, 12), vocabulary), config=config, all_masked=d.chance(0.1))


def packing(d):
    return dict(config={"seq_length": d.choice([1, 2, 5, 8, 16, 33]), "strategy": d.choice(["bfd", "bfd_split", "wrapped"])},
                lengths=[d.choice([0, 1, 1, 2, 3, 5, 8, 13, 21, d.randint(1, 40)]) for _ in range(d.randint(1, 30))])


def reward(d):
    size = d.randint(1, 9)
    return dict(shape=(size,), saturate=size > 1 and d.chance(0.2),
                config={"center_rewards_coefficient": d.choice([None, 0.01, 0.0, 0.5]), "use_margin": d.chance(0.5)})


def dpo(d):
    types = d.sample(DPO_TYPES, d.choice([1, 1, 1, 2, 3]))
    config = {"loss_type": types, "beta": d.choice([0.01, 0.1, 0.5, 1.0, 2.5])}
    if len(types) > 1 and d.chance(0.7):
        config["loss_weights"] = [d.near(0, 2) for _ in types]
    if "exo_pair" in types:
        config["label_smoothing"] = d.choice([1e-3, 0.1, 0.3])
    elif d.chance(0.3):
        config["label_smoothing"] = d.choice([0.0, 0.05, 0.2, 0.45])
    if set(types) <= DIVERGENT and d.chance(0.4):
        config["f_divergence_type"] = d.choice(["forward_kl", "js_divergence", "alpha_divergence"])
        config["f_alpha_divergence_coef"] = d.choice([0.2, 0.5, 1.0, 1.0000001, 1.5, -0.5])
    if d.chance(0.3):
        config["ld_alpha"] = d.choice([0.0, 0.3, 1.0])
    if d.chance(0.25) and not {"aot", "aot_unpaired", "sft"} & set(types):
        config["use_weighting"] = True
    if d.chance(0.3):
        config["discopop_tau"] = d.choice([0.01, 0.05, 0.3])
    size = d.randint(1, 7)
    return dict(shape=(size, d.randint(2, 16)), config=config, sigma=d.choice([0.05, 0.35, 1.5]), token_stats=d.chance(0.4),
                tie=size > 1 and d.chance(0.15))


def kto(d):
    size = d.randint(1, 8)
    return dict(shape=(size, d.randint(2, 14)), token_stats=d.chance(0.4), kl_drift=d.choice([-0.6, -0.1, 0.0, 0.15, 0.5]),
                label=[d.chance(d.choice([0.5, 0.5, 0.9])) for _ in range(size)],
                config={"beta": d.choice([0.05, 0.1, 0.4, 2.0]), "loss_type": d.choice(["kto", "kto", "apo_zero_unpaired"]),
                        "desirable_weight": d.choice([1.0, 0.0, 1.33]), "undesirable_weight": d.choice([1.0, 0.5, 4.0])})


def bco(d):
    return dict(shape=(d.randint(2, 8), d.randint(2, 12)), steps=d.randint(1, 5), config={"beta": d.choice([0.05, 0.1, 1.0])})


def cpo(d):
    return dict(shape=(d.randint(1, 6), d.randint(2, 14)), scale=d.choice([0.3, 1.0, 2.0]), config={
        "loss_type": d.choice(["sigmoid", "hinge", "ipo", "simpo"]), "beta": d.choice([0.1, 0.5, 2.0, 10.0]),
        "label_smoothing": d.choice([0.0, 0.0, 0.1, 0.4]), "cpo_alpha": d.choice([0.0, 1.0, 0.3]),
        "simpo_gamma": d.choice([0.0, 0.5, 1.4]), "alpha": d.choice([0.0, 0.0, 0.25, -0.25, 0.01])})


def orpo(d):
    return dict(shape=(d.randint(1, 6), d.randint(2, 14)), scale=d.choice([0.1, 1.0, 3.0]), confident=d.chance(0.3),
                config={"beta": d.choice([0.0, 0.1, 0.7, 3.0])})


def scoring(d, functions):
    config = {"num_generations": d.choice([2, 3, 4, 8])}
    if functions > 1 or d.chance(0.3):
        config["reward_weights"] = [d.near(-0.5, 2) for _ in range(functions)]
    config["mask_truncated_completions"] = d.chance(0.3)
    return config


def grpo_advantages(d):
    functions = d.randint(1, 3)
    config = scoring(d, functions)
    config["scale_rewards"] = d.choice(["group", "batch", "none"])
    config["multi_objective_aggregation"] = d.choice(["sum_then_normalize", "sum_then_normalize", "normalize_then_sum"])
    groups = d.randint(1, 4)
    rows = groups * config["num_generations"]
    return dict(shape=(groups, d.randint(2, 9)), config=config, n_funcs=functions, rewards=d.choice(["normal", "binary"]),
                truncated=d.sample(range(rows), d.randint(0, rows)),
                **({"constant_groups": [0]} if d.chance(0.2) else {
                    "nan": [(d.randrange(rows), d.randrange(functions)) for _ in range(d.choice([0, 0, 1, 4]))]}))


def losses(d):
    kind = d.choice(["grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo", "sapo", "vespo"])
    config = {"loss_type": kind, "max_completion_length": d.choice([12, 16, 512]), "beta": d.choice([0.0, 0.0, 0.04, 0.5]),
              "epsilon": d.choice([0.1, 0.2, 0.4]), "epsilon_high": d.choice([None, 0.28, 1.2, 5.0]),
              "delta": d.choice([None, None, 1.5, 4.0]), "use_bias_correction_kl": d.chance(0.6),
              "importance_sampling_level": d.choice(["token", "token", "sequence"])}
    if d.chance(0.3):
        config["top_entropy_quantile"] = d.choice([0.0, 0.2, 0.5, 0.8])
    if d.chance(0.3):
        config["entropy_coef"] = d.choice([0.001, 0.05, -0.02])
    if d.chance(0.3):
        config["off_policy_mask_threshold"] = d.choice([0.0, 0.05, 0.3])
    if d.chance(0.3):
        config |= {"current_gradient_accumulation_steps": d.randint(1, 5), "steps_per_generation": d.randint(1, 6),
                   "num_processes": d.randint(1, 8)}
    if d.chance(0.2):
        config["mode"] = "eval"
    if d.chance(0.35):
        modes = ["token_truncate", "token_mask"] + ([] if kind == "vespo" else ["sequence_truncate", "sequence_mask"])
        config |= {"sampler_correction": True, "sampler_correction_mode": d.choice(modes),
                   "sampler_correction_clip_max": d.choice([1.2, 3.0, 1e6]),
                   "sampler_correction_clip_min": d.choice([None, 0.0, 0.5])}
    if kind == "sapo":
        config |= {"sapo_temperature_pos": d.choice([1.0, 0.5]), "sapo_temperature_neg": d.choice([1.05, 3.0])}
    if kind == "vespo":
        config |= {"vespo_k_pos": d.choice([2.0, 1.0]), "vespo_lambda_neg": d.choice([2.0, 0.0])}
    return config


def grpo_loss(d):
    config = losses(d)
    rows, width = d.randint(2, 7), d.randint(2, 12)
    spec = dict(shape=(rows, width), config=config, sigma=d.choice([0.02, 0.3, 0.8]), off_policy=d.chance(0.85),
                env_mask=d.chance(0.25), empty_row=d.chance(0.2), token_advantages=d.chance(0.25), log_entropy=d.chance(0.4))
    if d.chance(0.4):
        spec["num_items_in_batch"] = d.randint(1, 300)
    if d.chance(0.2) and not spec["token_advantages"]:
        spec["zero_advantage"] = [0]
    if d.chance(0.1) and not spec["token_advantages"]:
        spec["extreme"] = True
    if config.get("sampler_correction"):
        spec["sampler_sigma"] = d.choice([0.05, 0.4])
        spec["sampler_nan"] = [(0, 0)] if d.chance(0.3) else []
        spec["empty_row"] = False
    if d.chance(0.15):
        config |= {"entropy_coef": 0.01, "use_adaptive_entropy": True, "entropy_target": d.choice([0.2, 2.5]),
                   "entropy_coef_delta": d.choice([0.005, 0.03]), "entropy_coef_max": d.choice([1.0, 0.02])}
        spec["steps"] = d.randint(2, 6)
    if d.chance(0.1):
        spec["algo"] = "gmpo"
        spec["token_advantages"] = False
        spec["config"] = {k: config[k] for k in ("beta", "epsilon", "epsilon_high", "top_entropy_quantile",
                          "current_gradient_accumulation_steps", "num_processes", "mode") if k in config}
        spec.pop("steps", None)
    return spec


def grpo_step(d):
    config = losses(d) | scoring(d, d.randint(1, 2))
    config |= {"mode": "train", "top_entropy_quantile": 1.0, "entropy_coef": 0.0, "scale_rewards": d.choice(["group", "batch", "none"])}
    return dict(shape=(d.randint(1, 3), d.randint(2, 9)), config=config)


def gspo_token(d):
    return dict(shape=(d.randint(1, 6), d.randint(2, 12)), sigma=d.choice([0.02, 0.2]), token_advantages=d.chance(0.5),
                config={"epsilon": d.choice([3e-4, 0.05]), "epsilon_high": d.choice([4e-4, 0.08])})


def dapo(d):
    kind = d.choice(["soft_overlong", "repetition", "dynamic_sampling"])
    if kind == "soft_overlong":
        limit = d.randint(1, 100)
        return dict(kind=kind, lengths=[d.randint(0, 130) for _ in range(9)],
                    config={"max_completion_len": limit, "soft_punish_cache": d.randint(0, limit)})
    if kind == "repetition":
        return dict(kind=kind, shape=(d.randint(1, 9),), config={"ngram_size": d.randint(1, 6), "max_penalty": d.choice([-1.0, -0.3, 0.0])})
    size, groups = d.choice([2, 4]), d.randint(1, 5)
    return dict(kind=kind, shape=(groups,), rounds=d.randint(1, 5), degenerate=d.choice([0.2, 0.6, 0.95]), config={
        "num_generations": size, "generation_batch_size": size * d.randint(1, groups), "max_resample_times": d.randint(1, 4)})


def rloo(d):
    # No group of equal rewards: the sign of the reference's rounding there decides what counts as clipped.
    functions = d.randint(1, 2)
    config = scoring(d, functions) | {"beta": d.choice([0.0, 0.05, 0.5]), "epsilon": d.choice([0.1, 0.2]),
              "epsilon_high": d.choice([None, 0.28]), "normalize_advantages": d.chance(0.5),
              "reward_clip_range": d.choice([None, [-0.5, 1.0], [0.0, 10.0]])}
    groups = d.randint(1, 4)
    rows = groups * config["num_generations"]
    return dict(shape=(groups, d.randint(2, 9)), config=config, sigma=d.choice([0.02, 0.1, 0.3]),
                truncated=d.sample(range(rows), d.randint(0, rows // 2)),
                nan=[(d.randrange(rows), d.randrange(functions)) for _ in range(d.choice([0, 0, 1, 4]))])


def reinforce_pp(d):
    flavour = d.choice(["token", "baseline", "sequence"])
    return dict(shape=(d.randint(2, 4), d.randint(3, 10)), sigma=d.choice([0.05, 0.25, 0.6]), config={
        "flavour": flavour, "num_generations": d.choice([1, 2, 4]) if flavour == "token" else d.choice([2, 3, 4]),
        "kl_coef": d.choice([0.0, 0.01, 0.3]), "kl_estimator": d.choice(["k1", "k2", "k3", "abs"]), "gamma": d.choice([1.0, 0.9]),
        "epsilon": d.choice([0.1, 0.2]), "epsilon_high": d.choice([None, 0.3]), "unbiased_std": d.chance(0.5)})


def ppo(d):
    return dict(shape=(d.randint(2, 6), d.randint(3, 12)), sigma=d.choice([0.05, 0.25, 0.6]), config={
        "kl_coef": d.choice([0.0, 0.05, 0.4]), "kl_estimator": d.choice(["k1", "k2", "k3", "abs"]), "gamma": d.choice([1.0, 0.95]),
        "lam": d.choice([0.95, 0.0, 1.0]), "cliprange": d.choice([0.1, 0.2]), "cliprange_value": d.choice([0.05, 0.2, 1.0]),
        "vf_coef": d.choice([0.0, 0.1, 1.0]), "dual_clip": d.choice([None, None, 1.5, 3.0]), "whiten_rewards": d.chance(0.3),
        "whiten_advantages": d.chance(0.7), "missing_eos_penalty": d.choice([None, 0.0, 1.0])})


def kl(d):
    return dict(shape=(d.randint(1, 6), d.randint(2, 12)), sigma=d.choice([0.01, 0.5, 2.0]),
                config={"estimator": d.choice(["k1", "k2", "k3", "abs"])})


def schedule(d, total):
    name = d.choice(["constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial",
                     "inverse_sqrt", "cosine_with_min_lr", "warmup_stable_decay"])
    extra = {"cosine_with_restarts": {"num_cycles": d.randint(1, 3)},
             "polynomial": {"power": d.choice([1.0, 2.0, 0.5]), "lr_end": d.choice([1e-7, 1e-5])},
             "cosine_with_min_lr": {"min_lr_rate": d.choice([0.0, 0.1])},
             "warmup_stable_decay": {"num_decay_steps": d.randint(1, total), "min_lr_ratio": d.choice([0.0, 0.1]),
                                     "decay_type": d.choice(["linear", "cosine", "1-sqrt"])}}
    return {"lr_scheduler_type": name, "warmup_steps": d.randint(0, total // 2), "total_steps": total,
            "scheduler_kwargs": extra.get(name)}


def adamw(d):
    config = schedule(d, d.randint(2, 8)) | {
        "lr": d.choice([1e-3, 5e-3, 1e-4]), "beta1": d.choice([0.9, 0.0]), "beta2": d.choice([0.999, 0.95]), "eps": d.choice([1e-8, 1e-6]),
        "weight_decay": d.choice([0.0, 0.1]), "max_grad_norm": d.choice([1.0, 0.0, 0.2])}
    if config["lr_scheduler_type"] == "polynomial" and config["lr"] <= 1e-5:
        config["lr"] = 1e-3
    return dict(config=config, zero_grad_step=d.choice([None, None, 0]), grad_scale=d.choice([0.6, 3.0]))


def lr_schedule(d):
    return dict(config=schedule(d, d.randint(1, 30)) | {"lr": d.choice([1e-3, 2e-5])})


def grad_clip(d):
    return dict(config={"max_grad_norm": d.choice([1.0, 0.1, 50.0])}, scale=d.choice([0.0, 0.01, 1.0, 30.0]),
                shapes=[[d.randint(1, 5) for _ in range(d.randint(1, 3))] for _ in range(d.randint(1, 4))])


def ref_sync(d):
    return dict(config={"ref_model_mixup_alpha": d.choice([0.6, 0.0, 1.0, 0.05])})


DRAWS = {f.__name__: f for f in [
    logprob, sft, packing, reward, dpo, kto, bco, cpo, orpo, grpo_advantages, grpo_loss, grpo_step, gspo_token, dapo, rloo,
    reinforce_pp, ppo, kl, adamw, lr_schedule, grad_clip, ref_sync]}


# What recipes of other programs write.
OLD_WORDS = {"group": True, "none": False}


def steady(case_id, single, double):
    """A case is of use if the reference gives a number, and float32 itself is well within the tolerances."""
    original(case_id, single, double)
    for key, gradient in (getattr(single, "grads", None) or {}).items():
        peak = float(double.grads[key].abs().max()) if gradient.numel() else 0
        if float((gradient.double() - double.grads[key].double()).abs().max()) > 5e-8 + 8e-6 * peak:
            raise RuntimeError(f"gradient {key} is badly conditioned")
    for key, value in (getattr(single, "metrics", None) or {}).items():
        if abs(float(value) - float(double.metrics[key])) > 5e-6 * max(1, abs(float(value))):
            raise RuntimeError(f"metric {key} is badly conditioned")


original, generate.f64_check = generate.f64_check, steady


def make_suite(name, count, seed):
    """A document as generate.py writes them, of random specs; what the reference can't compute is drawn again."""
    cases, refused = [], {}
    for k in range(count):
        for attempt in range(30):
            d = Draw(f"{seed}/{name}/{k}/{attempt}")
            spec = DRAWS[name](d) | {"id": f"{name}/{k}", "seed": d.randrange(1 << 30)}
            try:
                case = generate.build_case(name, spec)
                if case["outputs"].get("loss") == "nan":
                    raise RuntimeError("the loss is not a number")
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"[:80]
                refused[reason] = refused.get(reason, 0) + 1
                continue
            if d.chance(0.3) and case["config"].get("scale_rewards") in OLD_WORDS:
                case["config"]["scale_rewards"] = OLD_WORDS[case["config"]["scale_rewards"]]
            case["note"] = json.dumps({key: value for key, value in spec.items() if key not in ("id", "config")}, default=str)
            cases.append(case)
            break
    return {"schema_version": generate.SCHEMA_VERSION, "suite": name, "cases": cases}, refused


def bare(suite):
    """Without outputs; how often a micro-batch is fed stands in the config instead."""
    cases = []
    for case in suite["cases"]:
        case = dict(case)
        steps = case["outputs"].get("values", {}).get("loss_per_step")
        if steps and case["objective"] == "grpo":
            case["config"] = case["config"] | {"steps": steps["shape"][0]}
        del case["outputs"]
        cases.append(case)
    return suite | {"cases": cases}


EXACT = ("clip_ratio", "cispo_clip_ratio", "mean_token_accuracy", "frac_reward_zero_std", "num_tokens", "rewards/accuracies",
         "accuracy", "policy/clipfrac_avg", "val/clipfrac_avg")
SPELLED = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def numbers(value):
    """All numbers of a value in order, and its structure."""
    if isinstance(value, dict):
        return numbers(value["data"])[0], (value["dtype"], tuple(value["shape"]))
    if isinstance(value, list):
        parts = [numbers(v) for v in value]
        return [x for p, _ in parts for x in p], ("list", tuple(shape for _, shape in parts))
    return [SPELLED[value] if isinstance(value, str) else float(value)], "number"


def differs(name, part, key, found, wanted):
    (a, shape), (b, expected) = numbers(found), numbers(wanted)
    if shape != expected or len(a) != len(b):
        return f"is {shape}, expected {expected}"
    finite = [abs(x) for x in b if math.isfinite(x)]
    if part == "grads":
        absolute, relative = 1e-7 + 2e-5 * max(finite, default=0), 0
    elif part == "metrics" and key.startswith(EXACT) or part == "values" and expected[0] in ("bool", "i64", "list") or (
            part == "values" and expected == "number"):
        absolute, relative = 1e-6, 0
    elif part in ("loss", "metrics"):
        absolute, relative = 1e-5, 1e-5
    elif name == "adamw":
        absolute, relative = (0, 1e-6) if key == "lr" else (2e-7, 2e-5)
    elif name == "lr_schedule":
        absolute, relative = 0, 1e-9
    else:
        absolute, relative = 2e-5, 2e-5
    for i, (x, y) in enumerate(zip(a, b)):
        same = math.isnan(x) and math.isnan(y) or x == y or abs(x - y) <= absolute + relative * abs(y)
        if not same:
            return f"[{i}] is {x}, expected {y}"
    return None


def compare(name, wanted, found):
    """What differs, one line each."""
    for case, other in zip(wanted["cases"], found["cases"]):
        label = f"{case['id']} {case['variant']}"
        if "error" in other:
            yield f"{label}: {other['error']}\n    {json.dumps(case['config'])}"
            continue
        outputs, computed = case["outputs"], other["outputs"]
        rows = [("loss", "loss", outputs.get("loss"), computed.get("loss"))]
        for part in ("grads", "metrics", "values"):
            here, there = outputs.get(part, {}), computed.get(part, {})
            for key in sorted(set(here) ^ set(there)):
                yield f"{label}: {part} {key} is {'missing' if key in here else 'too much'}"
            rows += [(part, key, here[key], there[key]) for key in here if key in there]
        for part, key, expected, actual in rows:
            if expected is None or actual is None:
                problem = None if expected is actual else "is missing on one side"
            else:
                problem = differs(name, part, key, actual, expected)
            if problem:
                yield f"{label}: {part} {key} {problem}\n    {json.dumps(case['config'])} {case.get('note', '')}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("attune")
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--only", nargs="*", choices=list(DRAWS))
    parser.add_argument("--keep", metavar="FOLDER")
    given = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or temporary
        os.makedirs(folder, exist_ok=True)
        for name in given.only or DRAWS:
            suite, refused = make_suite(name, given.cases, given.seed)
            with open(f"{folder}/{name}.wanted.json", "w") as file:
                json.dump(suite, file)
            with open(f"{folder}/{name}.json", "w") as file:
                json.dump(bare(suite), file)
            command = [given.attune, "objective", "eval", "--input", f"{folder}/{name}.json", "--output", f"{folder}/{name}.found.json"]
            subprocess.run(command, check=True)
            with open(f"{folder}/{name}.found.json") as file:
                problems = list(compare(name, suite, json.load(file)))
            failures += len(problems)
            print(f"{name}: {len(suite['cases'])} cases, {len(problems)} differences"
                  + "".join(f"; {count} drawn again: {reason}" for reason, count in refused.items()))
            for problem in problems:
                print(f"  {problem}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
