"""Self-normalised importance weights in logs, the log-density of the proposal, and the exact step in a ball."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from gezhi._checks import check_number, check_same_length, invalid


def snis_weights(
    log_target: Float[Tensor, " candidates"], log_proposal: Float[Tensor, " candidates"] | None = None
) -> tuple[Float[Tensor, " candidates"], float]:
    r"""Weights of samples from one law that make them stand for another, and how many samples they are worth.

    $$\bar w_i\propto\frac{p(\Delta_i)}{q(\Delta_i)},\qquad\sum_i\bar w_i=1,\qquad
      \mathrm{ESS}=\frac1{\sum_i\bar w_i^2} \tag{4}$$

    Args:
        log_target: log p up to a constant, such as -l/α; -inf, +inf and NaN are weighted 0.
        log_proposal: log q up to a constant; None: constant.
    Returns: the weights, in float64 (all 0 where no sample is valid), and the effective sample size, from 1 to the
        number of candidates (0 where none is valid).
    Errors: ValueError for lengths that differ.
    Example:
        >>> weights, ess = snis_weights(torch.tensor([0.0, 0.0, -math.inf]))
        >>> weights.tolist(), round(ess, 6)
        ([0.5, 0.5, 0.0], 2.0)

    References: S. Welleck and K. Cho, MLE-guided parameter search for task loss minimization in neural sequence
        modeling, 2021; 苏剑林, 从采样看优化:可导优化与不可导优化的统一视角, 2020.
    """
    score = log_target.double()
    if log_proposal is not None:
        check_same_length(log_target=len(log_target), log_proposal=len(log_proposal))
        score = score - log_proposal.double()
    valid = score.isfinite()
    if not valid.any():
        return torch.zeros_like(score), 0.0
    weights = score.masked_fill(~valid, -math.inf).softmax(-1)  # (4)
    return weights, float(1 / weights.square().sum())


def log_mixture(
    from_zero: Float[Tensor, " candidates"],
    from_guide: Float[Tensor, " candidates"],
    *,
    mix: float,
    dim: float = 0.0,
    sigma: float = 1.0,
) -> Float[Tensor, " candidates"]:
    """Log-density of λN(0, σ²I) + (1 - λ)N(guide, σ²I) by the squared distances over σ²; `dim` gives the constant."""
    constant = -dim / 2 * math.log(2 * math.pi * sigma**2)
    if mix == 1:
        return constant - from_zero / 2
    if mix == 0:
        return constant - from_guide / 2
    return constant + torch.logaddexp(math.log(mix) - from_zero / 2, math.log1p(-mix) - from_guide / 2)  # (3)


def ball_expected_step(grad: Float[Tensor, "*any"], *, radius: float, temperature: float) -> Float[Tensor, "*any"]:
    r"""The expected step for a linear loss on a ball: between gradient descent and the normalised gradient.

    $$\Delta^*=-\epsilon\,\frac{I_{D/2+1}(\kappa)}{I_{D/2}(\kappa)}\,\frac g{\lVert g\rVert},\qquad
      \kappa=\frac{\epsilon\lVert g\rVert}\alpha \tag{2}$$

    Args:
        grad: g; D is the number of its entries.
        radius: ε > 0 of the ball of steps.
        temperature: α > 0. For α → ∞ it tends to $-\frac{\epsilon^2}{\alpha(D+2)}g$, plain gradient descent, and for
            α → 0 to the edge of the ball.
    Returns: Δ* in the dtype of `grad`; 0 where g = 0. Relative error below 1e-11 in float64, up to D of millions.
    Errors: ValueError for a radius or temperature ≤ 0, and a gradient that is not finite.
    Example:
        >>> ball_expected_step(torch.tensor([3.0, 4.0]), radius=1.0, temperature=0.01)
        tensor([-0.5982, -0.7976])
    """
    check_number("radius", radius, above=0, below=math.inf)
    check_number("temperature", temperature, above=0, below=math.inf)
    wide = grad.to(torch.promote_types(grad.dtype, torch.float32))
    size = float(torch.linalg.vector_norm(wide.double()))
    if not math.isfinite(size):
        raise invalid("grad", "be finite", size)
    if size == 0:
        return torch.zeros_like(grad)
    length = radius * bessel_ratio(grad.numel() / 2, radius * size / temperature)
    return (-length / size * wide).to(grad.dtype)  # (2)


def bessel_ratio(nu: float, kappa: float) -> float:
    """I_{ν+1}(κ)/I_ν(κ) for ν ≥ 1/2 by its continued fraction, from below, where both values would leave the floats.

    The start far out lies between two bounds of Amos; each step shrinks its error by the square of the ratio.
    """
    if kappa > 1e8:
        return _amos(nu, kappa)  # the bounds differ by less than rounding
    steps = 32 + int(8 * math.sqrt(kappa))
    ratio = _amos(nu + steps, kappa)
    for order in range(steps, 0, -1):
        ratio = 1 / (2 * (nu + order) / kappa + ratio)
    return ratio


def _amos(nu: float, kappa: float) -> float:
    return kappa / (nu + 0.5 + math.hypot(nu + 1.5, kappa))
