r"""Forward processes in continuous time, as functions of u = t / T in [0, 1].

Notation: $\bar\alpha_u$ = `log_signal(u).exp()`, $\bar\beta_u$ = `noise(u)`, $f_u$ = `drift(u)`, $g_u^2$ =
`diffusion_sq(u)`; $dx=f_ux\,du+g_udw$ leads to $x_u=\bar\alpha_ux_0+\bar\beta_u\varepsilon$.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Process(Protocol):
    """What a schedule needs of a forward process; every function takes and returns float64."""

    def log_signal(self, u: Tensor) -> Tensor: ...
    def noise(self, u: Tensor) -> Tensor: ...
    def drift(self, u: Tensor) -> Tensor: ...
    def diffusion_sq(self, u: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Exponential:
    """ᾱ = exp(-5u²), variance preserving: the article's choice."""

    def log_signal(self, u: Tensor) -> Tensor:
        return -5 * u * u

    def noise(self, u: Tensor) -> Tensor:
        return preserving_noise(self.log_signal(u))

    def drift(self, u: Tensor) -> Tensor:
        return -10 * u

    def diffusion_sq(self, u: Tensor) -> Tensor:
        return 20 * u


@dataclass(frozen=True)
class VariancePreserving:
    """The VP process of Song et al.: the variance grows at a rate that is linear in u."""

    beta_min: float
    beta_max: float

    def rate(self, u: Tensor) -> Tensor:
        return self.beta_min + u * (self.beta_max - self.beta_min)

    def log_signal(self, u: Tensor) -> Tensor:
        return -0.25 * u * u * (self.beta_max - self.beta_min) - 0.5 * u * self.beta_min

    def noise(self, u: Tensor) -> Tensor:
        return preserving_noise(self.log_signal(u))

    def drift(self, u: Tensor) -> Tensor:
        return -0.5 * self.rate(u)

    def diffusion_sq(self, u: Tensor) -> Tensor:
        return self.rate(u)


@dataclass(frozen=True)
class SubVariancePreserving(VariancePreserving):
    """The same signal with less noise: β̄ = 1 - ᾱ²."""

    def noise(self, u: Tensor) -> Tensor:
        return -torch.expm1(2 * self.log_signal(u))

    def diffusion_sq(self, u: Tensor) -> Tensor:
        return self.rate(u) * -torch.expm1(4 * self.log_signal(u))


@dataclass(frozen=True)
class VarianceExploding:
    """ᾱ = 1; the noise grows geometrically from sigma_min, and is 0 at u = 0."""

    sigma_min: float
    sigma_max: float

    def log_signal(self, u: Tensor) -> Tensor:
        return torch.zeros_like(u)

    def noise(self, u: Tensor) -> Tensor:
        return torch.where(u > 0, self.sigma_min * (self.sigma_max / self.sigma_min) ** u, 0.0)

    def drift(self, u: Tensor) -> Tensor:
        return torch.zeros_like(u)

    def diffusion_sq(self, u: Tensor) -> Tensor:
        return 2 * self.noise(u) ** 2 * math.log(self.sigma_max / self.sigma_min)


def preserving_noise(log_signal: Tensor) -> Tensor:
    """β̄ of a variance-preserving process, without the cancellation of 1 - ᾱ² at small times."""
    return torch.expm1(2 * log_signal).abs().sqrt()
