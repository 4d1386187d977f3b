r"""The wing's one formula, $\log(1+\sum\exp(\text{worse}-\text{better}))$, by two routes.

`rank_logsumexp` takes any order (sort and log-cumulative-sum, O(n log n)); `against` takes one better item a row, where
no sort is needed. Each loss says which pairs it sums over and with which margin.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Real
from torch import Tensor

from gezhi._checks import invalid

HALF = (torch.float16, torch.bfloat16)
FEW = 64  # scores in all, below which a table of all pairs is faster than the sort


def rank_logsumexp(
    scores: Float[Tensor, "*rows n"],
    levels: Real[Tensor, "*rows n"] | Bool[Tensor, "*rows n"],
    *,
    margin: float = 0.0,
    slack: bool = True,
    mask: Bool[Tensor, "*rows n"] | None = None,
) -> Float[Tensor, "*rows"]:
    r"""Log-sum over all pairs of a row in which the item of the higher level should score higher.

    $$\log\Big(1+\sum_{y_b<y_a}e^{s_b-s_a+m}\Big) \tag{1}$$

    Args:
        scores: finite. Summed in float64 where the device has it; half precision in float32 at least.
        levels: only their order within a row matters; ties make no pair. Numbers, or bool.
        margin: m, added to every difference.
        slack: with the 1; without it the value may be negative, and is -inf in a row without a pair.
        mask: True where the item takes part; None: everywhere.
    Returns: float32 at least. With `slack`, a row without a pair is exactly 0, with gradient 0.
    Errors: ValueError for levels of another shape.
    Cost: O(n log n) time, O(n) memory; up to 64 scores in all are compared pair by pair, which is faster there.
    Example:
        >>> rank_logsumexp(torch.tensor([1.0, 3.0, 2.0]), torch.tensor([2, 1, 0]))  # log(1 + e² + e¹ + e⁻¹)
        tensor(2.4402)
    """
    if scores.shape != levels.shape:
        found = f"{tuple(scores.shape)} and {tuple(levels.shape)}"
        raise invalid("scores and levels", "have the same shape", found, "Pass one level per score.")
    levels = levels.byte() if levels.dtype == torch.bool else levels
    wide = _summable(scores)
    if scores.numel() <= FEW:
        return _total(_pairwise(wide, levels, margin, mask), slack)
    # a running sum rounds once an item: in float64 the result is as good as float32 can hold, at 5 % of the time
    exact = wide if wide.device.type == "mps" else wide.double()
    return _total(_sorted(exact, levels, margin, mask), slack).to(wide.dtype)


def _pairwise(scores: Tensor, levels: Tensor, margin: float, mask: Tensor | None) -> Float[Tensor, "*rows terms"]:
    """One term of (1) for each two items."""
    excess = scores[..., None, :] - scores[..., :, None]  # of the item in the column over that in the row
    wanted = levels[..., None, :] < levels[..., :, None]
    if mask is not None:
        wanted = wanted & mask[..., None, :] & mask[..., :, None]
    return torch.where(wanted, excess + margin if margin else excess, -math.inf).flatten(-2)  # (1)


def _sorted(scores: Tensor, levels: Tensor, margin: float, mask: Tensor | None) -> Float[Tensor, "*rows n"]:
    """One term of (1) for each better item: the log-sum over all that are worse than it."""
    if mask is not None:  # to the end of the order, where they are below nobody
        top = math.inf if levels.is_floating_point() else torch.iinfo(levels.dtype).max
        levels, scores = levels.masked_fill(~mask, top), scores.masked_fill(~mask, 0)
    levels, order = levels.contiguous().sort(dim=-1, stable=True)
    scores = scores.gather(-1, order)
    below = torch.searchsorted(levels, levels)  # items strictly below this one
    alone = below == 0 if mask is None else (below == 0) | ~mask.gather(-1, order)
    worse = torch.logcumsumexp(scores, -1).gather(-1, (below - 1).clamp(min=0))
    excess = worse - scores
    return (excess + margin if margin else excess).masked_fill(alone, -math.inf)  # (1)


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
