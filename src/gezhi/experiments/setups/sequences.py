"""A small Transformer over bytes and its training, for experiments that ask it other things than masked bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from gezhi.experiments.setups.train import fit
from gezhi.nn.transformer import Transformer, TransformerConfig

BYTES = 256


@dataclass(frozen=True)
class Training:
    """Steps of training, sequences a step, their bytes, width of the model."""

    steps: int
    batch: int = 16
    length: int = 32
    dim: int = 64


def transformer(size: Training, layers: int = 2, tokens: int = BYTES, **config: Any) -> Transformer:
    """Two layers of four heads over so many tokens (0: over vectors), without dropout."""
    parts = {"max_positions": size.length, "dropout": 0.0, "num_heads": 4, "initializer_range": 0.1} | config
    return Transformer(TransformerConfig(tokens, size.dim, num_layers=layers, **parts))


def train(modules: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float) -> None:
    """Adam, with a rate that rises over a tenth of the steps and falls to 0."""
    fit(modules.parameters(), loss, steps, rate=rate, warmup=0.1, decay=0.0)
