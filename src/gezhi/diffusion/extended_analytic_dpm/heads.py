"""Heads that predict a second moment of the noise, or of the error of its prediction, for each entry of a state."""

from __future__ import annotations

import math
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from gezhi._checks import check_choice, check_integer, invalid
from gezhi.diffusion.analytic_dpm.statistics import VarianceStats
from gezhi.diffusion.extended_analytic_dpm.head import Head
from gezhi.diffusion.levels import Time
from gezhi.diffusion.schedule import NoiseSchedule

SHIFT = math.log(math.e - 1)  # softplus(SHIFT) = 1


class SecondMomentHead(Head):
    r"""SN: predicts $h=E[\varepsilon^2\mid x_t]$, from which the variance follows if the mean is perfect.

    $$c=\rho^2(h-\epsilon_\theta^2)$$

    An error of the mean enters c in first order and may make it negative; it is clipped at 0.

    Args:
        features: width of the features; out: entries (channels) of the data.
        kernel_size: None for features (batch, width); an odd number for (batch, channels, height, width).
        data_range: (a, b) of the data, which bounds c by ((b - a)/2)²; None: at 0 only.
    References: F. Bao et al., Estimating the Optimal Covariance with Imperfect Mean in Diffusion Probabilistic Models,
        2022 (SN-DDPM); 苏剑林, 生成扩散模型漫谈(八).
    """

    def __init__(
        self,
        features: int,
        out: int,
        *,
        kernel_size: int | None = None,
        data_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(features, out, kernel_size=kernel_size, data_range=data_range)

    def forward(self, features: Tensor, t: Time, like: Tensor) -> Tensor:
        """h, which starts at 1, its mean at every time."""
        return 1 + self.output(features, like)

    def x0_variance(self, schedule: NoiseSchedule, t: Time, eps: Tensor, features: Tensor) -> Tensor:
        """c, clipped: the variance of each entry of x₀ given the state."""
        self.belongs_to(schedule)
        h: Tensor = self(features, t, eps)
        return self.clip(self.ratio2(schedule, t, eps) * (h - eps**2))  # (3)

    def loss(self, features: Tensor, t: Int[Tensor, " batch"], eps: Tensor, noise: Tensor) -> Float[Tensor, ""]:
        """Mean squared error against ε²."""
        h: Tensor = self(features, t, eps)
        return ((h - noise.to(eps.dtype) ** 2) ** 2).mean()


class ResidualHead(Head):
    r"""NPR: predicts $g=E[(\varepsilon-\epsilon_\theta)^2\mid x_t]$, the best variance for the mean that is in use.

    $$c=\rho^2g$$

    Args:
        features: width of the features; out: entries (channels) of the data.
        positive: how g comes from the layer's output o. "softplus": softplus, shifted to start at 1; "exp": $e^o$, with
            the loss $\frac12(o+r^2e^{-o})$ that has the same minimum; "linear": o itself, as in the official code,
            which may be negative; "relative": $r_t\,\mathrm{softplus}$ with the mean $r_t$ of each time, so that
            training starts at the direct estimate of `analytic_dpm` and sees small values too.
        stats: for "relative": statistics at every time 1..T.
        kernel_size: None for features (batch, width); an odd number for (batch, channels, height, width).
        data_range: (a, b) of the data, which bounds c by ((b - a)/2)²; None: at 0 only.
    Errors: ValueError for "relative" without a residual at every time.
    References: F. Bao et al., Estimating the Optimal Covariance with Imperfect Mean in Diffusion Probabilistic Models,
        2022 (NPR-DDPM); 苏剑林, 生成扩散模型漫谈(八). "relative" is ours.
    """

    scale: Tensor | None

    def __init__(
        self,
        features: int,
        out: int,
        *,
        positive: Literal["softplus", "exp", "linear", "relative"] = "softplus",
        stats: VarianceStats | None = None,
        kernel_size: int | None = None,
        data_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(features, out, kernel_size=kernel_size, data_range=data_range)
        check_choice("positive", positive, ("softplus", "exp", "linear", "relative"))
        self.positive = positive
        scale = None
        if positive == "relative":
            if stats is None or not (stats.residual[1:].isfinite() & (stats.residual[1:] > 0)).all():
                found = "none" if stats is None else f"{int((~stats.residual[1:].isfinite()).sum())} times without one"
                raise invalid("stats", "have a positive residual at every time for positive='relative'", found)
            scale = stats.residual.clone()
            scale[0] = 1.0
        self.register_buffer("scale", scale)

    def forward(self, features: Tensor, t: Time, like: Tensor) -> Tensor:
        """g."""
        raw = self.output(features, like)
        if self.positive == "linear":
            return raw
        if self.positive == "exp":
            return raw.exp()
        return nn.functional.softplus(raw + SHIFT) * self._scale(t, like)  # (8)

    def _scale(self, t: Time, like: Tensor) -> float | Tensor:
        if self.scale is None:
            return 1.0
        if not isinstance(t, Tensor):
            return float(self.scale[check_integer("t", t)])
        return self.scale[t].to(like.dtype).reshape((-1,) + (1,) * (like.ndim - 1))

    def x0_variance(self, schedule: NoiseSchedule, t: Time, eps: Tensor, features: Tensor) -> Tensor:
        """c, clipped: the mean squared error of each entry of x̂₀ given the state."""
        self.belongs_to(schedule)
        return self.clip(self.ratio2(schedule, t, eps) * self(features, t, eps))  # (5)

    def loss(self, features: Tensor, t: Int[Tensor, " batch"], eps: Tensor, noise: Tensor) -> Float[Tensor, ""]:
        """Mean squared error against (ε - ε_θ)²; for "exp" the normal likelihood, for "relative" in units of r_t."""
        wanted = (noise.to(eps.dtype) - eps) ** 2
        if self.positive == "exp":
            raw = self.output(features, eps)
            return 0.5 * (raw + wanted * (-raw).exp()).mean()  # (7)
        g: Tensor = self(features, t, eps)
        return (((g - wanted) / self._scale(t, eps)) ** 2).mean()
