"""Simpler smooth versions of accuracy, F1, max and argmax."""

from __future__ import annotations

import math
import warnings
from typing import Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from gezhi._checks import check_choice, check_number, invalid
from gezhi.losses._rows import Reduction, at_least_single, check_index, reduce


class NoPositiveWarning(UserWarning):
    """A class without a positive row has F1 = 0 and teaches nothing. Remedy: larger or stratified batches."""


def soft_accuracy_loss(
    logits: Float[Tensor, "rows classes"], labels: Int[Tensor, " rows"], *, reduction: Reduction = "mean"
) -> Float[Tensor, "*rows"]:
    r"""One minus the softmax probability of the label.

    $$1-\operatorname{softmax}(\mu)_y \tag{3}$$

    Args:
        logits: μ; half precision is computed in float32.
        labels: y, one class a row.
        reduction: "mean" over rows (0 without rows), "sum" or "none".
    Returns: from 0 to 1. Near 0 it is cross-entropy; for a sample that is wrong its gradient is only p times as large.
    Errors: ValueError for labels outside the classes.
    Example:
        >>> soft_accuracy_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item()
        0.5

    References: 苏剑林, 函数光滑化杂谈:不可导函数的可导逼近, 2019.
    """
    return power_loss(logits, labels, q=1.0, reduction=reduction)  # (3)


def power_loss(
    logits: Float[Tensor, "rows classes"],
    labels: Int[Tensor, " rows"],
    *,
    q: float,
    reduction: Reduction = "mean",
) -> Float[Tensor, "*rows"]:
    r"""The bridge from cross-entropy (q = 0) to soft accuracy (q = 1).

    $$L_q=\frac{1-p^q}q,\qquad p=\operatorname{softmax}(\mu)_y \tag{4}$$

    Args:
        logits, labels, reduction: as in `soft_accuracy_loss`.
        q: ≥ 0. The gradient is p^q times that of cross-entropy. Zhang and Sabuncu take 0.7 for noisy labels.
    Errors: ValueError for q < 0 and labels outside the classes.
    Example:
        >>> [round(power_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1]), q=q).item(), 4) for q in (0, 0.5, 1)]
        [0.6931, 0.5858, 0.5]

    References: Z. Zhang and M. R. Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy
        Labels, 2018.
    """
    check_number("q", q, at_least=0, below=math.inf)
    if logits.ndim != 2:
        raise invalid("logits", "have shape (rows, classes)", tuple(logits.shape))
    check_index("labels", labels, *logits.shape)
    log_p = at_least_single(logits, "logits").log_softmax(-1).gather(1, labels.long()[:, None]).squeeze(1)
    return reduce(-log_p if q == 0 else -torch.expm1(q * log_p) / q, reduction)  # (4)


def soft_f1_loss(
    probs: Float[Tensor, "*any"],
    targets: Shaped[Tensor, "*any"],
    *,
    average: Literal["binary", "macro"] = "binary",
) -> Float[Tensor, ""]:
    r"""One minus F1 with probabilities in the place of decisions.

    $$1-\frac{2\sum_it_ip_i}{\sum_i(t_i+p_i)} \tag{5}$$

    F1 of a batch is a biased estimate of that of the data: train with cross-entropy first, and use large batches.

    Args:
        probs: p, from 0 to 1, of the positive class (rows,), or of each class (rows, classes) for `"macro"`.
        targets: t, 0 or 1 (or bools), of the same shape.
        average: `"binary"` all entries in one F1; `"macro"` the mean over columns.
    Returns: from 0 to 1. Without a positive target F1 counts as 0, as in scikit-learn, and `NoPositiveWarning` says so.
    Errors: ValueError for shapes that differ.
    Example:
        >>> soft_f1_loss(torch.tensor([0.9, 0.2, 0.6, 0.35]), torch.tensor([1, 0, 1, 1])).item()
        0.2673...

    References: 苏剑林, 函数光滑化杂谈:不可导函数的可导逼近, 2019.
    """
    check_choice("average", average, ("binary", "macro"))
    if probs.shape != targets.shape:
        found = f"{tuple(probs.shape)} and {tuple(targets.shape)}"
        raise invalid("probs and targets", "have the same shape", found, "Pass one 0 or 1 for each probability.")
    if average == "macro" and probs.ndim != 2:
        raise invalid("probs", "have shape (rows, classes) for average='macro'", tuple(probs.shape))
    p = at_least_single(probs, "probs")
    t = targets.to(p.dtype)
    if average == "binary":
        p, t = p.flatten(), t.flatten()
    total = (t + p).sum(0)
    if not torch.compiler.is_compiling() and (t.sum(0) == 0).any():
        empty = t.sum(0) == 0
        text = f"{int(empty.sum())} of {empty.numel()} classes have no positive: their F1 counts as 0."
        warnings.warn(f"{text} Use larger or stratified batches.", NoPositiveWarning, stacklevel=2)
    return (1 - 2 * (t * p).sum(0) / total.masked_fill(total == 0, 1)).mean()  # (5)


def smooth_max(x: Float[Tensor, "*rows n"], *, sharpness: float = 1.0) -> Float[Tensor, "*rows"]:
    r"""A smooth maximum over the last axis, from above.

    $$\frac1\beta\log\sum_ie^{\beta x_i} \tag{6}$$

    Args:
        sharpness: β > 0; the result exceeds the maximum by log(n)/β at most.
    Errors: ValueError for β ≤ 0.
    Example:
        >>> smooth_max(torch.tensor([1.0, 3.0]), sharpness=10.0)
        tensor(3.)
    """
    check_number("sharpness", sharpness, above=0, below=math.inf)
    return torch.logsumexp(sharpness * at_least_single(x, "x"), -1) / sharpness  # (6)


def soft_argmax(x: Float[Tensor, "*rows n"], *, sharpness: float = 1.0) -> Float[Tensor, "*rows"]:
    r"""A smooth position of the maximum on the last axis.

    $$\sum_ii\,\operatorname{softmax}(\beta x)_i \tag{7}$$

    Args:
        sharpness: β > 0. Of several maxima it returns the mean position, where perhaps none is.
    Returns: from 0 to n - 1, not rounded.
    Errors: ValueError for β ≤ 0.
    Example:
        >>> soft_argmax(torch.tensor([1.0, 3.0, 2.0]), sharpness=20.0)
        tensor(1.)
    """
    check_number("sharpness", sharpness, above=0, below=math.inf)
    weights = (sharpness * at_least_single(x, "x")).softmax(-1)
    return (weights * torch.arange(x.shape[-1], dtype=weights.dtype, device=x.device)).sum(-1)  # (7)
