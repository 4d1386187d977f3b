r"""Batch normalisation, and how much a shift and a scale of its input smooth a loss.

Title: Batch normalisation | 批归一化
Also: BN, Lipschitz constant, internal covariate shift, 6992
Tags: normalisation, optimisation, Lipschitz, landscape
Articles: BN究竟起了什么作用?一个闭门造车的分析
Page: docs/methods/batch_norm.md
Notation: $x$ = `X` or `input`, $\epsilon$ = `eps`, $\rho$ = `momentum`, $\gamma$ = `weight`, $\beta$ = `bias`,
$\eta$ = `step_sizes`.
"""

from gezhi.theory.batch_norm.layer import BatchNorm, recalibrate_batch_norm
from gezhi.theory.batch_norm.probe import Landscape, landscape_probe
from gezhi.theory.batch_norm.smoothness import gradient_lipschitz, input_smoothness

__all__ = [
    "BatchNorm",
    "Landscape",
    "gradient_lipschitz",
    "input_smoothness",
    "landscape_probe",
    "recalibrate_batch_norm",
]
