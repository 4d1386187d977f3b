"""The flow itself: its velocity, its solution with controlled error in both directions, and likelihoods along it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

from gezhi._checks import check_choice, check_number, invalid
from gezhi.diffusion.denoiser import Denoiser, Model, convert_prediction

START = 1e-5  # share of T at which integrals over the flow begin: the score has no value at 0
Time = int | float
Divergence = Literal["exact", "hutchinson", "moment"]


def flow_drift(model: Model, x: Float[Tensor, " batch *shape"], t: Time) -> Float[Tensor, " batch *shape"]:
    r"""Velocity of the flow per unit of u = t / T; its solutions have the marginals of the diffusion.

    $$\frac{dx}{du}=f_ux-\tfrac12g_u^2\nabla\log p_u(x),\qquad
      \nabla\log p_u(x)=\frac{\bar\alpha\hat x_0-x}{\bar\beta^2}$$

    Args:
        model: with a schedule that is continuous in time.
        x: states; t: a time above 0.
    References: Y. Song et al., Score-Based Generative Modeling through SDEs, 2020; 苏剑林, 生成扩散模型漫谈(六).
    """
    schedule = model.schedule
    score = (schedule.signal(t) * model(x, t).mean - x) / schedule.noise(t) ** 2  # (7)
    return schedule.drift(t) * x - 0.5 * schedule.diffusion_sq(t) * score  # (6)


def integrate_flow(
    model: Model,
    x: Float[Tensor, " batch *shape"],
    start: Time,
    stop: Time,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    method: Literal["RK45", "DOP853"] = "RK45",
) -> Float[Tensor, " batch *shape"]:
    """Carry states along the flow from one time to another, upwards to encode and downwards to decode.

    Args:
        model: with a schedule that is continuous in time.
        x: states at `start`.
        start, stop: times. 0 is read as T/100 000, where the score still has a value.
        rtol, atol: of the error control, which is one for the whole batch.
        method: of `scipy.integrate.solve_ivp`. DOP853 pays below 1e-6.
    Returns: states at `stop`, like x.
    Errors: ValueError for a schedule that is a table; RuntimeError where the solver gives up; FloatingPointError that
        names the time at which the model's predictions are not finite.
    Cost: 50 to 300 calls of the model; states go through NumPy in float64.
    """
    check_choice("method", method, ("RK45", "DOP853"))
    if not len(x):
        return x.clone()

    def velocity(u: float, state: Tensor) -> Tensor:
        return flow_drift(model, state, u * model.schedule.steps)

    with torch.no_grad():
        return _solve(velocity, x, _time(model, start), _time(model, stop), rtol, atol, method)


def _time(model: Model, t: Time) -> float:
    return max(check_number("t", t, at_least=0, at_most=model.schedule.steps) / model.schedule.steps, START)


def _solve(
    velocity: Callable[[float, Tensor], Tensor],
    x: Tensor,
    u0: float,
    u1: float,
    rtol: float,
    atol: float,
    method: Literal["RK45", "DOP853"],
) -> Tensor:
    dtype = torch.promote_types(x.dtype, torch.float32)

    def flat(u: float, state: NDArray[np.float64]) -> NDArray[np.float64]:
        there = torch.as_tensor(state).reshape(x.shape).to(x.device, dtype)
        moved: NDArray[np.float64] = velocity(u, there).double().reshape(-1).cpu().numpy()
        if not np.isfinite(moved).all():
            raise invalid("model", "predict finite values", f"others at u={u:g}", kind=FloatingPointError)
        return moved

    begin = x.detach().double().reshape(-1).cpu().numpy()
    if u0 == u1:
        return x.clone()
    found = solve_ivp(flat, (u0, u1), begin, method=method, rtol=rtol, atol=atol, t_eval=[u1])
    if not found.success:
        raise RuntimeError(f"The flow from u={u0:g} to u={u1:g} was not solved: {found.message}")
    return torch.as_tensor(np.ascontiguousarray(found.y[:, -1])).reshape(x.shape).to(x.device, x.dtype)


def log_prob(
    model: Model,
    x0: Float[Tensor, " batch *shape"],
    *,
    divergence: Divergence = "exact",
    terminal: Literal["prior"] | Callable[[Tensor], Tensor] = "prior",
    stop: Time | None = None,
    rtol: float = 1e-6,
    atol: float = 1e-6,
    method: Literal["RK45", "DOP853"] = "RK45",
    generator: torch.Generator | None = None,
) -> Float[Tensor, " batch"]:
    r"""Log-density of samples under the model's flow, in nats.

    $$\log p_0(x_0)=\log p_T(x_T)+\int_0^T\nabla\cdot v(x_t,t)\,dt$$

    The integral begins at T/100 000 (bias below 1e-7 for densities of width 1), since the score has no value at 0.
    In bits per dimension: divide by -d log 2; for 8-bit pixels in [-1, 1] add 7.

    Args:
        model: differentiable in x, with a schedule that is continuous in time.
        x0: samples.
        divergence: "exact": the trace of the Jacobian, d backward passes a call. "hutchinson": $z^\top Jz$ with random
            signs z, fixed along the flow: one backward pass, unbiased, noisy. "moment": from the model's second
            moment, where this is the posterior variance (exact models): none.
        terminal: density at the end: "prior", the normal that samplers start from, or a function of states (batch, …).
            With the prior the result is that of the model that samples, which differs from the exact density of the
            data by the mismatch at T.
        stop: the end, T if None; with `terminal` the log-density at that time.
        rtol, atol, method: as in `integrate_flow`; float32 states warn below 1e-6.
        generator: for the signs.
    Errors: ValueError for a schedule that is a table and for a model that does not depend on x by torch's graph.
    Cost: 100 to 300 calls of the model with their backward passes.
    References: R. Chen et al., Neural Ordinary Differential Equations, 2018; W. Grathwohl et al., FFJORD, 2018;
        Y. Song et al., 2020, section 4.3.
    """
    check_choice("divergence", divergence, ("exact", "hutchinson", "moment"))
    check_choice("method", method, ("RK45", "DOP853"))
    if x0.dtype != torch.float64 and min(rtol, atol) < 1e-6:
        warnings.warn(f"{x0.dtype} cannot hold a tolerance of {min(rtol, atol):g}", UserWarning, stacklevel=2)
    if not len(x0):
        return x0.new_zeros(0)
    size = x0[0].numel()
    signs = None
    if divergence == "hutchinson":
        signs = torch.randint(0, 2, x0.shape, generator=generator, device=x0.device).to(x0.dtype) * 2 - 1

    def velocity(u: float, state: Tensor) -> Tensor:
        t = u * model.schedule.steps
        x = state[:, :size].reshape(x0.shape)
        drift, trace = _with_divergence(model, x, t, divergence, signs)
        return torch.cat([drift.reshape(len(x), size), trace[:, None]], 1)

    begin = torch.cat([x0.detach().reshape(len(x0), size), x0.new_zeros(len(x0), 1)], 1)
    end = _time(model, model.schedule.steps if stop is None else stop)
    final = _solve(velocity, begin, START, end, rtol, atol, method)
    x, gained = final[:, :size].reshape(x0.shape), final[:, size]
    return (_normal_log_prob(x, model.schedule.prior_std) if terminal == "prior" else terminal(x)) + gained  # (10)


def _normal_log_prob(x: Tensor, std: float) -> Tensor:
    z = x.reshape(len(x), -1) / std
    return -0.5 * (z * z).sum(1) - z.shape[1] * (math.log(std) + 0.5 * math.log(2 * math.pi))


def _with_divergence(
    model: Model, x: Tensor, t: Time, divergence: Divergence, signs: Tensor | None
) -> tuple[Tensor, Tensor]:
    if divergence == "moment":
        return _by_moment(model, x, t)
    x, schedule = x.detach().requires_grad_(), model.schedule
    with torch.enable_grad():
        mean, depends = _mean_and_graph(model, x, t)
        if not depends:
            fix = "Its network must be made of torch's operations, without detach or no_grad."
            raise invalid("model", "be differentiable in x", "an output without a graph to x", fix)
        score = (schedule.signal(t) * mean - x) / schedule.noise(t) ** 2
        drift = schedule.drift(t) * x - 0.5 * schedule.diffusion_sq(t) * score
        trace = _trace(drift, x, signs)
    return drift.detach(), trace


def _mean_and_graph(model: Model, x: Tensor, t: Time) -> tuple[Tensor, bool]:
    """The mean, and whether what the network itself gives has a graph to x: the state enters the mean besides."""
    if not isinstance(model, Denoiser):
        mean = model(x, t).mean
        return mean, mean.requires_grad
    raw = model.predict(x, t, model.prediction_type)
    kind = model.prediction_type
    return convert_prediction(raw, x, model.schedule, t, source=kind, target="sample"), raw.requires_grad


def _trace(drift: Tensor, x: Tensor, signs: Tensor | None) -> Tensor:
    if signs is not None:
        (product,) = torch.autograd.grad(drift, x, signs)
        return (product * signs).reshape(len(x), -1).sum(1)
    flat, size = drift.reshape(len(x), -1), x[0].numel()
    total = torch.zeros_like(flat[:, 0])
    for i in range(size):
        (row,) = torch.autograd.grad(flat[:, i].sum(), x, retain_graph=i + 1 < size)
        total = total + row.reshape(len(x), -1)[:, i]
    return total


def _by_moment(model: Model, x: Tensor, t: Time) -> tuple[Tensor, Tensor]:
    schedule = model.schedule
    mean, variance = model(x, t)
    if variance is None:
        raise invalid("model", "give a second moment for divergence='moment'", "a prediction without one")
    signal, noise = schedule.signal(t), schedule.noise(t)
    f, g2 = schedule.drift(t), schedule.diffusion_sq(t)
    drift = f * x - 0.5 * g2 * (signal * mean - x) / noise**2
    inner = ((signal / noise) ** 2 * variance - 1) / noise**2  # ∂ᵢ of the score
    return drift, (f - 0.5 * g2 * inner).reshape(len(x), -1).sum(1)
