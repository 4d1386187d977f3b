"""The normal distribution function in logs, with derivatives that keep their digits however far the tail is."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

SERIES = (1.0, -2.0, 10.0, -74.0, 706.0)  # of x + r(x) for x → -∞, in odd powers of 1/|x|
NEWTON = 6


def log_cdf(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """log Φ(x), differentiable twice. torch's own derivative overflows below -3000 in float32."""
    if torch.compiler.is_compiling():
        return _taylor(x)
    value: Tensor = _LogCdf.apply(x)  # type: ignore[no-untyped-call]
    return value


def _taylor(x: Tensor) -> Tensor:
    """Value, slope and curvature around where x is: what a compiler can fuse and recompute."""
    x = x.clamp(-1e15, 40)  # beyond it nothing is left to learn; infinity minus itself would be NaN
    value: Tensor = torch.special.log_ndtr(x.detach())
    r, excess = hazard(x.detach(), value)
    step = x - x.detach()  # 0, with a gradient
    return value + r * step - r * excess * step.square() / 2


def hazard(x: Tensor, log_value: Tensor) -> tuple[Tensor, Tensor]:
    """r = φ/Φ, and x + r, whose digits cancel for x far below 0; there a series takes over."""
    far = -12.0 if x.dtype == torch.float32 else -40.0
    near = (-0.5 * math.log(2 * math.pi) - x.square() / 2 - log_value).exp()
    inverse = 1 / x.clamp(max=far).abs()
    square = inverse.square()
    excess = torch.zeros_like(x)
    for coefficient in reversed(SERIES):
        excess = excess * square + coefficient
    excess = excess * inverse
    tail = x < far
    return torch.where(tail, excess - x, near), torch.where(tail, excess, x + near)


class _LogCdf(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        value: Tensor = torch.special.log_ndtr(x)
        return value

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, value = ctx.saved_tensors
        slope: Tensor = _Hazard.apply(x, value.detach())  # type: ignore[no-untyped-call]
        return grad * slope

    @staticmethod
    def vmap(_info: Any, in_dims: tuple[int], x: Tensor) -> tuple[Tensor, int]:
        return _LogCdf.apply(x), in_dims[0]  # type: ignore[no-untyped-call]


class _Hazard(torch.autograd.Function):
    """φ/Φ as a function of x alone; its slope is -r(x + r)."""

    @staticmethod
    def forward(x: Tensor, log_value: Tensor) -> Tensor:
        return hazard(x, log_value)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        r, excess = hazard(*(saved.detach() for saved in ctx.saved_tensors))
        return -grad * r * excess, None

    @staticmethod
    def vmap(_info: Any, in_dims: tuple[int, int], x: Tensor, log_value: Tensor) -> tuple[Tensor, int]:
        return _Hazard.apply(x, log_value), in_dims[0]  # type: ignore[no-untyped-call]


def mode_and_width(m: Float[Tensor, "rows others"]) -> tuple[Float[Tensor, " rows"], Float[Tensor, " rows"]]:
    r"""Mode t₀ and width $(-h'')^{-1/2}$ of the log-concave $h(t)=-t^2/2+\sum_k\log\Phi(m_k+t)$, in float64.

    Newton's steps approach the mode from one side, since h' is convex and falls. What is left after six of them costs
    accuracy alone: the integral is the same around any centre.
    """
    m = m.detach().double().clamp(-1e9, 1e9)
    t = (-m.amin(-1)).clamp(min=0) / 2
    for _ in range(NEWTON):
        slope, curvature = _derivatives(m, t)
        t = t + slope / curvature
    return t, _derivatives(m, t)[1].rsqrt()


def _derivatives(m: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """h' and -h'' at t."""
    a = m + t[:, None]
    r, excess = hazard(a, torch.special.log_ndtr(a))
    return r.sum(-1) - t, 1 + (r * excess).clamp(0, 1).sum(-1)
