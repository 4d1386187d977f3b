"""The smallest GAN: real data at the origin, one fake point θ, a linear critic x·φ. As a `Game`, and in closed form."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from torch import Tensor, nn

from gezhi._checks import check_integer, check_number, invalid
from gezhi.gan.divergences import (
    Divergence,
    QuadraticDivergence,
    hinge,
    least_squares,
    non_saturating,
    saturating,
    wasserstein,
)
from gezhi.gan.game import Game, unit_norm
from gezhi.gan.penalties import GradientPenalty

Array = NDArray[np.float64]
Rates = Callable[[float, float], tuple[float, float]]  # of s = θ·φ and ‖θ‖: the pull on φ and the push on θ


class _Point(nn.Module):
    """A generator of one point, whatever the noise."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(dim, dtype=torch.float64))

    def forward(self, noise: Tensor) -> Tensor:
        return self.theta.expand(len(noise), -1)


def dirac_gan(
    divergence: Divergence,
    *,
    dim: int = 2,
    penalty: GradientPenalty | None = None,
    normalize_critic: bool = False,
    weight_decay: float = 0.0,
) -> Game:
    r"""The game of a point θ against data at the origin, with the critic $f(x)=x\cdot\varphi$, in float64.

    Args:
        divergence: of the house or your own.
        dim: d ≥ 1. In one dimension several losses behave as they do in no other: a warning says so.
        penalty: a `GradientPenalty` at="real".
        normalize_critic: the critic is $x\cdot\varphi/\lVert\varphi\rVert$, of Lipschitz constant 1.
        weight_decay: w ≥ 0, L2 on φ.
    Returns: a `Game`, bound to its batch, whose states are (φ, θ) of length 2d.
    Example:
        >>> from gezhi.gan import non_saturating
        >>> dirac_gan(non_saturating, dim=1).field(torch.tensor([2.0, 1.0], dtype=torch.float64))
        tensor([-0.8808,  0.2384], dtype=torch.float64)
    """
    _check(divergence, dim, normalize_critic)
    critic = nn.Linear(dim, 1, bias=False, dtype=torch.float64)
    batch = torch.zeros(1, dim, dtype=torch.float64)
    normalise = unit_norm if normalize_critic else None
    return Game(
        _Point(dim), critic, divergence, penalty,
        critic_normalisation=normalise, weight_decay=weight_decay, real=batch, noise=batch,
    )  # fmt: skip


def dirac_field(
    divergence: Divergence,
    *,
    penalty: GradientPenalty | None = None,
    normalize_critic: bool = False,
    weight_decay: float = 0.0,
) -> Callable[[ArrayLike], Array]:
    r"""The velocity of `dirac_gan` in closed form, for the divergences of the house; 20 times as fast as by autograd.

    $$\dot\varphi=-a(s)\,\theta,\qquad\dot\theta=b(s)\,\varphi,\qquad s=\theta\cdot\varphi$$

    with a, b of the divergence, less the slopes of penalty and weight decay. Arguments are those of `dirac_gan`.

    Returns: a function of a state (φ, θ), any even length. ValueError where the field is not defined: φ = 0 with a
        normalised critic or a penalty off centre, θ = 0 with `QuadraticDivergence`.
    """
    rates = _rates(divergence)
    check_number("weight_decay", weight_decay, at_least=0)

    def field(state: ArrayLike) -> Array:
        phi, theta = _halves(state)
        length = float(np.linalg.norm(phi))
        if length == 0 and (normalize_critic or (penalty is not None and penalty.center > 0)):
            raise invalid("state", "have a critic that is not 0", np.asarray(state).tolist())
        if normalize_critic:
            unit = phi / length
            along = float(theta @ unit)
            a, b = rates(along, float(np.linalg.norm(theta)))
            pull, push = a * (theta - along * unit) / length, b * unit  # (3)
        else:
            a, b = rates(float(theta @ phi), float(np.linalg.norm(theta)))
            pull, push = a * theta, b * phi  # (2)
            if penalty is not None:
                pull = pull + _penalty_slope(penalty, phi, length)  # (4)
        return np.concatenate([-pull - weight_decay * phi, push])

    return field


def _rates(divergence: Divergence) -> Rates:
    if isinstance(divergence, QuadraticDivergence):
        weight = divergence.weight

        def charged(s: float, distance: float) -> tuple[float, float]:
            if distance == 0:
                raise invalid("state", "have a generator that is not 0", "θ = 0")
            return 1 + s / (weight * distance), 1.0  # (5)

        return charged
    known: dict[Any, Rates] = {
        non_saturating: lambda s, _: (float(expit(s)), float(expit(-s))),
        saturating: lambda s, _: (float(expit(s)), float(expit(s))),
        wasserstein: lambda _s, _: (1.0, 1.0),
        hinge: lambda s, _: (float(s > -1), 1.0),
        least_squares: lambda s, _: (s, 1 - s),
    }
    if divergence not in known:
        raise invalid("divergence", "be one of the house, whose slopes are known", repr(divergence), "Use dirac_gan.")
    return known[divergence]


def _penalty_slope(penalty: GradientPenalty, phi: Array, length: float) -> Array:
    """Of weight × |‖φ‖ − c|^p along φ."""
    if length == 0:
        return np.zeros_like(phi)
    off = length - penalty.center
    off = max(off, 0.0) if penalty.one_sided else off
    slope = penalty.weight * penalty.power * abs(off) ** (penalty.power - 1) * math.copysign(1.0, off)
    return slope * phi / length if off else np.zeros_like(phi)


def _halves(state: ArrayLike) -> tuple[Array, Array]:
    values = np.asarray(state, dtype=np.float64)
    if values.ndim != 1 or len(values) % 2 or not len(values):
        raise invalid("state", "be a vector of even length, φ then θ", f"shape {values.shape}")
    phi, theta = np.split(values, 2)
    return phi, theta


def _check(divergence: Divergence, dim: int, normalize_critic: bool) -> None:
    check_integer("dim", dim, at_least=1)
    if dim == 1 and (normalize_critic or isinstance(divergence, QuadraticDivergence)):
        message = "in one dimension this game runs straight instead of turning: got dim=1. Use dim=2."
        warnings.warn(message, stacklevel=3)


@dataclass(frozen=True)
class Invariants:
    r"""What a flow of the Dirac-GAN keeps, or would keep.

    Attributes:
        momentum: $J=\theta_1\varphi_2-\theta_2\varphi_1$, kept by all fields without penalty, decay and normalisation.
        energy: $\lVert\varphi\rVert^2+\lVert\theta\rVert^2$, kept by the saturating and the bilinear game.
        orbit: $I=\tfrac12\lVert\theta\rVert^2-r^2\ln(|J|/r)$, $r=\lVert\varphi\rVert$: kept where the critic is
            normalised.
    """

    momentum: float
    energy: float
    orbit: float


def invariants(state: ArrayLike) -> Invariants:
    """The three quantities of a state (φ, θ) in the plane; ValueError in other dimensions."""
    phi, theta = _halves(state)
    if len(phi) != 2:
        raise invalid("state", "have length 4, for a plane", 2 * len(phi))
    momentum = float(theta[0] * phi[1] - theta[1] * phi[0])
    radius = float(np.linalg.norm(phi))
    energy = radius**2 + float(theta @ theta)
    if momentum == 0 or radius == 0:
        return Invariants(momentum, energy, math.inf)
    return Invariants(momentum, energy, float(theta @ theta) / 2 - radius**2 * math.log(abs(momentum) / radius))
