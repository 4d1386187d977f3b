"""What the experiment on the embedding dimension measures: each arm is a function (case, seed, size) -> metrics."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from gezhi.data import Features, Texts
from gezhi.theory.embedding_dimension import SignHash, entropy_gap, jl_min_dim, min_embedding_dim, rule_of_thumb

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
Metrics = Mapping[str, Any]
Softmax = Literal["joint", "row"]


# ---- published figures ----------------------------------------------------------------------------------------------


def table_error() -> float:
    """Largest error of the article's table of h_n, in units of the last digit it prints."""
    table = {32: (-7.77471, 1e-5), 64: (-15.4734, 1e-4), 96: (-23.1726, 1e-4), 128: (-30.8718, 1e-4),
             256: (-61.6692, 1e-4), 512: (-123.264, 1e-3)}  # fmt: skip
    return max(abs(float(entropy_gap(n)) - value) / unit for n, (value, unit) in table.items())


def rule_error() -> float:
    """Largest relative distance of 8.33 log N from the root of the joint equation, N = 512 to 5 000 000."""
    N = np.array([512, 1e5, 5e6])
    return float(abs(rule_of_thumb(N) / min_embedding_dim(N) - 1).max())


def row_share() -> float:
    """Largest share of the joint threshold that a softmax over rows needs, N = 512 to 5 000 000."""
    N = np.array([512, 1e5, 5e6])
    return float((min_embedding_dim(N, softmax="row") / min_embedding_dim(N)).max())


def smallest_saving() -> float:
    """24 log N/ε² over the exact dimension at the same failure probability: the smallest of four."""
    N, eps = np.array([1000, 1000, 10_000, 512]), np.array([0.1, 0.5, 0.3, 0.5])
    return float((jl_min_dim(N, eps, method="article") / jl_min_dim(N, eps)).min())


def within_ten_percent() -> float:
    """Exact dimension for 1000 points, squared distances within 10 %, failure at most 5 %."""
    return float(jl_min_dim(1000, 0.1, delta=0.05))


def circle_loss() -> float:
    """Cross-entropy over log 512 of queries and keys on a circle of radius 1000, where query i points at key i."""
    logits = 1000**2 * np.cos(2 * np.pi * np.arange(512) / 512)
    return float(np.log(np.exp(logits - logits[0]).sum()) / math.log(512))


# ---- random vectors -------------------------------------------------------------------------------------------------


def entropy_by_formula(n: int, _: int, N: int, *, softmax: Softmax) -> Metrics:
    """What the derivation says, below 0 too."""
    return {"entropy": (2 if softmax == "joint" else 1) * math.log(N) + float(entropy_gap(n))}


def entropy_by_drawing(n: int, seed: int, N: int, *, softmax: Softmax) -> Metrics:
    """What drawn vectors have, over all pairs or on average over rows; and the share of the largest weight."""
    scores = random_scores(n, seed, N)
    rows = scores.reshape(1, -1) if softmax == "joint" else scores
    shifted = rows - rows.max(axis=1, keepdims=True)
    weights = np.exp(shifted)
    total = weights.sum(axis=1)
    entropy = np.log(total) - (weights * shifted).sum(axis=1) / total
    return {"entropy": entropy.mean(), "largest share": (1 / total).mean()}


@lru_cache(maxsize=1)
def random_scores(n: int, seed: int, N: int) -> Array:
    """Inner products of two tables of N directions, uniform on the sphere of radius √n."""
    draw = np.random.default_rng(seed).standard_normal((2, N, n))
    u, v = draw * math.sqrt(n) / np.linalg.norm(draw, axis=-1, keepdims=True)
    return np.asarray(u @ v.T)


# ---- trained word vectors -------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def words_of(texts: Texts) -> list[list[str]]:
    """Lower-case words of each text; a Chinese character is a word."""
    return [re.findall(r"[\u4e00-\u9fff]|[^\W\d_\u4e00-\u9fff]+", text.lower()) for text in texts.texts]


@lru_cache(maxsize=4)
def cooccurrence(texts: Texts, N: int, window: int = 5) -> Counts:
    """How often the N most frequent words stand within five words of each other in a text."""
    words = words_of(texts)
    frequent = Counter(word for text in words for word in text).most_common(N)
    code, size = {word: i for i, (word, _) in enumerate(frequent)}, len(frequent)
    ids = np.array([code.get(word, -1) for text in words for word in text + window * [""]])
    counts = np.zeros(size * size, dtype=np.int64)
    for step in range(1, window + 1):
        left, right = ids[:-step], ids[step:]
        both = (left >= 0) & (right >= 0)
        counts += np.bincount(left[both] * size + right[both], minlength=size * size)
    return counts.reshape(size, size) + counts.reshape(size, size).T


def width_by_thumb(*_: Any, **__: Any) -> Metrics:
    """8.33 log N, whatever the texts."""
    return {"width per log N": float(rule_of_thumb(math.e))}


def width_by_training(texts: Texts, seed: int, size: tuple[int, Sequence[int]], *, N: int) -> Metrics:
    """The knee of the held-out loss along the width; 20 % of the counts are held out."""
    counts, (steps, widths) = cooccurrence(texts, N), size
    kept = np.random.default_rng(seed).binomial(counts, 0.8)
    train, held = (torch.from_numpy(part / part.sum()).float() for part in (kept, counts - kept))
    width = knee(widths, [held_out_loss(train, held, n, seed, steps) for n in widths])
    return {"width": width, "width per log N": width / math.log(len(counts))}


def held_out_loss(train: torch.Tensor, held: torch.Tensor, width: int, seed: int, steps: int) -> float:
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
        (log_total - (train * scores).sum()).backward()
        optimiser.step()
    return best


def knee(widths: Sequence[int], losses: Sequence[float]) -> float:
    """Width at which 95 % of the gain from the narrowest to the best is reached, interpolated in its logarithm."""
    target = losses[0] - 0.95 * (losses[0] - min(losses))
    i = next(i for i, loss in enumerate(losses) if loss <= target)
    if i == 0:
        return float(widths[0])
    share = (losses[i - 1] - target) / (losses[i - 1] - losses[i])
    return float(widths[i - 1] * (widths[i] / widths[i - 1]) ** share)


# ---- selecting keys -------------------------------------------------------------------------------------------------


def keys_by_rule(_: None, __: int, size: tuple[Sequence[int], int], *, softmax: Softmax) -> Metrics:
    """Width at which the entropy of random queries and keys reaches 0."""
    return along_keys(size[0], [float(min_embedding_dim(keys, softmax=softmax)) for keys in size[0]])


def keys_by_training(_: None, seed: int, size: tuple[Sequence[int], int], *, answers: int) -> Metrics:
    """Width at which trained queries and keys select one or two random answers."""
    widths: list[float] = []
    for keys in size[0]:
        start = int(widths[-1]) if widths else 4  # more keys need no less width
        widths.append(width_needed(keys, answers, seed, size[1], start))
    return along_keys(size[0], widths)


def along_keys(keys: Sequence[int], widths: Sequence[float]) -> Metrics:
    """The slope of the widths along the logarithm of the number of keys, and the last of them."""
    return {"slope": np.polyfit(np.log(keys), widths, 1)[0], "width, most keys": widths[-1]}


def width_needed(keys: int, answers: int, seed: int, steps: int, start: int) -> float:
    """Where the excess falls below 5 % of log(keys), interpolated in its logarithm; at most one dimension a key."""
    limit, before = 0.05 * math.log(keys), math.inf
    for width in range(start, keys):
        here = excess_loss(keys, width, answers, seed, steps)
        if here < limit:
            return width - math.log(limit / here) / math.log(before / here) if before < math.inf else float(width)
        before = here
    return float(keys)


def excess_loss(keys: int, width: int, answers: int, seed: int, steps: int) -> float:
    """Cross-entropy above its minimum after training queries and keys of norm ≤ √n to select random answers."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(keys, keys, generator=generator)
    wanted = torch.randperm(keys, generator=generator)[:, None] if answers == 1 else order.topk(answers).indices
    tables = [torch.randn(keys, width, generator=generator).requires_grad_() for _ in range(2)]
    optimiser, best = torch.optim.Adam(tables, lr=0.1), math.inf
    for _ in range(steps):
        q, k = (table * (width**0.5 / table.norm(dim=1, keepdim=True)).clamp(max=1) for table in tables)
        scores = q @ k.T
        loss = scores.logsumexp(1).mean() - scores.gather(1, wanted).mean()
        best = min(best, loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return best - math.log(answers)


# ---- random projection ----------------------------------------------------------------------------------------------

EPS = (0.3, 0.5)
WIDTHS = ("width, ε = 0.3", "width, ε = 0.5")


@lru_cache(maxsize=1)
def points_of(case: Features | None, seed: int, count: int) -> Array:
    """Rows of a table, without repetition, or a Gaussian cloud in 2000 dimensions."""
    rng = np.random.default_rng(seed)
    if case is None:
        return np.asarray(rng.standard_normal((count, 2000)))
    distinct = np.unique(case.X, axis=0)
    return np.asarray(distinct[rng.permutation(len(distinct))[:count]])


def kept_by_bound(case: Features | None, seed: int, size: tuple[int, int], **method: Any) -> Metrics:
    """What a bound asks for."""
    count = len(points_of(case, seed, size[0]))
    return each_eps([jl_min_dim(count, eps, **method) for eps in EPS])


def kept_by_projection(case: Features | None, seed: int, size: tuple[int, int]) -> Metrics:
    """Smallest width at which 95 % of the drawn projections keep all pairs."""
    count, draws = size
    points, rng = points_of(case, seed, count), np.random.default_rng([seed, 1])
    true = pdist(points, "sqeuclidean")
    n = np.arange(1, int(jl_min_dim(len(points), min(EPS))) + 1)
    holds = np.zeros((len(EPS), len(n)))
    for _ in range(draws):
        low, high = distortion(points @ rng.standard_normal((points.shape[1], len(n))), true)
        holds += [(low / n >= 1 - eps) & (high / n <= 1 + eps) for eps in EPS]
    return each_eps([n[np.argmax(share >= 0.95 * draws)] for share in holds])


def kept_by_components(case: Features | None, seed: int, size: tuple[int, int]) -> Metrics:
    """Smallest number of principal components that keep all pairs; they only shrink distances."""
    points = points_of(case, seed, size[0])
    left, values, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    low, _ = distortion(left * values, pdist(points, "sqeuclidean"))
    return each_eps([np.argmax(low >= 1 - eps) + 1 for eps in EPS])


def distortion(projected: Array, true: Array) -> tuple[Array, Array]:
    """Smallest and largest squared distance over the true one, when the first 1, 2, … columns are used."""
    i, j = np.triu_indices(len(projected), k=1)
    share, low, high = np.zeros(len(i)), [], []
    for column in projected.T:
        share += (column[i] - column[j]) ** 2 / true
        low.append(share.min())
        high.append(share.max())
    return np.array(low), np.array(high)


def each_eps(widths: Sequence[Any]) -> Metrics:
    return {name: float(width) for name, width in zip(WIDTHS, widths, strict=True)}


# ---- signs ----------------------------------------------------------------------------------------------------------


def cosine_itself(degrees: int, *_: Any) -> Metrics:
    return {"mean cosine": math.cos(math.radians(degrees))}


def linear_in_angle(degrees: int, *_: Any) -> Metrics:
    """1 − 2θ/π."""
    return {"mean cosine": 1 - degrees / 90}


def cosine_of_signs(degrees: int, seed: int, size: tuple[int, int]) -> Metrics:
    """Mean cosine of the signs of pairs at this angle."""
    count, width = size
    u, v = pairs_at(degrees, seed, count)
    model = SignHash(width, random_state=seed).fit(u)
    return {"mean cosine": (model.transform(u) * model.transform(v)).mean()}


def pairs_at(degrees: int, seed: int, count: int, columns: int = 64) -> tuple[Array, Array]:
    """Random pairs of unit vectors at this angle."""
    u, v = np.random.default_rng(seed).standard_normal((2, count, columns))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v -= (u * v).sum(axis=1, keepdims=True) * u
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    angle = math.radians(degrees)
    return u, math.cos(angle) * u + math.sin(angle) * v
