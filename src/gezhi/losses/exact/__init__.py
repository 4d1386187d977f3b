r"""Losses that are smooth versions of accuracy: the chance that noise lets the label win, and its simpler siblings.

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
