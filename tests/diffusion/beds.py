"""The exact test beds: a normal target, a mixture on the line, a mixture in the plane, and digits."""

from __future__ import annotations

import math
from functools import cache

import torch
from sklearn.datasets import load_digits

from gezhi.diffusion import GaussianMixture, NoiseSchedule

NORMAL = GaussianMixture([1.0], [[1, -0.5, 0, 0.3]], [[4, 1, 0.25, 0.01]])
LINE = GaussianMixture([0.35, 0.45, 0.20], [[-1.5], [0.4], [2.0]], [[0.2**2], [0.35**2], [0.15**2]])
LINEAR = NoiseSchedule.linear()
EXP = NoiseSchedule.su_exp()


def plane():
    """Two dimensions, three components of long and thin covariance."""
    matrices = []
    for angle, (a, b) in zip((0.6, -0.9, 1.3), ((0.5, 0.01), (0.4, 0.02), (0.3, 0.005)), strict=True):
        c, s = math.cos(angle), math.sin(angle)
        turn = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
        matrices.append(turn @ torch.diag(torch.tensor([a, b], dtype=torch.float64)) @ turn.T)
    return GaussianMixture([0.4, 0.35, 0.25], [[-1.5, -0.5], [1.2, 1.0], [0.6, -1.6]], torch.stack(matrices))


@cache
def digits():
    """scikit-learn's digits in [-1, 1], smoothed with a normal of standard deviation 0.15."""
    images = torch.tensor(load_digits().data, dtype=torch.float64) / 8 - 1
    return GaussianMixture(torch.ones(len(images)), images, 0.15**2)


def column(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
