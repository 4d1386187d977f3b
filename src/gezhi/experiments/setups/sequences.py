"""A small Transformer over bytes and its training, for experiments that ask it other things than masked bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from gezhi.experiments.setups.bytes import small_transformer
from gezhi.experiments.setups.train import fit
from gezhi.nn.transformer import Transformer

BYTES = 256


@dataclass(frozen=True)
class Training:
    """Steps of training, sequences a step, their bytes, width of the model."""

    steps: int
    batch: int = 16
    length: int = 32
    dim: int = 64


def transformer(size: Training, layers: int = 2, tokens: int = BYTES, **config: Any) -> Transformer:
    """The house's small Transformer over so many tokens (0: over vectors)."""
    return small_transformer(tokens, size.dim, **{"num_layers": layers, "max_positions": size.length, **config})


def train(modules: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float) -> None:
    """Adam, with a rate that rises over a tenth of the steps and falls to 0."""
    fit(modules.parameters(), loss, steps, rate=rate, warmup=0.1, decay=0.0)
