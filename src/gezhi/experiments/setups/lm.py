"""Byte language models on texts that a seed draws: causal or masked, trained alike and judged in nats per byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gezhi.data import Texts
from gezhi.experiments.setups.bytes import check_length
from gezhi.experiments.setups.store import kept
from gezhi.experiments.setups.train import fit
from gezhi.lab.reach import reach
from gezhi.nn.transformer import Transformer, TransformerConfig

MASK, HIDDEN = 256, 0.3  # the one token that is no byte; share of bytes that a masked model has to guess
NOT_ASKED = -100
AT_ONCE = 32  # windows of one forward pass of a test


@dataclass(frozen=True)
class Size:
    """Steps of training, windows a step, bytes a window; bytes of all training texts and of all test texts."""

    steps: int
    batch: int = 16
    length: int = 128
    trained: int = 4_000_000
    tested: int = 200_000


@dataclass(frozen=True)
class Recipe:
    """A model, from whether it is causal, and its step size."""

    make: Callable[[bool], Transformer]
    rate: float


def transformer(causal: bool, *, dim: int = 64, **choices: Any) -> Transformer:
    """Two layers of two heads with rotary positions, without dropout."""
    config = TransformerConfig(MASK + 1, dim, num_layers=2, num_heads=2, dropout=0.0, head="lm", causal=causal)
    model = Transformer(TransformerConfig(**{**vars(config), **choices}))
    widen(model)
    return model


@torch.no_grad()
def widen(model: Transformer) -> None:
    """Initial weights with a standard deviation of 0.1 instead of BERT's 0.02: narrow models learn sooner."""
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.mul_(5)


# ---- text -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def split(data: Texts, seed: int, trained: int, tested: int) -> tuple[Tensor, Tensor]:
    """Bytes for training and for the test, of different texts that the seed draws; at most a tenth is tested."""
    order = torch.randperm(len(data.texts), generator=torch.Generator().manual_seed(seed)).tolist()
    lines = [data.texts[i].encode() + b"\n" for i in order]
    held = count_until(lines, min(tested, sum(map(len, lines)) // 10))
    rest = lines[held:]
    parts = b"".join(rest[: count_until(rest, trained)]), b"".join(lines[:held])
    train, test = (torch.frombuffer(bytearray(part), dtype=torch.uint8) for part in parts)
    return train, test


def count_until(lines: list[bytes], size: int) -> int:
    """How many lines it takes to reach so many bytes; all where they do not suffice."""
    total = 0
    for number, line in enumerate(lines):
        if total >= size:
            return max(1, number)
        total += len(line)
    return len(lines)


def example(ids: Tensor, causal: bool, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """What a model gets, and the byte that it should say at each place, or NOT_ASKED."""
    if causal:
        return ids[:, :-1], ids[:, 1:]
    hidden = torch.rand(ids.shape, generator=draw) < HIDDEN
    return ids.masked_fill(hidden, MASK), ids.masked_fill(~hidden, NOT_ASKED)


# ---- training and judging -------------------------------------------------------------------------------------------


def loss_of(model: Transformer, given: Tensor, wanted: Tensor) -> Tensor:
    """Mean cross-entropy in nats where a byte is wanted."""
    asked = wanted != NOT_ASKED
    return F.cross_entropy(model.logits(model(given)[asked]), wanted[asked])


def train(recipe: Recipe, causal: bool, text: Tensor, seed: int, size: Size) -> Transformer:
    """A model after training on random windows; the seed draws them and the initial weights."""
    torch.manual_seed(seed)
    model, draw = recipe.make(causal), torch.Generator().manual_seed(seed)
    length = size.length + causal
    check_length(text, length)
    if causal:
        refuse_foresight(model)

    def loss() -> Tensor:
        starts = torch.randint(len(text) - length + 1, (size.batch, 1), generator=draw)
        return loss_of(model, *example(text[starts + torch.arange(length)].long(), causal, draw))

    fit(model.parameters(), loss, size.steps, rate=recipe.rate, warmup=0.1, decay=0.1)
    return model


def refuse_foresight(model: Transformer) -> None:
    """RuntimeError where a later token has any influence on an earlier one: such a model would win by cheating."""
    assert model.embeddings is not None
    x = model.embeddings(torch.arange(16)[None], None, 0).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model.encode(x)[:, 7].square().sum(), x)
    if gradient[:, 8:].any() or not gradient[:, :8].any(-1).all():
        raise RuntimeError("a causal model sees the future, or not all of the past")


def model_of(recipe: Recipe, causal: bool, text: Tensor, seed: int, size: Size) -> Transformer:
    """`train`, from disk where another study has trained the same before."""
    told = {
        "code": reach(train, recipe, causal, size),
        "seed": seed,
        "text": hashlib.sha256(text.numpy().tobytes()).hexdigest(),
    }
    model = recipe.make(causal)
    state = kept("lm", told, lambda: dict(train(recipe, causal, text, seed, size).state_dict()))
    model.load_state_dict(state)
    return model.eval()


@torch.no_grad()
def held_out_loss(model: Transformer, causal: bool, text: Tensor, size: Size) -> float:
    """Mean loss over a text that is cut into windows, of at most `size.tested` bytes; the same bytes are masked."""
    length = size.length + causal
    check_length(text, length)
    count = min(len(text), size.tested) // length or 1
    draw = torch.Generator().manual_seed(0)
    given, wanted = example(text[: count * length].view(-1, length).long(), causal, draw)
    total = 0.0
    for ids, right in zip(torch.split(given, AT_ONCE), torch.split(wanted, AT_ONCE), strict=True):
        total += loss_of(model, ids, right).item() * int((right != NOT_ASKED).sum())
    return total / int((wanted != NOT_ASKED).sum())


def losses(recipe: Recipe, causal: bool, data: Texts, seed: int, size: Size) -> dict[str, float]:
    """Loss in nats per byte of a trained model on texts that it has not seen, and on those that it has."""
    training, test = split(data, seed, size.trained, size.tested)
    model = model_of(recipe, causal, training, seed, size)
    found = (held_out_loss(model, causal, text, size) for text in (test, training))
    return dict(zip(("loss", "training loss"), found, strict=True))
