"""Variances of one trained network, analytic and learned, and what each makes of the likelihood of unseen digits.

    found = bounds(seed, Size(...))                # by trunk, steps, variance and clip: bits a dimension, one a picture
    chosen, rows = best_of(found["long", 10], ("linear", "softplus", "relative"))

A seed draws which of scikit-learn's 1797 digits train, choose and test, the network and its heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gezhi.diffusion.analytic_dpm import AnalyticVariance, VarianceStats, estimate_x0_variance
from gezhi.diffusion.denoiser import Denoiser, Prediction
from gezhi.diffusion.extended_analytic_dpm import (
    HeadVariance,
    ResidualHead,
    SecondMomentHead,
    train_variance_head,
    with_features,
)
from gezhi.diffusion.extended_analytic_dpm.head import Head
from gezhi.diffusion.sampler import Variance, fixed_large
from gezhi.diffusion.schedule import StepCoefficients
from gezhi.diffusion.timesteps import chain, timestep_subsequence
from gezhi.experiments.setups.diffusion import BEDS, SCHEDULE, trained
from gezhi.experiments.setups.pictures import dequantised
from gezhi.experiments.setups.store import kept
from gezhi.experiments.setups.tables import Rows
from gezhi.lab.reach import reach

RANGE = (-1.0, 1.0)
COUNTS = (5, 10, 25, 50)
ANALYTIC = ("direct", "estimate1", "estimate2")
RESIDUAL = ("linear", "softplus", "relative")
SECOND, LARGE = "second moment", "large"
ALL = (LARGE, *ANALYTIC, SECOND, *RESIDUAL)
NOISES = 4  # of each picture at each step, the same for all variances


@dataclass(frozen=True)
class Size:
    """Updates of the network that is trained long, of that which is not, of the heads; draws a time of statistics."""

    long: int
    short: int
    heads: int
    draws: int = 1000
    trained: int = 1000
    validated: int = 200
    counts: tuple[int, ...] = COUNTS


class Pictures(NamedTuple):
    train: Tensor
    validation: Tensor
    test: Tensor
    test_rows: Rows


def divided(seed: int, size: Size) -> Pictures:
    """Dequantised digits; which of them are tested."""
    bed, draw = BEDS["digits"], torch.Generator().manual_seed(seed)
    x = dequantised(bed.pictures(), bed.levels, draw)
    order = torch.randperm(len(x), generator=draw)
    train, validation, test = order.tensor_split((size.trained, size.trained + size.validated))
    return Pictures(x[train], x[validation], x[test], test.numpy())


# ---- the network and its variances ----------------------------------------------------------------------------------


BED = replace(BEDS["digits"], levels=0, prediction="epsilon")  # as the articles have it: it predicts the noise


def trunk(kind: str, pictures: Pictures, seed: int, size: Size) -> Denoiser:
    """The network, averaged over about the last tenth of its updates."""
    bed = replace(BED, steps=size.long) if kind == "long" else replace(BED, steps=size.short, decay=0.985)
    return trained(bed, pictures.train, seed)


def head_of(model: Denoiser, name: str, x: Tensor, seed: int, size: Size, stats: VarianceStats) -> Head:
    """A head that is trained on the pictures of its network's own training."""
    head: Head
    width, pixels = model.network.features, x.shape[1]  # type: ignore[attr-defined]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == SECOND:
            head = SecondMomentHead(width, pixels, data_range=RANGE)
        else:
            head = ResidualHead(width, pixels, positive=name, stats=stats, data_range=RANGE)  # type: ignore[arg-type]
    draw = torch.Generator().manual_seed(seed)
    train_variance_head(featured(model, head), x, size.heads, generator=draw)
    return head


def featured(model: Denoiser, head: Head) -> Denoiser:
    return Denoiser(with_features(model.network, "trunk"), SCHEDULE, "epsilon", head=head)  # type: ignore[arg-type]


def variances(model: Denoiser, x: Tensor, seed: int, size: Size) -> dict[str, Variance | Head]:
    """Every variance by name: of a step, or the head that gives it."""
    draw = torch.Generator().manual_seed(seed)
    visited = sorted({t for count in size.counts for t in times_of(count)})

    def estimated(method: Any, times: Sequence[int], draws: int) -> VarianceStats:
        settings = {"num_samples": draws, "data_range": RANGE, "generator": draw}
        return estimate_x0_variance(model, x, times, method=method, **settings)  # type: ignore[arg-type]

    found: dict[str, Variance | Head] = {LARGE: fixed_large}
    for method in ANALYTIC:
        found[method] = AnalyticVariance(estimated(method, visited, size.draws))
    everywhere = estimated("direct", range(1, SCHEDULE.steps + 1), max(2, size.draws // 5))
    for name in (SECOND, *RESIDUAL):
        found[name] = head_of(model, name, x, seed, size, everywhere)
    return found


def times_of(count: int) -> list[int]:
    times: list[int] = timestep_subsequence(SCHEDULE.steps, count).tolist()
    return times


# ---- the bound ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def bits(
    model: Denoiser, found: Mapping[str, Variance | Head], x: Tensor, train: Tensor, count: int
) -> dict[tuple[str, bool], Tensor]:
    """The likelihood bound of each picture under each variance, x̂₀ clipped or not, in bits a dimension.

    The last step is normal with the mean square of its error on the training pictures, for every variance alike.
    """
    walk, d, draw = chain(times_of(count), SCHEDULE.steps), x.shape[1], torch.Generator().manual_seed(0)
    signal, noise = SCHEDULE.signal(walk[0]), SCHEDULE.noise(walk[0])
    prior = 0.5 * ((signal * x) ** 2 + noise**2 - 1 - 2 * math.log(noise)).double().sum(1)
    total = {(name, clip): prior.clone() for name in found for clip in (False, True)}
    heads = [head for head in found.values() if isinstance(head, Head)]
    network = featured(model, heads[0])
    for t, s in pairwise(walk):
        c = SCHEDULE.step(s, t, 1.0)
        for _ in range(NOISES):
            state = c.signal_t * x + c.noise_t * torch.randn(x.shape, generator=draw)
            eps, features = network.predict_with_features(state, t)
            raw = (state - c.noise_t * eps) / c.signal_t
            for clip in (False, True):
                mean = raw.clamp(*RANGE) if clip else raw
                square = (x - mean).double() ** 2
                first = last_square(network, train, int(t), clip) if s == 0 else 0.0
                for name, variance in found.items():
                    if s == 0:
                        term = math.log(2 * math.pi * first) + square / first
                    else:
                        v = added(variance, t, s, c, mean, eps, features)
                        term = (v / c.sigma2).log() + (c.sigma2 + c.gamma**2 * square) / v - 1
                    total[name, clip] += 0.5 * term.sum(1) / NOISES
    return {key: value / (d * math.log(2)) for key, value in total.items()}


def added(
    variance: Variance | Head, t: Any, s: Any, c: StepCoefficients, mean: Tensor, eps: Tensor, features: Any
) -> Tensor:
    """What a step adds, of one number or one an entry."""
    if isinstance(variance, Head):
        moment = variance.x0_variance(SCHEDULE, t, eps, features)  # type: ignore[operator]
        return HeadVariance()(t, s, c, Prediction(mean, moment)).double()
    return torch.as_tensor(variance(t, s, c, Prediction(mean)), dtype=torch.float64)


def last_square(network: Denoiser, x: Tensor, t: int, clip: bool) -> float:
    z = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    state = SCHEDULE.signal(t) * x + SCHEDULE.noise(t) * z
    eps, _ = network.predict_with_features(state, t)
    mean = (state - SCHEDULE.noise(t) * eps) / SCHEDULE.signal(t)
    return float((x - (mean.clamp(*RANGE) if clip else mean)).double().square().mean())


Found = Mapping[str, Tensor]  # by `variance clip part`


def made(kind: str, seed: int, size: Size) -> dict[str, Tensor]:
    """Bounds of validation and test pictures at every number of steps, under every variance, clipped and not."""
    pictures = divided(seed, size)
    model, train = trunk(kind, pictures, seed, size), pictures.train.flatten(1)
    found, by = {"error of the noise": noise_error(model, pictures.validation)}, variances(model, train, seed, size)
    for count in size.counts:
        for part in ("validation", "test"):
            for (name, clip), value in bits(model, by, getattr(pictures, part).flatten(1), train, count).items():
                found[f"{count} {name} {clip} {part}"] = value
    return found


@torch.no_grad()
def noise_error(model: Denoiser, x: Tensor) -> Tensor:
    """Mean squared error of the predicted noise, over times 100, 300 and 500."""
    draw, found = torch.Generator().manual_seed(2), []
    for t in (100, 300, 500):
        z = torch.randn(x.shape, generator=draw)
        eps = model.predict(SCHEDULE.signal(t) * x + SCHEDULE.noise(t) * z, t, "epsilon")
        found.append((eps - z).square().mean())
    return torch.stack(found).mean().double()


@lru_cache(maxsize=2)
def bounds(kind: str, seed: int, size: Size) -> Found:
    return kept("variances", {"code": reach(made, size), "kind": kind, "seed": seed}, lambda: made(kind, seed, size))


def best_of(found: Found, count: int, names: Sequence[str]) -> tuple[str, Tensor]:
    """The variance, with the clip, that is best on validation pictures; its bits of the test pictures."""
    options = [f"{count} {name} {clip}" for name in names for clip in (False, True)]
    key = min(options, key=lambda option: float(found[f"{option} validation"].mean()))
    return key.split(" ", 1)[1].rsplit(" ", 1)[0], found[f"{key} test"]
