r"""The noise schedule: how much signal and how much noise a state holds at each time, and what a step needs of it.

Notation: $\bar\alpha_t$ = `signal(t)` (diffusers' `alphas_cumprod` is its square), $\bar\beta_t$ = `noise(t)`,
$x_t=\bar\alpha_tx_0+\bar\beta_t\varepsilon$, t = 0..T with t = 0 the data; $\lambda_t$ = `half_log_snr(t)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gezhi._checks import check_integer, check_number, invalid
from gezhi.diffusion import continuous
from gezhi.diffusion.continuous import Process
from gezhi.diffusion.levels import ROUNDING, Levels


@dataclass(frozen=True)
class StepCoefficients:
    r"""What a step from t to s needs: $p(x_s\mid x_t,x_0)=\mathcal N(\kappa x_t+\gamma x_0,\sigma^2I)$.

    Attributes:
        kappa, gamma: factors of the state and of the clean sample.
        sigma2: σ², the variance of that step, from 0 (η = 0) to the small variance of DDPM (η = 1).
        beta2: the large variance, $\beta_{t|s}^2=\bar\beta_t^2-(\bar\alpha_t/\bar\alpha_s)^2\bar\beta_s^2$.
        signal_s, noise_s, signal_t, noise_t: ᾱ and β̄ at both ends.
    """

    kappa: float
    gamma: float
    sigma2: float
    beta2: float
    signal_s: float
    noise_s: float
    signal_t: float
    noise_t: float


class NoiseSchedule(Levels):
    r"""Signal and noise at every time, in float64, as tables over t = 0..T and, where the source is, as functions of t.

    $$x_t=\bar\alpha_tx_0+\bar\beta_t\varepsilon,\qquad\bar\alpha_0=1,\ \bar\beta_0=0$$

    Made by one of the class methods. Times are integers 0..T; continuous schedules (`su_exp`, `vp_sde`, `sub_vp`, `ve`)
    also take floats, with u = t / T. A number gives a float, a tensor of times gives a float64 tensor on its device.

    Args:
        log_signal: log ᾱ at t = 0..T, from 0 downwards.
        noise: β̄ at t = 0..T, from 0 upwards; None: variance preserving, ᾱ² + β̄² = 1.
        process: the same in continuous time.

    Errors: ValueError for tables that are not monotone or leave (0, 1], for times outside 0..T, and for a time between
        two steps of a schedule that is a table.
    Example:
        >>> schedule = NoiseSchedule.linear()
        >>> round(schedule.signal(500), 6), round(schedule.signal(500) ** 2 + schedule.noise(500) ** 2, 6)
        (0.280334, 1.0)

    References: J. Ho, A. Jain and P. Abbeel, Denoising Diffusion Probabilistic Models, 2020; Y. Song et al.,
        Score-Based Generative Modeling through Stochastic Differential Equations, 2020; 苏剑林,
        生成扩散模型漫谈(四), (五).
    """

    # ---- where schedules come from ----

    @classmethod
    def from_betas(cls, betas: Float[Tensor, " steps"] | list[float]) -> NoiseSchedule:
        r"""From the one-step noise variances of DDPM: $\bar\alpha_t^2=\prod_{i\le t}(1-\beta_i)$; β in (0, 1]."""
        table = torch.as_tensor(betas, dtype=torch.float64)
        if table.ndim != 1 or not len(table):
            raise invalid("betas", "be a sequence with an entry a step", f"shape {tuple(table.shape)}")
        if not ((table > 0) & (table <= 1)).all():
            raise invalid("betas", "lie in (0, 1]", f"{float(table.min()):g} to {float(table.max()):g}")
        return cls(torch.cat([table.new_zeros(1), 0.5 * torch.log1p(-table).cumsum(0)]))

    @classmethod
    def linear(cls, steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> NoiseSchedule:
        """DDPM's: betas from `beta_start` to `beta_end` on a line; the defaults are Ho's, for 1000 steps."""
        steps = check_integer("steps", steps, at_least=1)
        return cls.from_betas(torch.linspace(beta_start, beta_end, steps, dtype=torch.float64))

    @classmethod
    def su_linear(cls, steps: int = 1000) -> NoiseSchedule:
        r"""The article's: $\beta_t^2=0.02\,t/T$."""
        steps = check_integer("steps", steps, at_least=1)
        return cls.from_betas(0.02 * torch.arange(1, steps + 1, dtype=torch.float64) / steps)

    @classmethod
    def cosine(cls, steps: int = 1000, offset: float = 0.008, most: float = 0.999) -> NoiseSchedule:
        r"""Improved DDPM's: ᾱ² falls like $\cos^2\frac{u+c}{1+c}\frac\pi2$, with betas of at most `most`."""
        steps = check_integer("steps", steps, at_least=1)
        u = torch.arange(steps + 1, dtype=torch.float64) / steps
        level = ((u + offset) / (1 + offset) * math.pi / 2).cos() ** 2
        return cls.from_betas((1 - level[1:] / level[:-1]).clamp(max=most))

    @classmethod
    def su_exp(cls, steps: int = 1000) -> NoiseSchedule:
        r"""The article's in continuous time: $\bar\alpha_u=e^{-5u^2}$."""
        return cls._of(continuous.Exponential(), steps, preserving=True)

    @classmethod
    def vp_sde(cls, steps: int = 1000, beta_min: float = 0.1, beta_max: float = 20.0) -> NoiseSchedule:
        r"""Song's VP process: $f=-\frac12\beta(u)$, $g^2=\beta(u)$ with β from `beta_min` to `beta_max` on a line."""
        return cls._of(continuous.VariancePreserving(beta_min, beta_max), steps, preserving=True)

    @classmethod
    def sub_vp(cls, steps: int = 1000, beta_min: float = 0.1, beta_max: float = 20.0) -> NoiseSchedule:
        r"""Song's sub-VP process: the signal of `vp_sde` with $\bar\beta=1-\bar\alpha^2$."""
        return cls._of(continuous.SubVariancePreserving(beta_min, beta_max), steps, preserving=False)

    @classmethod
    def ve(cls, steps: int = 1000, sigma_min: float = 0.01, sigma_max: float = 50.0) -> NoiseSchedule:
        r"""Song's VE process: ᾱ = 1, $\bar\beta_u=\sigma_{min}(\sigma_{max}/\sigma_{min})^u$."""
        check_number("sigma_min", sigma_min, above=0, below=sigma_max)
        return cls._of(continuous.VarianceExploding(sigma_min, sigma_max), steps, preserving=False)

    @classmethod
    def _of(cls, process: Process, steps: int, *, preserving: bool) -> NoiseSchedule:
        steps = check_integer("steps", steps, at_least=1)
        u = torch.arange(steps + 1, dtype=torch.float64) / steps
        return cls(process.log_signal(u), None if preserving else process.noise(u), process)

    @classmethod
    def from_diffusers(cls, scheduler: Any) -> NoiseSchedule:
        """The schedule of a diffusers scheduler. Its index is t - 1, and its `timesteps` + 1 are times here.

        Errors: TypeError for an object without betas; ValueError for schedulers whose states are scaled (those of
            Euler and Heun), since their x is another one.
        """
        if not hasattr(scheduler, "betas"):
            raise invalid("scheduler", "have betas", type(scheduler).__name__, kind=TypeError)
        if float(getattr(scheduler, "init_noise_sigma", 1.0)) != 1.0:
            fix = "Take DDPMScheduler, DDIMScheduler or another variance-preserving one with the same betas."
            raise invalid("scheduler", "keep states at variance 1", type(scheduler).__name__, fix)
        return cls.from_betas(torch.as_tensor(scheduler.betas))

    def to_diffusers_kwargs(self) -> dict[str, Any]:
        """Arguments that give any diffusers scheduler of betas this schedule; variance-preserving ones only."""
        if not self.preserving:
            raise invalid("schedule", "be variance preserving", "one with ᾱ² + β̄² ≠ 1")
        betas = -torch.expm1(2 * self.log_signals.diff())
        return {"trained_betas": betas.tolist(), "num_train_timesteps": self.steps}

    # ---- what a step needs ----

    def step(self, s: int | float, t: int | float, eta: float = 0.0) -> StepCoefficients:
        r"""Coefficients of the step from t to s, of any length: $\sigma=\eta\,\tilde\beta_{t|s}$.

        $$\kappa=\frac{\sqrt{\bar\beta_s^2-\sigma^2}}{\bar\beta_t},\quad\gamma=\bar\alpha_s-\bar\alpha_t\kappa,\quad
          \tilde\beta_{t|s}^2=\frac{\bar\beta_s^2\beta_{t|s}^2}{\bar\beta_t^2}$$

        Args:
            s, t: times, s < t.
            eta: 0 is DDIM, 1 is DDPM; above 1 as long as σ ≤ β̄_s.
        Errors: ValueError for s ≥ t, a negative eta, and a σ that makes the root imaginary.
        """
        check_number("eta", eta, at_least=0, below=math.inf)
        if not s < t:
            raise invalid("s", "be below t", f"s={s} and t={t}")
        signal_s, noise_s, signal_t, noise_t = self.signal(s), self.noise(s), self.signal(t), self.noise(t)
        beta2 = self._beta2(s, t)
        sigma2 = eta**2 * noise_s**2 * beta2 / noise_t**2
        kept = (signal_t / signal_s * noise_s / noise_t) ** 2  # 1 - β²/β̄_t², without its cancellation
        root = noise_s**2 * (1 - eta**2 + eta**2 * kept)
        if root < -ROUNDING:
            fix = "Take a smaller eta."
            raise invalid("eta", f"leave the direction coefficient real from t={t} to s={s}", eta, fix)
        kappa = math.sqrt(max(root, 0.0)) / noise_t
        gamma = signal_s - signal_t * kappa
        return StepCoefficients(kappa, gamma, sigma2, beta2, signal_s, noise_s, signal_t, noise_t)

    def _beta2(self, s: int | float, t: int | float) -> float:
        if self.preserving:
            logs = (self._value(x, self.log_signals, lambda process, u: process.log_signal(u)) for x in (s, t))
            low, high = map(float, logs)
            return -math.expm1(2 * (high - low))
        return self.noise(t) ** 2 - (self.signal(t) / self.signal(s)) ** 2 * self.noise(s) ** 2
