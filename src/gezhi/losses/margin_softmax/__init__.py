r"""Margin softmax (AM-Softmax, CosFace, ArcFace): classification that trains features for retrieval.

Title: Margin softmax | 间隔 softmax
Also: AM-Softmax, CosFace, ArcFace, 8656
Tags: loss, metric learning, embeddings
Articles: 从三角不等式到Margin Softmax
Page: docs/methods/margin_softmax.md
Notation: $z_i$ = `features[i]`, $c_j$ = `weight[j]`, $t$ = `labels[i]`, $s$ = `scale`, $\psi$ = `margin`.
"""

from gezhi.losses.margin_softmax.guarantee import estimate_margin, retrieval_guarantee
from gezhi.losses.margin_softmax.loss import (
    MarginSoftmaxLoss,
    SampledMarginSoftmaxLoss,
    margin_softmax_loss,
    metric_margin_loss,
)
from gezhi.losses.margin_softmax.margins import (
    UnreachableMarginWarning,
    additive_angle,
    additive_cosine,
    quadruple_angle,
)

__all__ = [
    "MarginSoftmaxLoss",
    "SampledMarginSoftmaxLoss",
    "UnreachableMarginWarning",
    "additive_angle",
    "additive_cosine",
    "estimate_margin",
    "margin_softmax_loss",
    "metric_margin_loss",
    "quadruple_angle",
    "retrieval_guarantee",
]
