"""What the experiment on the entropy-invariant scale measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from scipy.special import logsumexp
from torch import Tensor, nn

from gezhi.data import Texts
from gezhi.experiments import _byte_model as byte
from gezhi.nn.attention import Scale, dot_product_attention, relu2, softmax
from gezhi.nn.entropy_scale import attention_entropy, entropy_invariant_scale, spherical_entropy_shift

Metrics = Mapping[str, Any]
Factor = Callable[[Any], Any]  # from the number of keys to the factor on the logits

DIM = 64


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# ---- factors on the usual scale -------------------------------------------------------------------------------------


def usual(_n: int) -> float:
    return 1.0


def log_n(train_len: float) -> Factor:
    """The scale of the page; e as `train_len` gives λ = log n/√d, without a constant."""
    return lambda n: entropy_invariant_scale(n, train_len=train_len)


def yarn(train_len: float) -> Factor:
    """YaRN's constant for a model trained at `train_len`: logits times (1 + 0.1 log(n/n₀))²."""
    return lambda n: (1 + 0.1 * math.log(n / train_len)) ** 2


def increment_times(multiple: float, train_len: float) -> Factor:
    """The law with another slope: 1 + multiple · (f - 1)."""
    return lambda n: 1 + multiple * (entropy_invariant_scale(n, train_len=train_len) - 1)


# ---- random directions, exactly -------------------------------------------------------------------------------------


def by_quadrature(dim: int, scale: float) -> float:
    """h_d(λ) by the trapezoid rule over the angle."""
    angle = np.linspace(0, np.pi, 20_001)[1:-1]
    free = (dim - 2) * np.log(np.sin(angle))
    tilted = free + scale * dim * np.cos(angle)
    mean = np.exp(tilted - logsumexp(tilted)) @ np.cos(angle)
    return float(logsumexp(tilted) - logsumexp(free) - scale * dim * mean)


def by_formula(dim: int, scale: float) -> float:
    return float(spherical_entropy_shift(dim, scale))


def by_line(dim: int, scale: float) -> float:
    """The chord through λ = 1 that the article takes for the curve."""
    return -0.24 * scale * dim


def shift(form: Callable[[int, float], float], dim: int, _seed: int, _size: None) -> Metrics:
    """Entropy that attention over random directions loses, and how far that is from the quadrature."""
    at_one, exact = form(dim, 1.0), by_quadrature(dim, 1.0)
    return {
        "loss per dimension, λ = 1": -at_one / dim,
        "loss, λ = 1/√d": -form(dim, dim**-0.5),
        "relative error": abs(at_one / exact - 1),
    }


# ---- random directions, drawn ---------------------------------------------------------------------------------------


def over_random_keys(factor: Factor, n: int, seed: int, queries: int) -> Metrics:
    """Mean entropy of queries over n keys in random directions, all of norm √64."""
    query, key = (F.normalize(normal(seed + i, rows, DIM), dim=-1) for i, rows in ((0, queries), (10**6, n)))
    entropy = attention_entropy(query @ key.T * math.sqrt(DIM) * factor(n)).mean()
    return {"effective keys": math.exp(entropy), "entropy": float(entropy)}


# ---- the scale that holds the entropy -------------------------------------------------------------------------------


def gaussian(rng: np.random.Generator, rows: int, n: int) -> Any:
    return rng.normal(size=(rows, n))


def needle(rng: np.random.Generator, rows: int, n: int) -> Any:
    """One key 1 above the others, all blurred by 0.02."""
    logits = 0.02 * rng.normal(size=(rows, n))
    logits[:, 0] += 1
    return logits


def uniform(rng: np.random.Generator, rows: int, n: int) -> Any:
    return rng.uniform(-1, 1, size=(rows, n))


def holding_scale(arm: tuple[Callable[..., Any], float], log_keys: float, seed: int, logits: int) -> Metrics:
    """The factor at which the mean entropy of rows of such logits has its target."""
    draw, target = arm
    n = round(math.exp(log_keys))
    rows = torch.from_numpy(draw(np.random.default_rng(seed), max(1, logits // n), n))
    found = brentq(lambda t: float(attention_entropy(rows * math.exp(t)).mean()) - target, -3.0, 12.0, xtol=1e-5)
    return {"scale": math.exp(found), "scale / log n": math.exp(found) / log_keys}


# ---- kernels that a factor cannot steer -----------------------------------------------------------------------------


def normalised_relu2(scores: Tensor) -> Tensor:
    weights = relu2(scores)
    return weights / weights.sum(-1, keepdim=True)


def steered(kernel: Callable[[Tensor], Tensor], n: int, _seed: int, _size: None) -> Metrics:
    """Change of the mean entropy when all logits are multiplied by 4."""
    logits = normal(0, 16, n)
    plain, sharp = (attention_entropy(kernel(c * logits).log()).mean() for c in (1.0, 4.0))
    return {"change of entropy": float(sharp - plain)}


# ---- trained models -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arm:
    """The factor in training and the factor in use."""

    training: Factor
    test: Factor


class Entropies:
    """Softmax that notes the mean entropy of what it is given."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def __call__(self, scores: Tensor) -> Tensor:
        self.seen.append(float(attention_entropy(scores).mean()))
        return softmax(scores)

    @property
    def mean(self) -> float:
        return float(np.mean(self.seen))


def along(lengths: Sequence[int], found: Mapping[str, Sequence[float]], unit: str) -> Metrics:
    """Metrics by length: arrays for drawing, one number for each length, and the slope of entropy along log n."""
    arrays = {"length": list(lengths)} | {f"{name} by length": list(values) for name, values in found.items()}
    single = {f"accuracy, {n} {unit}": value for n, value in zip(lengths, found["accuracy"], strict=True)}
    slope = np.polyfit(np.log(lengths), found["entropy"], 1)[0]
    return arrays | single | {"growth of entropy": float(slope)}


class Recall(nn.Module):
    """One attention head that looks up the answer that belongs to a cue."""

    def __init__(self, width: int = 64, dim: int = 32, answers: int = 16) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, dim, bias=False), nn.Linear(width, dim, bias=False)
        self.value, self.out = nn.Embedding(answers, dim), nn.Linear(dim, answers)

    def forward(self, cues: Tensor, answers: Tensor, scale: Scale, kernel: Any = softmax) -> Tensor:
        query, key, value = self.query(cues[:, :1]), self.key(cues), self.value(answers)
        mixed = dot_product_attention(query[:, None], key[:, None], value[:, None], scale=scale, kernel=kernel)
        logits: Tensor = self.out(mixed[:, 0, 0])
        return logits


def pairs(count: int, n: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Lists of n random cues with answers; the first of each list is asked for."""
    return torch.randn(count, n, 64, generator=draw), torch.randint(16, (count, n), generator=draw)


@lru_cache(maxsize=1)
def trained_recall(seed: int, steps: int, n: int) -> Recall:
    torch.manual_seed(seed)
    model, draw = Recall(), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, steps, pct_start=0.1, cycle_momentum=False)
    for _ in range(steps):
        cues, answers = pairs(64, n, draw)
        optimiser.zero_grad()
        F.cross_entropy(model(cues, answers, usual), answers[:, 0]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return model.eval()


RECALL_LENGTHS = (32, 64, 128, 256, 512, 1024)


def recall(factor: Factor, _case: None, seed: int, size: tuple[int, int]) -> Metrics:
    """Accuracy and entropy of one trained head, by the number of pairs."""
    steps, lists = size
    model = trained_recall(seed, steps, RECALL_LENGTHS[0])
    found: dict[str, list[float]] = {"accuracy": [], "entropy": []}
    for n in RECALL_LENGTHS:
        share, entropy = recalled(model, factor, n, lists, torch.Generator().manual_seed(seed + n))
        found["accuracy"].append(share)
        found["entropy"].append(entropy)
    return along(RECALL_LENGTHS, found, "pairs")


@torch.no_grad()
def recalled(model: Recall, factor: Factor, n: int, lists: int, draw: torch.Generator) -> tuple[float, float]:
    """Share of right answers over fresh lists of n pairs, and the mean entropy of the head."""
    entropies, right = Entropies(), []
    for part in torch.split(torch.arange(lists), max(1, 65_536 // n)):
        cues, answers = pairs(len(part), n, draw)
        right.append(model(cues, answers, factor, entropies).argmax(-1) == answers[:, 0])
    return float(torch.cat(right).float().mean()), entropies.mean


@dataclass(frozen=True)
class ByteSize:
    """Steps of training, bytes of a training window, windows a step, lengths and masked bytes of the test."""

    steps: int
    lengths: tuple[int, ...]
    masked: int
    train_len: int = 64
    batch: int = 16


@lru_cache(maxsize=1)
def trained_bytes(data: Texts, seed: int, size: ByteSize, factor: Factor) -> tuple[byte.ByteModel, Tensor]:
    """The model of one seed and one scale in training, and the test text."""
    text, test = byte.split_bytes(data, seed)
    model = byte.train(text, seed, size.steps, batch=size.batch, length=size.train_len, scale=factor)
    return model, test


def masked_bytes(arm: Arm, data: Texts, seed: int, size: ByteSize) -> Metrics:
    """Accuracy on masked bytes and entropy of attention, by length."""
    model, test = trained_bytes(data, seed, size, arm.training)
    found: dict[str, list[float]] = {"accuracy": [], "entropy": []}
    for n in size.lengths:
        found["accuracy"].append(byte.accuracy(model, test, seed + n, size.masked, n, arm.test))
        entropies = Entropies()
        ids, hidden = byte.windows(test, 4, n, torch.Generator().manual_seed(seed + n))
        with torch.no_grad():
            model(ids.masked_fill(hidden, byte.MASK), arm.test, entropies)
        found["entropy"].append(entropies.mean)
    return along(size.lengths, found, "bytes")


def early_accuracy(factor: Factor, data: Texts, seed: int, size: ByteSize) -> Metrics:
    """Accuracy at the length of training after few steps."""
    model, test = trained_bytes(data, seed, size, factor)
    return {"accuracy": byte.accuracy(model, test, seed, size.masked, size.train_len, factor)}
