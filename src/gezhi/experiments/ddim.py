"""Does DDIM sample from a trained diffusion model in a tenth of the steps at little loss?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from gezhi.diffusion.ddim import ddim_step, ddpm_step, slerp
from gezhi.diffusion.gaussian_mixture import OutputDensity, mixture_quantile, output_density
from gezhi.diffusion.sampler import Step, ancestral, fixed_large, fixed_small, sample, zero
from gezhi.experiments.setups.judging import Case
from gezhi.experiments.setups.mixtures import DIGITS, LINE, LINEAR, Wave, errors, flow_error, normal_errors, steps
from gezhi.experiments.setups.pictures import as_levels
from gezhi.experiments.setups.samples import Sampler, Size, chosen, judge, levels, samples, well_apart
from gezhi.lab import Dots, Experiment, Grid, Lines, Profile, Study, at, better, exponent, inside, ratio, two_thirds

Metrics = Mapping[str, Any]

# ---- trained networks -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Length:
    """What is measured, and how many steps the long and the short samplers take."""

    size: Size
    long: int = 1000
    short: int = 100


Options = Callable[[Length], Sequence[Sampler]]
DISTANCE = "distance in features"
OVER_LONG, OVER_SHORT = "distance over that of 1000 steps", "distance over that of DDPM's 100 steps"


def ddpm_long(length: Length) -> Sequence[Sampler]:
    return Sampler(length.long, 1.0, "small"), Sampler(length.long, 1.0, "large")


def ddim_short(length: Length) -> Sequence[Sampler]:
    return Sampler(length.short, 0.0, "small"), Sampler(length.short, 0.0, "small", "leading")


def ddpm_short(length: Length) -> Sequence[Sampler]:
    return Sampler(length.short, 1.0, "small"), Sampler(length.short, 1.0, "large")


@lru_cache(maxsize=3)
def measured(options: Options, case: Case, seed: int, length: Length) -> Metrics:
    """Distance of samples from real pictures, by the better of an arm's options."""
    sampler = chosen(case, options(length), length.size)
    x, by = samples(case, sampler, seed, length.size), judge(case, seed, length.size)
    return {DISTANCE: by.distance(x), "floor": by.floor, "pictures": levels(x)}


def judged(options: Options, case: Case, seed: int, length: Length) -> Metrics:
    """The same, and relative to DDPM on the same network; NaN where that is at the floor itself."""
    found = measured(options, case, seed, length)
    long, short = (measured(arm, case, seed, length) for arm in (ddpm_long, ddpm_short))
    over_long, over_short = (found[DISTANCE] / well_apart(m[DISTANCE], m["floor"]) for m in (long, short))
    return {**found, OVER_LONG: over_long, OVER_SHORT: over_short}


def shortened(length: Length) -> Length:
    return replace(length, size=two_thirds("steps")(length.size))


LONG, SHORT, SHORT_DDPM = "DDPM, 1000 steps", "DDIM, 100 steps", "DDPM, 100 steps"
SMOKE = Length(Size(3, 3, trained=64, judged=64, validated=64, count=16), 6, 3)
TRAINED = Study(
    "trained networks",
    judged,
    {LONG: ddpm_long, SHORT: ddim_short, SHORT_DDPM: ddpm_short},
    {"digits": Case("digits"), "clothes": Case("clothes")},
    {"smoke": {"clothes": SMOKE}, "full": Length(Size(6000, 6000))},
    claims={
        "tenth": inside(OVER_LONG, SHORT, high=1.25),
        "needs-ddim": inside(OVER_SHORT, SHORT, high=0.9),
    },
    trains=shortened,
    seeds={"full": 5},
    figures=(Dots(DISTANCE, ("tenth", "needs-ddim"), log=True), Grid("pictures", picture=(14, 14))),
)

# ---- a mixture whose best network is known ---------------------------------------------------------------------------

DDIM, HALF, DDPM, LARGE = "η = 0 (DDIM)", "η = 0.5", "η = 1 (DDPM)", "η = 1, large variance"
ETAS: Mapping[str, tuple[float, Any]] = {
    DDIM: (0.0, zero),
    HALF: (0.5, fixed_small),
    DDPM: (1.0, fixed_small),
    LARGE: (1.0, fixed_large),
}


def on_line(arm: tuple[float, Any], count: int, _seed: int, _size: None) -> Metrics:
    return errors(steps(count), *arm)


EXACT = Study(
    "a mixture on the line",
    on_line,
    ETAS,
    {f"K = {count}": count for count in (5, 10, 25)},
    {"smoke": {"K = 5": None}, "quick": None, "full": None},
    claims={
        "smaller-noise": tuple(
            ratio(metric, arm, over=DDIM, at_least=1) for metric in ("JS", "W2") for arm in (HALF, DDPM)
        ),
        "large-worst": (
            ratio("W2", LARGE, over=DDPM, at_least=1),
            ratio("JS", LARGE, over=DDPM, at_least=1),
        ),
    },
    varies="nothing",
    figures=(Lines("W2", "smaller-noise", log=(True, True)),),
)


def away(_arm: None, calls: int, _seed: int, _size: None) -> Metrics:
    return {"distance from the flow": flow_error(ddim_step(), calls)}


CALLS = {f"{calls} calls": calls for calls in (51, 101, 201, 401, 801)}
ORDER = Study(
    "towards a flow",
    away,
    {DDIM: None},
    CALLS,
    {
        "smoke": {"51 calls": None, "101 calls": None},
        "quick": {n: None for n, k in CALLS.items() if k < 400},
        "full": None,
    },
    claims={"converges": exponent("distance from the flow", DDIM, -1.2, -0.8)},
    varies="nothing",
    figures=(Lines("distance from the flow", "converges", log=(True, True)),),
)


def thousand(arm: tuple[float, Any], _case: None, _seed: int, count: int) -> Metrics:
    """On a normal target in four dimensions; the root of its total variance is 2.29."""
    found = normal_errors(steps(count), *arm)
    return {"KL": found["KL"], "W2 over the width of the data": found["W2"] / math.sqrt(5.26)}


ALIKE = Study(
    "a thousand steps",
    thousand,
    {DDPM: ETAS[DDPM], LARGE: ETAS[LARGE]},
    {"normal target": None},
    {"smoke": 20, "quick": 1000, "full": 1000},
    claims={
        "alike": tuple(
            inside(metric, arm, high=0.01)
            for arm in (DDPM, LARGE)
            for metric in ("KL", "W2 over the width of the data")
        )
    },
    varies="nothing",
)

# ---- a network that is wrong by a known amount -----------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    error: Wave
    count: int


def histogram(x: Tensor) -> Tensor:
    """Shares of 240 bins from -3 to 3; the rest lies in the outermost."""
    return torch.histc(x.clamp(-3, 3), 240, -3, 3) / len(x)


@lru_cache(maxsize=1)
def ideal() -> Tensor:
    return histogram(mixture_quantile(LINE, (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000))


def divergence(p: Tensor, q: Tensor) -> float:
    """Jensen-Shannon divergence of shares, in nats."""
    half = (p + q) / 2
    return float(0.5 * (torch.special.xlogy(p, p / half) + torch.special.xlogy(q, q / half)).nan_to_num(0.0).sum())


def repaired(arm: tuple[float, Any], task: Task, seed: int, number: int) -> Metrics:
    """Of samples whose latents are even in probability."""
    model, draw = LINE.denoiser(LINEAR, error=task.error), torch.Generator().manual_seed(seed)
    level = (torch.arange(number, dtype=torch.float64) + 0.5) / number
    start = torch.special.ndtri(level)[torch.randperm(number, generator=draw)]
    found = sample(model, start[:, None], steps(task.count), ancestral(*arm), generator=draw)[:, 0]
    return {"JS": divergence(histogram(found), ideal())}


WRONG = Study(
    "an imperfect network",
    repaired,
    {name: ETAS[name] for name in (DDIM, HALF, DDPM)},
    {
        f"{name}, K = {count}": Task(Wave(height), count)
        for name, height in (("exact", 0.0), ("wrong by 0.15", 0.15))
        for count in (10, 50)
    },
    {
        "smoke": {"exact, K = 10": 400},
        "quick": {"exact, K = 10": 20_000, "wrong by 0.15, K = 10": 20_000},
        "full": 100_000,
    },
    claims={
        "noise-repairs": at(
            ("wrong by 0.15, K = 10", "wrong by 0.15, K = 50"), ratio("JS", DDIM, over=DDPM, at_least=1.1)
        ),
        "noise-hurts": at(("exact, K = 10", "exact, K = 50"), ratio("JS", DDPM, over=DDIM, at_least=1.1)),
    },
    seeds={"full": 5},
    figures=(Dots("JS", ("noise-repairs", "noise-hurts"), log=True),),
)

# ---- between two latents --------------------------------------------------------------------------------------------


def straight(z1: Tensor, z2: Tensor, weight: float) -> Tensor:
    return (1 - weight) * z1 + weight * z2


def halfway(mix: Any, count: int, _seed: int, _size: None) -> Metrics:
    """What DDIM makes of the middle of two independent latents, a normal whose width follows from the mix."""
    units = torch.eye(2, dtype=torch.float64)
    width = float(mix(units[0], units[1], 0.5).norm())
    out = output_density(LINE.denoiser(LINEAR), steps(count), 0.0, zero)
    z = torch.linspace(-12, 12, len(out.x), dtype=torch.float64)
    base = (-0.5 * (z / width) ** 2).exp() / (width * math.sqrt(2 * math.pi))
    return {"JS": OutputDensity(out.x, base, out.slope, out.spacing).js(LINE)}


STRAIGHT, ARC = "straight line", "arc (slerp)"
BETWEEN = Study(
    "between two latents",
    halfway,
    {STRAIGHT: straight, ARC: slerp},
    {"K = 50": 50},
    {"quick": None, "full": None},
    claims={"arc": ratio("JS", STRAIGHT, over=ARC, at_least=5)},
    varies="nothing",
)

# ---- digits whose score is known ------------------------------------------------------------------------------------

TOTAL, PIXELS = "total variance", "distance in pixels"
STEPS: Mapping[str, Step] = {DDIM: ddim_step(), DDPM: ddpm_step("small"), LARGE: ddpm_step("large")}


def drawn(step: Step, count: int, seed: int, number: int) -> Metrics:
    """Samples of smoothed digits with the exact score."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(number, DIGITS.target.dim, generator=draw, dtype=torch.float64)
    model, times = DIGITS.target.denoiser(LINEAR), steps(count)
    found = sample(model, x, times, step, generator=draw)
    told = DIGITS.errors(found)
    return {
        TOTAL: told["total variance"],
        PIXELS: told["distance"],
        "pictures": as_levels(found[:12]),
        "a pixel on its way": way(step, times),
        "time": [*reversed(times), 0],
    }


def way(step: Step, times: Sequence[int]) -> Any:
    """One pixel of one sample from noise to data, the same start and noise for all seeds."""
    draw = torch.Generator().manual_seed(0)
    start = torch.randn(1, DIGITS.target.dim, generator=draw, dtype=torch.float64)
    states = sample(DIGITS.target.denoiser(LINEAR), start, times, step, generator=draw, return_trajectory=True)
    return states[:, 0, 27].numpy()


DRAWN = Study(
    "digits with a known score",
    drawn,
    STEPS,
    {f"K = {count}": count for count in (5, 10, 25)},
    {"smoke": {"K = 5": 32, "K = 10": 32}, "full": 4000},
    claims={
        "keeps-variance": better(TOTAL, DDIM, than=DDPM, by=0.1),
        "fewer-smoother": (exponent(TOTAL, DDIM, low=0.1), exponent(TOTAL, DDPM, low=0.1)),
        "large-worst-digits": at("K = 10", ratio(PIXELS, LARGE, over=DDPM, at_least=1)),
    },
    seeds={"full": 5},
    figures=(
        Lines(TOTAL, "keeps-variance"),
        Grid("pictures", cases=("K = 10",), picture=(8, 8)),
        Profile("a pixel on its way", cases=("K = 25",), x="time"),
    ),
)

EXPERIMENT = Experiment(
    __doc__,
    (TRAINED, EXACT, ORDER, ALIKE, WRONG, BETWEEN, DRAWN),
    units={"JS": "nats", "KL": "nats"},
)
