"""Directions with noise: the von Mises-Fisher law, whose divergence from the uniform one depends on κ alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy import special
from torch import Tensor

from gezhi._checks import check_integer, check_number, invalid

CELLS = 100_000  # of the table of cosines; its mean is right to 1e-7


@dataclass(frozen=True)
class VonMisesFisher:
    r"""The law $p(z)\propto e^{\kappa\mu^\top z}$ on the unit sphere of $\mathbb R^d$.

    Args:
        loc: μ, (…, d), unit vectors; d ≥ 2.
        concentration: κ > 0, one number.
    Errors: ValueError for d < 2, κ ≤ 0, and directions that are not of length 1 within 1e-3.
    References: Davidson et al. 2018, arXiv:1804.00891; 苏剑林, 变分自编码器(七):球面上的VAE(vMF-VAE), 2021.
    """

    loc: Tensor
    concentration: float

    def __post_init__(self) -> None:
        check_integer("dim", self.loc.shape[-1], at_least=2)
        check_number("concentration", self.concentration, above=0, below=math.inf)
        off = (self.loc.detach().norm(dim=-1) - 1).abs()
        if off.numel() and not float(off.max()) < 1e-3:
            raise invalid("loc", "hold unit vectors", f"a length {1 + float(off.max()):g} off", "Normalise them.")

    @property
    def dim(self) -> int:
        return self.loc.shape[-1]

    @property
    def mean(self) -> Tensor:
        """A_d(κ) μ, inside the ball."""
        return vmf_mean_length(self.dim, self.concentration) * self.loc

    def rsample(self, generator: torch.Generator | None = None) -> Tensor:
        """A draw with gradients in μ: $w\\mu+\\sqrt{1-w^2}\\,\\nu$, ν a direction at right angles to μ."""
        cosines = cosine_table(self.dim, self.concentration).to(self.loc)
        which = torch.randint(len(cosines), self.loc.shape[:-1], generator=generator)
        noise = torch.empty_like(self.loc).normal_(generator=generator)
        return tilted(self.loc, cosines[which][..., None], noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density against the area of the sphere."""
        return self.concentration * (self.loc * z).sum(-1) + log_normaliser(self.dim, self.concentration)

    def entropy(self) -> float:
        """In nats; the same for every direction."""
        shrunk = self.concentration * vmf_mean_length(self.dim, self.concentration)
        return -shrunk - log_normaliser(self.dim, self.concentration)

    def kl_to_uniform(self) -> float:
        return vmf_kl(self.dim, self.concentration)


def tilted(loc: Tensor, cosine: Tensor, noise: Tensor) -> Tensor:
    """A unit vector at this cosine to `loc`, in the direction of the noise."""
    sideways = noise - (noise * loc).sum(-1, keepdim=True) * loc
    return cosine * loc + (1 - cosine**2).clamp(min=0).sqrt() * F.normalize(sideways, dim=-1)  # (4)


def vmf_mean_length(dim: int, concentration: float) -> float:
    r"""$A_d(\kappa)=I_{d/2}(\kappa)/I_{d/2-1}(\kappa)$, the mean cosine to μ: from 0 for κ = 0 to 1."""
    dim, kappa = _checked(dim, concentration)
    return math.exp(log_bessel(dim / 2, kappa) - log_bessel(dim / 2 - 1, kappa))


def vmf_kl(dim: int, concentration: float) -> float:
    r"""Divergence from the uniform law in nats: $\kappa A_d(\kappa)+\log C_d(\kappa)-\log C_d(0)$, whatever μ.

    Args:
        dim: d ≥ 2.
        concentration: κ > 0.
    Example:
        >>> round(vmf_kl(16, 32.0), 4)
        7.5821
    """
    dim, kappa = _checked(dim, concentration)
    uniform = math.lgamma(dim / 2) - math.log(2) - dim / 2 * math.log(math.pi)
    return kappa * vmf_mean_length(dim, kappa) + log_normaliser(dim, kappa) - uniform  # (5)


def log_normaliser(dim: int, kappa: float) -> float:
    """log C_d(κ)."""
    return (dim / 2 - 1) * math.log(kappa) - dim / 2 * math.log(2 * math.pi) - log_bessel(dim / 2 - 1, kappa)


def log_bessel(order: float, x: float) -> float:
    """log I_ν(x), also where I_ν itself is too small for a float."""
    scaled = float(special.ive(order, x))
    if scaled > 1e-290:
        return math.log(scaled) + x
    term, total, j = 1.0, 1.0, 1
    while term > 1e-17 * total:
        term *= (x * x / 4) / (j * (order + j))
        total += term
        j += 1
    return order * math.log(x / 2) - math.lgamma(order + 1) + math.log(total)


@lru_cache(maxsize=32)
def cosine_table(dim: int, kappa: float, cells: int = CELLS) -> Tensor:
    r"""So many equally likely cosines to μ, float64, ascending: what `rsample` draws from.

    The density $e^{\kappa w}(1-w^2)^{(d-3)/2}$ is summed over equal cells of [−1, 1] at their midpoints, and the sum is
    inverted, linearly inside a cell.
    """
    edges = np.linspace(-1, 1, cells + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    logs = kappa * middles + (dim - 3) / 2 * np.log1p(-(middles**2))
    below = np.concatenate([[0.0], np.cumsum(np.exp(logs - logs.max()))])
    shares = (np.arange(cells) + 0.5) / cells
    return torch.from_numpy(np.interp(shares, below / below[-1], edges))


def _checked(dim: int, concentration: float) -> tuple[int, float]:
    return check_integer("dim", dim, at_least=2), check_number("concentration", concentration, above=0, below=math.inf)
