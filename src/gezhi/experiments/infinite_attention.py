"""Is softmax attention free of the bound that a head's width puts on the rank of linear attention?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from gezhi.data import Texts
from gezhi.experiments.setups.heads import Encoder, chinese, english, heads, of_texts
from gezhi.experiments.setups.one_head import passing
from gezhi.lab import Dots, Experiment, Lines, Study, at, every, inside, ratio
from gezhi.nn.attention import dot_product_attention, softmax
from gezhi.nn.infinite_attention import (
    Scheme,
    limit_features,
    numerical_rank,
    polynomial_attention,
    polynomial_feature_dim,
    polynomial_kernel,
    taylor_features,
)
from gezhi.nn.linear_attention import PositiveRandomFeatures, exp, linear_attention_matrix

Metrics = Mapping[str, Any]
SOFTMAX, TAYLOR, LIMIT = "softmax", "Taylor series", "limit"
SERIES: Mapping[str, Scheme] = {TAYLOR: "taylor", LIMIT: "limit"}


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# ---- the rank that matters ------------------------------------------------------------------------------------------

RANK, ABOVE, SINGLE = "rank over head width", "heads above their width", "heads under a tenth of it"
ERROR = 0.1  # relative Frobenius error that is allowed: about that of rounding activations to 4 bits
AT_ONCE = 64


@dataclass(frozen=True)
class Size:
    """Tokens; documents of a seed; and the same for random queries and keys: heads and their width."""

    tokens: int = 256
    documents: int = 4
    heads: int = 32
    width: int = 32


@lru_cache(maxsize=1)
def random_heads(seed: int, size: Size) -> Tensor:
    return normal(seed, 2, size.heads, size.tokens, size.width)


def rank_within(weights: Tensor, error: float) -> Tensor:
    """Least rank of a matrix that comes so near to each of these, relative to its norm."""
    energies = torch.linalg.eigvalsh(weights @ weights.mT).clamp(min=0)  # squared singular values, ascending
    left_out = energies.cumsum(-1) <= error**2 * energies.sum(-1, keepdim=True)
    rank: Tensor = weights.shape[-1] - left_out.sum(-1)
    return rank


def by_features(query: Tensor, key: Tensor) -> Tensor:
    return linear_attention_matrix(query, key, kernel=exp)


def by_softmax(query: Tensor, key: Tensor) -> Tensor:
    return softmax(query @ key.mT / math.sqrt(query.shape[-1]))


def ranks(weigh: Callable[[Tensor, Tensor], Tensor], case: Encoder | Texts | None, seed: int, size: Size) -> Metrics:
    """Of the weights of many heads, all on the same queries and keys."""
    if case is None:
        query, key = random_heads(seed, size)
    else:
        encoder = of_texts(case) if isinstance(case, Texts) else case
        query, key, _ = heads(encoder, seed, size.documents, size.tokens)
    pairs = zip(query.split(AT_ONCE), key.split(AT_ONCE), strict=True)
    found = torch.cat([rank_within(weigh(*pair), ERROR) for pair in pairs]) / query.shape[-1]
    return {
        RANK: found.median().item(),
        ABOVE: (found > 1).double().mean().item(),
        SINGLE: (found < 0.1).double().mean().item(),
    }


RANDOM, ENGLISH, CHINESE = "random logits", "English encoder", "Chinese encoder"
SAME_WIDTH = "linear attention of the same width"
TRIAL = Study(
    "rank of attention",
    ranks,
    {SAME_WIDTH: by_features, SOFTMAX: by_softmax},
    {RANDOM: None, ENGLISH: english, CHINESE: chinese},
    {
        "smoke": {RANDOM: Size(64, heads=2, width=8)},
        "quick": {RANDOM: Size()},
        "full": {RANDOM: Size(), ENGLISH: Size(), CHINESE: Size()},
    },
    claims={"unbounded": (inside(RANK, SOFTMAX, low=2), inside(ABOVE, SOFTMAX, low=0.5))},
    accepts="texts",
    resolution={RANK: 1 / 32, ABOVE: 1 / 32},  # one rank of a head, one of the random heads
    figures=(Dots(RANK, "unbounded"), Dots(SINGLE)),
)

# ---- exact: features, and how near they come ------------------------------------------------------------------------


def rank_of_series(scheme: Scheme, degree: int, _seed: int, _size: None) -> Metrics:
    """Rank of the polynomial's matrix for 200 normal queries and keys of width 4, over the number of its features."""
    features = taylor_features if scheme == "taylor" else limit_features
    query, key = (features(x, degree) for x in normal(0, 2, 200, 4))
    rank = numerical_rank(query @ key.T, 1e-10).item()
    return {"rank over features": rank / polynomial_feature_dim(4, degree, scheme)}


EXACT = Study(
    "rank of the series",
    rank_of_series,
    SERIES,
    {f"degree {n}": n for n in (1, 2, 3, 4)},
    every(None),
    claims={"series-rank": tuple(inside("rank over features", arm, 1, 1) for arm in SERIES)},
    varies="nothing",
)


def worst_error(scheme: Scheme, degree: int, _seed: int, _size: None) -> Metrics:
    """Largest relative error on logits from -1 to 1."""
    x = torch.linspace(-1, 1, 2001, dtype=torch.float64)[:, None]
    features = taylor_features if scheme == "taylor" else limit_features
    series = features(x, degree) @ features(torch.ones(1, dtype=torch.float64), degree)
    return {"relative error": (series / x[:, 0].exp() - 1).abs().max().item()}


NEARNESS = Study(
    "error of the series",
    worst_error,
    SERIES,
    {f"degree = {n}": n for n in (2, 4, 6, 8)},
    every(None),
    claims={
        "taylor-closer": at(
            ("degree = 4", "degree = 6", "degree = 8"), ratio("relative error", TAYLOR, over=LIMIT, at_most=0.5)
        )
    },
    varies="nothing",
    figures=(Lines("relative error", log=(False, True)),),
)


def rank_of_exponentials(factor: float, _case: None, seed: int, _size: None) -> Metrics:
    """How many singular values of e^(c q·k) exceed a thousandth of the largest: 200 tokens, width 4."""
    query, key = normal(seed, 2, 200, 4)
    return {"numerical rank": numerical_rank((factor * query @ key.T).exp(), 1e-3).item()}


SCALES = {f"scale {c:g}": c for c in (0.05, 0.25, 0.5, 1.0)}
LOGITS = Study(
    "size of the logits",
    rank_of_exponentials,
    SCALES,
    {"200 tokens of width 4": None},
    every(None),
    claims={
        "rises-and-falls": (
            ratio("numerical rank", "scale 0.5", over="scale 0.05", at_least=2),
            ratio("numerical rank", "scale 1", over="scale 0.5", at_most=0.9),
        )
    },
    seeds={"quick": 20, "full": 40},
    resolution={"numerical rank": 1},
    figures=(Dots("numerical rank", "rises-and-falls"),),
)

# ---- usable? --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """Documents, and draws of random features of which the median counts."""

    documents: int = 2
    draws: int = 10


Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
Rival = Callable[[int, int], list[Attend]]  # degree, draws -> the ways of attending, of whose errors the median counts


def by_series(scheme: Scheme, degree: int, _draws: int) -> list[Attend]:
    return [partial(polynomial_attention, degree=degree, scheme=scheme, mode="quadratic")]


def by_projection(degree: int, draws: int) -> list[Attend]:
    """As many positive random features as the polynomial has."""
    count = polynomial_feature_dim(32, degree)
    made = (PositiveRandomFeatures(32, count, generator=torch.Generator().manual_seed(i)) for i in range(draws))
    return [partial(dot_product_attention, kernel=kernel) for kernel in made]


def error_by_head(attends: list[Attend], tensors: Tensor, documents: int) -> Tensor:
    """Relative error of the outputs of each head, mean over documents, median over draws."""
    whole = torch.empty(len(attends), tensors.shape[1])
    for i, head in enumerate(tensors.unbind(1)):
        query, key, value = (x[None, None].float() for x in head)
        true = dot_product_attention(query, key, value)
        for j, attend in enumerate(attends):
            whole[j, i] = (attend(query, key, value) - true).norm() / true.norm()
    by_layer = whole.nan_to_num(nan=math.inf).view(len(attends), -1, documents, 12).mean(2)
    return by_layer.flatten(1).median(0).values


def closeness(rival: Rival, degree: int, seed: int, size: Compared) -> Metrics:
    """Of each head of the English encoder: the error, and whether it is below that of the Taylor series."""
    tensors = heads(english(), seed, size.documents, 256)
    error = error_by_head(rival(degree, size.draws), tensors, size.documents)
    series = error_by_head(by_series("taylor", degree, 1), tensors, size.documents)
    return {"relative error": error.clamp(max=1e6), "closer than the series": (error < series).double()}


FAVOR = "random features"
RIVALS: Mapping[str, Rival] = {
    TAYLOR: partial(by_series, "taylor"),
    LIMIT: partial(by_series, "limit"),
    FAVOR: by_projection,
}
OUTPUTS = Study(
    "outputs of trained heads",
    closeness,
    RIVALS,
    {"degree 2, 561 features": 2, "degree 4, 58 905 features": 4},
    {"full": {"degree 2, 561 features": Compared(), "degree 4, 58 905 features": Compared(1, 3)}},
    claims={"projection": inside("closer than the series", FAVOR, low=0.5)},
    varies="items",
    figures=(Dots("relative error", "projection"),),
)

SECOND = "Taylor series of degree 2"
TIME = Study(
    "time",
    passing,
    {SOFTMAX: softmax, SECOND: polynomial_kernel(2)},
    {f"n = {n}": n for n in (512, 1024, 1536)},
    {"full": None},
    claims={"slower": ratio("seconds", SECOND, over=SOFTMAX, at_least=1.1)},
    timed=True,
    repeats=7,
    seeds={"full": 5},
)

EXPERIMENT = Experiment(
    __doc__,
    (TRIAL, EXACT, NEARNESS, LOGITS, OUTPUTS, TIME),
    units={**dict.fromkeys((ABOVE, SINGLE, "closer than the series"), "%"), "seconds": "s"},
)
