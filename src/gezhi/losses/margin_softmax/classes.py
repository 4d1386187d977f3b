"""All classes of a margin softmax in one pass over their centres, a few thousand at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from gezhi.losses._rows import lengths

CHUNK = 2048  # classes at a time: their logits and centres stay in the processor's cache


class ClassScores(NamedTuple):
    """What a margin softmax needs of the scaled cosines of a row: one number over the wrong classes, one of the right.

    Attributes:
        rest: log-sum-exp of s cos over all classes but the row's own; -inf if there is no other.
        total: sum of s cos over all classes but the row's own; 0 unless asked for.
        own: cos with the row's own class, without s.
    """

    rest: Float[Tensor, " rows"]
    total: Float[Tensor, " rows"]
    own: Float[Tensor, " rows"]


def class_scores(
    unit: Float[Tensor, "rows dim"],
    weight: Float[Tensor, "classes dim"],
    labels: Int[Tensor, " rows"],
    *,
    scale: float,
    summed: bool = False,
    recompute: bool = False,
) -> ClassScores:
    """`ClassScores` of unit rows against class centres of any length.

    Only the exponentials (rows, classes) are kept for backward, and nothing of that size with `recompute`, which then
    takes a third matrix product more. Cosines, a target mask and a normalised copy of `weight` are never formed whole.
    First derivatives only.
    """
    with torch.autocast(unit.device.type, enabled=False):
        return ClassScores(*_ClassScores.apply(unit, weight, labels, scale, summed, recompute))  # type: ignore[no-untyped-call]


class _ClassScores(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, unit: Tensor, weight: Tensor, labels: Tensor, scale: float, summed: bool, recompute: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows, classes = len(unit), len(weight)
        kept = None if recompute else unit.new_empty(rows, classes)
        own = (unit * _unit(weight[labels], unit.dtype)).sum(-1)
        total = unit.new_zeros(rows)
        peaks, rests = [], []
        for first in range(0, classes, CHUNK):
            chunk = weight[first : first + CHUNK].to(unit.dtype)
            logits = _logits(unit, chunk, scale, None if kept is None else kept[:, first : first + CHUNK])
            if summed:
                total += logits.sum(-1)
            _put(logits, labels - first, -torch.inf)
            peak = _finite(logits.amax(-1, keepdim=True))
            mass = logits.sub_(peak).exp_().sum(-1, keepdim=True)
            peaks.append(peak)
            rests.append(peak + mass.log())
        rest = torch.cat(rests, -1).logsumexp(-1)  # (12)
        if summed:
            total -= scale * own
        ctx.save_for_backward(unit, weight, labels, rest, torch.cat(peaks, -1), kept)
        ctx.scale, ctx.summed = scale, summed
        return rest, total, own

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_rest: Tensor, by_total: Tensor, by_own: Tensor) -> tuple[Tensor | None, ...]:
        unit, weight, labels, rest, peaks, kept = ctx.saved_tensors
        by_unit, by_weight = torch.zeros_like(unit), torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        share = (peaks - _finite(rest)[:, None]).exp_() * (ctx.scale * by_rest)[:, None]  # of a chunk's exponentials
        for index, first in enumerate(range(0, len(weight), CHUNK)):
            part = slice(first, first + CHUNK)
            chunk = weight[part].to(unit.dtype)
            if kept is None:
                slope = _logits(unit, chunk, ctx.scale).sub_(peaks[:, index, None]).exp_().mul_(share[:, index, None])
            else:
                slope = kept[:, part] * share[:, index, None]
            if ctx.summed:
                slope += (ctx.scale * by_total)[:, None]
            _put(slope, labels - first, by_own)  # the derivative by each cosine
            length = lengths(chunk)
            slope /= length.mT
            by_unit.addmm_(slope, chunk)
            if by_weight is not None:
                along, direction = slope.mT @ unit, chunk / length
                outward = (along * direction).sum(-1, keepdim=True)
                by_weight[part] = along.addcmul_(direction, outward, value=-1)  # (13)
        return by_unit, by_weight, None, None, None, None


def _logits(unit: Tensor, chunk: Tensor, scale: float, out: Tensor | None = None) -> Tensor:
    """s cos of the rows with a few centres."""
    logits = torch.mm(unit, chunk.mT) if out is None else torch.mm(unit, chunk.mT, out=out)
    return logits.mul_(scale / lengths(chunk).mT)


def _put(matrix: Tensor, column: Tensor, value: Tensor | float) -> None:
    """Write into each row's column, in rows that have it."""
    here = ((column >= 0) & (column < matrix.shape[1]))[:, None]
    column = column.clamp(0, matrix.shape[1] - 1)[:, None]
    new = torch.where(here, value if isinstance(value, float) else value[:, None], matrix.gather(1, column))
    matrix.scatter_(1, column, new)


def _unit(rows: Tensor, dtype: torch.dtype) -> Tensor:
    wide = rows.to(dtype)
    return wide / lengths(wide)


def _finite(x: Tensor) -> Tensor:
    return x.clamp(min=torch.finfo(x.dtype).min)
