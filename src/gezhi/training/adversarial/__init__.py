r"""Training on inputs or embeddings moved a little where the loss rises fastest, and the penalty that it amounts to.

Title: Adversarial training | 对抗训练
Also: FGM, PGD, FreeLB, virtual adversarial training, gradient penalty
Tags: training, regularisation, robustness, text
Articles: 对抗训练浅谈:意义、方法和思考(附Keras实现)
Page: docs/methods/adversarial.md
Notation: $g$ = gradient of the loss by what is perturbed, $\Delta$ = its perturbation, $\epsilon$ = `epsilon`,
$\alpha$ = `alpha`, $K$ = `steps`, $\Pi$ = `project`.
"""

from gezhi.training.adversarial.norms import (
    Norm,
    fgm_delta,
    global_l2,
    gradient_penalty,
    linf,
    per_sample_l2,
    project,
)
from gezhi.training.adversarial.procedures import FGM, PGD, FreeLB, GradientPenalty
from gezhi.training.adversarial.virtual import VirtualAdversarial

__all__ = [
    "FGM",
    "PGD",
    "FreeLB",
    "GradientPenalty",
    "Norm",
    "VirtualAdversarial",
    "fgm_delta",
    "global_l2",
    "gradient_penalty",
    "linf",
    "per_sample_l2",
    "project",
]
