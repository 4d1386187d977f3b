"""A masked language model over bytes, small enough to be trained inside an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from gezhi._checks import invalid
from gezhi.data import Texts
from gezhi.experiments.setups.train import fit
from gezhi.nn.attention import Kernel, MultiheadAttention, Scale, softmax
from gezhi.nn.transformer import Transformer, TransformerConfig

MASK = 256  # the one token that is no byte
HIDDEN = 0.15  # share of bytes that are masked
AT_ONCE = 2048  # bytes of one forward pass of a test


def small_transformer(tokens: int = MASK + 1, dim: int = 64, **choices: Any) -> Transformer:
    """Two layers of four heads with rotary positions, unless chosen otherwise; over so many tokens (0: over vectors).

    Initial weights have a standard deviation of 0.1: of 0.02 (BERT's), 0.05 and 0.1 a masked model of bytes learned
    most with it in 800 steps.
    """
    sizes = {"num_layers": 2, "num_heads": 4, "dropout": 0.0, "initializer_range": 0.1}
    return Transformer(TransformerConfig(tokens, dim, **{**sizes, **choices}))


def byte_model(dim: int, depth: int) -> Transformer:
    """An encoder with a language model's head, over the 256 bytes and the mask."""
    return small_transformer(dim=dim, num_layers=depth, head="lm")


def with_attention(model: Transformer, scale: float | Scale | None, kernel: Kernel = softmax) -> Transformer:
    """The same model; `scale` and `kernel` are those of `dot_product_attention`, in every layer from now on."""
    for layer in model.layers:
        attention = cast(MultiheadAttention, layer.attention)
        attention.scale, attention.kernel = scale, kernel
    return model


# ---- text -----------------------------------------------------------------------------------------------------------


def split_bytes(data: Texts, seed: int, test_share: float = 0.1) -> tuple[Tensor, Tensor]:
    """The bytes of the training texts and of the test texts, which the seed draws."""
    order = torch.randperm(len(data.texts), generator=torch.Generator().manual_seed(seed)).tolist()
    held_out = max(1, round(test_share * len(order)))
    parts = ("\n".join(data.texts[i] for i in part).encode() for part in (order[held_out:], order[:held_out]))
    train, test = (torch.frombuffer(bytearray(part), dtype=torch.uint8) for part in parts)
    return train, test


def windows(text: Tensor, count: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Bytes of random windows, and which of them to mask."""
    check_length(text, length)
    starts = torch.randint(len(text) - length + 1, (count, 1), generator=generator)
    return text[starts + torch.arange(length)].long(), masks(count, length, generator)


def pieces(text: Tensor, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The whole text cut into windows one after another, without a shorter rest, and which bytes to mask."""
    check_length(text, length)
    ids = text[: len(text) // length * length].view(-1, length).long()
    return ids, masks(len(ids), length, generator)


def masks(count: int, length: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, length, generator=generator) < HIDDEN


def check_length(text: Tensor, length: int) -> None:
    if len(text) < length:
        raise invalid("texts", f"leave at least {length} bytes for training and for testing each", len(text))


# ---- training and judging -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Training:
    """Steps of training, windows a step, bytes a window, width and layers of the model."""

    steps: int
    batch: int = 16
    length: int = 64
    dim: int = 128
    depth: int = 2


def train(model: Transformer, text: Tensor, seed: int, size: Training, *, rate: float = 2e-3) -> Transformer:
    """The model after training on random windows of the text, which the seed draws."""
    draw = torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        ids, hidden = windows(text, size.batch, size.length, draw)
        return F.cross_entropy(logits(model, ids, hidden), ids[hidden])

    fit(model.parameters(), loss, size.steps, rate=rate, warmup=0.1)
    return model.eval()


def logits(model: Transformer, ids: Tensor, hidden: Tensor) -> Tensor:
    """Logits at the masked bytes."""
    return model.logits(model(ids.masked_fill(hidden, MASK))[hidden])


@torch.no_grad()
def guesses(model: Transformer, ids: Tensor, hidden: Tensor) -> Tensor:
    """Logits at every masked byte, in order."""
    at_once = max(1, AT_ONCE // ids.shape[1])
    parts = zip(torch.split(ids, at_once), torch.split(hidden, at_once), strict=True)
    return torch.cat([logits(model, *part) for part in parts])


def accuracy_by_window(model: Transformer, ids: Tensor, hidden: Tensor) -> Tensor:
    """Share of its masked bytes that are guessed right, of each window; NaN where none is masked."""
    right = torch.zeros(hidden.shape, dtype=torch.float64)
    right[hidden] = (guesses(model, ids, hidden).argmax(-1) == ids[hidden]).double()
    return right.sum(1) / hidden.sum(1)
