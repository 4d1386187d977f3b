"""Pairs of handwritten digits, alike or hard to tell apart, and the training of vectors and scores for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor, nn

from gezhi.data import Features
from gezhi.losses.cosent import optimal_threshold

Negatives = Literal["hard", "random"]
Scorer = Callable[[Tensor, Tensor], Tensor]
BATCH, NEAREST = 32, 5


@dataclass(frozen=True, eq=False)
class Rows:
    """Pairs as two matrices, one row a pair, with a label each."""

    left: Tensor
    right: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Size:
    """Pairs for training, for choosing a threshold and for the test; passes over the training pairs."""

    train: int
    test: int
    epochs: int
    validation: int = 1000


@lru_cache(maxsize=1)
def digit_pairs(data: Features, seed: int, size: Size, negatives: Negatives) -> tuple[Rows, Rows, Rows]:
    """Training pairs over 1000 images, and pairs with hard negatives over the others for threshold and test."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(data.X))
    X, y = data.X[order] / 16, data.y[order]
    train = drawn(X[:1000], y[:1000], size.train, negatives, rng)
    validation, test = (drawn(X[1000:], y[1000:], count, "hard", rng) for count in (size.validation, size.test))
    return train, validation, test


def drawn(
    X: NDArray[np.float64], y: NDArray[np.int64], count: int, negatives: Negatives, rng: np.random.Generator
) -> Rows:
    """Alternately two images of one class, and two of different classes; hard: among the nearest by cosine."""
    first = rng.integers(len(X), size=count)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    near = np.where(y[:, None] == y, -np.inf, unit @ unit.T)
    nearest = np.argsort(-near, axis=1)[:, :NEAREST]
    second = np.empty(count, dtype=int)
    for i, image in enumerate(first):
        if i % 2 == 0:
            same = np.flatnonzero(y == y[image])
            second[i] = rng.choice(same[same != image])
        elif negatives == "hard":
            second[i] = rng.choice(nearest[image])
        else:
            second[i] = rng.choice(np.flatnonzero(y != y[image]))
    left, right = (torch.from_numpy(X[rows]).float() for rows in (first, second))
    return Rows(left, right, torch.from_numpy((np.arange(count) + 1) % 2).double())


# ---- what is minimised: modules over two batches of vectors and their labels ------------------------------------------


class SentenceBert(nn.Module):
    """Cross-entropy of a linear map of [u, v, |u - v|]; graded labels are cut into fifths."""

    def __init__(self, dim: int, labels: Tensor) -> None:
        super().__init__()
        levels = torch.unique(labels)
        graded = torch.unique(torch.quantile(labels, torch.tensor([0.2, 0.4, 0.6, 0.8], dtype=labels.dtype)))
        self.cuts = (levels[1:] + levels[:-1]) / 2 if len(levels) <= 10 else graded
        self.classify = nn.Linear(3 * dim, len(self.cuts) + 1)

    def forward(self, a: Tensor, b: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.classify(torch.cat([a, b, (a - b).abs()], -1)), torch.bucketize(labels, self.cuts))


class Regression(nn.Module):
    """A loss of the cosine and of labels stretched to 0..1."""

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor], labels: Tensor) -> None:
        super().__init__()
        self.loss, self.low, self.width = loss, labels.min(), (labels.max() - labels.min()).clamp(min=1e-12)

    def forward(self, a: Tensor, b: Tensor, labels: Tensor) -> Tensor:
        return self.loss(F.cosine_similarity(a, b), ((labels - self.low) / self.width).float()).mean()


def squared(cosine: Tensor, y: Tensor) -> Tensor:
    return (y - cosine).square()


def one_minus_plus(cosine: Tensor, y: Tensor) -> Tensor:
    """1 - cos for alike pairs, 1 + cos for others."""
    return y * (1 - cosine) + (1 - y) * (1 + cosine)


def floored(cosine: Tensor, y: Tensor) -> Tensor:
    """The same, but unlike pairs are pushed apart only until their cosine is 0.7."""
    return y * (1 - cosine) + (1 - y) * (1 + cosine.clamp(min=0.7))


# ---- training and judging ---------------------------------------------------------------------------------------------


def encoder() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32))


class PairScorer(nn.Module):
    """A raw score of a pair from both images at once: 192-128-1 on [x1, x2, |x1 - x2|]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(192, 128), nn.ReLU(), nn.Linear(128, 1))

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        score: Tensor = self.layers(torch.cat([left, right, (left - right).abs()], -1)).squeeze(-1)
        return score


def trained(
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    parameters: Sequence[nn.Parameter],
    rows: Rows,
    epochs: int,
    seed: int,
    judge: Callable[[], float],
) -> list[float]:
    """Adam over batches of 32 pairs, its step falling from 0.001 to 0; what `judge` says after each pass."""
    optimiser, draw = torch.optim.Adam(parameters, lr=1e-3), torch.Generator().manual_seed(seed)
    steps = epochs * max(1, len(rows.labels) // BATCH)
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: max(0.0, 1 - step / steps))
    found = []
    for _ in range(epochs):
        order = torch.randperm(len(rows.labels), generator=draw)
        for batch in torch.split(order[: max(BATCH, len(order) // BATCH * BATCH)], BATCH):
            optimiser.zero_grad()
            value = loss(rows.left[batch], rows.right[batch], rows.labels[batch])
            torch.autograd.backward(value)
            optimiser.step()
            falling.step()
        found.append(judge())
    return found


@torch.no_grad()
def correlation(score: Scorer, rows: Rows) -> float:
    """Spearman's rank correlation of scores and labels; 0 where all scores are equal."""
    scores = score(rows.left, rows.right)
    return float(spearmanr(scores, rows.labels).statistic) if scores.min() < scores.max() else 0.0


@torch.no_grad()
def accuracy(score: Scorer, validation: Rows, test: Rows) -> float:
    """Share of test pairs told right by the threshold that was best on the validation pairs."""
    cut = optimal_threshold(score(validation.left, validation.right), validation.labels).threshold
    told = score(test.left, test.right) >= cut
    return float((told == test.labels.bool()).double().mean())


def over_epochs(curve: Sequence[float], *kept: int) -> Mapping[str, Any]:
    """The correlation at the end, after the kept epochs (the last one where training was shorter), and the curve."""
    single = {f"spearman, epoch {n}": curve[min(n, len(curve)) - 1] for n in kept}
    return {"spearman": curve[-1], **single, "epoch": range(1, len(curve) + 1), "spearman by epoch": curve}


def cosines(model: nn.Module) -> Scorer:
    return lambda left, right: F.cosine_similarity(model(left), model(right))


def vectors(arm: tuple[Callable[[int, Tensor], nn.Module], Negatives], data: Features, seed: int, size: Size) -> Any:
    """Rank correlation and accuracy of the cosines of trained vectors."""
    make, negatives = arm
    train, validation, test = digit_pairs(data, seed, size, negatives)
    model = encoder()
    loss, score = make(32, train.labels), cosines(model)
    curve = trained(
        lambda left, right, labels: loss(model(left), model(right), labels),
        [*model.parameters(), *loss.parameters()],
        train,
        size.epochs,
        seed,
        lambda: correlation(score, test),
    )
    return {**over_epochs(curve, 1), "accuracy": accuracy(score, validation, test),
            "training spearman": correlation(score, train)}  # fmt: skip


def binary_cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(scores, labels.float())


def cross(loss: Callable[[Tensor, Tensor], Tensor], data: Features, seed: int, size: Size) -> Any:
    """The same for a network that sees both images at once and gives one raw score."""
    train, validation, test = digit_pairs(data, seed, size, "hard")
    model = PairScorer()
    curve = trained(
        lambda left, right, labels: loss(model(left, right), labels),
        list(model.parameters()),
        train,
        size.epochs,
        seed,
        lambda: correlation(model, test),
    )
    return {**over_epochs(curve, 8), "accuracy": accuracy(model, validation, test),
            "training spearman": correlation(model, train)}  # fmt: skip
