"""The mean variance of x₀ given a noisy state, estimated from draws of data and noise."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gezhi._checks import check_choice, check_integer, invalid
from gezhi.diffusion.analytic_dpm.statistics import VarianceStats, largest_variance
from gezhi.diffusion.denoiser import Model
from gezhi.diffusion.fingerprint import fingerprint

METHODS = ("auto", "direct", "estimate1", "estimate2")


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
    most = largest_variance(data_range)
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
        return (clean - centre) ** 2 - (mean - centre) ** 2, eps, missed  # (6)
    if method == "estimate2":
        return ratio**2 * (1 - eps), eps, missed  # (7)
    return off**2, eps, missed  # (5)
