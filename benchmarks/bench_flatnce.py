"""InfoNCE and FlatNCE on a two-view batch: seconds of a step, and what is left of a gradient once the positive wins."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from _bench import Benchmark, arguments

options = arguments()

import torch
import torch.nn.functional as F
from torch import Tensor

from gezhi.losses import FlatNCELoss, InfoNCELoss, info_nce_loss

torch.set_num_threads(1)
PAIRS, SMALL, DIM, TEMPERATURE = 256 if options.quick else 4096, 64, 128, 0.1
AT_MOST = 1.2  # of the time of cross_entropy, which rounds small losses away
Loss = Callable[[Tensor, Tensor], Tensor]


def usual(z1: Tensor, z2: Tensor) -> Tensor:
    """NT-Xent as it is mostly written: cross_entropy with the diagonal filled."""
    rows = F.normalize(torch.cat([z1, z2]), dim=-1)
    scores = (rows @ rows.mT / TEMPERATURE).fill_diagonal_(-math.inf)
    index = torch.arange(len(z1))
    return F.cross_entropy(scores, torch.cat([index + len(z1), index]))


def step(loss: Loss, views: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    leaves = [view.clone().requires_grad_() for view in views]
    value = loss(*leaves)
    return value.detach(), torch.cat(torch.autograd.grad(value, leaves))


def two_views(pairs: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1000)
    first, noise = (torch.randn(pairs, DIM, generator=draw).to(dtype) for _ in range(2))
    return first, first + noise


def differ(left: Loss, right: Loss, views: tuple[Tensor, Tensor]) -> float:
    """Largest of the relative differences of loss and gradient."""
    (a, by_a), (b, by_b) = step(left, views), step(right, views)
    return max(float((a - b).abs() / b.abs()), float((by_a - by_b).norm() / by_b.norm()))


def by_positive(loss: Callable[[Tensor], Tensor], gap: float) -> float:
    """Relative error of the positive's gradient in float32, 31 negatives this far below."""
    scores = torch.cat([torch.tensor([gap]), torch.linspace(-0.5, 0.5, 31)])
    leaf = scores.clone().requires_grad_()
    found = torch.autograd.grad(loss(leaf), leaf)[0][0].double()
    wide = scores.double().requires_grad_()
    exact = torch.autograd.grad(info_nce_loss(wide[None], torch.tensor([0])), wide)[0][0]
    return float((found / exact - 1).abs())


def main() -> None:
    bench = Benchmark("flatnce")
    bench.peer("torch")
    metric, lightly = bench.peer("pytorch-metric-learning"), bench.peer("lightly")
    info, flat = InfoNCELoss(TEMPERATURE), FlatNCELoss(TEMPERATURE)
    bench.same("InfoNCE: cross_entropy, float64", differ(info, usual, two_views(SMALL, torch.float64)), 1e-12)
    small: dict[str, Loss] = {"cross_entropy": usual, "InfoNCE": info, "FlatNCE": flat}
    if metric:
        from pytorch_metric_learning.losses import NTXentLoss

        peer = NTXentLoss(TEMPERATURE)
        small["NTXentLoss"] = lambda z1, z2: peer(torch.cat([z1, z2]), torch.arange(len(z1)).repeat(2))
        views = two_views(SMALL, torch.float64)
        bench.same("InfoNCE: NTXentLoss, float64", differ(info, small["NTXentLoss"], views), 1e-10)
    if lightly:
        from lightly.loss import DCLLoss

        bench.same("FlatNCE: lightly's DCLLoss, float32", differ(flat, DCLLoss(TEMPERATURE), two_views(SMALL)), 1e-4)
    seconds = bench.time(f"{SMALL} pairs", {n: partial(step, f, two_views(SMALL)) for n, f in small.items()}, 9)
    for name in small:
        if name != "InfoNCE":
            bench.ratio(f"{SMALL} pairs: {name} : InfoNCE", seconds[name], seconds["InfoNCE"])
    large = {name: partial(step, small[name], two_views(PAIRS)) for name in ("cross_entropy", "InfoNCE", "FlatNCE")}
    seconds = bench.time(f"{PAIRS} pairs", large, 3 if options.quick else 5)
    bar = {} if options.quick else {"at_most": AT_MOST}
    for name in ("InfoNCE", "FlatNCE"):
        bench.ratio(f"{PAIRS} pairs: {name} : cross_entropy", seconds[name], seconds["cross_entropy"], **bar)
    if metric:
        gigabytes = (2 * PAIRS) ** 3 * 4 / 2**30
        bench.notes.append(f"{PAIRS} pairs: NTXentLoss's matrix of positive by negative pairs is {gigabytes:.3g} GiB")
    index = torch.tensor([0])
    for gap in (4, 10, 15, 18, 22, 30):
        usually = by_positive(lambda s: F.cross_entropy(s[None], index), gap)
        ours = by_positive(lambda s: info_nce_loss(s[None], index), gap)
        bench.notes.append(
            f"gap {gap}: relative error of the positive's gradient {usually:.1g} (cross_entropy), {ours:.1g}"
        )
        bench.same(f"gap {gap}: positive's gradient: float64", ours, 1e-5)
    bench.finish(options.json)


main()
