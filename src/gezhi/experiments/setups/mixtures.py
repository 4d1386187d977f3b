"""Targets whose best network is known, so that the sampler is the only source of error, and what samplers make of them.

NORMAL, LINE, plane(), digits()                # four entries; one entry, three components; two entries; 64 entries
variance = AnalyticVariance(statistics(LINE, times))
errors(times, eta, variance)                   # of a sampler on LINE, without random numbers
DIGITS.errors(x)                               # of samples of smoothed digits
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import torch
from torch import Tensor

from gezhi.diffusion.analytic_dpm import VarianceStats
from gezhi.diffusion.gaussian_mixture import (
    GaussianMixture,
    entropy,
    frechet_distance,
    gaussian_chain,
    gaussian_kl,
    gaussian_w2,
    mixture_quantile,
    nelbo,
    output_density,
)
from gezhi.diffusion.probability_flow import time_grid
from gezhi.diffusion.sampler import Step, Variance, sample
from gezhi.diffusion.schedule import NoiseSchedule
from gezhi.diffusion.timesteps import timestep_subsequence
from gezhi.experiments.setups.views import digits as pictures

LINEAR, EXP = NoiseSchedule.linear(), NoiseSchedule.su_exp()
NORMAL = GaussianMixture([1.0], [[1, -0.5, 0, 0.3]], [[4, 1, 0.25, 0.01]])
LINE = GaussianMixture([0.35, 0.45, 0.20], [[-1.5], [0.4], [2.0]], [[0.2**2], [0.35**2], [0.15**2]])


def steps(count: int) -> list[int]:
    """So many of the 1000 times, evenly."""
    found: list[int] = timestep_subsequence(LINEAR.steps, count).tolist()
    return found


Spacing = Literal["time", "logsnr"]


@dataclass(frozen=True)
class Wave:
    """An error of a network that predicts the noise, `height` times sin 3x."""

    height: float

    def __call__(self, x: Tensor) -> Tensor:
        return self.height * (3 * x).sin()


@lru_cache(maxsize=8)
def statistics(
    target: GaussianMixture, times: tuple[int, ...], error: Wave | None = None, method: str = "direct"
) -> VarianceStats:
    """The expectations that `estimate_x0_variance` estimates, of a target with one entry, by quadrature."""
    x = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    x0_var, ms_eps = (torch.full((LINEAR.steps + 1,), math.nan, dtype=torch.float64) for _ in range(2))
    model = target.denoiser(LINEAR, error=error)
    for t in times:
        signal, noise = LINEAR.signal(t), LINEAR.noise(t)
        density = target.log_prob(x[:, None], signal, noise).exp()
        mean, residual = model(x[:, None], t)
        assert residual is not None
        ms_eps[t] = torch.trapezoid(density * ((x - signal * mean[:, 0]) / noise) ** 2, x)
        direct = torch.trapezoid(density * residual[:, 0], x)
        x0_var[t] = direct if method == "direct" else (noise / signal) ** 2 * (1 - ms_eps[t])
    blank = torch.full_like(ms_eps, math.nan)
    return VarianceStats(x0_var.clamp(min=0), ms_eps, ms_eps, blank, LINEAR.signals, 1, method)


def errors(times: Sequence[int], eta: float, variance: Variance) -> dict[str, float]:
    """Distances of what a sampler makes of `LINE` from it."""
    found = output_density(LINE.denoiser(LINEAR), times, eta, variance)
    return {"W2": found.w2(LINE), "JS": found.js(LINE), "KL": found.kl(LINE)}


def excess_bound(times: Sequence[int], variance: Variance) -> float:
    """How far the likelihood bound of a chain lies above the entropy of `LINE`, in nats."""
    return nelbo(LINE.denoiser(LINEAR), times, variance) - entropy(LINE)


@lru_cache(maxsize=4)
def quantiles(count: int) -> tuple[Tensor, Tensor]:
    """States of `LINE` at T under `EXP`, even in probability, and what the exact flow makes of them."""
    level = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    start = mixture_quantile(LINE, level, EXP.signal(EXP.steps), EXP.noise(EXP.steps))
    return start[:, None], mixture_quantile(LINE, level)[:, None]


def flow_error(step: Step, calls: int, spacing: Spacing = "time", calls_per_step: int = 1) -> float:
    """Root mean square distance of a solver from the exact flow, with so many calls of the exact model; it is W2 too."""
    start, exact = quantiles(4001)
    grid = time_grid(EXP, calls, spacing, calls_per_step=calls_per_step)
    return float((sample(LINE.denoiser(EXP), start, grid, step) - exact).square().mean().sqrt())


def normal_errors(times: Sequence[int], eta: float, variance: Variance) -> dict[str, float]:
    """The same of `NORMAL`, in closed form; KL of the data from the sampler."""
    mean, spread = gaussian_chain(NORMAL, LINEAR, times, eta, variance)
    mu, lam = NORMAL.means[0], NORMAL.variances[0]
    return {"W2": gaussian_w2(mean, spread, mu, lam), "KL": gaussian_kl(mu, lam, mean, spread)}


def plane() -> GaussianMixture:
    """Two entries, three components that are long and thin in different directions."""
    matrices = []
    for angle, spread in zip((0.6, -0.9, 1.3), ((0.5, 0.01), (0.4, 0.02), (0.3, 0.005)), strict=True):
        c, s = math.cos(angle), math.sin(angle)
        turn = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
        matrices.append(turn @ torch.diag(torch.tensor(spread, dtype=torch.float64)) @ turn.T)
    return GaussianMixture([0.4, 0.35, 0.25], [[-1.5, -0.5], [1.2, 1.0], [0.6, -1.6]], torch.stack(matrices))


class Digits:
    """scikit-learn's 1797 digits in [-1, 1], each smoothed by a normal of standard deviation 0.15."""

    SMOOTH = 0.15

    @cached_property
    def target(self) -> GaussianMixture:
        images = torch.from_numpy(pictures().images).double().flatten(1) * 2 - 1
        return GaussianMixture(torch.ones(len(images)), images, self.SMOOTH**2)

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        return self.target.mean(), self.target.covariance()

    @cached_property
    def entropy(self) -> float:
        """In nats, from samples; the same ones for all."""
        return -float(self.target.log_prob(self.target.sample(4000, torch.Generator().manual_seed(0))).mean())

    def errors(self, x: Tensor) -> dict[str, float]:
        """Of samples (rows, 64): the Fréchet distance to the exact moments; the cross-entropy above the entropy, which
        is negative where samples are too smooth and positive where they are noisy; the sum of the variances."""
        covariance = torch.cov(x.T)
        return {
            "distance": frechet_distance(x.mean(0), covariance, *self.moments),
            "excess": -float(self.target.log_prob(x).mean()) - self.entropy,
            "total variance": float(covariance.trace()),
        }


DIGITS = Digits()
