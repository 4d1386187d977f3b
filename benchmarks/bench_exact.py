"""Expected accuracy by quadrature against the paper's Monte Carlo of the orthant: seconds of a step, and the error."""

from __future__ import annotations

from functools import partial

from _bench import Benchmark, arguments

options = arguments()

import torch
import torch.nn.functional as F
from torch import Tensor

from gezhi.experiments.setups.orthant import orthant_by_sampling
from gezhi.losses import ExactLoss, expected_accuracy

torch.set_num_threads(1)
ROWS, CLASSES, SAMPLES = (32, (10,), 16) if options.quick else (256, (10, 100), 16)
AT_LEAST = 10.0  # times the speed of 16 samples, with as many nodes as err no more


def error(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).square().mean().sqrt())


def step(loss: object, logits: Tensor, labels: Tensor) -> Tensor:
    leaf = logits.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf, labels), leaf)[0]  # type: ignore[operator]


def main() -> None:
    bench = Benchmark("exact")
    bench.peer("torch")
    draw = torch.Generator().manual_seed(1000)

    def sampled(logits: Tensor, labels: Tensor) -> Tensor:
        return 1 - orthant_by_sampling(logits, labels).mean()

    for classes in CLASSES:
        logits = 2 * torch.randn(ROWS, classes, generator=draw)
        labels = torch.where(torch.rand(ROWS, generator=draw) < 0.7, logits.argmax(-1), torch.arange(ROWS) % classes)
        exact = expected_accuracy(logits.double(), labels, nodes=64)
        fine = error(expected_accuracy(logits, labels), exact)
        bench.same(f"{classes} classes: 32 nodes in float32: 64 in float64", fine, 1e-5)
        many = orthant_by_sampling(logits.double(), labels, 4000 if classes <= 10 else 200)
        bench.same(f"{classes} classes: many samples", error(many, exact), 0.03)
        few = error(orthant_by_sampling(logits.double(), labels), exact)
        nodes = next(n for n in range(1, 33) if error(expected_accuracy(logits, labels, nodes=n), exact) < few)
        errors = f"rms error {fine:.1e} with 32 nodes, {few:.1e} with {SAMPLES} samples, less with {nodes} node(s)"
        bench.notes.append(f"{classes} classes: {errors}")
        calls = {
            "sampling": partial(step, sampled, logits, labels),
            "32 nodes": partial(step, ExactLoss(1.0), logits, labels),
            "equal error": partial(step, ExactLoss(1.0, nodes=nodes), logits, labels),
            "cross_entropy": partial(step, F.cross_entropy, logits, labels),
        }
        seconds = bench.time(f"{classes} classes", calls, 3)
        bar = {} if options.quick else {"at_least": AT_LEAST}
        bench.ratio(f"{classes} classes: sampling : equal error", seconds["sampling"], seconds["equal error"], **bar)
        bench.ratio(f"{classes} classes: sampling : 32 nodes", seconds["sampling"], seconds["32 nodes"])
        bench.ratio(f"{classes} classes: 32 nodes : cross_entropy", seconds["32 nodes"], seconds["cross_entropy"])
    bench.finish(options.json)


main()
