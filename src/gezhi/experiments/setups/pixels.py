"""MNIST and Fashion-MNIST as rows of 196 pixels from 0 to 1, for networks without convolutions, and as their judge sees them.

case = Case("digits")                          # or "clothes"
train, judge, other = drawn(case, seed, (10_000, 5_000, 2_000))
Judge(case, framed(judge, case), framed(other, case)).distance(framed(samples, case))
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from gezhi.experiments.setups.judging import ASIDE, SIDE, Case, at, source


@lru_cache(maxsize=2)
def drawn(case: Case, seed: int, counts: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Different pictures in parts of these sizes, of those that are not the classifier's."""
    *_, order = source(case.bed.source)
    rows = np.random.default_rng(seed).permutation(order[ASIDE:])
    return tuple(flat(at(case, part)) for part in np.split(rows, np.cumsum(counts))[:-1])


def flat(x: Tensor) -> Tensor:
    """Pictures from −1 to 1 as rows from 0 to 1, without what was padded."""
    room = (x.shape[2] - SIDE) // 2
    return (x[..., room : room + SIDE, room : room + SIDE].flatten(1) + 1) / 2


def framed(x: Tensor, case: Case) -> Tensor:
    """Rows as pictures again, padded as the judge has seen them."""
    room = (case.bed.shape[1] - SIDE) // 2
    return F.pad(x.view(-1, 1, SIDE, SIDE) * 2 - 1, [room] * 4, value=-1.0)
