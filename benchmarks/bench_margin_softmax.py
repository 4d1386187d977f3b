"""Margin softmax over many classes against pytorch-metric-learning: seconds and peak memory of a training step."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from _bench import Benchmark, arguments

options = arguments()

import torch

from gezhi.lab.clock import peak_bytes
from gezhi.losses import MarginSoftmaxLoss, additive_angle, additive_cosine

torch.set_num_threads(1)
ROWS, CLASSES, DIM = (32, 3_000, 64) if options.quick else (256, 100_000, 256)
KINDS = {"CosFaceLoss": additive_cosine(0.35), "ArcFaceLoss": additive_angle(0.5)}
DEGREES = {"CosFaceLoss": 0.35, "ArcFaceLoss": math.degrees(0.5)}
SCALE = 64.0

PROBE = """
import torch
torch.set_num_threads(1)
{imports}
features = torch.nn.functional.normalize(torch.randn({rows}, {dim})).requires_grad_()
labels = torch.randint({classes}, ({rows},))
loss = {make}
for _ in range({steps}):
    loss.zero_grad(set_to_none=True)
    loss(features, labels).backward()
"""


def centres(classes: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(classes, DIM, generator=torch.Generator().manual_seed(1000)).to(dtype)


def ours(
    kind: str, classes: int = CLASSES, dtype: torch.dtype = torch.float32, recompute: bool = False
) -> MarginSoftmaxLoss:
    loss = MarginSoftmaxLoss(classes, DIM, margin=KINDS[kind], scale=SCALE, recompute=recompute).to(dtype)
    loss.weight.data = centres(classes, dtype)
    return loss


def theirs(kind: str, classes: int = CLASSES, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    from pytorch_metric_learning import losses

    loss = getattr(losses, kind)(classes, DIM, margin=DEGREES[kind], scale=SCALE)
    loss.W.data = centres(classes, dtype).mT.contiguous()  # as it stores them
    return loss


def batch(classes: int = CLASSES, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1001)
    return torch.randn(ROWS, DIM, generator=draw).to(dtype), torch.randint(classes, (ROWS,), generator=draw)


def step(loss: torch.nn.Module, features: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    loss.zero_grad(set_to_none=True)
    features = features.clone().requires_grad_()
    value = loss(features, labels)
    value.backward()
    return value.detach(), features.grad


def compare(
    bench: Benchmark, kind: str, classes: int, dtype: torch.dtype, within: float
) -> tuple[MarginSoftmaxLoss, torch.nn.Module]:
    """Loss and both gradients, by the norm of the difference over the norm; float64 shows what is not rounding."""
    mine, other = ours(kind, classes, dtype), theirs(kind, classes, dtype)
    (value, by_features), (expected, by_same) = (step(loss, *batch(classes, dtype)) for loss in (mine, other))
    off = [(value - expected).abs() / expected, (by_features - by_same).norm() / by_same.norm()]
    off.append((mine.weight.grad - other.W.grad.mT).norm() / other.W.grad.norm())
    bench.same(f"{kind}, {classes} classes, {dtype}: loss, gradients", max(off), within)
    return mine, other


def peak(make: str, imports: str, steps: int) -> int:
    return peak_bytes(PROBE.format(imports=imports, make=make, rows=ROWS, classes=CLASSES, dim=DIM, steps=steps))


def memory(bench: Benchmark, kind: str) -> None:
    """Peak of a fresh process that takes two steps; that of one which only holds the centres is noted beside it."""
    margin = {"CosFaceLoss": "additive_cosine(0.35)", "ArcFaceLoss": "additive_angle(0.5)"}[kind]
    mine = f"MarginSoftmaxLoss({CLASSES}, {DIM}, margin={margin}, scale={SCALE}{{}})"
    other = f"{kind}({CLASSES}, {DIM}, margin={DEGREES[kind]}, scale={SCALE})"
    here, there = "from gezhi.losses import *", f"from pytorch_metric_learning.losses import {kind}"
    peaks = {
        "pytorch-metric-learning": peak(other, there, 2),
        "gezhi": peak(mine.format(""), here, 2),
        "gezhi, recompute": peak(mine.format(", recompute=True"), here, 2),
    }
    idle = {here: peak(mine.format(""), here, 0), there: peak(other, there, 0)}
    bench.notes.append(f"{kind}: peak MB " + ", ".join(f"{name} {value / 2**20:.0f}" for name, value in peaks.items()))
    before = " and ".join(f"{value / 2**20:.0f}" for value in idle.values())
    bench.notes.append(f"{kind}: peak MB before the first step, ours and theirs: {before}")
    for name in ("gezhi", "gezhi, recompute"):
        bar = {} if options.quick else {"at_most": 1.0}
        bench.ratio(f"{kind}: peak memory, {name} : theirs", [peaks[name]], [peaks["pytorch-metric-learning"]], **bar)


def main() -> None:
    bench = Benchmark("margin_softmax")
    bench.peer("torch")
    if not bench.peer("pytorch-metric-learning"):
        values = [step(ours("CosFaceLoss", recompute=again), *batch())[0] for again in (False, True)]
        bench.same("kept and recomputed exponentials", abs(values[0] / values[1] - 1), 1e-5)
        bench.finish(options.json)
        return
    for kind in KINDS:
        compare(bench, kind, CLASSES // 10, torch.float64, 1e-6)
        mine, other = compare(bench, kind, CLASSES, torch.float32, 1e-5)
        calls: dict[str, Callable[[], object]] = {
            "pytorch-metric-learning": partial(step, other, *batch()),
            "gezhi": partial(step, mine, *batch()),
            "gezhi, recompute": partial(step, ours(kind, recompute=True), *batch()),
        }
        seconds = bench.time(f"{kind}, {ROWS} × {CLASSES}", calls, 3 if options.quick else 5)
        del mine, other, calls
        for name in ("gezhi", "gezhi, recompute"):
            bar = {"at_most": 1.0} if name == "gezhi" and not options.quick else {}
            bench.ratio(f"{kind}: seconds, {name} : theirs", seconds[name], seconds["pytorch-metric-learning"], **bar)
        memory(bench, kind)
    bench.finish(options.json)


main()
