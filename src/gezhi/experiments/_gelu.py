"""Two networks whose activation can be swapped after training: a perceptron on a table, a masked language model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from gezhi.data import Features, Texts

Form = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Swap:
    """Which form a network is trained with, and which it is asked to use afterwards."""

    trained: Form
    used: Form


def fit(model: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float) -> None:
    """Adam with a learning rate that falls to 0 along a half cosine, so that training ends at rest."""
    optimiser = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
        schedule.step()


def scores(logits: Tensor, right: Tensor) -> Mapping[str, float]:
    """Share of right answers, and the mean probability of the right one, which sees changes that turn no answer."""
    chance = logits.softmax(-1).gather(-1, right[:, None])
    return {
        "accuracy": (logits.argmax(-1) == right).double().mean().item(),
        "probability of the right answer": chance.double().mean().item(),
    }


# ---- a table --------------------------------------------------------------------------------------------------------

WIDTH = 128


class Perceptron(nn.Module):
    """Two hidden layers."""

    def __init__(self, columns: int, classes: int, activation: Form) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(columns, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head, self.activation = nn.Linear(WIDTH, classes), activation

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.first(x))
        x = self.activation(self.second(x))
        return torch.as_tensor(self.head(x))


@dataclass(frozen=True)
class TableSize:
    """Share of the rows to train on, steps of 64 rows, and noisy copies of each test row."""

    share: float
    steps: int
    copies: int


@lru_cache(maxsize=1)
def table_model(form: Form, data: Features, seed: int, size: TableSize) -> tuple[Perceptron, Tensor, Tensor]:
    """A trained perceptron with its test rows. Noise of half a standard deviation makes many of them hard to tell."""
    torch.manual_seed(seed)
    X = torch.from_numpy(data.X).float()
    X, y = (X - X.mean(0)) / X.std(0).clamp(min=1e-6), torch.from_numpy(data.y)
    train, test = train_test_split(range(len(y)), train_size=size.share, stratify=data.y, random_state=seed)
    model = Perceptron(X.shape[1], len(data.classes), form)

    def loss() -> Tensor:
        rows = torch.tensor(train)[torch.randint(len(train), (64,))]
        return nn.functional.cross_entropy(model(X[rows] + 0.5 * torch.randn(64, X.shape[1])), y[rows])

    fit(model, loss, size.steps, 3e-3)
    X_test, y_test = X[test].repeat(size.copies, 1), y[test].repeat(size.copies)
    return model, X_test + 0.5 * torch.randn(X_test.shape), y_test


def swapped_in_table(swap: Swap, data: Features, seed: int, size: TableSize) -> Mapping[str, Any]:
    """Scores on noisy test rows, with the form that the arm asks for."""
    model, X, y = table_model(swap.trained, data, seed, size)
    model.activation = swap.used
    with torch.no_grad():
        logits = model(X)
    return scores(logits, y)


# ---- bytes ----------------------------------------------------------------------------------------------------------

MASK = 256
MASKED = 0.15


class ByteModel(nn.Module):
    """Masked language model over bytes: two layers of width 64."""

    def __init__(self, length: int, activation: Form, dim: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.byte, self.place = nn.Embedding(MASK + 1, dim), nn.Embedding(length, dim)
        for table in (self.byte, self.place):
            nn.init.normal_(table.weight, std=0.1)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim, heads, 4 * dim, dropout=0.0, activation=activation, batch_first=True, norm_first=True
            )
            for _ in range(2)
        )
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, MASK))

    def use(self, activation: Form) -> None:
        for block in self.blocks:
            block.activation = activation

    def forward(self, ids: Tensor) -> Tensor:
        x = self.byte(ids) + self.place.weight
        for block in self.blocks:
            x = block(x)
        return torch.as_tensor(self.head(x))


@dataclass(frozen=True)
class TextSize:
    """Training steps, windows a step, bytes a window, and how many bytes are masked for the test."""

    steps: int
    batch: int
    length: int
    tested: int


@lru_cache(maxsize=1)
def byte_model(form: Form, data: Texts, seed: int, size: TextSize) -> tuple[ByteModel, Tensor, Tensor]:
    """A trained byte model, test windows, and where they are masked; a fifth of the texts is held out."""
    torch.manual_seed(seed)
    order = torch.randperm(len(data.texts)).tolist()
    cut = max(1, len(order) // 5)
    held, kept = (
        torch.tensor(list("\n".join(data.texts[i] for i in part).encode())) for part in (order[:cut], order[cut:])
    )
    model = ByteModel(size.length, form)

    def windows(text: Tensor, count: int) -> tuple[Tensor, Tensor]:
        start = torch.randint(len(text) - size.length, (count, 1))
        ids = text[start + torch.arange(size.length)]
        return ids, torch.rand(ids.shape) < MASKED

    def loss() -> Tensor:
        ids, masked = windows(kept, size.batch)
        return nn.functional.cross_entropy(model(ids.masked_fill(masked, MASK))[masked], ids[masked])

    fit(model, loss, size.steps, 3e-3)
    return model, *windows(held, math.ceil(size.tested / MASKED / size.length))


def swapped_in_text(swap: Swap, data: Texts, seed: int, size: TextSize) -> Mapping[str, Any]:
    """Scores at the masked bytes of held-out text, with the form that the arm asks for."""
    model, ids, masked = byte_model(swap.trained, data, seed, size)
    model.use(swap.used)
    with torch.no_grad():
        logits = torch.cat(
            [model(i.masked_fill(m, MASK))[m] for i, m in zip(ids.split(256), masked.split(256), strict=True)]
        )
    return scores(logits, ids[masked])
