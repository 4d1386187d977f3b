r"""$title: what it does, in one sentence.

Title: $title | $title_zh$also
Tags: toy
Articles: $article
Page: docs/methods/$stem.md
Notation: $$x_i$$ = `values[i]`.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from gezhi._checks import invalid

__all__ = ["$function"]


def $function(values: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    r"""The mean.

    $$$$\frac1n\sum_ix_i \tag{1}$$$$

    Args:
        values: any numbers, at least one.
    Returns: their mean, in their dtype.
    Errors: ValueError where there is no value.
    Cost: O(n).
    Example:
        >>> import torch
        >>> $function(torch.tensor([1.0, 3.0])).item()
        2.0
    """
    if not len(values):
        raise invalid("values", "hold a number at least", "none")
    return values.sum() / len(values)  # (1)
