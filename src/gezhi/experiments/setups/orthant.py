"""The expected accuracy as the EXACT paper computes it: an orthant probability by sampling, one class after another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def orthant_by_sampling(logits: Tensor, labels: Tensor, samples: int = 16, seed: int = 0) -> Tensor:
    """Genz's separation of variables for P(d > 0), d ~ N(m, I + 11ᵀ), with the paper's number of samples."""
    rows, classes = logits.shape
    own = F.one_hot(labels, classes).bool()
    m = (logits[own][:, None] - logits[~own].view(rows, -1))[:, None]
    root = torch.linalg.cholesky(torch.eye(classes - 1, dtype=m.dtype) + 1)
    draw = torch.Generator().manual_seed(seed)
    uniform = torch.rand(rows, samples, classes - 1, dtype=m.dtype, generator=draw)
    product = torch.ones(rows, samples, dtype=m.dtype)
    drawn: list[Tensor] = []
    for k in range(classes - 1):
        shift = sum((root[k, j] * z for j, z in enumerate(drawn)), torch.zeros_like(product))
        below = torch.special.ndtr(-(m[..., k] + shift) / root[k, k])
        product = product * (1 - below)
        level = below + uniform[..., k] * (1 - below)
        drawn.append(torch.special.ndtri(level.clamp(1e-6, 1 - 1e-6)))
    return product.mean(1)
