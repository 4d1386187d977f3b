"""The gradient by the representations in closed form, for the loss of the article."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from gezhi._checks import check_choice, invalid


def representation_gradient(
    h: Float[Tensor, "n d"],
    t: Shaped[Tensor, "n n"],
    self_similarity: Literal["keep", "mask"] = "keep",
) -> Float[Tensor, "n d"]:
    r"""Gradient of a softmax contrastive loss by its representations, without autograd.

    $$\tilde h_i=\sum_j\big(r_ip_{ij}+r_jp_{ji}-t_{ij}-t_{ji}\big)h_j,\qquad r_i=\sum_jt_{ij} \tag{5}$$

    is the gradient of $-\sum_{ij}t_{ij}\log p_{ij}$ with $p_{ij}=\mathrm{softmax}_j\langle h_i,h_j\rangle$.

    Args:
        h: representations; a temperature τ is folded in, as h / √τ.
        t: weight of each pair, numbers or bools; symmetric with rows that sum to 1 in the article.
        self_similarity: `"mask"` leaves j = i out of softmax and target.
    Returns: $\tilde h$ for the sum over all pairs, in the dtype of `h`.
    Errors: ValueError where `t` is not square of the size of `h`, and for an unknown choice.
    Cost: O(n²d) time, O(n²) memory.
    Use instead: `ContrastiveCache`, which takes any loss.
    Example:
        >>> h = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> representation_gradient(h, torch.eye(2).flip(0))
        tensor([[ 1.4621, -1.4621],
                [-1.4621,  1.4621]])

    References: 苏剑林, 对比学习可以使用梯度累积吗?, 2021.
    """
    check_choice("self_similarity", self_similarity, ("keep", "mask"))
    n = len(h)
    if t.shape != (n, n):
        raise invalid("t", f"be square of the size of h, {n} × {n}", tuple(t.shape), "Give each pair of rows a weight.")
    target, scores = t.to(h.dtype), h @ h.mT
    if self_similarity == "mask":
        diagonal = torch.eye(n, dtype=torch.bool, device=h.device)
        hidden = scores.masked_fill(diagonal, -math.inf) if n > 1 else scores
        target, p = target.masked_fill(diagonal, 0), hidden.softmax(-1).masked_fill(diagonal, 0)
    else:
        p = scores.softmax(-1)
    by_score = target.sum(-1, keepdim=True) * p - target  # (3)
    return (by_score + by_score.mT) @ h  # (5)
