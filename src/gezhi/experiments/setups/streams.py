"""Questions and answers as items of bytes, the ways to read them, and models whose reading is a mask, and some others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi._checks import invalid
from gezhi.data import Pairs
from gezhi.experiments.setups.sequences import BYTES, Training, transformer
from gezhi.nn.attention import Mask, MultiheadAttention
from gezhi.nn.masks import permutation_lm_mask
from gezhi.nn.transformer import Layer

SEPARATOR, PAD, HIDDEN, TOKENS = BYTES, BYTES + 1, BYTES + 2, BYTES + 3
MOST = 5000  # items of training
SOURCE = 48  # tokens of a question, cut or padded on the left, with the separator


@dataclass(frozen=True)
class Size(Training):
    """Updates a task, items a batch, tokens of an item, width; and test items."""

    length: int = 96
    tested: int = 400


# ---- items and tasks ------------------------------------------------------------------------------------------------


def item(question: str, answer: str, length: int) -> list[int]:
    """The question's last byte and the separator always stand at the same places."""
    source, target = question.encode()[: SOURCE - 1], answer.encode()[: length - SOURCE]
    left, right = SOURCE - 1 - len(source), length - SOURCE - len(target)
    return [PAD] * left + [*source, SEPARATOR, *target] + [PAD] * right


@lru_cache(maxsize=1)
def items(data: Pairs, seed: int, size: Size) -> tuple[Tensor, Tensor]:
    """Items for training and for the test, at most 5000 and a sixth of the pairs, which the seed draws."""
    order = torch.randperm(len(data.left), generator=torch.Generator().manual_seed(seed))
    tested = min(size.tested, len(order) // 6)
    if not tested:
        raise invalid("pairs", "be 6 at least", len(order))
    rows = [item(data.left[i], data.right[i], size.length) for i in order[: tested + MOST].tolist()]
    return torch.tensor(rows[tested:]), torch.tensor(rows[:tested])


@dataclass(frozen=True)
class Task:
    """The order in which tokens are read, whether the source sees itself whole, and whether only the target counts."""

    shuffled: bool = False
    prefix: bool = False
    target_alone: bool = False


@dataclass(frozen=True, eq=False)
class View:
    """What a task makes of items: who sees whom (without itself: `strict`), and which token each row is asked for.

    `rows` are those whose question counts: what they and the token that they are asked for are is no padding.
    """

    content: Mask | Tensor
    strict: Tensor | None
    asked: Tensor
    rows: Tensor


def view(task: Task, ids: Tensor, draw: torch.Generator) -> View:
    tokens, place = ids != PAD, torch.arange(ids.shape[1]).expand(ids.shape)
    order = (torch.rand(ids.shape, generator=draw) - (~tokens).float()).argsort(-1) if task.shuffled else place
    asked = place.scatter(1, order[:, :-1], order[:, 1:])
    rows = (asked != place) & tokens & tokens.gather(1, asked)
    if task.target_alone:
        rows &= asked >= SOURCE
    if not task.shuffled:
        return View(Mask(causal=True, prefix=SOURCE if task.prefix else 0, keys=tokens), None, asked, rows)
    content, strict = (mask & tokens[:, None, None] for mask in permutation_lm_mask(order))
    return View(content, strict, asked, rows)


# ---- models: losses(ids, task, generator) -> one number for each predicted byte -------------------------------------


class OneStack(nn.Module):
    """A Transformer that differs between tasks by its mask; `told`: each row is told how far off its question lies."""

    def __init__(self, size: Size, told: bool = False) -> None:
        super().__init__()
        self.stack = transformer(size, tokens=TOKENS, head="lm")
        self.offset = nn.Embedding(2 * size.length - 1, size.dim) if told else None
        if self.offset is not None:
            nn.init.normal_(self.offset.weight, std=0.1)

    def losses(self, ids: Tensor, task: Task, draw: torch.Generator) -> Tensor:
        seen = view(task, ids, draw)
        x = self.embedded(ids)
        if self.offset is not None:
            x = x + self.offset(seen.asked - torch.arange(ids.shape[1]) + ids.shape[1] - 1)
        return self.of(self.stack.encode(x, mask=seen.content)[seen.rows], ids.gather(1, seen.asked)[seen.rows])

    def embedded(self, ids: Tensor) -> Tensor:
        return cast(Tensor, cast(nn.Module, self.stack.embeddings)(ids, None, 0))

    def of(self, hidden: Tensor, right: Tensor) -> Tensor:
        return F.cross_entropy(self.stack.logits(hidden), right, reduction="none")

    def masked(self, ids: Tensor, draw: torch.Generator) -> Tensor:
        """As a masked language model: bytes at 15 % of the places, seen from both sides."""
        tokens = ids != PAD
        hidden = tokens & (torch.rand(ids.shape, generator=draw) < 0.15)
        return self.of(self.stack(ids.masked_fill(hidden, HIDDEN), mask=Mask(keys=tokens))[hidden], ids[hidden])


class TwoStreams(OneStack):
    """XLNet's: a second stream knows the place that it is asked for and not the token there."""

    def __init__(self, size: Size) -> None:
        super().__init__(size)
        self.start = nn.Parameter(0.1 * torch.randn(size.dim))

    def losses(self, ids: Tensor, task: Task, draw: torch.Generator) -> Tensor:
        seen = view(task, ids, draw)
        hidden = self.asking(self.embedded(ids), seen)
        batch, place = seen.rows.nonzero()[:, 0], seen.asked[seen.rows]
        return self.of(hidden[batch, place], ids[batch, place])

    def asking(self, x: Tensor, seen: View) -> Tensor:
        """States of the second stream."""
        asking = self.start.expand(x.shape)
        for layer in cast("list[Layer]", self.stack.layers):
            before = layer.norms[0]
            asking = asking + layer.attention(before(asking), before(x), mask=seen.strict)
            asking = asking + layer.feed(layer.norms[1](asking))
            x = layer(x, mask=seen.content)
        return cast(Tensor, self.stack.norm(asking))


class EncoderDecoder(nn.Module):
    """One layer for the source, one for the target with a look at the source; as many parameters as two layers."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        hidden = size.dim * 3  # a third attention instead of a quarter of each feed-forward part
        self.encoder = transformer(size, layers=1, tokens=TOKENS, head="lm", hidden_dim=hidden)
        self.decoder = transformer(size, layers=1, tokens=0, hidden_dim=hidden)
        self.look, self.norm = MultiheadAttention(size.dim, 4), nn.LayerNorm(size.dim)

    def losses(self, ids: Tensor, _task: Task, _draw: torch.Generator) -> Tensor:
        source, target, right = ids[:, :SOURCE], ids[:, SOURCE - 1 : -1], ids[:, SOURCE:]
        keys = source != PAD
        read = self.encoder(source, mask=Mask(keys=keys))
        layer = cast(Layer, self.decoder.layers[0])
        x = cast(nn.Module, self.encoder.embeddings)(target, None, 0)
        x = x + layer.attention(layer.norms[0](x), mask=Mask(causal=True))
        x = x + self.look(self.norm(x), read, mask=Mask(keys=keys))
        x = self.decoder.norm(x + layer.feed(layer.norms[1](x)))
        counts = right != PAD
        return F.cross_entropy(self.encoder.logits(x[counts]), right[counts], reduction="none")


class Recurrent(nn.Module):
    """A GRU reads the source, another writes the target from its last state; as many parameters as the Transformer."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = round(1.375 * size.dim)
        self.embed, self.head = nn.Embedding(BYTES + 3, size.dim), nn.Linear(width, TOKENS)
        self.reads, self.writes = (nn.GRU(size.dim, width, batch_first=True) for _ in range(2))

    def losses(self, ids: Tensor, _task: Task, _draw: torch.Generator) -> Tensor:
        _, state = self.reads(self.embed(ids[:, : SOURCE - 1]))
        right = ids[:, SOURCE:]
        said, counts = self.head(self.writes(self.embed(ids[:, SOURCE - 1 : -1]), state)[0]), right != PAD
        return F.cross_entropy(said[counts], right[counts], reduction="none")
