r"""CoSENT: train a similarity by ranking pairs of pairs, whatever the unit of their labels.

Title: CoSENT ranking loss | CoSENT 排序损失
Also: CoSENT, 9341
Tags: loss, sentence embeddings, ranking
Articles: CoSENT(三):作为交互式相似度的损失函数
Page: docs/methods/cosent.md
Notation: $s_i$ = `scale · scores[i]`, $y_i$ = `labels[i]`, $\lambda$ = `scale`, $\Omega=\{(a,b):y_a>y_b\}$.
"""

from __future__ import annotations

import math
import warnings
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Real
from torch import Tensor

from gezhi._checks import check_choice, check_number, invalid
from gezhi.losses._rows import at_least_single, lengths
from gezhi.losses.ranking import rank_logsumexp

__all__ = ["CoSENTLoss", "NoRankedPairWarning", "Threshold", "cosent_loss", "optimal_threshold"]


class NoRankedPairWarning(UserWarning):
    """All labels of a batch are equal, so nothing was learnt from it. Remedy: larger or mixed batches."""


def cosent_loss(
    scores: Float[Tensor, " pairs"],
    labels: Real[Tensor, " pairs"] | Bool[Tensor, " pairs"],
    *,
    scale: float = 1.0,
) -> Float[Tensor, ""]:
    r"""Log-sum over all pairs of pairs that the labels order, large where the scores order them otherwise.

    $$L=\log\Big(1+\sum_{y_a>y_b}e^{\lambda(\sigma_b-\sigma_a)}\Big) \tag{3}$$

    Args:
        scores: σ, one number a pair: the raw output of a cross-encoder, or a cosine. Half precision is scaled and
            summed in float32.
        labels: larger is more similar; only their order matters, ties make no pair. Numbers, or bool.
        scale: λ > 0. 1 for raw scores; 20 is the article's choice for cosines.
    Returns: one number ≥ 0 for the whole batch, a sum within the logarithm and no mean; at least log(1 + number of
        wrongly ordered pairs). Exactly 0, with gradient 0, where all labels are equal.
    Errors: ValueError for shapes that differ, scores that are not finite, labels that are NaN, and scale ≤ 0; TypeError
        for scores that are no floats. `NoRankedPairWarning` where all labels are equal.
    Cost: O(n log n) time, O(n) memory.  Use instead: `torch.nn.MSELoss` where a label's size counts, not its order.
    Example:
        >>> cosent_loss(torch.tensor([3.0, -1.0, 0.5, 2.0]), torch.tensor([1, 0, 1, 0]))  # of e⁻⁴, e⁻¹, e^-1.5, e^1.5
        tensor(1.8068)

    References: X. Huang et al., CoSENT: Consistent Sentence Embedding via Similarity Ranking, 2024; 苏剑林,
        CoSENT(三):作为交互式相似度的损失函数, 2022.
    """
    check_number("scale", scale, above=0, fix="Pass 1 / temperature.")
    _check_batch(scores, labels)
    if not torch.compiler.is_compiling():  # values are unknown there
        _check_values(scores, labels)
    wide = at_least_single(scores)
    return rank_logsumexp(wide if scale == 1 else wide * scale, labels)  # (3)


class CoSENTLoss(torch.nn.Module):
    r"""`cosent_loss` of the similarity of two batches of embeddings, row by row.

    $$\sigma_i=\cos(u_i,v_i)=\frac{u_i\cdot v_i}{\lVert u_i\rVert\,\lVert v_i\rVert} \tag{4}$$

    Args:
        scale: λ > 0; 20 is the article's choice for cosines.
        similarity: `"cosine"`, or `"dot"` for the plain product, whose scale is the embeddings' own.
    Errors: ValueError for batches or labels that do not match, and as in `cosent_loss`.
    Cost: O(pairs · dim). Half precision is computed in float32. A zero row has cosine 0 and a finite gradient.
    Example:
        >>> a, b = torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([[2.0, 4.0], [0.0, 5.0]])
        >>> CoSENTLoss()(a, b, torch.tensor([0.1, 0.9])).item()  # cosines 1 and 0, wrongly ordered
        20.0

    References: X. Huang et al., CoSENT: Consistent Sentence Embedding via Similarity Ranking, 2024.
    """

    def __init__(self, scale: float = 20.0, similarity: Literal["cosine", "dot"] = "cosine") -> None:
        super().__init__()
        check_number("scale", scale, above=0, fix="Pass 1 / temperature.")
        check_choice("similarity", similarity, ("cosine", "dot"))
        self.scale, self.similarity = float(scale), similarity

    def forward(
        self,
        emb_a: Float[Tensor, "pairs dim"],
        emb_b: Float[Tensor, "pairs dim"],
        labels: Real[Tensor, " pairs"] | Bool[Tensor, " pairs"],
    ) -> Float[Tensor, ""]:
        if emb_a.ndim != 2 or emb_a.shape != emb_b.shape:
            found = f"{tuple(emb_a.shape)} and {tuple(emb_b.shape)}"
            raise invalid("emb_a and emb_b", "be matrices of one shape", found, "Row i of each makes pair i.")
        a, b = at_least_single(emb_a), at_least_single(emb_b)
        scores = (a * b).sum(-1)
        if self.similarity == "cosine":
            scores = scores / (lengths(a) * lengths(b)).squeeze(-1)  # (4)
        return cosent_loss(scores, labels, scale=self.scale)

    def extra_repr(self) -> str:
        return f"scale={self.scale:g}, similarity={self.similarity!r}"


class Threshold(NamedTuple):
    """A score from which on pairs count as similar, and the share of pairs that it gets right."""

    threshold: float
    accuracy: float


def optimal_threshold(
    scores: Float[Tensor, " pairs"], labels: Real[Tensor, " pairs"] | Bool[Tensor, " pairs"]
) -> Threshold:
    r"""The threshold with the best accuracy, by an exact sweep.

    $$\hat t=\min\,\arg\max_t\ \#\{i:[\sigma_i\ge t]=y_i\} \tag{8}$$

    Args:
        scores: one number a pair, finite. Choose the threshold on validation pairs, then judge it on others.
        labels: 0 or 1, or bool; 1 is predicted where score ≥ threshold.
    Returns: the smallest of the best among -inf, the midpoints of neighbouring distinct scores (in the scores' own
        precision, so that comparing with them gives this accuracy), and inf.
    Errors: ValueError without a pair, for shapes that differ, scores that are not finite and labels beyond 0 and 1.
    Cost: O(n log n).
    Example:
        >>> optimal_threshold(torch.tensor([0.9, 0.2, 0.6, 0.7]), torch.tensor([1, 0, 1, 0]))
        Threshold(threshold=0.4000..., accuracy=0.75)

    References: 苏剑林, CoSENT(二):特征式匹配与交互式匹配有多大差距?, 2022, where Powell's method searches it.
    """
    _check_batch(scores, labels)
    if not len(scores):
        raise invalid("scores", "hold a pair", "none")
    scores, labels = scores.detach(), labels.detach()
    if not torch.isfinite(scores).all():
        raise invalid("scores", "be finite", scores[~torch.isfinite(scores)][0].item())
    if not ((labels == 0) | (labels == 1)).all():
        odd = labels[(labels != 0) & (labels != 1)][0].item()
        raise invalid("labels", "be 0 or 1", odd, "Cut graded labels first: labels > 2.5, say.")
    values, group = torch.unique(scores, return_inverse=True)
    ones, zeros = (torch.bincount(group[labels == y], minlength=len(values)) for y in (1, 0))
    right = torch.cat([ones.sum()[None], ones.sum() - ones.cumsum(0) + zeros.cumsum(0)])  # (8), values below: 0, 1, …
    best = int((right == right.max()).nonzero()[0, 0])
    return Threshold(_cut(values, best), right[best].item() / len(scores))


def _cut(values: Float[Tensor, " n"], below: int) -> float:
    """A number above the lowest `below` of the sorted values and not above the others."""
    if below == 0:
        return -math.inf
    if below == len(values):
        return math.inf
    low, high = values[below - 1], values[below]
    middle = (low.double() / 2 + high.double() / 2).to(values.dtype)
    return float(middle if middle > low else high)


def _check_batch(scores: Tensor, labels: Tensor) -> None:
    if scores.ndim != 1:
        raise invalid("scores", "have shape (pairs,)", tuple(scores.shape), "Squeeze the cross-encoder's last axis.")
    if not scores.is_floating_point():
        raise invalid(
            "scores", "be a floating-point tensor", scores.dtype, "Convert it with x.float().", kind=TypeError
        )
    if labels.shape != scores.shape:
        must = f"have shape {tuple(scores.shape)}"
        raise invalid("labels", must, tuple(labels.shape), "Pass one label per pair.")
    if labels.is_complex():
        raise invalid("labels", "be real numbers", labels.dtype, "Only their order is used.", kind=TypeError)


def _check_values(scores: Tensor, labels: Tensor) -> None:
    """NaN and infinity show in the extremes: no look at each number."""
    lowest, highest = _extremes(scores)
    if not math.isfinite(lowest) or not math.isfinite(highest):
        odd = highest if math.isfinite(lowest) else lowest
        raise invalid("scores", "be finite", odd, "Are the encoder's outputs finite?")
    lowest, highest = _extremes(labels)
    if math.isnan(lowest):
        raise invalid("labels", "be numbers", lowest, "Leave pairs without a label out.")
    if lowest == highest:
        text = f"all {len(labels)} labels are equal: the loss is 0 and teaches nothing. Use larger or mixed batches."
        warnings.warn(text, NoRankedPairWarning, stacklevel=3)


def _extremes(values: Tensor) -> tuple[float, float]:
    if not len(values):
        return 0, 0
    low, high = values.detach().aminmax()
    return low.item(), high.item()
