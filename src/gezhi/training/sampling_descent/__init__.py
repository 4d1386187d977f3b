r"""Optimisation as sampling: the mean of parameter steps, weighted by how much each lowers a loss of any kind.

Title: Gradients by sampling (MGS) | 以采样求梯度（MGS）
Also: MGS, MLE-guided parameter search, guided parameter search
Tags: training, metric, sampling
Articles: 从采样看优化:可导优化与不可导优化的统一视角
Page: docs/methods/sampling_descent.md
Notation: $\theta$ = parameters, $\Delta$ = a step, $l$ = `task_loss`, $\tilde l$ = `surrogate`, $q$ = proposal,
$\alpha$ = `temperature`, $\sigma$ = `sigma`, $\lambda$ = `mix`, $\eta$ = `eta`.
"""

from gezhi.training.sampling_descent.search import GuidedParameterSearch, NoValidCandidateWarning, SearchStep
from gezhi.training.sampling_descent.weights import ball_expected_step, snis_weights

__all__ = [
    "GuidedParameterSearch",
    "NoValidCandidateWarning",
    "SearchStep",
    "ball_expected_step",
    "snis_weights",
]
