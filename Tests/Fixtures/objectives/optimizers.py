#!/usr/bin/env python3
"""Golden numbers for SGD and Muon: torch.optim's own steps in float64.

    python optimizers.py > optimizers.json

Needs torch 2.13 (CPU). torch's Muon orthogonalizes in bfloat16; here `bfloat16()` is replaced by a copy, so that the numbers
are those of the formula and not of its rounding.
"""

import json

import torch

torch.set_num_threads(1)
torch.Tensor.bfloat16 = lambda self: self.clone()
STEPS = 4


def case(name, kind, shape, **options):
    generator = torch.Generator().manual_seed(len(name) * 1000 + shape[0])
    start = torch.randn(shape, generator=generator, dtype=torch.float64)
    gradients = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(STEPS)]
    parameter = torch.nn.Parameter(start.clone())
    optimizer = {"sgd": torch.optim.SGD, "muon": torch.optim.Muon}[kind]([parameter], **options)
    after = []
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
        after.append(parameter.detach().clone())
    return {
        "id": name,
        "kind": kind,
        "options": options,
        "shape": list(shape),
        "start": start.flatten().tolist(),
        "gradients": [g.flatten().tolist() for g in gradients],
        "after": [p.flatten().tolist() for p in after],
    }


cases = [
    case("sgd/plain", "sgd", (3, 5), lr=0.1),
    case("sgd/momentum", "sgd", (3, 5), lr=0.1, momentum=0.9),
    case("sgd/nesterov-decay", "sgd", (3, 5), lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.1),
    case("muon/wide", "muon", (4, 9), lr=0.02, weight_decay=0.1),
    case("muon/tall", "muon", (10, 3), lr=0.02, weight_decay=0.0, adjust_lr_fn="original"),
    case("muon/square-rms", "muon", (6, 6), lr=0.02, weight_decay=0.2, adjust_lr_fn="match_rms_adamw"),
    case("muon/tall-heavy-ball", "muon", (8, 5), lr=0.1, momentum=0.8, nesterov=False, ns_steps=3,
         adjust_lr_fn="match_rms_adamw"),
]
lines = [json.dumps(item) for item in cases]
print(f'{{"torch": "{torch.__version__}", "cases": [\n' + ",\n".join(lines) + "\n]}")
