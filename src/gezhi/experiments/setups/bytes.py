"""A masked language model over bytes, small enough to be trained inside an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi._checks import invalid
from gezhi.data import Texts
from gezhi.experiments.setups.train import fit
from gezhi.nn.attention import Kernel, Scale, dot_product_attention, softmax

MASK = 256  # the one token that is no byte
HIDDEN = 0.15  # share of bytes that are masked
AT_ONCE = 2048  # bytes of one forward pass of a test


@lru_cache(maxsize=8)
def _turns(tokens: int, dim: int) -> tuple[Tensor, Tensor]:
    angle = torch.arange(tokens)[:, None] * 10000.0 ** (-torch.arange(0, dim, 2) / dim)
    return angle.cos(), angle.sin()


def rotary(x: Tensor, start: int) -> Tensor:
    """Rotary positions: the channels (c, c + dim/2) of the token at position p are turned by p · 10000^(-2c/dim)."""
    cos, sin = (turn[start:] for turn in _turns(start + x.shape[-2], x.shape[-1]))
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Block(nn.Module):
    """Attention with rotary positions, then a GELU layer, each behind a norm and around a residual."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.qkv, self.out = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.feed = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor, scale: float | Scale | None, kernel: Kernel) -> Tensor:
        heads = self.qkv(self.norms[0](x)).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind(0)
        mixed = dot_product_attention(query, key, value, scale=scale, kernel=kernel, rotate=rotary)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        fed: Tensor = self.feed(self.norms[1](x))
        return x + fed


class ByteModel(nn.Module):
    """Logits over the 256 bytes at every position; `scale` and `kernel` are those of `dot_product_attention`."""

    def __init__(self, dim: int = 128, depth: int = 2, num_heads: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(MASK + 1, dim)
        nn.init.normal_(self.embed.weight, std=0.05)
        self.blocks = nn.ModuleList(Block(dim, num_heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, 256)

    def forward(self, ids: Tensor, scale: float | Scale | None = None, kernel: Kernel = softmax) -> Tensor:
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, scale, kernel)
        logits: Tensor = self.head(self.norm(x))
        return logits


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


def train(
    model: ByteModel, text: Tensor, seed: int, size: Training, *, scale: float | Scale | None = None, rate: float = 2e-3
) -> ByteModel:
    """The model after training on random windows of the text, which the seed draws."""
    draw = torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        ids, hidden = windows(text, size.batch, size.length, draw)
        return F.cross_entropy(model(ids.masked_fill(hidden, MASK), scale)[hidden], ids[hidden])

    fit(model.parameters(), loss, size.steps, rate=rate, warmup=0.1)
    return model.eval()


@torch.no_grad()
def guesses(
    model: ByteModel, ids: Tensor, hidden: Tensor, scale: float | Scale | None = None, kernel: Kernel = softmax
) -> Tensor:
    """Logits over the 256 bytes at every masked byte, in order."""
    at_once = max(1, AT_ONCE // ids.shape[1])
    parts = zip(torch.split(ids, at_once), torch.split(hidden, at_once), strict=True)
    return torch.cat([model(part.masked_fill(hide, MASK), scale, kernel)[hide] for part, hide in parts])


def accuracy_by_window(
    model: ByteModel, ids: Tensor, hidden: Tensor, scale: float | Scale | None = None, kernel: Kernel = softmax
) -> Tensor:
    """Share of its masked bytes that are guessed right, of each window; NaN where none is masked."""
    right = torch.zeros(hidden.shape, dtype=torch.float64)
    right[hidden] = (guesses(model, ids, hidden, scale, kernel).argmax(-1) == ids[hidden]).double()
    return right.sum(1) / hidden.sum(1)
