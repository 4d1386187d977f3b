"""A posterior stated relative to its prior: where they agree, nothing need be said."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gezhi._checks import invalid
from gezhi.vae.latent import Gaussian


def soft_clamp(x: Tensor, limit: float = 5.0) -> Tensor:
    """limit · tanh(x / limit): the identity near 0, never beyond the limit, with a slope everywhere."""
    return limit * torch.tanh(x / limit)


@dataclass(frozen=True)
class ResidualNormal:
    r"""A normal prior, and the posteriors that shift and stretch it.

    $$p=N(\mu,\sigma^2),\qquad q=N(\mu+\Delta\mu,\ \sigma^2\Delta\sigma^2)$$

    Attributes:
        mean, log_std: μ and log σ of the prior, of one shape.
    References: Vahdat and Kautz 2020, NVAE, arXiv:2007.03898.
    """

    mean: Tensor
    log_std: Tensor

    def __post_init__(self) -> None:
        if self.mean.shape != self.log_std.shape:
            shapes = f"shapes {tuple(self.mean.shape)} and {tuple(self.log_std.shape)}"
            raise invalid("log_std", "have the shape of mean", shapes)

    @classmethod
    def standard(cls, like: Tensor) -> ResidualNormal:
        """The standard normal law, of the shape of a tensor."""
        return cls(torch.zeros_like(like), torch.zeros_like(like))

    @property
    def prior(self) -> Gaussian:
        return Gaussian(self.mean, 2 * self.log_std)

    def posterior(self, delta_mean: Tensor, delta_log_std: Tensor) -> Gaussian:
        """q, by Δμ and log Δσ."""
        return Gaussian(self.mean + delta_mean, 2 * (self.log_std + delta_log_std))

    def kl(self, delta_mean: Tensor, delta_log_std: Tensor) -> Tensor:
        r"""Divergence of q from p, by coordinates: $\frac12(\Delta\mu^2/\sigma^2+\Delta\sigma^2-\log\Delta\sigma^2-1)$.

        It does not depend on μ, nor on σ where Δμ = 0.

        Example:
            >>> ResidualNormal(torch.tensor([9.0]), torch.tensor([0.0])).kl(torch.tensor([1.0]), torch.tensor([0.0]))
            tensor([0.5000])
        """
        shifted = delta_mean.square() * (-2 * self.log_std).exp()
        return (shifted + torch.expm1(2 * delta_log_std) - 2 * delta_log_std) / 2  # (2)
