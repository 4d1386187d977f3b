"""A masked language model over bytes, small enough to be trained inside an experiment."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi.data import Texts
from gezhi.nn.attention import Scale, dot_product_attention

MASK = 256  # the one token that is no byte
HIDDEN = 0.15  # share of bytes that are masked


@lru_cache(maxsize=8)
def _turns(n: int, dim: int) -> tuple[Tensor, Tensor]:
    angle = torch.arange(n)[:, None] * 10000.0 ** (-torch.arange(0, dim, 2) / dim)
    return angle.cos(), angle.sin()


def rotary(x: Tensor, start: int) -> Tensor:
    """Rotary positions: channel pairs (c, c + dim/2) of the token at position p are turned by p·10000^(-2c/dim)."""
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

    def forward(self, x: Tensor, scale: float | Scale | None) -> Tensor:
        heads = self.qkv(self.norms[0](x)).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = dot_product_attention(*heads.unbind(0), scale=scale, rotate=rotary)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.feed(self.norms[1](x))


class ByteModel(nn.Module):
    """Logits over the 256 bytes at every position; `scale` is that of `dot_product_attention`."""

    def __init__(self, dim: int = 128, depth: int = 2, num_heads: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(MASK + 1, dim)
        nn.init.normal_(self.embed.weight, std=0.05)
        self.blocks = nn.ModuleList(Block(dim, num_heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, 256)

    def forward(self, ids: Tensor, scale: float | Scale | None = None) -> Tensor:
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, scale)
        return self.head(self.norm(x))


def split_bytes(data: Texts, seed: int, test_share: float = 0.1) -> tuple[Tensor, Tensor]:
    """All bytes of the training texts and of the test texts, which are drawn by the seed."""
    order = torch.randperm(len(data.texts), generator=torch.Generator().manual_seed(seed)).tolist()
    held_out = max(1, round(test_share * len(order)))
    parts = (order[held_out:], order[:held_out])
    train, test = ("\n".join(data.texts[i] for i in part).encode() for part in parts)
    return torch.frombuffer(bytearray(train), dtype=torch.uint8), torch.frombuffer(bytearray(test), dtype=torch.uint8)


def windows(text: Tensor, count: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Bytes of random windows, and which of them to mask."""
    starts = torch.randint(len(text) - length + 1, (count, 1), generator=generator)
    return text[starts + torch.arange(length)].long(), torch.rand(count, length, generator=generator) < HIDDEN


def train(
    text: Tensor, seed: int, steps: int, batch: int, length: int, scale: float | Scale | None = None
) -> ByteModel:
    """A model after so many AdamW steps, with warm-up and cosine decay from 0.002."""
    torch.manual_seed(seed)
    model, draw = ByteModel(), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps, pct_start=0.1, cycle_momentum=False)
    for _ in range(steps):
        ids, hidden = windows(text, batch, length, draw)
        loss = F.cross_entropy(model(ids.masked_fill(hidden, MASK), scale)[hidden], ids[hidden])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()
