"""Does a factor of log n keep attention as concentrated on longer inputs, and does a model gain from it?"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from torch import Tensor

from gezhi.data import Texts, read
from gezhi.experiments.setups import bytes as byte
from gezhi.experiments.setups.store import kept
from gezhi.lab import (
    Dots,
    Experiment,
    Lines,
    Study,
    every,
    exponent,
    inside,
    itself,
    same,
    two_thirds,
)
from gezhi.lab.reach import reach
from gezhi.nn.attention import Scale, softmax
from gezhi.nn.entropy_scale import attention_entropy, entropy_invariant_scale, spherical_entropy_shift
from gezhi.nn.transformer import Transformer

Metrics = Mapping[str, Any]


def usual(_n: Any) -> float:
    return 1.0


def log_n(train_len: float) -> Scale:
    """The scale of the page; e as `train_len` gives log n/√d, without a constant."""
    return lambda n: entropy_invariant_scale(n, train_len=train_len)


def yarn(train_len: float) -> Scale:
    """YaRN's constant for a model trained at `train_len`: logits times (1 + 0.1 log(n/n₀))²."""
    return lambda n: (1 + 0.1 * math.log(n / train_len)) ** 2


class Entropies:
    """Softmax that notes the mean entropy of what it is given."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def __call__(self, scores: Tensor) -> Tensor:
        self.seen.append(attention_entropy(scores).mean().item())
        return softmax(scores)

    @property
    def mean(self) -> float:
        return float(np.mean(self.seen))


# ---- masked language model ------------------------------------------------------------------------------------------

PLAIN, LOG_64, LOG_512, YARN, BARE = "usual scale", "log n, n₀ = 64", "log n, n₀ = 512", "YaRN's constant", "log n/√d"
GAIN, GROWTH = "gain over the usual scale", "growth of entropy"
TRAINED = 64  # bytes of a window in training
LONGER = (512, 128, 256, 1024)  # bytes of a test window; a user's texts are tested at the first
TEST_SHARE, TEXTS = 0.2, 0  # share of the texts for the test, and the seed that draws them: the same in every run
ARTICLE, WITHOUT_CONSTANT = log_n(512), log_n(math.e)


@dataclass(frozen=True)
class Size(byte.Training):
    """And the bytes of a test window, and of all of them."""

    dim: int = 64
    tested: int = TRAINED
    judged: int = 65_536


@lru_cache(maxsize=2)
def models(
    factors: tuple[Scale, ...], data: Texts, seed: int, size: Size
) -> tuple[dict[Scale, Transformer], Tensor, Tensor]:
    """A model for each factor in training, and the bytes of training and test.

    They are made in an order that alternates with the length of the test, so that two workers make two at a time.
    """
    training, test = byte.split_bytes(data, TEXTS, TEST_SHARE)
    order = factors[:: 1 if size.tested in LONGER[::2] else -1]
    size = replace(size, tested=TRAINED, judged=0)
    text, found = hashlib.sha256(training.numpy().tobytes()).hexdigest(), {}
    for factor in order:
        recipe = {"code": reach(trained, factor, size), "seed": seed, "text": text}
        state = kept("bytes", recipe, partial(trained, factor, training, seed, size))
        found[factor] = byte.byte_model(size.dim, size.depth).eval()
        found[factor].load_state_dict(state)
    return found, training, test


def trained(factor: Scale, text: Tensor, seed: int, size: Size) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    model = byte.with_attention(byte.byte_model(size.dim, size.depth), factor)
    return byte.train(model, text, seed, size, rate=3e-3).state_dict()


def masked_bytes(factors: tuple[Scale, ...], arm: tuple[Scale, Scale], data: Texts, seed: int, size: Size) -> Metrics:
    """The share of masked bytes guessed right; of each test window the gain in it, and the growth of the entropy."""
    training, use = arm
    found, seen, test = models(factors, data, seed, size)
    ids, hidden = byte.pieces(test[: size.judged], size.tested, torch.Generator().manual_seed(size.tested))
    known = byte.pieces(seen[: size.judged], TRAINED, torch.Generator().manual_seed(0))
    accuracy = accuracy_by_window(found[training], use, ids, hidden)
    metrics = {
        "accuracy": accuracy.nanmean(),
        GAIN: (accuracy - accuracy_by_window(found[usual], usual, ids, hidden)).round(decimals=4),
        "training accuracy": accuracy_by_window(found[training], training, *known).nanmean(),
    }
    if size.tested == TRAINED:
        return metrics
    return metrics | {GROWTH: growth(found[training], ids.masked_fill(hidden, byte.MASK), use)}


def accuracy_by_window(model: Transformer, use: Scale, ids: Tensor, hidden: Tensor) -> Tensor:
    return byte.accuracy_by_window(byte.with_attention(model, use), ids, hidden)


@torch.no_grad()
def growth(model: Transformer, ids: Tensor, use: Scale) -> Tensor:
    """Entropy in a window less that in its pieces of 64 bytes, for each unit of log n; of at most 16 windows."""
    found = []
    for window in ids[:: math.ceil(len(ids) / 16)]:
        whole, pieces = Entropies(), Entropies()
        byte.with_attention(model, use, whole)(window[None])
        byte.with_attention(model, use, pieces)(window.view(-1, TRAINED))
        found.append((whole.mean - pieces.mean) / math.log(len(window) / TRAINED))
    return torch.tensor(found)


DOCUMENTATION = partial(read, "python-documentation")
BYTES = Study(
    "masked bytes",
    partial(masked_bytes, (usual, ARTICLE)),
    {
        PLAIN: (usual, usual),
        LOG_64: (usual, log_n(TRAINED)),  # in training its factor is 1
        LOG_512: (ARTICLE, ARTICLE),
        YARN: (usual, yarn(TRAINED)),
    },
    {f"{n} bytes": DOCUMENTATION for n in sorted(LONGER)},
    {
        "smoke": {"128 bytes": Size(20, 4, dim=16, depth=1, tested=128, judged=4096)},
        "full": {f"{n} bytes": Size(4000, tested=n) for n in LONGER},
    },
    claims={
        "gain": inside(GAIN, LOG_64, low=0.01),
        "gain-512": inside(GAIN, LOG_512, low=0.01),
        "yarn": same(GAIN, LOG_64, than=YARN, within=0.01),
        "holds-entropy": inside(GROWTH, LOG_64, -0.1, 0.1),
        "spreads": inside(GROWTH, PLAIN, low=0.1),
    },
    varies="rows",
    accepts="texts",
    trains=two_thirds("steps"),
    figures=(Dots("accuracy"), Dots(GAIN, ("gain", "gain-512")), Dots(GROWTH, ("holds-entropy", "spreads"))),
)
LEARNING = Study(
    "length of training",
    partial(masked_bytes, (usual, ARTICLE)),
    {PLAIN: (usual, usual), LOG_512: (ARTICLE, ARTICLE)},
    {"64 bytes": DOCUMENTATION},
    {"full": Size(4000)},
    claims={"trains-alike": inside(GAIN, LOG_512, -0.01, 0.01)},
    varies="rows",
    trains=two_thirds("steps"),
)
EARLY = Study(
    "first steps",
    partial(masked_bytes, (usual, WITHOUT_CONSTANT)),
    {PLAIN: (usual, usual), BARE: (WITHOUT_CONSTANT, WITHOUT_CONSTANT)},
    {"64 bytes": DOCUMENTATION},
    {"full": Size(400)},
    claims={"too-sharp": inside(GAIN, BARE, high=-0.01)},
    varies="rows",
    seeds={"full": 5},
)

# ---- without a model ------------------------------------------------------------------------------------------------


def loss_of_directions(dim: int) -> Metrics:
    return {"entropy lost per dimension": -float(spherical_entropy_shift(dim, 1.0)) / dim}


SPHERE = Study(
    "constant",
    itself,
    {"random directions": loss_of_directions},
    {f"d = {d}": d for d in (32, 64, 96, 128, 256, 512)},
    every(None),
    claims={"constant": inside("entropy lost per dimension", "random directions", 0.235, 0.245)},
    varies="nothing",
)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def over_random_keys(factor: Callable[[int], float], n: int, seed: int, queries: int) -> Metrics:
    """e to the mean entropy of queries over n keys in random directions, all of norm √64."""
    query, key = (F.normalize(normal(seed + i, rows, 64), dim=-1) for i, rows in ((0, queries), (10**6, n)))
    entropy = attention_entropy(query @ key.T * 8 * factor(n)).mean()
    return {"effective keys": math.exp(entropy)}


DRAWN = Study(
    "random directions",
    over_random_keys,
    {PLAIN: usual, LOG_512: ARTICLE},
    {f"n = {n}": n for n in (64, 256, 1024, 4096, 16384)},
    {"smoke": 4, "quick": 16, "full": 128},
    claims={"invariant": exponent("effective keys", LOG_512, -0.1, 0.1)},
    figures=(Lines("effective keys", "invariant", log=(True, True)),),
)


def needle(rng: np.random.Generator, rows: int, n: int) -> Any:
    """One key 1 above the others, all blurred by 0.02."""
    logits = 0.02 * rng.normal(size=(rows, n))
    logits[:, 0] += 1
    return logits


def bell(rng: np.random.Generator, rows: int, n: int) -> Any:
    return rng.normal(size=(rows, n))


def flat(rng: np.random.Generator, rows: int, n: int) -> Any:
    return rng.uniform(-1, 1, size=(rows, n))


Draw = tuple[Callable[[np.random.Generator, int, int], Any], float]


def by_law(_draw: Draw, _seed: int, _count: int) -> float:
    return 1.0


def by_need(draw: Draw, seed: int, count: int) -> float:
    """Slope of the logarithm of the scale that gives rows of logits their mean entropy, along log log n."""
    make, target = draw
    lengths, found = 4.0 ** np.arange(3, 8), []
    for n in lengths.astype(int):
        rows = torch.from_numpy(make(np.random.default_rng(seed), max(1, count // n), n))
        found.append(
            brentq(lambda t, r=rows: float(attention_entropy(r * math.exp(t)).mean()) - target, -3, 12, xtol=1e-4)
        )
    return float(np.polyfit(np.log(np.log(lengths)), found, 1)[0])


def exponent_of(arm: Callable[[Draw, int, int], float], draw: Draw, seed: int, count: int) -> Metrics:
    return {"exponent in log n": arm(draw, seed, count)}


LAW, NEED = "log n", "scale that holds the entropy"
HELD = Study(
    "scale that is needed",
    exponent_of,
    {LAW: by_law, NEED: by_need},
    {
        "one key stands out, 1 nat": (needle, 1.0),
        "one key stands out, 2.5 nats": (needle, 2.5),
        "normal logits, 1 nat": (bell, 1.0),
        "normal logits, 2.5 nats": (bell, 2.5),
        "evenly spread logits, 2.5 nats": (flat, 2.5),
    },
    {"smoke": 16_384, "quick": 50_000, "full": 1_000_000},
    claims={"law": inside("exponent in log n", NEED, 0.8, 1.2)},
    figures=(Dots("exponent in log n", "law"),),
)

EXPERIMENT = Experiment(
    __doc__,
    (BYTES, LEARNING, EARLY, DRAWN, HELD, SPHERE),
    units={
        **dict.fromkeys(("accuracy", "training accuracy", GAIN), "%"),
        **dict.fromkeys((GROWTH, "entropy lost per dimension"), "nats"),
    },
)
