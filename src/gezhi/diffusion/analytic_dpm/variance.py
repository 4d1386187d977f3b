"""The best variance of a step that is the same for all states, its cap near the data, and its bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from gezhi._checks import check_number, invalid
from gezhi.diffusion.analytic_dpm.statistics import VarianceStats, largest_variance
from gezhi.diffusion.denoiser import Prediction
from gezhi.diffusion.sampler import Variance
from gezhi.diffusion.schedule import NoiseSchedule, StepCoefficients


@dataclass(frozen=True)
class AnalyticVariance:
    r"""The best variance that is the same for all states: $V=\sigma^2+\gamma^2\bar\sigma_t^2$, for `ancestral`.

    It adds noise even at η = 0, since replacing x₀ by its mean loses the spread of x₀ given the state.

    Args:
        stats: from `estimate_x0_variance`, at the times of the sampler; per entry where they were taken per entry.
    Errors: KeyError for a time without statistics; ValueError for those of another schedule or another shape.
    Example:
        >>> from gezhi.diffusion import GaussianMixture, NoiseSchedule, ancestral, sample
        >>> bed = GaussianMixture([1.0], [[0.0]], [[0.25]])
        >>> model, draw = bed.denoiser(NoiseSchedule.linear()), torch.Generator().manual_seed(0)
        >>> stats = estimate_x0_variance(model, bed.sample(500, draw), [1, 500, 1000], generator=draw)
        >>> step = ancestral(1.0, AnalyticVariance(stats))
        >>> out = sample(model, torch.randn(2000, 1, generator=draw), [1, 500, 1000], step, generator=draw)
        >>> round(float(out.std()), 1)  # three steps; the data have 0.5
        0.5

    References: F. Bao, C. Li, J. Zhu and B. Zhang, Analytic-DPM, 2022; 苏剑林, 生成扩散模型漫谈(七).
    """

    stats: VarianceStats

    def __call__(
        self, t: int | float, s: int | float, coefficients: StepCoefficients, prediction: Prediction
    ) -> float | Tensor:
        self.stats.fit(prediction.mean)
        self.stats.require([t if float(t).is_integer() else -1])  # type: ignore[list-item]
        signal = float(self.stats.signals[int(t)])
        if abs(signal - coefficients.signal_t) > 1e-6:
            found = f"ᾱ={signal:g} at t={t}, where the sampler has {coefficients.signal_t:g}"
            raise invalid("stats", "belong to the sampler's schedule", found)
        added = self.stats.x0_var[int(t)]
        if not added.ndim:
            return coefficients.sigma2 + coefficients.gamma**2 * float(added)  # (3)
        like = prediction.mean
        if added.shape != like.shape[1:]:
            found = f"{tuple(added.shape)}, where samples have {tuple(like.shape[1:])}"
            raise invalid("stats", "be one number a time, or of the shape of a sample", found)
        return (coefficients.sigma2 + coefficients.gamma**2 * added).to(like.device, like.dtype)[None]


@dataclass(frozen=True)
class _Capped:
    variance: Variance
    at: int | float
    std: float

    def __call__(
        self, t: int | float, s: int | float, coefficients: StepCoefficients, prediction: Prediction
    ) -> float | Tensor:
        found = self.variance(t, s, coefficients, prediction)
        if s != self.at:
            return found
        return found.clamp(max=self.std**2) if isinstance(found, Tensor) else min(found, self.std**2)


def capped(variance: Variance, at: int | float, std: float) -> Variance:
    """A variance whose standard deviation is at most `std` at the step that ends in the time `at`.

    The paper's trick for images: `capped(AnalyticVariance(stats), at=times[0], std=first_step_clip(2))`.
    """
    check_number("std", std, at_least=0)
    return _Capped(variance, at, std)


def first_step_clip(pixel_levels: float) -> float:
    r"""Standard deviation of noise in [-1, 1] that moves a pixel by so many of 256 grey levels on average.

    $$\frac{2y}{255}\sqrt{\frac\pi2}$$

    Args:
        pixel_levels: y ≥ 0; the paper takes 2 with DDPM's mean and 1 with DDIM's.
    """
    return 2 * check_number("pixel_levels", pixel_levels, at_least=0) / 255 * math.sqrt(math.pi / 2)  # (10)


def optimal_variance_bounds(
    schedule: NoiseSchedule, s: int, t: int, eta: float, data_range: tuple[float, float] | None = None
) -> tuple[float, float]:
    r"""Between these lies the best variance of the step from t to s, whatever the data.

    $$\sigma^2\le V\le\sigma^2+\gamma^2\rho_t^2,\qquad V\le\sigma^2+\gamma^2\Big(\frac{b-a}2\Big)^2
      \text{ for data in }[a,b]$$
    """
    c = schedule.step(s, t, eta)
    spread = min((c.noise_t / c.signal_t) ** 2 if c.signal_t else math.inf, largest_variance(data_range))
    return c.sigma2, c.sigma2 + c.gamma**2 * spread  # (8)
