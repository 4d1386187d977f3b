"""Samplers on a normal target: the chain is linear, so what comes out is normal with known moments."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from gezhi._checks import invalid
from gezhi.diffusion.denoiser import Prediction
from gezhi.diffusion.gaussian_mixture.mixture import GaussianMixture
from gezhi.diffusion.sampler import Variance
from gezhi.diffusion.schedule import NoiseSchedule
from gezhi.diffusion.timesteps import chain


def gaussian_chain(
    target: GaussianMixture,
    schedule: NoiseSchedule,
    times: Sequence[int | float] | Tensor,
    eta: float,
    variance: Variance,
    *,
    last_noise: bool = False,
) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    r"""Mean and variances of what `ancestral(eta, variance)` makes of a normal target with the exact model.

    $$m_s=\kappa m_t+\gamma\big(\mu+G(m_t-\bar\alpha_t\mu)\big),\quad v_s=(\kappa+\gamma G)^2v_t+V,\quad
      G=\frac{\bar\alpha_t\lambda}{\bar\alpha_t^2\lambda+\bar\beta_t^2}$$

    Args:
        target: one component with a diagonal covariance.
        schedule, times, eta, variance: of the sampler.
        last_noise: add noise at the step to 0 as well, which samplers do not.
    Errors: ValueError for a mixture of several.
    """
    if len(target.means) != 1 or target.axes is not None:
        raise invalid("target", "be one normal with a diagonal covariance", f"{len(target.means)} components")
    mu, lam = target.means[0], target.variances[0]
    mean, spread = torch.zeros_like(mu), torch.full_like(mu, schedule.prior_std**2)
    walk = chain(times, schedule.steps)
    for t, s in pairwise(walk):
        c = schedule.step(s, t, eta)
        total = c.signal_t**2 * lam + c.noise_t**2
        gain = c.signal_t * lam / total
        predicted = mu + gain * (mean - c.signal_t * mu)
        added = variance(t, s, c, Prediction(predicted[None], (lam * c.noise_t**2 / total)[None]))
        added = torch.as_tensor(added, dtype=torch.float64).reshape(-1) if s > 0 or last_noise else torch.zeros(1)
        mean = c.kappa * mean + c.gamma * predicted
        spread = (c.kappa + c.gamma * gain) ** 2 * spread + added
    return mean, spread


def gaussian_kl(
    mean: Float[Tensor, " d"], variances: Float[Tensor, " d"], other_mean: Tensor, other_variances: Tensor
) -> float:
    """KL divergence in nats of one normal with independent entries from another."""
    ratio = variances / other_variances
    return float(0.5 * (ratio - 1 - ratio.log() + (mean - other_mean) ** 2 / other_variances).sum())


def gaussian_w2(
    mean: Float[Tensor, " d"], variances: Float[Tensor, " d"], other_mean: Tensor, other_variances: Tensor
) -> float:
    """Wasserstein distance W₂ between normals with independent entries."""
    return float(((mean - other_mean) ** 2 + (variances.sqrt() - other_variances.sqrt()) ** 2).sum().sqrt())


def frechet_distance(
    mean: Float[Tensor, " d"], covariance: Float[Tensor, "d d"], other_mean: Tensor, other_covariance: Tensor
) -> float:
    r"""Squared W₂ between normals: $|\Delta m|^2+\mathrm{tr}\big(C_1+C_2-2(C_1C_2)^{1/2}\big)$."""
    values, axes = torch.linalg.eigh(covariance)
    half = axes * values.clamp(min=0).sqrt() @ axes.mT
    cross = torch.linalg.eigvalsh(half @ other_covariance @ half).clamp(min=0).sqrt().sum()
    gap = ((mean - other_mean) ** 2).sum()
    return float(gap + covariance.trace() + other_covariance.trace() - 2 * cross)
