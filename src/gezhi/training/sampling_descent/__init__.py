r"""Optimisation as sampling: the mean of parameter steps, weighted by how much each lowers a loss of any kind.

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
