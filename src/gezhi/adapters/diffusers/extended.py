"""Extended Analytic-DPM as a scheduler: the network says in half of its channels how unsure it is of each entry."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from gezhi._checks import invalid
from gezhi.adapters.diffusers.ancestral import AncestralScheduler
from gezhi.diffusion.denoiser import Prediction, convert_prediction
from gezhi.diffusion.extended_analytic_dpm import HeadVariance
from gezhi.diffusion.extended_analytic_dpm.head import MANY
from gezhi.diffusion.sampler import Variance


class ExtendedAnalyticDPMScheduler(AncestralScheduler):
    r"""SN-DPM and NPR-DPM: $V=\sigma^2+\gamma^2c$ with a variance c for each entry of each state.

    The network returns twice the channels of a sample (`UNetWithVariance` does): its prediction, then

    - `variance_type="residual"` (NPR): $g=E[(\varepsilon-\epsilon_\theta)^2\mid x_t]$, $c=\rho^2g$, right for the mean
      that is in use;
    - `variance_type="second_moment"` (SN): $h=E[\varepsilon^2\mid x_t]$, $c=\rho^2(h-\epsilon_\theta^2)$, right for a
      perfect mean.

    c is clipped to [0, r²] for data in ±r where `clip_sample` is set with that range, else at 0 alone. The other
    arguments are those of `AncestralScheduler`.

    Errors: ValueError for a network without the second half, and at a timestep where no signal is left.
    Warns: UserWarning once, after the last step, where more than a tenth of the variances of a step were negative.
    References: F. Bao et al., Estimating the Optimal Covariance with Imperfect Mean in Diffusion Probabilistic Models,
        2022.
    """

    __module__ = "gezhi.adapters.diffusers"
    VARIANCES: ClassVar[tuple[str, ...]] = ("residual", "second_moment")

    _warned = False

    def _prediction(self, model_output: Tensor, sample: Tensor, t: int) -> Prediction:
        channels = sample.shape[1]
        wanted = (len(sample), 2 * channels, *sample.shape[2:])
        if tuple(model_output.shape) != wanted:
            fix = "Take UNetWithVariance, or AnalyticDPMScheduler, which needs no second half."
            raise invalid(
                "model_output", f"have twice the channels of sample, {wanted}", tuple(model_output.shape), fix
            )
        output, second = model_output[:, :channels], model_output[:, channels:]
        wide = torch.promote_types(sample.dtype, torch.float32)
        x, raw, second = sample.to(wide), output.to(wide), second.to(wide)
        signal, noise = self.noise_schedule.signal(t), self.noise_schedule.noise(t)
        if signal == 0:
            raise invalid("timestep", "leave some signal, from which the variance is scaled", f"{t - 1}, where ᾱ = 0")
        kind = self.config.prediction_type
        mean = super()._prediction(output, sample, t).mean
        if self.variance_type == "second_moment":
            second = second - convert_prediction(raw, x, self.noise_schedule, t, source=kind, target="epsilon") ** 2
        self._negative[t] = (second < 0).double().mean()
        reach = self.config.clip_sample_range if self.config.clip_sample else math.inf
        return Prediction(mean, ((noise / signal) ** 2 * second).clamp(min=0.0, max=reach**2))

    def _plain_variance(self) -> Variance:
        return HeadVariance()

    def _walk(self, timesteps: Sequence[int]) -> None:
        super()._walk(timesteps)
        self._negative: dict[int, Tensor] = {}

    def _watch(self, t: int, previous: Tensor) -> None:
        super()._watch(t, previous)
        if self._next[t] == 0:
            share = max(float(value) for value in self._negative.values())
            self._negative = {}
            if share > MANY and not self._warned:
                self._warned = True
                words = f"{share:.0%} of the head's variances are negative at a step and count as 0"
                warnings.warn(words, UserWarning, stacklevel=3)
