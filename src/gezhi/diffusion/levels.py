r"""Signal and noise as functions of time: tables over the steps of a chain, and what lies between them.

Notation: $\bar\alpha_t$ = `signal(t)`, $\bar\beta_t$ = `noise(t)`, $\lambda_t$ = `half_log_snr(t)`,
$\rho_t$ = `sigma(t)`; $f$ = `drift(t)`, $g^2$ = `diffusion_sq(t)` per unit of u = t / T.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import overload

import torch
from jaxtyping import Float
from scipy.optimize import brentq
from torch import Tensor

from gezhi._checks import check_number, invalid
from gezhi.diffusion import continuous
from gezhi.diffusion.continuous import Process

ROUNDING = 1e-12
Time = int | float | Tensor


class Levels:
    """The part of a `NoiseSchedule` that knows how much signal and noise a state holds at each time."""

    def __init__(self, log_signal: Tensor, noise: Tensor | None = None, process: Process | None = None) -> None:
        self.preserving = noise is None
        self.process = process
        self.log_signals = log_signal.to("cpu", torch.float64)
        self.signals = self.log_signals.exp()
        self.noises = continuous.preserving_noise(self.log_signals) if noise is None else noise.to("cpu", torch.float64)
        _check_tables(self.signals, self.noises)

    @property
    def steps(self) -> int:
        """T, the number of steps of the full chain."""
        return len(self.signals) - 1

    @property
    def prior_std(self) -> float:
        """Standard deviation of the states that a chain starts from: 1, or β̄_T where the noise explodes."""
        return float(self.noises[-1]) if float(self.signals[-1]) == 1.0 else 1.0

    @overload
    def signal(self, t: int | float) -> float: ...
    @overload
    def signal(self, t: Tensor) -> Tensor: ...
    def signal(self, t: Time) -> float | Tensor:
        """ᾱ, the factor of the clean sample, in [0, 1]."""
        return self._value(t, self.signals, lambda process, u: process.log_signal(u).exp())

    @overload
    def noise(self, t: int | float) -> float: ...
    @overload
    def noise(self, t: Tensor) -> Tensor: ...
    def noise(self, t: Time) -> float | Tensor:
        """β̄, the standard deviation of the noise."""
        return self._value(t, self.noises, lambda process, u: process.noise(u))

    @overload
    def half_log_snr(self, t: int | float) -> float: ...
    @overload
    def half_log_snr(self, t: Tensor) -> Tensor: ...
    def half_log_snr(self, t: Time) -> float | Tensor:
        """λ = log(ᾱ / β̄), which falls with t from inf at 0."""
        table = self.log_signals - self.noises.log()
        return self._value(t, table, lambda process, u: process.log_signal(u) - process.noise(u).log())

    @overload
    def sigma(self, t: int | float) -> float: ...
    @overload
    def sigma(self, t: Tensor) -> Tensor: ...
    def sigma(self, t: Time) -> float | Tensor:
        """ρ = β̄ / ᾱ, the noise of x / ᾱ (EDM's σ)."""
        table = self.noises / self.signals
        return self._value(t, table, lambda process, u: process.noise(u) / process.log_signal(u).exp())

    def drift(self, t: int | float) -> float:
        r"""$f=\frac{d\log\bar\alpha}{du}$ per unit of u = t / T; continuous schedules only."""
        return self._rate(t, lambda process, u: process.drift(u))

    def diffusion_sq(self, t: int | float) -> float:
        r"""$g^2=\bar\alpha^2\frac{d}{du}\frac{\bar\beta^2}{\bar\alpha^2}$ per unit of u; continuous schedules only."""
        return self._rate(t, lambda process, u: process.diffusion_sq(u))

    def time_at(self, half_log_snr: float) -> float:
        """The time of a given λ; continuous schedules only. The inverse of `half_log_snr`."""
        process = self._continuous()

        def gap(u: float) -> float:
            at = torch.tensor(u, dtype=torch.float64)
            return float(process.log_signal(at) - process.noise(at).log()) - half_log_snr

        low, high = 1e-12, 1.0
        if not gap(high) <= 0 <= gap(low):
            span = f"{gap(high) + half_log_snr:g} to {gap(low) + half_log_snr:g}"
            if abs(gap(high)) < ROUNDING:
                return float(self.steps)
            raise invalid("half_log_snr", f"lie within {span}", half_log_snr)
        return float(brentq(gap, low, high, xtol=1e-15, rtol=1e-14)) * self.steps

    def signature(self) -> Float[Tensor, " marks"]:
        """Seven numbers that tell schedules apart: T, ᾱ and β̄ at a third, two thirds and the end."""
        marks = torch.tensor([max(self.steps // 3, 1), max(2 * self.steps // 3, 1), self.steps])
        return torch.cat([torch.tensor([float(self.steps)]).double(), self.signals[marks], self.noises[marks]])

    def _value(self, t: Time, table: Tensor, function: Callable[[Process, Tensor], Tensor]) -> float | Tensor:
        if isinstance(t, Tensor):
            if not t.is_floating_point():
                return table.to(t.device)[t]
            return function(self._continuous(), t.double() / self.steps)
        check_number("t", t, at_least=0, at_most=self.steps)
        if float(t).is_integer():
            return float(table[int(t)])
        return float(function(self._continuous(), torch.tensor(t / self.steps, dtype=torch.float64)))

    def _rate(self, t: int | float, function: Callable[[Process, Tensor], Tensor]) -> float:
        check_number("t", t, at_least=0, at_most=self.steps)
        return float(function(self._continuous(), torch.tensor(t / self.steps, dtype=torch.float64)))

    def _continuous(self) -> Process:
        if self.process is None:
            fix = "Take su_exp, vp_sde, sub_vp or ve where times lie between steps."
            raise invalid("schedule", "be continuous in time here", "a table of steps", fix)
        return self.process


def _check_tables(signals: Tensor, noises: Tensor) -> None:
    if signals.shape != noises.shape or signals.ndim != 1 or len(signals) < 2:
        raise invalid("log_signal and noise", "be tables over 0..T", f"{tuple(signals.shape)}, {tuple(noises.shape)}")
    if float(signals[0]) != 1.0 or float(noises[0]) != 0.0:
        found = f"ᾱ={float(signals[0]):g}, β̄={float(noises[0]):g}"
        raise invalid("log_signal and noise", "begin with the data, ᾱ=1 and β̄=0", found)
    ratio = noises / signals
    if not (signals.diff() <= 0).all() or not (ratio.diff() > 0).all():
        raise invalid("log_signal and noise", "go from data to noise", "a table that is not monotone")
