"""How often words stand near each other, and the width at which vectors trained on these counts stop gaining."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gezhi.data import Texts

Counts = NDArray[np.int64]
WINDOW, GAIN = 5, 0.95


@dataclass(frozen=True)
class WordsSize:
    """Words (the most frequent), most steps of training, and the widths that are tried."""

    words: int
    steps: int
    widths: tuple[int, ...] = (2, 4, 8, 16, 32, 64, 128, 256)


@lru_cache(maxsize=1)
def words_of(texts: Texts) -> list[list[str]]:
    """Lower-case words of each text; a Chinese character is a word."""
    return [re.findall(r"[\u4e00-\u9fff]|[^\W\d_\u4e00-\u9fff]+", text.lower()) for text in texts.texts]


@lru_cache(maxsize=4)
def cooccurrence(texts: Texts, N: int) -> Counts:
    """How often the N most frequent words stand within five words of each other in a text."""
    words = words_of(texts)
    frequent = Counter(word for text in words for word in text).most_common(N)
    code, size = {word: i for i, (word, _) in enumerate(frequent)}, len(frequent)
    ids = np.array([code.get(word, -1) for text in words for word in text + WINDOW * [""]])
    counts = np.zeros(size * size, dtype=np.int64)
    for step in range(1, WINDOW + 1):
        left, right = ids[:-step], ids[step:]
        both = (left >= 0) & (right >= 0)
        counts += np.bincount(left[both] * size + right[both], minlength=size * size)
    return counts.reshape(size, size) + counts.reshape(size, size).T


def width_needed(counts: Counts, seed: int, size: WordsSize) -> float:
    """The knee of the held-out loss along the width; 20 % of the counts are held out."""
    kept = np.random.default_rng(seed).binomial(counts, 0.8)
    train, held = (torch.from_numpy(part / part.sum()).float() for part in (kept, counts - kept))
    return knee(size.widths, [held_out_loss(train, held, n, seed, size.steps) for n in size.widths])


def held_out_loss(train: Tensor, held: Tensor, width: int, seed: int, steps: int) -> float:
    """Cross-entropy of the joint model on held-out pairs at its best step; training stops 40 steps after that."""
    start = torch.randn(2, len(train), width, generator=torch.Generator().manual_seed(seed))
    u, v = ((0.1 * table).requires_grad_() for table in start)
    optimiser = torch.optim.Adam([u, v], lr=0.05)
    best, best_step = math.inf, 0
    for step in range(steps):
        scores = u @ v.T
        log_total = scores.flatten().logsumexp(0)
        loss = (log_total - (held * scores).sum()).item()
        if loss < best:
            best, best_step = loss, step
        elif step > best_step + 40:
            break
        optimiser.zero_grad()
        torch.autograd.backward(log_total - (train * scores).sum())
        optimiser.step()
    return best


def knee(widths: Sequence[int], losses: Sequence[float]) -> float:
    """Width at which 95 % of the gain from the narrowest to the best is reached, interpolated in its logarithm."""
    target = losses[0] - GAIN * (losses[0] - min(losses))
    i = next(i for i, loss in enumerate(losses) if loss <= target)
    if i == 0:
        return float(widths[0])
    share = (losses[i - 1] - target) / (losses[i - 1] - losses[i])
    return float(widths[i - 1] * (widths[i] / widths[i - 1]) ** share)
