r"""The wing's one formula, $\log(1+\sum\exp(\text{worse}-\text{better}))$, by two routes.

`rank_logsumexp` takes any order (sort and log-cumulative-sum, O(n log n)); `against` takes one better item a row, where
no sort is needed, and `against_rest` does so where that item stands among the others, as in a matrix of in-batch
scores. Each loss says which pairs it sums over and with which margin.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Real
from torch import Tensor

from gezhi._checks import invalid

HALF = (torch.float16, torch.bfloat16)
FEW = 64  # scores in all, below which a table of all pairs is faster than the sort
BLOCK = 2**17  # scores at a time: their differences and exponentials stay in the processor's cache


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


def against_rest(
    scores: Float[Tensor, "rows k"], index: Int[Tensor, " rows"], *, mask: Bool[Tensor, "rows k"] | None = None
) -> Float[Tensor, " rows"]:
    r"""Log-sum of (2) without the 1, where row i's better item is `scores[i, index[i]]` and the others are the rest.

    $$\log\sum_{j\neq t}e^{s_j-s_t} \tag{3}$$

    Args:
        scores: -inf takes no part. Half precision is summed in float32.
        index: column t of the better item.
        mask: True where an item takes part; None: everywhere. The better one always does.
    Returns: float32 at least; -inf in a row without a rest, with gradient 0.
    Cost: of the size of `scores` only its gradient is made; the differences are formed some rows at a time, twice.
    Example:
        >>> against_rest(torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([1]))  # log(e⁻² + e⁻¹)
        tensor([-0.6867])
    """
    if torch.compiler.is_compiling():  # the compiler fuses and recomputes by itself
        excess = _over(scores, index, mask)
        return excess.masked_fill(excess == -math.inf, -math.inf).logsumexp(-1)  # whose slope in an empty row is NaN
    x: Tensor = _AgainstRest.apply(scores, index, mask)  # type: ignore[no-untyped-call]
    return x


def _over(scores: Tensor, index: Tensor, mask: Tensor | None) -> Float[Tensor, "rows k"]:
    """By how much each score is above the row's better one; -inf for what takes no part."""
    wide, own = _summable(scores), index[:, None]
    excess = (wide - wide.gather(-1, own)).scatter_(-1, own, -math.inf)
    return excess if mask is None else excess.masked_fill_(~mask, -math.inf)


class _AgainstRest(torch.autograd.Function):
    @staticmethod
    def forward(scores: Tensor, index: Tensor, mask: Tensor | None) -> Tensor:
        if not scores.numel():
            return _summable(scores.new_full(scores.shape[:1], -math.inf))
        return torch.cat([_over(*part).logsumexp(-1) for part in _blocks(scores, index, mask)])  # (3)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        scores, index, mask, x = ctx.saved_tensors
        parts = (_slope(*part) for part in _blocks(scores, index, mask, x, gradient))
        if torch.is_grad_enabled() or not scores.numel():  # a second derivative needs each part's graph
            return torch.cat([scores[:0], *(part.to(scores.dtype) for part in parts)]), None, None
        by_scores, start = torch.empty_like(scores), 0
        for part in parts:
            by_scores[start : start + len(part)] = part
            start += len(part)
        return by_scores, None, None


def _slope(scores: Tensor, index: Tensor, mask: Tensor | None, x: Tensor, gradient: Tensor) -> Tensor:
    """Gradient of some rows: shares of the rest that sum to 1, and -1 for the better item; 0 in rows without a rest."""
    alone = x == -math.inf
    share = _over(scores, index, mask).sub_(x.masked_fill(alone, 0)[:, None]).exp_()
    return (share * gradient[:, None]).scatter(-1, index[:, None], gradient.masked_fill(alone, 0).neg()[:, None])


def _blocks(scores: Tensor, *others: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """So many rows of everything that they stay in the cache."""
    rows = max(1, BLOCK // max(1, scores.shape[1]))
    for start in range(0, len(scores), rows):
        yield tuple(None if part is None else part[start : start + rows] for part in (scores, *others))


def _total(terms: Float[Tensor, "*rows n"], slack: bool) -> Float[Tensor, "*rows"]:
    """`logaddexp` adds the 1: a zero among the terms would round a small loss away, softplus's threshold is coarse."""
    x = terms.logsumexp(-1) if terms.shape[-1] else terms.new_full(terms.shape[:-1], -math.inf) + terms.sum(-1)
    return torch.logaddexp(x, torch.zeros_like(x)) if slack else x


def _summable(scores: Tensor) -> Tensor:
    return scores.float() if scores.dtype in HALF else scores
