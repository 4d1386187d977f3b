"""Where the codes of a model lie: their region against the prior, its holes, dead dimensions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gezhi._checks import check_integer, check_number, invalid
from gezhi.vae.vae_geometry.model import VAE

FLOOR = 1e-12  # eigenvalues below count as this: a flat region is infinitely far from the prior


@dataclass(frozen=True)
class LatentReport:
    r"""The codes of a data set.

    Attributes:
        means, variances: of each sample's code, (rows, d); variances are 0 without noise.
        mean, covariance: of the aggregated posterior: $\bar\mu$ and
            $\mathrm{Cov}(\mu)+\mathrm{diag}(\overline{\sigma^2})$.
        moment_kl: its divergence from the prior as far as first and second moments tell, in nats.
        flat_dims: directions in which the region has no extent; `moment_kl` is then finite by a floor alone.
        kl_per_dim: (d,), mean over rows; infinite without noise.
        active: which dimensions' means vary by more than 0.01.
    """

    means: Tensor
    variances: Tensor
    mean: Tensor
    covariance: Tensor
    moment_kl: float
    flat_dims: int
    kl_per_dim: Tensor
    active: Tensor

    @property
    def active_units(self) -> int:
        return int(self.active.sum())

    def coverage(self, radius: float = 1.0, draws: int = 10_000, *, generator: torch.Generator | None = None) -> float:
        """Share of the prior's mass inside the codes' ellipses; see `coverage`."""
        return coverage(self.means, self.variances.sqrt(), radius, draws, generator=generator)

    def nearest(self) -> Tensor:
        """Distance of each code's mean to the nearest other; large ones are outlying codes. Cost: O(rows² d)."""
        distances = torch.cdist(self.means, self.means)
        return distances.fill_diagonal_(torch.inf).amin(1)


@torch.no_grad()
def latent_report(model: VAE, loader: Iterable[Any]) -> LatentReport:
    """One pass over batches of samples; of tuples the first entry is taken. The model is put into evaluation mode.

    Cost: O(rows d²), and the codes of all rows in memory.
    """
    training, laws = model.training, []
    model.eval()
    try:
        for batch in loader:
            laws.append(model.law(batch[0] if isinstance(batch, tuple | list) else batch))
    finally:
        model.train(training)
    if not laws:
        raise invalid("loader", "give at least one batch", "none")
    means = torch.cat([law.mean for law in laws]).double()
    variances = torch.cat([law.log_variance for law in laws]).double().exp()
    mean = means.mean(0)
    covariance = torch.cov(means.T, correction=0).view(len(mean), -1) + variances.mean(0).diag()
    kl = torch.cat([law.kl() if variances.any() else torch.full_like(law.mean, torch.inf) for law in laws]).double()
    flat = int((torch.linalg.eigvalsh(covariance) <= FLOOR).sum())
    active = means.var(0, correction=0) > 0.01
    found = moment_kl(mean, covariance)
    return LatentReport(means, variances, mean, covariance, found, flat, kl.mean(0), active)


def moment_kl(mean: Tensor, covariance: Tensor) -> float:
    r"""$\frac12(\mathrm{tr}S+m^\top m-d-\log\det S)$: divergence of a normal law from the standard one, in nats.

    Args:
        mean: m, (d,).
        covariance: S, (d, d); eigenvalues below 1e-12 count as that, so that a flat S gives a large number, not NaN.
    """
    if covariance.shape != (len(mean), len(mean)):
        raise invalid("covariance", f"have shape {(len(mean), len(mean))}", tuple(covariance.shape))
    values = torch.linalg.eigvalsh(covariance.double()).clamp(min=FLOOR)
    return float((values - values.log() - 1).sum() + mean.double().square().sum()) / 2  # (4)


def coverage(
    means: Tensor,
    deviations: Tensor,
    radius: float = 1.0,
    draws: int = 10_000,
    *,
    generator: torch.Generator | None = None,
) -> float:
    r"""Share of standard normal draws that lie in one of the ellipses $\sum_j(z_j-\mu_{ij})^2/\sigma_{ij}^2\le r^2$.

    Args:
        means, deviations: (rows, d); deviations ≥ 0.
        radius: r ≥ 0, in standard deviations.
        draws: of the estimate, whose standard error is at most ½ / √draws.
        generator: of the draws; by default one with the seed 0, so that the estimate is the same every time.
    Cost: O(draws · rows · d), in blocks.
    """
    check_number("radius", radius, at_least=0)
    if means.shape != deviations.shape or not (deviations >= 0).all():
        raise invalid("deviations", "be at least 0, one for each mean", f"shape {tuple(deviations.shape)}")
    points = torch.empty(check_integer("draws", draws, at_least=1), means.shape[1], dtype=means.dtype)
    points.normal_(generator=generator or torch.Generator().manual_seed(0))
    # (z - μ)² / σ² as three matrix products; a deviation of 0 holds nothing but its own point.
    weights = deviations.clamp(min=1e-30).double().square().reciprocal()
    centres, inside = means.double(), 0
    for block in torch.split(points.double(), max(1, 10_000_000 // len(means))):
        apart = block.square() @ weights.T - 2 * block @ (weights * centres).T + (weights * centres.square()).sum(1)
        inside += int((apart.amin(1) <= radius**2).sum())
    return inside / draws
