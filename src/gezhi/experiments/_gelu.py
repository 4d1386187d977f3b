"""Two networks whose activation can be swapped after training: a perceptron on a table, a masked language model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from gezhi.data import Features, Texts
from gezhi.experiments.setups.bytes import HIDDEN, MASK, Block, ByteModel, split_bytes, windows
from gezhi.nn.gelu import GELU
from gezhi.nn.gelu.forms import GELUVariant


@dataclass(frozen=True)
class Swap:
    """The form a network is trained with, and the one it is asked to use afterwards."""

    trained: GELUVariant
    used: GELUVariant


def fit(model: nn.Module, loss: Callable[[], Tensor], steps: int) -> None:
    """Adam with a learning rate that falls from 0.003 to 0 along a half cosine, so that training ends at rest."""
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()


def answers(logits: Tensor, right: Tensor) -> Tensor:
    """Whether each answer is right, and the probability of the right one, which sees changes that turn no answer."""
    chance = logits.softmax(-1).gather(-1, right[:, None]).squeeze(-1)
    return torch.stack([logits.argmax(-1) == right, chance], -1).double()


def scores(answered: Tensor) -> Mapping[str, float]:
    accuracy, probability = answered.mean(0).tolist()
    return {"accuracy": accuracy, "probability of the right answer": probability}


# ---- a table --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TableSize:
    """Share of the rows to train on, steps of 64 rows, and noisy copies of each test row."""

    share: float
    steps: int
    copies: int


def perceptron(columns: int, classes: int, form: GELUVariant, width: int = 128) -> nn.Sequential:
    """Two hidden layers; the activations are numbers 1 and 3."""
    hidden = [nn.Linear(columns, width), GELU(form), nn.Linear(width, width), GELU(form)]
    return nn.Sequential(*hidden, nn.Linear(width, classes))


@lru_cache(maxsize=1)
def table_model(form: GELUVariant, data: Features, seed: int, size: TableSize) -> tuple[nn.Sequential, Tensor, Tensor]:
    """A trained perceptron with its test rows. Noise of half a standard deviation makes some of them hard to tell."""
    torch.manual_seed(seed)
    X, y = torch.from_numpy(data.X).float(), torch.from_numpy(data.y)
    X = (X - X.mean(0)) / X.std(0).clamp(min=1e-6)
    train, test = train_test_split(torch.arange(len(y)), train_size=size.share, stratify=data.y, random_state=seed)
    model = perceptron(X.shape[1], len(data.classes), form)

    def loss() -> Tensor:
        rows = train[torch.randint(len(train), (64,))]
        return nn.functional.cross_entropy(model(noisy(X[rows])), y[rows])

    fit(model, loss, size.steps)
    return model, noisy(X[test].repeat(size.copies, 1)), y[test].repeat(size.copies)


def noisy(rows: Tensor) -> Tensor:
    return rows + 0.5 * torch.randn(rows.shape)


def swapped_in_table(swap: Swap, data: Features, seed: int, size: TableSize) -> Mapping[str, Any]:
    """Scores on noisy test rows, with the form that the arm asks for."""
    model, X, y = table_model(swap.trained, data, seed, size)
    model[1] = model[3] = GELU(swap.used)
    with torch.no_grad():
        return scores(answers(model(X), y))


# ---- bytes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TextSize:
    """Training steps, windows a step, bytes a window, and about how many bytes are masked for the test."""

    steps: int
    batch: int
    length: int
    tested: int


@lru_cache(maxsize=1)
def byte_model(form: GELUVariant, data: Texts, seed: int, size: TextSize) -> tuple[ByteModel, Tensor, Tensor]:
    """A trained byte model, test windows, and where they are masked; a fifth of the texts is held out."""
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    train, test = split_bytes(data, seed, test_share=0.2)
    model = ByteModel(dim=64)
    use(model, form)

    def loss() -> Tensor:
        ids, hidden = windows(train, size.batch, size.length, draw)
        return nn.functional.cross_entropy(model(ids.masked_fill(hidden, MASK))[hidden], ids[hidden])

    fit(model, loss, size.steps)
    return model, *windows(test, math.ceil(size.tested / HIDDEN / size.length), size.length, draw)


def use(model: ByteModel, form: GELUVariant) -> None:
    for block in model.blocks:
        cast(Block, block).feed[1] = GELU(form)


def swapped_in_text(swap: Swap, data: Texts, seed: int, size: TextSize) -> Mapping[str, Any]:
    """Scores at the masked bytes of held-out text, with the form that the arm asks for."""
    model, ids, hidden = byte_model(swap.trained, data, seed, size)
    use(model, swap.used)
    parts = zip(torch.split(ids, 256), torch.split(hidden, 256), strict=True)
    with torch.no_grad():
        answered = [answers(model(rows.masked_fill(mask, MASK))[mask], rows[mask]) for rows, mask in parts]
    return scores(torch.cat(answered))
