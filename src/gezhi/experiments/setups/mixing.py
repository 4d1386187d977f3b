"""Masked byte models for `lm` that differ in how tokens are mixed: by attention, or by one of `gezhi.nn`'s mixers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gezhi.experiments.setups import lm
from gezhi.experiments.setups.bytes import MASK
from gezhi.nn import token_mixer
from gezhi.nn.attention import Mask, MultiheadAttention
from gezhi.nn.positions import rotary

DIM, DEPTH, HEADS = 64, 4, 4
NEAR = 7  # bytes to either side


class Attention(nn.Module):
    """Softmax attention with rotary positions, to all bytes or to those nearby."""

    def __init__(self, dim: int, near: bool = False) -> None:
        super().__init__()
        self.near, self.attention = near, MultiheadAttention(dim, HEADS, rotate=rotary)

    def forward(self, x: Tensor) -> Tensor:
        place = torch.arange(x.shape[1])
        mask = Mask(dense=(place[:, None] - place).abs() <= NEAR) if self.near else None
        out: Tensor = self.attention(x, mask=mask)
        return out


class Residual(nn.Module):
    """x + inner(norm(x))"""

    def __init__(self, dim: int, inner: nn.Module) -> None:
        super().__init__()
        self.norm, self.inner = nn.LayerNorm(dim), inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.inner(self.norm(x))
        return out


@dataclass(frozen=True)
class Mixing:
    """How the layers of a model mix tokens.

    Attributes:
        name: of `token_mixer`, or "attention", "near attention", "nothing".
        hidden: inner width of the channel network, chosen so that all models have as many parameters.
        rate: step size.
        alone: the mixer brings its own norms, residual paths and channel network.
        placed: places get vectors, since the mixer or its paper cannot do without.
    """

    name: str
    hidden: int
    rate: float = 4e-3
    alone: bool = False
    placed: bool = False

    def layer(self, length: int) -> list[nn.Module]:
        if self.alone:
            return [token_mixer(self.name, DIM, length, hidden_dim=self.hidden)]
        feed = nn.Sequential(nn.Linear(DIM, self.hidden), nn.GELU(), nn.Linear(self.hidden, DIM))
        return [Residual(DIM, part) for part in (self.step(length), feed) if part is not None]

    def step(self, length: int) -> nn.Module | None:
        if self.name == "nothing":
            return None
        if self.name in ("attention", "near attention"):
            return Attention(DIM, near=self.name == "near attention")
        return token_mixer(self.name, DIM, length)

    def recipe(self, length: int) -> lm.Recipe:
        make: Any = partial(model, self, length)
        return lm.Recipe(make, self.rate)


class MixingModel(nn.Module):
    """States of windows of one length, and logits of states."""

    def __init__(self, mixing: Mixing, length: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(MASK + 1, DIM)
        nn.init.normal_(self.embed.weight, std=0.05)
        self.places = nn.Parameter(0.05 * torch.randn(length, DIM)) if mixing.placed else None
        self.layers = nn.Sequential(*(part for _ in range(DEPTH) for part in mixing.layer(length)))
        self.norm, self.head = nn.LayerNorm(DIM), nn.Linear(DIM, 256)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        x = x if self.places is None else x + self.places
        out: Tensor = self.layers(x)
        return out

    def logits(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.norm(x))
        return out


def model(mixing: Mixing, length: int, _causal: bool) -> MixingModel:
    return MixingModel(mixing, length)
