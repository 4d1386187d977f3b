r"""The wing's one formula, $\log(1+\sum\exp(\text{worse}-\text{better}))$, by two routes.

`rank_logsumexp` takes any order (sort and log-cumulative-sum, O(n log n)); `against` takes one better item a row, where
no sort is needed. Each loss says which pairs it sums over and with which margin.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Real
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def rank_logsumexp(
    scores: Float[Tensor, "*rows n"],
    levels: Real[Tensor, "*rows n"],
    *,
    margin: float = 0.0,
    slack: bool = True,
    mask: Bool[Tensor, "*rows n"] | None = None,
) -> Float[Tensor, "*rows"]:
    r"""Log-sum over all pairs of a row in which the item of the higher level should score higher.

    $$\log\Big(1+\sum_{y_b<y_a}e^{s_b-s_a+m}\Big) \tag{1}$$

    Args:
        scores: finite; half precision is summed in float32.
        levels: only their order within a row matters; ties make no pair.
        margin: m, added to every difference.
        slack: with the 1; without it the value may be negative, and is -inf in a row without a pair.
        mask: True where the item takes part; None: everywhere.
    Returns: float32 at least. With `slack`, a row without a pair is exactly 0, with gradient 0.
    Cost: O(n log n) time, O(n) memory.
    Example:
        >>> rank_logsumexp(torch.tensor([1.0, 3.0, 2.0]), torch.tensor([2, 1, 0]))  # log(1 + e² + e¹ + e⁻¹)
        tensor(2.4408)
    """
    scores, levels = _summable(scores), levels.double() if mask is not None else levels
    if mask is not None:  # to the end of the order, where they are below nobody
        levels, scores = levels.masked_fill(~mask, math.inf), scores.masked_fill(~mask, 0)
    levels, order = levels.sort(dim=-1, stable=True)
    scores = scores.gather(-1, order)
    below = torch.searchsorted(levels, levels)  # items strictly below this one
    alone = below == 0 if mask is None else (below == 0) | ~mask.gather(-1, order)
    worse = torch.logcumsumexp(scores, -1).gather(-1, (below - 1).clamp(min=0))
    return _total((worse - scores + margin).masked_fill(alone, -math.inf), slack)  # (1)


def against(
    positive: Float[Tensor, "*rows"],
    negatives: Float[Tensor, "*rows k"],
    *,
    margin: float = 0.0,
    slack: bool = True,
    mask: Bool[Tensor, "*rows k"] | None = None,
) -> Float[Tensor, "*rows"]:
    r"""The case of one better item a row, equal to `rank_logsumexp` on it and much faster.

    $$\log\Big(1+\sum_je^{n_j-p+m}\Big) \tag{2}$$

    Args:
        positive: p, the score that should be highest.
        negatives: n, the others; -inf takes no part.
        margin, slack: as in `rank_logsumexp`.
        mask: True where the negative takes part; None: everywhere.
    Example:
        >>> against(torch.tensor([40.0]), torch.tensor([[1.0, -1.0]])).log()  # of log(1 + e⁻³⁹ + e⁻⁴¹), far below eps
        tensor([-38.8731])
    """
    positive, negatives = _summable(positive), _summable(negatives)
    hidden = negatives == -math.inf
    hidden = hidden if mask is None else hidden | ~mask
    return _total((negatives - positive[..., None] + margin).masked_fill(hidden, -math.inf), slack)  # (2)


def _total(terms: Float[Tensor, "*rows n"], slack: bool) -> Float[Tensor, "*rows"]:
    """`logaddexp` adds the 1: a zero among the terms would round a small loss away, softplus's threshold is coarse."""
    x = terms.logsumexp(-1) if terms.shape[-1] else terms.new_full(terms.shape[:-1], -math.inf) + terms.sum(-1)
    return torch.logaddexp(x, torch.zeros_like(x)) if slack else x


def _summable(scores: Tensor) -> Tensor:
    return scores.float() if scores.dtype in HALF else scores
