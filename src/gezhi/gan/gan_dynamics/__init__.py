r"""Whether a game settles at its equilibrium, circles round it, or runs away: flows, eigenvalues, averages.

Title: Dynamics of GANs | GAN 的动力学
Also: GAN dynamics, Dirac-GAN, local stability, R1, 6583
Tags: GAN, optimisation, stability, differential equations
Articles: 从动力学角度看优化算法(四):GAN的第三个阶段
Page: docs/methods/gan_dynamics.md
Notation: $\varphi$ = the critic's parameters, $\theta$ = the generator's, a state is $(\varphi,\theta)$; $\lambda$ =
    `weight`, $c$ = `center` of a `GradientPenalty`, $w$ = `weight_decay`, $h$ = size of a step, $\beta$ = `decay`.
"""

from gezhi.gan.gan_dynamics.dirac import Invariants, dirac_field, dirac_gan, invariants
from gezhi.gan.gan_dynamics.stability import StabilityReport, phase_portrait, simulate, stability_report
from gezhi.gan.updates import EMA

__all__ = [
    "EMA",
    "Invariants",
    "StabilityReport",
    "dirac_field",
    "dirac_gan",
    "invariants",
    "phase_portrait",
    "simulate",
    "stability_report",
]
