"""Is the width that vectors need a multiple of log N, and how many dimensions does a random projection need?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from gezhi.data import Features, Texts, read
from gezhi.experiments.setups.neighbours import WordsSize, cooccurrence, width_needed
from gezhi.lab import Dots, Experiment, Lines, Study, at, every, inside, itself, ratio, two_thirds
from gezhi.theory.embedding_dimension import entropy_gap, jl_min_dim, rule_of_thumb

Array = NDArray[np.float64]
Metrics = Mapping[str, Any]


def measured(arm: Callable[..., Metrics], case: Any, seed: int, size: Any) -> Metrics:
    """For arms that measure themselves."""
    return arm(case, seed, size)


# ---- word vectors ---------------------------------------------------------------------------------------------------

RULE, TRAINED = "8.33 log N", "trained vectors"
WIDTH, MULTIPLE = "width", "width / log N"


def words_by_rule(texts: Texts, _seed: int, size: WordsSize) -> Metrics:
    return of_words(float(rule_of_thumb(count := len(cooccurrence(texts, size.words)))), count)


def words_by_training(texts: Texts, seed: int, size: WordsSize) -> Metrics:
    counts = cooccurrence(texts, size.words)
    return of_words(width_needed(counts, seed, size), len(counts))


def of_words(width: float, count: int) -> Metrics:
    return {WIDTH: width, MULTIPLE: width / math.log(count)}


VOCABULARIES = (400, 100, 1600)  # of a user's texts the first
WORDS = Study(
    "word vectors",
    measured,
    {RULE: words_by_rule, TRAINED: words_by_training},
    {f"N = {N}": lambda: read("python-documentation") for N in sorted(VOCABULARIES)},
    {
        "smoke": {"N = 100": WordsSize(20, 2, (2, 4))},
        "quick": {"N = 100": WordsSize(100, 150, (2, 8, 32, 64, 128))},
        "full": {f"N = {N}": WordsSize(N, 300) for N in VOCABULARIES},
    },
    claims={
        "about-8": inside(MULTIPLE, TRAINED, 5.9, 11.8),
        "about-4": inside(MULTIPLE, TRAINED, 2.9, 5.9),
        "fifty": inside(WIDTH, TRAINED, high=50),
    },
    accepts="texts",
    seeds={"full": 6},
    trains=two_thirds("steps"),
    figures=(Lines(MULTIPLE, "about-8", log=(True, True)), Dots(WIDTH, "fifty")),
)


# ---- selecting keys -------------------------------------------------------------------------------------------------

ONE, TWO = "trained, one answer", "trained, two answers"


def keys_by_rule(keys: int, _seed: int, _steps: int) -> Metrics:
    return {WIDTH: float(rule_of_thumb(keys))}


def keys_by_training(keys: int, seed: int, steps: int, *, answers: int) -> Metrics:
    """Where the excess falls below 5 % of log(keys), interpolated in its logarithm; at most one dimension a key."""
    limit, before = 0.05 * math.log(keys), math.inf
    for width in range(4, keys):
        here = excess_loss(keys, width, answers, seed, steps)
        if here < limit:
            back = math.log(limit / here) / math.log(before / here) if before < math.inf else 0.0
            return {WIDTH: width - back}
        before = here
    return {WIDTH: float(keys)}


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
        torch.autograd.backward(loss)
        optimiser.step()
    return best - math.log(answers)


SELECT = Study(
    "selecting keys",
    measured,
    {
        RULE: keys_by_rule,
        ONE: partial(keys_by_training, answers=1),
        TWO: partial(keys_by_training, answers=2),
    },
    {f"{keys} keys": keys for keys in (64, 128, 256, 512)},
    {"smoke": {"64 keys": 1}, "full": 300},
    claims={"heads": tuple(ratio(WIDTH, arm, over=RULE, at_least=0.71) for arm in (ONE, TWO))},
    trains=two_thirds(),
    seeds={"full": 5},
    figures=(Dots(WIDTH, "heads"),),
)


# ---- random vectors -------------------------------------------------------------------------------------------------

FORMULA, DRAWN = "formula", "drawn vectors"


def entropy_by_formula(n: int, _seed: int, N: int) -> Metrics:
    """What the derivation says, below 0 too."""
    return {"entropy": 2 * math.log(N) + float(entropy_gap(n))}


def entropy_by_drawing(n: int, seed: int, N: int) -> Metrics:
    """Over all pairs of two tables of N directions, uniform on the sphere of radius √n."""
    draw = np.random.default_rng(seed).standard_normal((2, N, n))
    u, v = draw * math.sqrt(n) / np.linalg.norm(draw, axis=-1, keepdims=True)
    scores = u @ v.T
    shifted = scores - scores.max()
    weights = np.exp(shifted)
    return {"entropy": math.log(weights.sum()) - (weights * shifted).sum() / weights.sum()}


RANDOM = Study(
    "random vectors",
    measured,
    {FORMULA: entropy_by_formula, DRAWN: entropy_by_drawing},
    {f"n = {n}": n for n in (8, 16, 28, 40, 57, 86)},
    {"smoke": 100, "quick": {"n = 8": 1000, "n = 16": 1000, "n = 57": 1000}, "full": 1000},
    claims={
        "formula": at(("n = 8", "n = 16"), ratio("entropy", DRAWN, over=FORMULA, at_least=0.97, at_most=1.03)),
        "vanishes": at("n = 57", inside("entropy", DRAWN, high=1)),
    },
    seeds={"quick": 10, "full": 40},
    figures=(Lines("entropy", "vanishes", log=(True, False)),),
)


# ---- random projection ----------------------------------------------------------------------------------------------

ARTICLE, EXACT_TAIL, PROJECTED, COMPONENTS = "24 log N/ε²", "exact tail, 5 %", "drawn projections", "PCA"
EPS = 0.5


@dataclass(frozen=True)
class CloudSize:
    """Points, and projections that are drawn."""

    points: int
    draws: int


@lru_cache(maxsize=1)
def points_of(case: Features | None, seed: int, count: int) -> Array:
    """Rows of a table, without repetition, or a Gaussian cloud in 2000 dimensions."""
    rng = np.random.default_rng(seed)
    if case is None:
        return np.asarray(rng.standard_normal((count, 2000)))
    distinct = np.unique(case.X, axis=0)
    return np.asarray(distinct[rng.permutation(len(distinct))[:count]])


def kept_by_bound(points: Array, _seed: int, _draws: int, **method: Any) -> float:
    """What a bound asks for."""
    return float(jl_min_dim(len(points), EPS, **method))


def kept_by_projection(points: Array, seed: int, draws: int) -> float:
    """Smallest width at which 95 % of the drawn projections keep all pairs."""
    rng = np.random.default_rng([seed, 1])
    n = np.arange(1, int(1.3 * jl_min_dim(len(points), EPS)))
    holds = np.zeros(len(n))
    for _ in range(draws):
        low, high = distortion(points @ rng.standard_normal((points.shape[1], len(n))), points)
        holds += (low / n >= 1 - EPS) & (high / n <= 1 + EPS)
    return float(n[np.argmax(holds >= 0.95 * draws)])


def kept_by_components(points: Array, _seed: int, _draws: int) -> float:
    """Smallest number of principal components that keep all pairs; they only shrink distances."""
    left, values, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    return float(np.argmax(distortion(left * values, points)[0] >= 1 - EPS) + 1)


def distortion(projected: Array, points: Array) -> tuple[Array, Array]:
    """Smallest and largest squared distance over the true one, when the first 1, 2, … columns are used."""
    i, j = np.triu_indices(len(points), k=1)
    share = np.cumsum((projected[i] - projected[j]) ** 2, axis=1) / pdist(points, "sqeuclidean")[:, None]
    return share.min(axis=0), share.max(axis=0)


def points_kept(arm: Callable[[Array, int, int], float], case: Features | None, seed: int, size: CloudSize) -> Metrics:
    return {WIDTH: arm(points_of(case, seed, size.points), seed, size.draws)}


PROJECTION = Study(
    "random projection",
    points_kept,
    {
        ARTICLE: partial(kept_by_bound, method="article"),
        EXACT_TAIL: partial(kept_by_bound, delta=0.05),
        PROJECTED: kept_by_projection,
        COMPONENTS: kept_by_components,
    },
    {"Gaussian cloud": None, "digits": lambda: read("digits")},
    {"smoke": CloudSize(20, 2), "quick": CloudSize(60, 20), "full": CloudSize(180, 50)},
    claims={
        "loose": ratio(WIDTH, PROJECTED, over=ARTICLE, at_most=0.5),
        "tight": ratio(WIDTH, PROJECTED, over=EXACT_TAIL, at_least=0.8, at_most=1.1),
        "pca": ratio(WIDTH, COMPONENTS, over=PROJECTED, at_most=0.9),
    },
    accepts="features",
    figures=(Dots(WIDTH, ("loose", "tight"), log=True),),
)


def error_of_signs(degrees: int) -> Metrics:
    """What signs give on average for vectors at this angle, less the cosine."""
    return {"error of the cosine": 1 - degrees / 90 - math.cos(math.radians(degrees))}


HASH = Study(
    "signs",
    itself,
    {"signs of a projection": error_of_signs},
    {f"θ = {degrees}°": degrees for degrees in (30, 60, 120)},
    every(None),
    claims={"signs-keep-cosine": inside("error of the cosine", "signs of a projection", -0.05, 0.05)},
    varies="nothing",
)

EXPERIMENT = Experiment(__doc__, (WORDS, SELECT, RANDOM, PROJECTION, HASH), units={"entropy": "nats"})
