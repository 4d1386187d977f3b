"""Does a language model need softmax, or does attention by an inner product of features do as well?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, cast

import torch
from scipy.stats import chi
from torch import Tensor

from gezhi.data import Texts, read
from gezhi.experiments.setups.lm import Recipe, Size, held_out_loss, losses, model_of, split, transformer
from gezhi.experiments.setups.one_head import passing
from gezhi.lab import Dots, Experiment, Lines, Study, at, every, exponent, inside, ratio, two_thirds
from gezhi.nn.attention import FeatureMap, Kernel, MultiheadAttention, softmax
from gezhi.nn.infinite_attention import numerical_rank
from gezhi.nn.linear_attention import PositiveRandomFeatures, elu1, exp, linear_attention_matrix
from gezhi.nn.positions import rotary
from gezhi.nn.transformer import Transformer

Metrics = Mapping[str, Any]
SOFTMAX, ELU1, EXP = "softmax", "elu + 1", "exp"

# ---- language models ------------------------------------------------------------------------------------------------

WIDE = "linear, keys 4 times as wide"
ANSWERS = lru_cache(maxsize=1)(partial(read, "insuranceqa-en-answers"))


@dataclass(frozen=True, eq=False)
class Task:
    """Texts, and whether a model guesses their next byte or the masked ones."""

    texts: Texts
    causal: bool


def task(causal: bool) -> Task:
    return Task(ANSWERS(), causal)


def trained(recipe: Recipe, case: Task | Texts, seed: int, size: Size) -> Metrics:
    """Loss of a language model; on a user's texts a causal one."""
    case = case if isinstance(case, Task) else Task(case, True)
    return losses(recipe, case.causal, case.texts, seed, size)


RATE = 4e-3  # of 0.002, 0.004 and 0.008, on seed 900: 0.008 keeps the masked softmax model from learning for long
PLAIN = Recipe(partial(transformer, hidden_dim=448), RATE)  # as many parameters as with wide keys
KEYS_128 = Recipe(partial(transformer, kernel="elu1", key_dim=128), RATE)
STEPS = 1200
SMOKE = Size(4, batch=4, length=32, tested=4096)
MODELS = Study(
    "language models",
    trained,
    {SOFTMAX: PLAIN, WIDE: KEYS_128},
    {"causal": partial(task, True), "masked": partial(task, False)},
    {"smoke": SMOKE, "full": Size(STEPS)},
    claims={
        "as-good": ratio("loss", WIDE, over=SOFTMAX, at_most=1.05),
        "masked-loses": at("masked", ratio("loss", WIDE, over=SOFTMAX, at_least=1.05)),
    },
    accepts="texts",
    trains=two_thirds("steps"),
    seeds={"full": 5},
    figures=(Dots("loss", "as-good"),),
)


def rotated(kernel: PositiveRandomFeatures) -> FeatureMap:
    """Features of rotated tokens, as softmax sees them; `rotate` would turn the features."""
    features = kernel.query, kernel.log_features
    raised, logs = ((lambda x, f=f: f(rotary(x))) for f in features)
    return FeatureMap(raised, raised, log=(logs, logs), scaled=True)


def by_features(model: Transformer, seed: int) -> Transformer:
    """The model with its softmax estimated by random features; 111 of them for heads of width 32."""
    for layer in model.layers:
        attention = cast(MultiheadAttention, layer.attention)
        width = attention.query.out_features // attention.num_heads
        attention.kernel = rotated(PositiveRandomFeatures(width, generator=torch.Generator().manual_seed(seed)))
        attention.rotate = None
    return model


def as_it_is(model: Transformer, _seed: int) -> Transformer:
    return model


def swapped(change: Callable[[Transformer, int], Transformer], case: Task, seed: int, size: Size) -> Metrics:
    """Loss of the softmax model after a change of its attention."""
    training, test = split(case.texts, seed, size.trained, size.tested)
    model = change(model_of(PLAIN, case.causal, training, seed, size), seed)
    return {"loss": held_out_loss(model, case.causal, test, size)}


FAVOR = "random features put in"
SWAPPED = Study(
    "softmax replaced after training",
    swapped,
    {SOFTMAX: as_it_is, FAVOR: by_features},
    {"causal": partial(task, True)},
    {"smoke": SMOKE, "full": Size(STEPS)},
    claims={"swap": ratio("loss", FAVOR, over=SOFTMAX, at_least=1.05)},
    trains=two_thirds("steps"),
    seeds={"full": 5},
)


class NearAttention(MultiheadAttention):
    """Linear attention over the keys at most 8 places away, by its matrix, with rotary positions in the numerator."""

    reach = 8

    def _attended(self, query: Tensor, key: Tensor, value: Tensor, *_: Any) -> Tensor:
        place = torch.arange(query.shape[-2])
        near = ((place[:, None] - place).abs() <= self.reach).to(query.dtype)
        kernel = cast(FeatureMap, self.kernel)
        left, right = kernel.query(query), kernel.key(key)
        norms = (left * (near @ right)).sum(-1, keepdim=True)
        return (rotary(left) @ rotary(right).mT * near) @ value / norms


def near(causal: bool) -> Transformer:
    """The model of elu + 1, weight for weight, with its attention cut."""
    model = transformer(causal, kernel="elu1")
    for layer in model.layers:
        cut = NearAttention(model.config.dim, model.config.num_heads, kernel=elu1)
        cut.load_state_dict(layer.attention.state_dict())  # type: ignore[union-attr]
        layer.attention = cut
    return model


CUT, EXP_WIDE = "elu + 1, 8 neighbours", "exp, keys 4 times as wide"
EARLY = Study(
    "first steps",
    trained,
    {
        ELU1: Recipe(partial(transformer, kernel="elu1"), RATE),
        CUT: Recipe(near, RATE),
        EXP: Recipe(partial(transformer, kernel="exp"), RATE),
        EXP_WIDE: Recipe(partial(transformer, kernel="exp", key_dim=128), RATE),
    },
    {"masked": partial(task, False)},
    {"full": Size(600)},
    claims={
        "cut": ratio("loss", CUT, over=ELU1, at_most=0.9),
        "exp-best": ratio("loss", EXP, over=ELU1, at_most=0.98),
        "wide-keys": ratio("loss", EXP_WIDE, over=EXP, at_most=0.98),
    },
    seeds={"full": 5},
    figures=(Dots("loss", "cut"),),
)

# ---- the matrix of weights ------------------------------------------------------------------------------------------

TOKENS = 256


def weights(kernel: Kernel | FeatureMap, dim: int, seed: int) -> Tensor:
    """Weights of normal queries on normal keys."""
    draw = torch.Generator().manual_seed(seed)
    query, key = torch.randn(2, TOKENS, dim, dtype=torch.float64, generator=draw)
    if isinstance(kernel, FeatureMap):
        return linear_attention_matrix(query, key, kernel=kernel)
    return kernel(query @ key.T / math.sqrt(dim))


def rank(kernel: Kernel | FeatureMap, dim: int, _seed: int, _size: None) -> Metrics:
    found = numerical_rank(weights(kernel, dim, 0), 1e-10).item()
    return {"rank over head width": found / dim, "rank over tokens": found / TOKENS}


def spread(kernel: Kernel | FeatureMap, dim: int, seed: int, _size: None) -> Metrics:
    """e to the mean entropy of the rows."""
    return {"effective keys": torch.special.entr(weights(kernel, dim, seed)).sum(-1).mean().exp().item()}


KERNELS: Mapping[str, Any] = {SOFTMAX: softmax, ELU1: elu1, EXP: exp}
WIDTHS = {f"head width {d}": d for d in (8, 16, 32)}
RANK = Study(
    "rank",
    rank,
    KERNELS,
    WIDTHS,
    every(None),
    claims={
        "rank-bound": (
            inside("rank over head width", ELU1, high=1),
            inside("rank over head width", EXP, high=1),
            inside("rank over tokens", SOFTMAX, low=1),
        )
    },
    varies="nothing",
)
FLAT = Study(
    "flatness",
    spread,
    KERNELS,
    WIDTHS,
    every(None),
    claims={"flatter": tuple(ratio("effective keys", arm, over=SOFTMAX, at_least=1.1) for arm in (EXP, ELU1))},
    figures=(Dots("effective keys", "flatter"),),
)

# ---- random features ------------------------------------------------------------------------------------------------

Omega = Callable[[int, int, int, torch.Generator], PositiveRandomFeatures]


def drawn(orthogonal: bool, dim: int, features: int, draws: int, draw: torch.Generator) -> PositiveRandomFeatures:
    """So many independent draws of so many features, in one object."""
    return PositiveRandomFeatures(dim, features * draws, orthogonal=orthogonal, generator=draw)


def by_quantiles(dim: int, features: int, draws: int, draw: torch.Generator) -> PositiveRandomFeatures:
    """Orthogonal directions whose lengths are quantiles of their law at i / (m + 1) instead of random."""
    kernel = drawn(True, dim, features, draws, draw)
    lengths = chi.ppf([i / (features + 1) for i in range(1, features + 1)], dim)
    unit = torch.nn.functional.normalize(kernel.omega, dim=-1)
    kernel.omega.copy_(unit * torch.tensor(lengths, dtype=unit.dtype).repeat(draws)[:, None])
    return kernel


def estimates(make: Omega, case: tuple[float, int], seed: int, draws: int) -> Metrics:
    """Error and bias of the estimate of e^(q·k), relative to it, for two vectors of width 16 with the cosine 0.215."""
    norm, features = case
    kernel = make(16, features, draws, torch.Generator().manual_seed(seed)).double()
    query, key = torch.zeros(2, 1, 16, dtype=torch.float64)
    query[0, 0], key[0, 0], key[0, 1] = norm, norm * 0.215, norm * math.sqrt(1 - 0.215**2)
    products = (kernel.log_features(query) + kernel.log_features(key)).exp() * draws
    found = products.view(draws, features).sum(1) / math.exp(norm**2 * 0.215) - 1
    return {"squared error": found.square().mean().item(), "bias": found.mean().item()}


IID, ORTHOGONAL, QUANTILES = "independent", "orthogonal", "orthogonal, lengths by quantiles"
HALF, UNIT = "length 0.5, 64 features", "length 1, 16 features"
FEATURES = Study(
    "random features",
    estimates,
    {IID: partial(drawn, False), ORTHOGONAL: partial(drawn, True), QUANTILES: by_quantiles},
    {HALF: (0.5, 64), UNIT: (1.0, 16)},
    {"smoke": 100, "quick": 2000, "full": 20_000},
    claims={
        "orthogonal": at(HALF, ratio("squared error", ORTHOGONAL, over=IID, at_most=0.95)),
        "quantiles": at(UNIT, ratio("squared error", QUANTILES, over=ORTHOGONAL, at_most=0.9)),
        "biased": at(UNIT, inside("bias", QUANTILES, high=-0.01)),
    },
    figures=(Dots("bias", "biased"),),
)

# ---- time -----------------------------------------------------------------------------------------------------------

TIME = Study(
    "time",
    passing,
    KERNELS,
    {f"n = {n}": n for n in (1024, 2048, 4096, 8192)},
    {"full": None},
    claims={
        "linear-time": (
            exponent("seconds", ELU1, 0.85, 1.25),
            exponent("seconds", EXP, 0.85, 1.25),
            exponent("seconds", SOFTMAX, low=1.6),
        )
    },
    timed=True,
    repeats=7,
    seeds={"full": 5},
    figures=(Lines("seconds", "linear-time", log=(True, True)),),
)

EXPERIMENT = Experiment(
    __doc__,
    (MODELS, SWAPPED, EARLY, RANK, FLAT, FEATURES, TIME),
    units={"loss": "nats", "training loss": "nats", "bias": "%", "seconds": "s"},
)
