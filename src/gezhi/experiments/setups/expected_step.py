"""The mean of sampled steps where it can be computed: against integrals, limits and Newton's step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np
import torch
from scipy.integrate import quad

from gezhi.training.sampling_descent import ball_expected_step

Metrics = Mapping[str, Any]
ERROR = "error"


def coefficient(dim: int, kappa: float) -> float:
    """Of the expected step in a ball of radius 1 along the descent direction, as the library computes it."""
    grad = torch.ones(dim, dtype=torch.float64) / math.sqrt(dim)
    return float(ball_expected_step(grad, radius=1.0, temperature=1 / kappa).norm())


def against_integral(_: None) -> Metrics:
    """The expected step against the integral over how far a point of the ball lies along the descent direction."""

    def mean(dim: int, kappa: float) -> float:
        def density(u: float) -> float:
            return float((1 - u * u) ** ((dim - 1) / 2)) * math.exp(kappa * (u - 1))

        top, whole = (quad(lambda u, k=k: u**k * density(u), -1, 1, epsabs=1e-13, epsrel=1e-13)[0] for k in (1, 0))
        return float(top / whole)

    pairs = product((2, 3, 10), (0.1, 1.0, 10.0))
    return {ERROR: max(abs(coefficient(dim, kappa) - mean(dim, kappa)) for dim, kappa in pairs)}


def against(limit: Callable[[int, float], float], kappa: float) -> Callable[[None], Metrics]:
    def measure(_: None) -> Metrics:
        return {ERROR: max(abs(coefficient(dim, kappa) / limit(dim, kappa) - 1) for dim in (2, 10, 1000))}

    return measure


def against_newton(_: None) -> Metrics:
    """The mean of exp(-l/α) for a quadratic l in two dimensions, by sums over a fine grid, against Newton's step."""
    g, hessian, alpha = np.array([0.5, -1.0]), np.array([[2.0, 0.3], [0.3, 1.0]]), 0.1
    newton = -np.linalg.solve(hessian, g)
    axis = np.linspace(-4, 4, 801)
    points = newton + np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    loss = points @ g + 0.5 * np.einsum("ni,ij,nj->n", points, hessian, points)
    weights = np.exp(-(loss - loss.min()) / alpha)
    return {ERROR: float(np.abs(weights @ points / weights.sum() - newton).max())}
