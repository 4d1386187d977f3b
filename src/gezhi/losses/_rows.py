"""Rows of unit length, indices of rows, and means over some of them: what the losses over cosines share."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gezhi._checks import check_choice, invalid

Reduction = Literal["mean", "sum", "none"]


def at_least_single(x: Tensor, argument: str = "features") -> Tensor:
    """Half precision as float32; other floats as they are."""
    if not x.is_floating_point():
        raise invalid(argument, "be a floating-point tensor", x.dtype, "Convert it with x.float().", kind=TypeError)
    return x.to(torch.promote_types(x.dtype, torch.float32))


def unit_rows(x: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows dim"]:
    """Rows over their length, in float32 at least. A zero row stays zero and passes its gradient on unchanged."""
    wide = at_least_single(x)
    return wide / lengths(wide)


def lengths(x: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows 1"]:
    """Norm of each row, and 1 instead of (almost) 0."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.masked_fill(norm <= torch.finfo(norm.dtype).tiny, 1)


def check_index(argument: str, index: Int[Tensor, " rows"], rows: int, count: int, ignored: int | None = None) -> None:
    """Raise unless `index` holds one integer from 0 to count - 1 a row, or `ignored`."""
    if index.shape != (rows,):
        raise invalid(argument, f"have shape ({rows},)", tuple(index.shape), "Pass one index per row.")
    if index.is_floating_point() or index.is_complex() or index.dtype == torch.bool:
        raise invalid(argument, "hold integers", index.dtype, "Convert it with x.long().", kind=TypeError)
    if torch.compiler.is_compiling():  # values are unknown there
        return
    outside = (index < 0) | (index >= count)
    if ignored is not None:
        outside &= index != ignored
    if outside.any():
        row = int(outside.nonzero()[0, 0])
        raise invalid(argument, f"lie between 0 and {count - 1}", f"{index[row].item()} in row {row}")


def reduce(values: Float[Tensor, " rows"], reduction: Reduction, counted: Tensor | None = None) -> Tensor:
    """Mean over the counted rows (0 if there is none), sum, or the values themselves."""
    check_choice("reduction", reduction, ("mean", "sum", "none"))
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    count = max(len(values), 1) if counted is None else counted.sum().clamp(min=1)
    return values.sum() / count
