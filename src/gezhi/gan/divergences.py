"""What critic and generator minimise: `(critic, real, fake) -> (critic_loss, generator_loss)`, the critic high on real.

Every divergence takes any callable from a batch to (B,) or (B, 1) and means over the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gezhi._checks import check_number, invalid

Critic = Callable[[Tensor], Tensor]
Losses = tuple[Tensor, Tensor]
Divergence = Callable[[Critic, Tensor, Tensor], Losses]


def scores_of(critic: Critic, x: Tensor) -> Tensor:
    """What the critic says of each sample, (B,); (B, 1) is squeezed, anything else refused."""
    found = critic(x)
    if found.shape not in ((len(x),), (len(x), 1)):
        raise invalid("critic", f"return {(len(x),)} or {(len(x), 1)} for {len(x)} samples", tuple(found.shape))
    return found.view(len(x))


def wasserstein(critic: Critic, real: Tensor, fake: Tensor) -> Losses:
    r"""$\overline{f(y)}-\overline{f(x)}$ and $-\overline{f(y)}$; f must be kept Lipschitz by other means (WGAN)."""
    fakes = scores_of(critic, fake).mean()
    return fakes - scores_of(critic, real).mean(), -fakes


def non_saturating(critic: Critic, real: Tensor, fake: Tensor) -> Losses:
    r"""$\overline{\log(1+e^{-f(x)})}+\overline{\log(1+e^{f(y)})}$ and $\overline{\log(1+e^{-f(y)})}$."""
    reals, fakes = scores_of(critic, real), scores_of(critic, fake)
    return F.softplus(-reals).mean() + F.softplus(fakes).mean(), F.softplus(-fakes).mean()


def saturating(critic: Critic, real: Tensor, fake: Tensor) -> Losses:
    r"""As `non_saturating`, with $-\overline{\log(1+e^{f(y)})}$ for the generator: a zero-sum game."""
    reals, fakes = scores_of(critic, real), scores_of(critic, fake)
    return F.softplus(-reals).mean() + F.softplus(fakes).mean(), -F.softplus(fakes).mean()


def hinge(critic: Critic, real: Tensor, fake: Tensor) -> Losses:
    r"""$\overline{\max(0,1-f(x))}+\overline{\max(0,1+f(y))}$ and $-\overline{f(y)}$."""
    reals, fakes = scores_of(critic, real), scores_of(critic, fake)
    return (1 - reals).relu().mean() + (1 + fakes).relu().mean(), -fakes.mean()


def least_squares(critic: Critic, real: Tensor, fake: Tensor) -> Losses:
    r"""$\tfrac12\overline{(f(x)-1)^2}+\tfrac12\overline{f(y)^2}$ and $\tfrac12\overline{(f(y)-1)^2}$ (LSGAN)."""
    reals, fakes = scores_of(critic, real), scores_of(critic, fake)
    return ((reals - 1).square().mean() + fakes.square().mean()) / 2, (fakes - 1).square().mean() / 2


class QuadraticDivergence:
    r"""GAN-QP: no Lipschitz device, the difference of a pair of samples is charged by its distance.

    $$L_D=\overline{f(y)-f(x)}+\overline{\frac{(f(x)-f(y))^2}{2\lambda\lVert x-y\rVert}},\qquad
      L_G=\overline{f(x)-f(y)}$$

    Args:
        weight: λ > 0; the paper takes 10 with the mean absolute difference as distance, which is another λ here.
    Errors: batches of two sizes, since samples are taken in pairs; a pair at distance 0 counts nothing.
    References: Su 2018, GAN-QP, arXiv:1811.07296.
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = check_number("weight", weight, above=0)

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor) -> Losses:
        if len(real) != len(fake):
            raise invalid(
                "fake", f"have as many samples as real ({len(real)})", len(fake), "They are compared in pairs."
            )
        gap = scores_of(critic, real) - scores_of(critic, fake)
        distance = torch.linalg.vector_norm((real - fake).flatten(1), dim=1)
        apart = distance > 0
        charge = torch.where(apart, gap.square() / distance.where(apart, 1.0), 0.0)
        return charge.mean() / (2 * self.weight) - gap.mean(), gap.mean()
