"""Attune's numbers beside the reference's, for one checkpoint folder."""

from libraries import torch

from reference import ROUTER_GAP, Reference

# float32 against float32 in another order of sums; the reference itself moves by about 2e-5 between its own kernels.
TOLERANCE = 2e-4
# Below this the choice of the likeliest id is left to rounding.
GREEDY_GAP = 2e-3


def close_logprobs(report, name, ours, theirs):
    gap = float((torch.tensor(ours) - theirs).abs().max()) if len(ours) else 0.0
    report.expect(name, len(ours) == len(theirs) and gap < TOLERANCE, f"log-probabilities differ by at most {gap:.1e}")


def score_lines(report, program, name, folder, lines, *flags, reference=None, reference_folder=None):
    """`attune score` of named lines against the reference; returns the reference for further use."""
    reference = reference or Reference(reference_folder or folder)
    answers = program.score(folder, [line for _, line in lines], *flags)
    worst, scored = 0.0, 0
    for (case, line), answer in zip(lines, answers):
        ids, logprobs, gap = reference.logprobs(line)
        if answer["input_ids"] != ids:
            report.fail(f"{name}/{case}", f"input ids differ: {first_difference(answer['input_ids'], ids)}")
            continue
        if gap < ROUTER_GAP:
            report.skip(f"{name}/{case}", f"two experts are within {gap:.1e}")
            continue
        found = torch.tensor(answer["logprobs"])
        difference = float((found - logprobs).abs().max()) if len(ids) > 1 else 0.0
        worst, scored = max(worst, difference), scored + 1
        if len(found) != len(logprobs) or not difference < TOLERANCE:
            place = int((found - logprobs).abs().argmax())
            report.fail(f"{name}/{case}", f"log-probability {place} of {len(found)} differs by {difference:.2e}")
    if scored and worst < TOLERANCE:
        report.ok(name, f"{scored} inputs, log-probabilities differ by at most {worst:.1e}")
    return reference


def greedy_lines(report, program, name, folder, lines, count, reference, ends=None):
    """`attune generate --temperature 0`: the same ids, as far as the reference's own choices are clear.

    With `ends`, completions stop at the first of these ids.
    """
    flags = [] if ends else ["--ignore-eos"]
    answers = program.greedy(folder, [line for _, line in lines], count, *flags)
    compared = wrong = 0
    for (case, line), answer in zip(lines, answers):
        ids, gaps = reference.greedy(line, count)
        if ends:
            stop = next((i + 1 for i, id in enumerate(ids) if id in ends), count)
            ids, gaps = ids[:stop], gaps[:stop]
        clear = next((i for i, gap in enumerate(gaps) if gap < GREEDY_GAP), len(ids))
        same = answer["ids"][:clear] == ids[:clear] and (clear < len(ids) or len(answer["ids"]) == len(ids))
        compared += clear
        if not same:
            wrong += 1
            report.fail(f"{name}/{case} greedy", f"{answer['ids'][:clear]} against {ids[:clear]}")
    if not wrong:
        report.ok(f"{name} greedy", f"{compared} ids the same")


def first_difference(ours, theirs):
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
    return f"at {at} of {len(ours)} and {len(theirs)}: {ours[at:at + 8]} against {theirs[at:at + 8]}"
