"""A latent is a pair of laws, a prior and a posterior: the wing's one abstraction. A hierarchy is a list of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from gezhi._checks import check_integer, check_number, invalid

LOG_VARIANCES = (-10.0, 10.0)  # what a head may say; beyond, exponentials help no one


class Law(Protocol):
    """What a latent is drawn from."""

    @property
    def mean(self) -> Tensor: ...
    def rsample(self, generator: torch.Generator | None = None) -> Tensor: ...


@dataclass(frozen=True)
class Gaussian:
    """Independent normal coordinates, by mean and logarithm of the variance, so that nothing overflows.

    Attributes:
        mean, log_variance: of one shape.
    """

    mean: Tensor
    log_variance: Tensor

    def __post_init__(self) -> None:
        if self.mean.shape != self.log_variance.shape:
            shapes = f"{tuple(self.mean.shape)} and {tuple(self.log_variance.shape)}"
            raise invalid("log_variance", "have the shape of mean", f"shapes {shapes}")

    def rsample(self, generator: torch.Generator | None = None) -> Tensor:
        """A draw with gradients: mean + σ ε."""
        noise = torch.empty_like(self.mean).normal_(generator=generator)
        return self.mean + (self.log_variance / 2).exp() * noise  # (1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of each coordinate."""
        scaled = (z - self.mean).square() * (-self.log_variance).exp()
        return -(scaled + self.log_variance + math.log(2 * math.pi)) / 2

    def kl(self, prior: Gaussian | None = None) -> Tensor:
        """Divergence from a prior, the standard normal by default, of each coordinate."""
        if prior is None:
            return gaussian_kl(self.mean, self.log_variance)
        shift = self.log_variance - prior.log_variance
        apart = (self.mean - prior.mean).square() * (-prior.log_variance).exp()
        return (apart + shift.exp() - shift - 1) / 2


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""$\frac12(\mu^2+\sigma^2-\log\sigma^2-1)$ of each coordinate, in nats: ≥ 0, and 0 only for the standard normal.

    Args:
        mean, log_variance: of one shape.
    Errors: ValueError for two shapes.
    Example:
        >>> gaussian_kl(torch.tensor([1.0]), torch.tensor([0.0]))
        tensor([0.5000])
    """
    law = Gaussian(mean, log_variance)
    return (law.mean.square() + log_variance.exp() - log_variance - 1) / 2  # (2)


class Point(NamedTuple):
    """No noise: the law of an autoencoder's code."""

    mean: Tensor

    def rsample(self, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        return self.mean

    @property
    def log_variance(self) -> Tensor:
        return torch.full_like(self.mean, -math.inf)

    def kl(self, prior: Gaussian | None = None) -> Tensor:  # noqa: ARG002
        return torch.zeros_like(self.mean)


# ---- posteriors -----------------------------------------------------------------------------------------------------


class GaussianPosterior(nn.Module):
    """From (…, 2 dim), means then logarithms of variances, which are clamped to ±10."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = check_integer("dim", dim, at_least=1)

    @property
    def inputs(self) -> int:
        return 2 * self.dim

    def forward(self, found: Tensor) -> Gaussian:
        mean, log_variance = _halves(found, self.dim)
        return Gaussian(mean, log_variance.clamp(*LOG_VARIANCES))


class NoPosterior(nn.Module):
    """From (…, dim), the code itself: an autoencoder."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = check_integer("dim", dim, at_least=1)

    @property
    def inputs(self) -> int:
        return self.dim

    def forward(self, found: Tensor) -> Point:
        if found.shape[-1] != self.dim:
            raise invalid("encoder", f"return {self.dim} numbers a sample", found.shape[-1])
        return Point(found)


class BatchNormPosterior(nn.Module):
    r"""Means and standard deviations normalised over the batch, then scaled so that the divergence cannot vanish.

    $$\gamma_\mu=\sqrt{\tau+(1-\tau)\,\mathrm{sig}(\theta)},\quad\gamma_\sigma=\sqrt{(1-\tau)\,\mathrm{sig}(-\theta)},
      \qquad\gamma_\mu^2+\gamma_\sigma^2=1,\quad\mathrm{KL}\ge\tfrac12\sum\gamma_\mu^2$$

    Args:
        dim: of the latent.
        tau: τ strictly between 0 and 1, the least share of the means; the article takes ½. θ is trained, from 0.
    Errors: torch's, for a batch of one in training.
    References: Zhu et al. 2020, A Batch Normalized Inference Network Keeps the KL Vanishing Away, arXiv:2004.12585.
    """

    def __init__(self, dim: int, tau: float = 0.5) -> None:
        super().__init__()
        self.dim = check_integer("dim", dim, at_least=1)
        self.tau = check_number("tau", tau, above=0, below=1)
        self.of_mean, self.of_deviation = (nn.BatchNorm1d(dim, affine=False) for _ in range(2))
        self.theta = nn.Parameter(torch.zeros(dim))

    @property
    def inputs(self) -> int:
        return 2 * self.dim

    @property
    def scales(self) -> tuple[Tensor, Tensor]:
        """γ of the means and of the deviations; their squares sum to 1."""
        share = self.tau + (1 - self.tau) * self.theta.sigmoid()
        return share.sqrt(), ((1 - self.tau) * (-self.theta).sigmoid()).sqrt()  # (6)

    def forward(self, found: Tensor) -> Gaussian:
        mean, deviation = _halves(found, self.dim)
        of_mean, of_deviation = self.scales
        signed = of_deviation * self.of_deviation(deviation)  # its square is the variance
        return Gaussian(of_mean * self.of_mean(mean), (signed.square() + 1e-8).log())


def _halves(found: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    if found.shape[-1] != 2 * dim:
        raise invalid("encoder", f"return {2 * dim} numbers a sample: means, then spreads", found.shape[-1])
    mean, spread = found.chunk(2, -1)
    return mean, spread


# ---- groups ---------------------------------------------------------------------------------------------------------


class Latent(NamedTuple):
    """A drawn code, its law, and the divergence of each coordinate."""

    z: Tensor
    law: Gaussian | Point
    kl: Tensor


def standard_normal(state: Tensor | None, shape: tuple[int, ...]) -> Gaussian:  # noqa: ARG001
    """The prior of a latent that nothing stands above."""
    return Gaussian(torch.zeros(shape), torch.zeros(shape))


class LatentGroup(nn.Module):
    """One latent of a hierarchy.

    Args:
        prior: from the state of what stands above (None at the top) and the shape of the latent to its law; a module or
            a function.
        posterior: from what the encoder says of a sample, and the prior where `residual`, to the law of its code.
        residual: the posterior is stated relative to the prior.
    """

    def __init__(
        self,
        prior: Callable[[Tensor | None, tuple[int, ...]], Gaussian],
        posterior: nn.Module,
        *,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.prior, self.posterior, self.residual = prior, posterior, residual

    def infer(self, found: Tensor, state: Tensor | None = None, *, generator: torch.Generator | None = None) -> Latent:
        """A code of a sample, with its divergence from the prior."""
        if self.residual:
            law = self.posterior(found, self.prior(state, tuple(found.shape)))
            return Latent(law.rsample(generator), law, law.kl())
        law = self.posterior(found)
        above = None if self.prior is standard_normal else self.prior(state, tuple(law.mean.shape))
        return Latent(law.rsample(generator), law, law.kl(above))

    def draw(
        self,
        shape: tuple[int, ...],
        state: Tensor | None = None,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """A code from the prior, its deviations times the temperature; at 0 the prior's mean."""
        check_number("temperature", temperature, at_least=0)
        law = self.prior(state, shape)
        noise = torch.empty_like(law.mean).normal_(generator=generator)
        return law.mean + temperature * (law.log_variance / 2).exp() * noise
