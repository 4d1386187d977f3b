"""Diffusion models on MNIST and Fashion-MNIST as several methods judge them: trained once, their samples measured alike.

    case = Case("digits")                          # or "clothes"
    x = samples(case, Sampler(10, 0.0, "small"), seed, size)   # of a network that is trained once
    judge(case, seed, size).distance(x)            # Fréchet distance of features, less what real pictures have

Of the pictures that are not the classifier's a seed draws its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gezhi.diffusion.analytic_dpm import AnalyticVariance, capped, estimate_x0_variance, first_step_clip
from gezhi.diffusion.denoiser import Denoiser
from gezhi.diffusion.sampler import Step, ancestral, fixed_large, fixed_small, sample
from gezhi.diffusion.timesteps import timestep_subsequence
from gezhi.experiments.setups.diffusion import SCHEDULE, trained
from gezhi.experiments.setups.judging import ASIDE, SIDE, Case, Judge, at, source
from gezhi.experiments.setups.pictures import as_levels
from gezhi.experiments.setups.store import kept
from gezhi.lab.reach import reach

EXTRA = 999  # the seed whose network decides what an arm may choose
AT_ONCE = 250
SHOWN = 12  # samples in a figure


@dataclass(frozen=True)
class Size:
    """Updates of the network, and of the one by which arms choose; pictures of each part; samples of each arm."""

    steps: int
    decided: int
    trained: int = 10_000
    judged: int = 5_000
    validated: int = 1_000
    count: int = 600


class Parts(NamedTuple):
    """Different pictures, (rows, *shape) from -1 to 1; the floor has as many as are sampled."""

    train: Tensor
    judge: Tensor
    validation: Tensor
    floor: Tensor


# ---- data and networks ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)  # of a seed, and of the one that decides
def drawn(case: Case, seed: int, size: Size) -> Parts:
    *_, order = source(case.bed.source)
    rows = np.random.default_rng(seed).permutation(order[ASIDE:])
    ends = np.cumsum([size.trained, size.judged, size.validated, size.count])
    return Parts(*(at(case, part) for part in np.split(rows, ends)[:-1]))


@lru_cache(maxsize=2)
def model_of(case: Case, seed: int, size: Size) -> Denoiser:
    """The network of a seed after so many updates."""
    return trained(replace(case.bed, steps=size.steps), drawn(case, seed, size).train, seed)


# ---- samplers -------------------------------------------------------------------------------------------------------

RANGE = (-1.0, 1.0)
GREY = {1.0: 2.0, 0.0: 1.0}  # levels by which the official code caps the last noise, with the mean of DDPM and of DDIM


@dataclass(frozen=True)
class Sampler:
    """So many steps with DDPM's mean (eta 1) or DDIM's (eta 0), and how much noise they add; estimates are clipped."""

    count: int
    eta: float
    variance: Literal["small", "large", "direct", "estimate2"]
    spacing: Literal["linspace", "leading", "quadratic"] = "linspace"

    @property
    def times(self) -> list[int]:
        found: list[int] = timestep_subsequence(SCHEDULE.steps, self.count, self.spacing).tolist()
        return found

    def step(self, model: Denoiser, data: Tensor, seed: int) -> Step:
        """Its step; statistics are taken from up to 1000 of the pictures that the network was trained on."""
        if self.variance == "small" or self.variance == "large":
            return ancestral(self.eta, fixed_small if self.variance == "small" else fixed_large, RANGE)
        draw = torch.Generator().manual_seed(seed)
        settings = {"num_samples": min(1000, len(data)), "batch_size": AT_ONCE, "data_range": RANGE, "generator": draw}
        stats = estimate_x0_variance(model, data, self.times, method=self.variance, **settings)  # type: ignore[arg-type]
        analytic = capped(AnalyticVariance(stats), self.times[0], first_step_clip(GREY[self.eta]))
        return ancestral(self.eta, analytic, RANGE)


def samples(case: Case, sampler: Sampler, seed: int, size: Size) -> Tensor:
    """Of the seed's network, with noise of the seed."""
    model = model_of(case, seed, size)
    step = sampler.step(model, drawn(case, seed, size).train, seed)
    return many(model, case, sampler.times, step, size.count, seed)


@torch.inference_mode()
def many(model: Denoiser, case: Case, times: Sequence[int] | Tensor, step: Step, count: int, seed: int) -> Tensor:
    """So many samples, in batches that fit the processor's cache."""
    draw, found = torch.Generator().manual_seed(seed), []
    for start in range(0, count, AT_ONCE):
        x = torch.randn(min(AT_ONCE, count - start), *case.bed.shape, generator=draw)
        found.append(sample(model, x, times, step, generator=draw))
    return torch.cat(found)


def chosen(case: Case, options: Sequence[Sampler], size: Size) -> Sampler:
    """The one whose samples are nearest to the validation pictures, by the fully trained network of an extra seed."""
    if len(options) == 1:
        return options[0]
    size = replace(size, steps=size.decided)

    def tried() -> dict[str, Tensor]:
        parts = drawn(case, EXTRA, size)
        judge = Judge(case, parts.validation, parts.floor)
        return {"distances": torch.tensor([judge.raw_distance(samples(case, o, EXTRA, size)) for o in options])}

    found = kept("choice", {"code": reach(samples, Judge, case, case.bed, tuple(options), size)}, tried)
    return options[int(found["distances"].argmin())]


@lru_cache(maxsize=1)
def judge(case: Case, seed: int, size: Size) -> Judge:
    parts = drawn(case, seed, size)
    return Judge(case, parts.judge, parts.floor)


def levels(x: Tensor) -> NDArray[np.float64]:
    """The first samples as a figure shows them: levels of 0 to 255, without what was padded."""
    room = (x.shape[2] - SIDE) // 2
    return as_levels(x[:SHOWN, :, room : room + SIDE, room : room + SIDE])


def well_apart(distance: float, floor: float) -> float:
    """The distance of a baseline, or NaN where its own, with the floor, is under 3 floors: nothing can be lost there."""
    return distance if distance + floor >= 3 * floor else math.nan
