r"""Analytic-DPM: the best variance of a step, from one number a time that is estimated once from data.

Notation: $\bar\sigma_t^2$ = `VarianceStats.x0_var[t]`, $m_t=\frac1dE\|\epsilon_\theta\|^2$ = `ms_eps[t]`,
$r_t=\frac1dE\|\varepsilon-\epsilon_\theta\|^2$ = `residual[t]`, $\Gamma_t=m_t/\bar\beta_t^2$,
$\rho=\bar\beta/\bar\alpha$.
"""

from __future__ import annotations

import json
import math
import secrets
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gezhi._checks import check_choice, check_integer, check_number, invalid
from gezhi.diffusion.denoiser import Model, Prediction
from gezhi.diffusion.fingerprint import fingerprint
from gezhi.diffusion.sampler import Variance
from gezhi.diffusion.schedule import NoiseSchedule, StepCoefficients

__all__ = [
    "AnalyticVariance",
    "VarianceStats",
    "capped",
    "estimate_x0_variance",
    "first_step_clip",
    "optimal_trajectory",
    "optimal_variance_bounds",
]

METHODS = ("auto", "direct", "estimate1", "estimate2")
TABLES = ("x0_var", "ms_eps", "residual", "std_error", "signals")


@dataclass(frozen=True)
class VarianceStats:
    """What one pass over data tells of a model, at the times that were asked for; NaN at the others.

    Attributes:
        x0_var: the mean variance of x₀ given the state, clipped, (T + 1,) or (T + 1, *shape) per entry.
        ms_eps, residual: mean squares of the predicted noise and of its error, (T + 1,).
        std_error: standard error of `x0_var` before it was clipped, of its shape.
        signals: ᾱ of the model's schedule, (T + 1,), by which statistics of another one are refused.
        n: draws a time.
        method: the estimate.
        shape: of one sample, by which states of another shape are refused; empty: not known.
        model: `fingerprint` of the network, for `belongs_to`; empty: not known.
    """

    x0_var: Tensor
    ms_eps: Tensor
    residual: Tensor
    std_error: Tensor
    signals: Tensor
    n: int
    method: str
    shape: tuple[int, ...] = ()
    model: str = ""

    def require(self, times: Iterable[int]) -> None:
        """KeyError that lists those of the times that were not estimated."""
        missing = [int(t) for t in times if not 0 < t < len(self.signals) or self.ms_eps[int(t)].isnan()]
        if missing:
            raise KeyError(f"statistics must hold every time of the sampler: missing {missing}. Estimate at those too.")

    def belongs_to(self, network: nn.Module) -> None:
        """ValueError unless they were estimated with these weights, or it is not known with which."""
        found = fingerprint(network) if self.model else ""
        if found != self.model:
            fix = "Estimate them again with this network, in the type in which it samples."
            raise invalid("stats", f"belong to the network, {found} (its fingerprint)", self.model, fix)

    def fit(self, state: Tensor) -> None:
        """ValueError unless the state has the shape of the samples that they were estimated from."""
        if self.shape and state.shape[1:] != self.shape:
            raise invalid("stats", f"come from samples of the state's shape, {tuple(state.shape[1:])}", self.shape)

    def save(self, path: str | Path) -> None:
        """Write them as safetensors: to a temporary neighbour, which is then renamed."""
        tables = {name: getattr(self, name).contiguous() for name in TABLES}
        words = {"n": self.n, "method": self.method, "shape": list(self.shape), "model": self.model}
        part = Path(path).with_name(f"{Path(path).name}.{secrets.token_hex(4)}.part")
        try:
            part.write_bytes(save(tables, metadata={"gezhi": json.dumps(words)}))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> VarianceStats:
        """Read what `save` wrote; ValueError for another file."""
        try:
            with safe_open(path, framework="pt") as file:
                words, tables = (file.metadata() or {}).get("gezhi"), {name: file.get_tensor(name) for name in TABLES}
                known = json.loads(words or "")
                return cls(**tables, **known | {"shape": tuple(known.get("shape", ()))})
        except (SafetensorError, ValueError, TypeError):
            raise invalid("path", "be a file that VarianceStats.save wrote", str(path)) from None


def estimate_x0_variance(
    model: Model,
    data: Float[Tensor, " rows *shape"],
    times: Iterable[int],
    *,
    num_samples: int = 1000,
    method: Literal["auto", "direct", "estimate1", "estimate2"] = "auto",
    per_dim: bool = False,
    data_range: tuple[float, float] | None = None,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
) -> VarianceStats:
    r"""The mean variance of x₀ given a noisy state, for each of the times, from draws of data and noise.

    $$\text{direct: }\tfrac1dE\|x_0-\hat x_0\|^2,\quad
      \text{estimate 1: }\tfrac1dE\|x_0-\mu_0\|^2-\tfrac1dE\|\hat x_0-\mu_0\|^2,\quad
      \text{estimate 2: }\rho^2(1-m_t)$$

    All three agree for a perfect model. The direct one is right for any (it is the best scalar for the mean in use),
    never negative and steady at all times; estimate 2, the paper's, drowns in its own noise at large times and
    estimate 1 at small ones.

    Args:
        model: a `Denoiser` or an exact model.
        data: samples; rows are drawn without replacement while they last.
        times: those that the sampler visits (all of 1..T for `optimal_trajectory`).
        num_samples: draws a time; the paper takes 50 000, the article a few batches.
        method: "auto" is "direct".
        per_dim: one variance for each entry of a sample.
        data_range: (a, b) of the data; the variance is clipped at ((b - a)/2)². At 0 it always is.
        batch_size: rows in one call of the model.
        generator: for rows and noise; None: torch's global one.
    Returns: `VarianceStats`.
    Errors: FloatingPointError that names the time at which the model's predictions are not finite.
    Warns: UserWarning where estimate 2 is negative by more than three standard errors, since the model's predictions
        are then larger than noise.
    Cost: num_samples rows through the model for each time; sums in float64.
    References: F. Bao, C. Li, J. Zhu and B. Zhang, Analytic-DPM, 2022; 苏剑林, 生成扩散模型漫谈(七).
    """
    check_choice("method", method, METHODS)
    num_samples = check_integer("num_samples", num_samples, at_least=2, fix="Two draws give the first standard error.")
    batch_size = check_integer("batch_size", batch_size, at_least=1)
    most = _most(data_range)
    if not len(data):
        raise invalid("data", "have rows", tuple(data.shape))
    steps = model.schedule.steps
    shape = (steps + 1, *data.shape[1:]) if per_dim else (steps + 1,)
    x0_var, std_error = (torch.full(shape, torch.nan, dtype=torch.float64) for _ in range(2))
    ms_eps, residual = (torch.full((steps + 1,), torch.nan, dtype=torch.float64) for _ in range(2))
    centre = data.double().mean(0)
    for t in times:
        t = check_integer("times", t, at_least=1, at_most=steps)
        sums = _Sums()
        for x0 in _rows(data, num_samples, batch_size, generator):
            noise = torch.randn(x0.shape, generator=generator, dtype=x0.dtype, device=x0.device)
            sums.add(*_measured(model, x0, noise, t, centre, method), per_dim=per_dim)
        x0_var[t], std_error[t] = sums.mean, sums.error(num_samples)
        ms_eps[t], residual[t] = sums.ms_eps / num_samples, sums.residual / num_samples
        if not residual[t].isfinite():
            raise invalid("model", "predict finite values", f"{residual[t]:g} at t={t}", kind=FloatingPointError)
        if (x0_var[t] < -3 * std_error[t]).any() and method == "estimate2":
            words = f"estimate 2 is negative at t={t}: the mean square of the predicted noise is {ms_eps[t]:.4g} > 1"
            warnings.warn(words, UserWarning, stacklevel=2)
    clipped = x0_var.clamp(min=0.0, max=most)
    used = "direct" if method == "auto" else method
    network = getattr(model, "network", None)
    weights = fingerprint(network) if isinstance(network, nn.Module) else ""
    signals, shape = model.schedule.signals, tuple(data.shape[1:])
    return VarianceStats(clipped, ms_eps, residual, std_error, signals, num_samples, used, shape, weights)


class _Sums:
    """Mean and spread of what samples give, without a cancelling square: shifted by the first batch's mean."""

    def __init__(self) -> None:
        self.count, self.shift = 0, torch.zeros(())
        self.first, self.second = torch.zeros(()), torch.zeros(())
        self.ms_eps, self.residual = 0.0, 0.0

    def add(self, values: Tensor, eps: Tensor, missed: Tensor, *, per_dim: bool) -> None:
        values = values if per_dim else values.reshape(len(values), -1).mean(1)
        if not self.count:
            self.shift = values.mean(0)
            self.first, self.second = torch.zeros_like(self.shift), torch.zeros_like(self.shift)
        off = values - self.shift
        self.first, self.second, self.count = (
            self.first + off.sum(0),
            self.second + (off**2).sum(0),
            self.count + len(off),
        )
        self.ms_eps += float(eps.reshape(len(eps), -1).mean(1).sum())
        self.residual += float(missed.reshape(len(missed), -1).mean(1).sum())

    @property
    def mean(self) -> Tensor:
        return (self.shift + self.first / self.count).cpu()

    def error(self, n: int) -> Tensor:
        spread = (self.second - self.first**2 / n).clamp(min=0) / (n - 1)
        return (spread / n).sqrt().cpu()


def _rows(data: Tensor, count: int, batch_size: int, generator: torch.Generator | None) -> Iterator[Tensor]:
    device = data.device if generator is None else generator.device
    order = [torch.randperm(len(data), generator=generator, device=device) for _ in range(-(-count // len(data)))]
    for rows in torch.cat(order)[:count].split(batch_size):  # type: ignore[no-untyped-call]
        yield data[rows.to(data.device)]


def _measured(
    model: Model, x0: Tensor, noise: Tensor, t: int, centre: Tensor, method: str
) -> tuple[Tensor, Tensor, Tensor]:
    """What the estimate averages, ε̂² and (ε - ε̂)², all by the error of x̂₀."""
    signal, level = model.schedule.signal(t), model.schedule.noise(t)
    with torch.no_grad():
        mean = model(signal * x0 + level * noise, t).mean.double()
    clean, ratio = x0.double(), level / signal
    off = clean - mean
    eps, missed = (noise.double() + off / ratio) ** 2, (off / ratio) ** 2
    if method == "estimate1":
        return (clean - centre) ** 2 - (mean - centre) ** 2, eps, missed
    return (ratio**2 * (1 - eps) if method == "estimate2" else off**2), eps, missed


def _most(data_range: tuple[float, float] | None) -> float:
    if data_range is None:
        return math.inf
    low, high = (check_number("data_range", end) for end in data_range)
    if not low < high:
        raise invalid("data_range", "be a range (low, high)", data_range)
    return ((high - low) / 2) ** 2


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
            return coefficients.sigma2 + coefficients.gamma**2 * float(added)
        like = prediction.mean
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
    return 2 * check_number("pixel_levels", pixel_levels, at_least=0) / 255 * math.sqrt(math.pi / 2)


def optimal_variance_bounds(
    schedule: NoiseSchedule, s: int, t: int, eta: float, data_range: tuple[float, float] | None = None
) -> tuple[float, float]:
    r"""Between these lies the best variance of the step from t to s, whatever the data.

    $$\sigma^2\le V\le\sigma^2+\gamma^2\rho_t^2,\qquad V\le\sigma^2+\gamma^2\Big(\frac{b-a}2\Big)^2
      \text{ for data in }[a,b]$$
    """
    c = schedule.step(s, t, eta)
    spread = min((c.noise_t / c.signal_t) ** 2 if c.signal_t else math.inf, _most(data_range))
    return c.sigma2, c.sigma2 + c.gamma**2 * spread


def optimal_trajectory(
    schedule: NoiseSchedule, ms_eps: Float[Tensor, " times"], count: int
) -> tuple[Int[Tensor, " count"], float]:
    r"""The K times from 1 to T whose chain, with DDPM's mean and the best variances, has the least KL bound.

    $$\min\sum_{(s,t)}F(s,t),\qquad F(s,t)=\ln\big(1-\beta_{t|s}^2\Gamma_t\big)$$

    The path is best for that bound, not for other samplers: DDIM without noise does worse on it than on an even one.

    Args:
        schedule: of the model.
        ms_eps: m_t at t = 0..T (`VarianceStats.ms_eps` with all times estimated); entry 0 is not read.
        count: K, from 2 to T.
    Returns: times, ascending, and the minimum. Bounds of two paths differ by d/2 times the difference of their sums.
    Errors: KeyError for times without a value; ValueError for a value that makes the logarithm's argument ≤ 0.
    Cost: O(K T²) time and O(T²) memory; under a second for T = 1000 and K = 25.
    References: F. Bao, C. Li, J. Zhu and B. Zhang, Analytic-DPM, 2022, section 4; D. Watson et al., Learning to
        Efficiently Sample from Diffusion Probabilistic Models, 2021.
    """
    steps = schedule.steps
    count = check_integer("count", count, at_least=2, at_most=steps, fix="A path has both ends.")
    if ms_eps.shape != (steps + 1,):
        raise invalid("ms_eps", f"have an entry for each of t = 0..{steps}", tuple(ms_eps.shape))
    missing = [t for t in range(1, steps + 1) if ms_eps[t].isnan()]
    if missing:
        raise KeyError(f"ms_eps must have a value at every time 1..{steps}: missing {missing}.")
    costs = _costs(schedule, ms_eps.double())
    best, chosen = torch.full((steps,), math.inf, dtype=torch.float64), []
    best[0] = 0.0
    for _ in range(count - 1):
        best, before = (best[:, None] + costs).min(0)
        chosen.append(before)
    path = [steps]
    for before in reversed(chosen):
        path.append(int(before[path[-1] - 1]) + 1)
    return torch.tensor(path[::-1]), float(best[-1])


def _costs(schedule: NoiseSchedule, ms_eps: Tensor) -> Tensor:
    """F(s, t) for s, t = 1..T; inf where s ≥ t."""
    noise2, logs = schedule.noises[1:] ** 2, schedule.log_signals[1:]
    if schedule.preserving:
        beta2 = -torch.expm1(2 * (logs[None, :] - logs[:, None]))
    else:
        beta2 = noise2[None, :] - (2 * (logs[None, :] - logs[:, None])).exp() * noise2[:, None]
    argument = 1 - beta2 * (ms_eps[1:] / noise2)[None, :]
    upper = torch.ones_like(argument, dtype=torch.bool).triu(1)
    bad = (upper & (argument <= 0)).nonzero()
    if len(bad):
        s, t = (int(i) + 1 for i in bad[0])
        fix = "A mean square above 1 comes from too few draws or a poor model."
        raise invalid("ms_eps", "leave 1 - β²Γ positive", f"{float(ms_eps[t]):g} at t={t}, from s={s}", fix)
    return torch.where(upper, argument.clamp(min=1e-300).log(), math.inf)
