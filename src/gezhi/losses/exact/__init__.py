r"""Losses that are smooth versions of accuracy: the chance that noise lets the label win, and its simpler siblings.

Title: Accuracy as a loss (EXACT) | 以准确率为损失（EXACT）
Also: EXACT, expected accuracy, soft accuracy, soft F1, probit
Tags: loss, classification, smoothing
Articles: 如何训练你的准确率?; 函数光滑化杂谈:不可导函数的可导逼近
Page: docs/methods/exact.md
Notation: $\mu$ = `logits`, $y$ = `labels`, $\sigma$ = `sigma`, $m_k=(\mu_y-\mu_k)/\sigma$, $\varphi,\Phi$ = density and
distribution function of the standard normal.
"""

from gezhi.losses.exact.expected import (
    ExactLoss,
    ProbitLoss,
    expected_accuracy,
    log_expected_accuracy,
    probit_predict_proba,
)
from gezhi.losses.exact.smooth import (
    NoPositiveWarning,
    power_loss,
    smooth_max,
    soft_accuracy_loss,
    soft_argmax,
    soft_f1_loss,
)

__all__ = [
    "ExactLoss",
    "NoPositiveWarning",
    "ProbitLoss",
    "expected_accuracy",
    "log_expected_accuracy",
    "power_loss",
    "probit_predict_proba",
    "smooth_max",
    "soft_accuracy_loss",
    "soft_argmax",
    "soft_f1_loss",
]
