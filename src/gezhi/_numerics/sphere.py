"""Checked arrays, and the log-partition function of the sphere."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import ArrayLike, NDArray

from gezhi._checks import check_number, invalid

_SHIFT, _ORDER = 24, 10  # raise ν by 24 and keep ν⁻¹⁰: the first term left out is below 1e-13 for every argument


def real_array(argument: str, value: ArrayLike, **bounds: Any) -> NDArray[np.float64]:
    """`value` as finite float64, after `check_number` on its extremes."""
    array = np.asarray(value, dtype=np.float64)
    if not np.isfinite(array).all():
        raise invalid(argument, "be finite", array[~np.isfinite(array)].flat[0])
    if array.size:
        for extreme in (array.min(), array.max()):
            check_number(argument, float(extreme), **bounds)
    return array


def spherical_entropy_shift(dim: ArrayLike, scale: ArrayLike) -> NDArray[np.float64]:
    r"""How much entropy softmax(scale · q·k) loses, in nats, against uniform weights over random keys.

    $$h_d(\lambda)=\log\mathbb E\,e^{\lambda d\cos\theta}-\lambda d\,
      \frac{\mathbb E[\cos\theta\,e^{\lambda d\cos\theta}]}{\mathbb E\,e^{\lambda d\cos\theta}}$$

    θ is the angle of two uniform directions, and |q| = |k| = √d. It is minus the Kullback–Leibler divergence of a von
    Mises–Fisher law with concentration λd from the uniform one.

    Args:
        dim: d ≥ 2, real. Broadcasts with `scale`.
        scale: λ ≥ 0, the factor on q·k; 1/√d in standard attention.
    Returns: values ≤ 0 (a scalar for scalars), decreasing in λ and, at fixed λ > 0, in d. Absolute error below 1e-11 up
        to d = 4096; relative error below 1e-10 beyond, for λ ≥ 1/√d.
    Cost: 24 vector operations, whatever d and λ.
    Example:
        >>> spherical_entropy_shift([64, 512], 1).round(6).tolist()
        [-15.4734, -123.264247]

    References: NIST Digital Library of Mathematical Functions, §10.41(ii), for the uniform expansion of I_ν(νz).
    """
    d, scale = np.broadcast_arrays(real_array("dim", dim, at_least=2), real_array("scale", scale, at_least=0))
    x, nu = scale * d, d / 2 - 1
    entropy, gap = _uniform_expansion(nu + _SHIFT, x)
    # The recurrence of I_ν in ν, downwards, written in quantities that stay small: gap = x(1 - I_{ν+1}/I_ν).
    for step in range(_SHIFT, 0, -1):
        order = 2 * (nu + step)
        below = x * (order - gap) / (order + x - gap)
        entropy = entropy + np.log1p((x - gap) / order) + below - gap
        gap = below
    return np.asarray(entropy)[()]


def _uniform_expansion(nu: NDArray[np.float64], x: NDArray[np.float64]) -> tuple[Any, Any]:
    """Entropy shift and x(1 - I_{ν+1}(x)/I_ν(x)) for large ν; the terms of size ν log ν are cancelled by hand."""
    z = x / nu
    s = np.hypot(1, z)
    t, w = 1 / s, z * z / (1 + s)  # w = s - 1
    entropy = -nu * np.log1p(w / 2) - np.log1p(w) / 2 + (1 - t * t) / 2
    gap = nu * (1 - 1 / (z + s)) + (1 - t * t) / 2
    for k, (value, rate) in enumerate(_expansion_terms(), start=1):
        slope = t * (1 - t * t) * rate(t)
        entropy = entropy + (value(t) - value(1.0) - slope) / nu**k
        gap = gap - slope / nu**k
    return entropy, gap


@cache
def _expansion_terms() -> list[tuple[Polynomial, Polynomial]]:
    """Coefficients of ν^-k for k = 1, 2, …: of log I_ν(νz), a polynomial in t, and minus its derivative.

    With θ = z d/dz the slope G = θ log I_ν(νz) solves θG + G² = ν²/t², order by order in 1/ν from G = ν/t.
    """
    descent = Polynomial([0, 1, 0, -1])  # -θt = t(1 - t²), a factor of every slope
    slopes = [Polynomial([-0.5, 0, 0.5])]
    terms = []
    for k in range(1, _ORDER + 1):
        products = sum((slopes[i] * slopes[k - 1 - i] for i in range(k)), Polynomial([0]))
        slopes.append((descent * slopes[-1].deriv() - products) * Polynomial([0, 0.5]))
        rate = slopes[-1] // descent
        terms.append((-rate.integ(), rate))
    return terms
