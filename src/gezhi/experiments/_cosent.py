"""CoSENT on random scores: what it is bounded by, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from gezhi.lab import best_of


def exactly(loss: Callable[..., Tensor], _case: None, seed: int, batches: int) -> Mapping[str, Any]:
    """Over random batches: least distance to the bound of wrongly ordered pairs, largest change under ranks as labels."""
    draw = torch.Generator().manual_seed(seed)
    above, change = math.inf, 0.0
    for _ in range(batches):
        n = int(torch.randint(2, 100, (), generator=draw))
        scores = 3 * torch.randn(n, generator=draw, dtype=torch.float64)
        labels = torch.randint(5, (n,), generator=draw) + torch.rand(5, generator=draw)[torch.arange(n) % 5]
        value = float(loss(scores, labels))
        wrong = ((labels[:, None] > labels) & (scores[:, None] <= scores)).sum()
        above = min(above, value - math.log1p(float(wrong)))
        change = max(change, abs(value - float(loss(scores, torch.unique(labels, return_inverse=True)[1]))))
    return {"loss above the bound": above, "change under ranks": change}


def by_matrix(scores: Tensor, labels: Tensor) -> Tensor:
    """All differences at once, hidden where the labels do not order them; quadratic in time and memory."""
    excess = (scores - scores[:, None]).masked_fill(labels >= labels[:, None], -math.inf)
    return torch.cat([scores.new_zeros(1), excess.flatten()]).logsumexp(0)


def sorting(scores: Tensor, labels: Tensor) -> Tensor:
    """What no form can do without, as a yardstick: the order, the scores in it, and a sum."""
    return scores[labels.argsort()].sum()


def seconds(loss: Callable[[Tensor, Tensor], Tensor], pairs: int, seed: int, repeats: int) -> Mapping[str, Any]:
    """Forward and backward on random scores, the best of some repeats (of two for the slow form)."""
    draw = torch.Generator().manual_seed(seed)
    scores, labels = torch.randn(pairs, generator=draw).requires_grad_(), torch.rand(pairs, generator=draw)

    def step() -> None:
        scores.grad = None
        torch.autograd.backward(loss(scores, labels))

    return {"seconds": best_of(step, 1 if loss is by_matrix else repeats)}
