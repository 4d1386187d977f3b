"""The closed form as a torch layer on fixed or trainable features."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gezhi._checks import check_integer, check_number, check_same_length
from gezhi.classification.closed_form_logistic.moments import CONSTANT, ROUNDING


def closed_form_linear_head(
    features: Float[Tensor, "rows dim"], labels: Int[Tensor, " rows"], num_classes: int, *, shrinkage: float = 0.0
) -> torch.nn.Linear:
    r"""A `torch.nn.Linear` whose outputs are the logits (1), computed on the features' device.

    Args:
        features: one row a sample. If they require gradients, these flow through the head's weights (which are
            then tensors of the graph, not parameters).
        labels: integers in 0..num_classes-1.
        num_classes: K ≥ 2, the output width. A class without rows gets the bias -inf.
        shrinkage: weight of tr(Σ)/n · I, in [0, 1]; 0 is the article's choice, and then units do not matter.
    Returns: the head; float64 inside, the features' dtype outside.
    Cost: O(N n² + n³) time.
    Example:
        >>> x = torch.tensor([[0.0], [1.0], [4.0], [5.0]])
        >>> head = closed_form_linear_head(x, torch.tensor([0, 0, 1, 1]), 2)
        >>> head(torch.tensor([[2.5], [1.0]])).softmax(-1).round(decimals=4).tolist()
        [[0.5, 0.5], [1.0, 0.0]]

    References: 苏剑林, 概率视角下的线性模型:逻辑回归有解析解吗?, 2021.
    """
    check_same_length(features=len(features), labels=len(labels))
    shrinkage = check_number("shrinkage", shrinkage, at_least=0, at_most=1)
    num_classes = check_integer("num_classes", num_classes, at_least=2)
    member = torch.nn.functional.one_hot(labels.long(), num_classes).to(torch.float64)
    rows, count = features.to(torch.float64), member.sum(0)
    means = member.mT @ rows / count.clamp(min=1)[:, None]
    centred = rows - means[labels]
    covariance = centred.mT @ centred / len(rows)  # (3)
    n = rows.shape[1]
    target = covariance.trace() / n * torch.eye(n, dtype=torch.float64, device=rows.device)
    covariance = (1 - shrinkage) * covariance + shrinkage * target
    unit, varies = _scale(covariance, means, count)
    if shrinkage:
        unit, varies = covariance.diagonal().clamp(min=torch.finfo(torch.float64).tiny).sqrt(), torch.ones_like(varies)
    correlation = covariance / unit / unit[:, None] * (varies & varies[:, None])
    inverse = torch.linalg.pinv(correlation, rtol=ROUNDING * n * torch.finfo(torch.float64).eps, hermitian=True)
    inverse = inverse / unit / unit[:, None]
    weight = means @ inverse  # (2), first half
    bias = (count / len(rows)).log() - 0.5 * (weight * means).sum(-1)  # (2), second half
    return _linear(weight.to(features.dtype), bias.to(features.dtype))


def _scale(covariance: Tensor, means: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """The unit of each column and whether it varies, as `ClassMoments.scale`."""
    inside, share = covariance.diagonal(), count / count.sum()
    varies = inside > (CONSTANT * means.abs().amax(0)) ** 2
    between = share @ (means - share @ means) ** 2
    variance = torch.where(varies, inside, between)
    return torch.where(variance > 0, variance, 1.0).sqrt(), varies


def _linear(weight: Tensor, bias: Tensor) -> torch.nn.Linear:
    head = torch.nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    for name, value in (("weight", weight), ("bias", bias)):
        if value.requires_grad:  # a parameter would cut the graph
            delattr(head, name)
            setattr(head, name, value)
        else:
            setattr(head, name, torch.nn.Parameter(value))
    return head
