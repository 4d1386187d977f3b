"""Solvers of the flow and of the reverse SDE as steps of the sampler. All of them end with the mean of x₀."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from gezhi._checks import check_choice, check_integer, check_number
from gezhi.diffusion.denoiser import Model
from gezhi.diffusion.sampler import Noise, Step
from gezhi.diffusion.schedule import NoiseSchedule

Time = int | float


def time_grid(
    schedule: NoiseSchedule,
    calls: int,
    spacing: Literal["time", "logsnr", "edm"] = "time",
    *,
    calls_per_step: int = 1,
    end: float = 1e-3,
) -> list[float]:
    r"""Times for a solver that may call the model so often, the last call included, which returns the mean of x₀.

    `time`: even in t. `logsnr`: even in λ. `edm`: even in $\rho^{1/7}$ (Karras et al.).

    Args:
        schedule: continuous in time; for `time` any, if the times fall on its steps.
        calls: calls of the model, ≥ 2; ≥ 3 for solvers with two calls a step, where an even number leaves one unused.
        spacing: see above.
        calls_per_step: 2 for `heun` and `dpm_solver_2`.
        end: the last time before 0, as a share of T; 0.001 is usual.
    Returns: times from T down to `end` · T, for `sample`.
    Errors: ValueError for too few calls and for a schedule between whose steps the times would fall.
    Example:
        >>> [round(t) for t in time_grid(NoiseSchedule.su_exp(), 4)]
        [1000, 667, 334, 1]

    References: T. Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022; C. Lu et al.,
        DPM-Solver, 2022.
    """
    check_choice("spacing", spacing, ("time", "logsnr", "edm"))
    calls_per_step = check_integer("calls_per_step", calls_per_step, at_least=1)
    calls = check_integer("calls", calls, at_least=1 + calls_per_step, fix="One call is needed for the step to 0.")
    last = check_number("end", end, above=0, below=1) * schedule.steps
    intervals = (calls - 1) // calls_per_step
    share = [i / intervals for i in range(intervals + 1)]
    if spacing == "time":
        return [schedule.steps + (last - schedule.steps) * i for i in share]
    if spacing == "logsnr":
        top, bottom = schedule.half_log_snr(schedule.steps), schedule.half_log_snr(last)
        levels = [top + (bottom - top) * i for i in share]
    else:
        top, bottom = schedule.sigma(schedule.steps) ** (1 / 7), schedule.sigma(last) ** (1 / 7)
        levels = [-7 * math.log(top + (bottom - top) * i) for i in share]
    return [float(schedule.steps), *(schedule.time_at(level) for level in levels[1:-1]), last]


def _epsilon(model: Model, x: Tensor, t: Time) -> Tensor:
    return (x - model.schedule.signal(t) * model(x, t).mean) / model.schedule.noise(t)


def _to_data(solver: Callable[..., tuple[Tensor, Any]]) -> Step:
    """A step of float32 at least, which ends with the mean of x₀ where s = 0."""
    return partial(_ending, solver=solver)


def _ending(
    model: Model, x: Tensor, t: Time, s: Time, memory: Any, noise: Noise | None, *, solver: Callable[..., Any]
) -> tuple[Tensor, Any]:
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    if s == 0:
        return model(wide, t).mean.to(x.dtype), None
    y, memory = solver(model, wide, t, s, memory, noise)
    return y.to(x.dtype), memory


def _heun(model: Model, x: Tensor, t: Time, s: Time, memory: Any, noise: Noise | None) -> tuple[Tensor, Any]:
    signal_t, signal_s = model.schedule.signal(t), model.schedule.signal(s)
    length = model.schedule.sigma(s) - model.schedule.sigma(t)
    first = _epsilon(model, x, t)
    second = _epsilon(model, signal_s * (x / signal_t + length * first), s)
    return signal_s * (x / signal_t + length * (first + second) / 2), memory


def _dpm_solver_2(model: Model, x: Tensor, t: Time, s: Time, memory: Any, noise: Noise | None) -> tuple[Tensor, Any]:
    schedule = model.schedule
    start, stop = schedule.half_log_snr(t), schedule.half_log_snr(s)
    h, m = stop - start, schedule.time_at((start + stop) / 2)
    signal_t = schedule.signal(t)
    half = schedule.signal(m) / signal_t * x - schedule.noise(m) * math.expm1(h / 2) * _epsilon(model, x, t)
    return schedule.signal(s) / signal_t * x - schedule.noise(s) * math.expm1(h) * _epsilon(model, half, m), memory


def _dpmpp_2m(model: Model, x: Tensor, t: Time, s: Time, memory: Any, noise: Noise | None) -> tuple[Tensor, Any]:
    schedule = model.schedule
    mean, h = model(x, t).mean, schedule.half_log_snr(s) - schedule.half_log_snr(t)
    guess = mean
    if memory is not None:
        before, h_before = memory
        guess = mean + (mean - before) * (h / (2 * h_before))  # (9)
    y = schedule.noise(s) / schedule.noise(t) * x - schedule.signal(s) * math.expm1(-h) * guess
    return y, (mean, h)


def _euler_maruyama(
    model: Model, x: Tensor, t: Time, s: Time, memory: Any, noise: Noise | None, *, noise_ratio: float
) -> tuple[Tensor, Any]:
    schedule = model.schedule
    g2, length = schedule.diffusion_sq(t), (s - t) / schedule.steps
    score = -_epsilon(model, x, t) / schedule.noise(t)
    y = x + (schedule.drift(t) * x - 0.5 * (1 + noise_ratio**2) * g2 * score) * length  # (5)
    if noise is not None and noise_ratio > 0:
        y = y + noise_ratio * math.sqrt(-g2 * length) * noise(x)
    return y, memory


heun: Step = _to_data(_heun)
dpm_solver_2: Step = _to_data(_dpm_solver_2)
dpmpp_2m: Step = _to_data(_dpmpp_2m)


def euler_maruyama(noise_ratio: float = 1.0) -> Step:
    r"""Euler's step for the SDEs that all have the marginals of the diffusion, from the ODE to the reverse SDE.

    $$dx=\big(f-\tfrac12(g^2+\sigma^2)s\big)dx+\sigma\,dw,\qquad\sigma=c\,g$$

    Args:
        noise_ratio: c ≥ 0; 0 is the flow, 1 the reverse SDE. Above 1 the marginals still match, and a warning says that
            more noise than the diffusion itself has is added.
    Returns: a step for `sample`; continuous schedules only.
    References: Y. Song et al., Score-Based Generative Modeling through SDEs, 2020; 苏剑林, 生成扩散模型漫谈(五), (六).
    """
    ratio = check_number("noise_ratio", noise_ratio, at_least=0, below=math.inf)
    if ratio > 1:
        warnings.warn(f"noise_ratio {ratio:g} adds more noise than the diffusion itself", UserWarning, stacklevel=2)
    return _to_data(partial(_euler_maruyama, noise_ratio=ratio))
