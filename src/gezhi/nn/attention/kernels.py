"""What turns scores into weights: dense kernels, and feature maps that never form the scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Kernel = Callable[[Tensor], Tensor]
Features = Callable[[Tensor], Tensor]


def softmax(scores: Float[Tensor, "*heads queries keys"]) -> Float[Tensor, "*heads queries keys"]:
    """Weights that sum to 1; a row that sees no key (all -inf) gets zeros."""
    return _divide(scores, lambda raised: raised.sum(-1, keepdim=True))


def l2(scores: Float[Tensor, "*heads queries keys"]) -> Float[Tensor, "*heads queries keys"]:
    """Exponentials over their Euclidean norm: row norm 1, row sum between 1 and the root of n_k; empty rows get 0."""
    return _divide(scores, lambda raised: raised.norm(dim=-1, keepdim=True))


def relu2(scores: Float[Tensor, "*heads queries keys"]) -> Float[Tensor, "*heads queries keys"]:
    """Squared positive part over the number of key columns (GAU)."""
    return scores.relu().square() / scores.shape[-1]


def _divide(scores: Tensor, normaliser: Kernel) -> Tensor:
    raised = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if scores.shape[-1]:
        peak = raised.detach().amax(-1, keepdim=True)
        raised = (raised - peak.masked_fill(peak == -math.inf, 0)).exp()
    return (raised / normaliser(raised).clamp(min=1)).to(scores.dtype)  # the peak adds 1: below 1 only in empty rows


@dataclass(frozen=True, eq=False)
class FeatureMap:
    r"""A kernel that is an inner product of features, so that attention costs O(n) and decodes with a fixed state.

    $$a_{ij}=\frac{\phi(q_i)\cdot\varphi(k_j)}{\phi(q_i)\cdot\sum_t\varphi(k_t)},\qquad
      \text{per channel: } a_{ij}=\sum_c\phi_c(q_i)\frac{\varphi_c(k_j)}{\sum_t\varphi_c(k_t)}$$

    Args:
        query, key: φ and ϕ, (…, dim) -> (…, features). Keys that are padding are left out after the map.
        per_channel: the normaliser stands inside the sum over channels (double softmax).
        log: the logarithms of both maps. With them nothing overflows or underflows, whatever the size of the input.
        scaled: the scale on q·k is 1/√dim by default, as for softmax; otherwise 1. The root of it goes on each side.

    Example:
        >>> square = FeatureMap(torch.square, torch.square)
        >>> square.query(torch.tensor([1.0, -2.0]))
        tensor([1., 4.])
    """

    query: Features
    key: Features
    per_channel: bool = False
    log: tuple[Features, Features] | None = None
    scaled: bool = False
