"""Does an analytic estimate of the best variance make few-step sampling better, without training anything?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from gezhi.diffusion.analytic_dpm import AnalyticVariance, VarianceStats, estimate_x0_variance, optimal_trajectory
from gezhi.diffusion.ddim import ddim_step, ddpm_step
from gezhi.diffusion.sampler import Variance, ancestral, fixed_large, fixed_small, sample, zero
from gezhi.experiments.setups.judging import Case
from gezhi.experiments.setups.mixtures import DIGITS, LINE, LINEAR, errors, excess_bound, statistics, steps
from gezhi.experiments.setups.pictures import as_levels
from gezhi.experiments.setups.samples import Sampler, Size, chosen, judge, levels, samples, well_apart
from gezhi.lab import Dots, Experiment, Grid, Lines, Study, at, exponent, inside, lower, ratio, two_thirds

Metrics = Mapping[str, Any]
USUAL, ANALYTIC = "usual variance", "analytic variance"

# ---- trained networks -----------------------------------------------------------------------------------------------

DISTANCE, ENERGY = "distance in features", "energy distance in pixels"
RATIO, ENERGY_RATIO = "distance over that of the usual variance", "energy distance over that of the usual variance"
Options = Callable[[float, int], Sequence[Sampler]]


@dataclass(frozen=True)
class Task:
    """A network, DDPM's mean (eta 1) or DDIM's (eta 0) or both, and the number of steps."""

    case: Case
    etas: tuple[float, ...]
    count: int


def usual(eta: float, count: int) -> Sequence[Sampler]:
    if eta:
        return Sampler(count, eta, "small"), Sampler(count, eta, "large")
    return Sampler(count, eta, "small"), Sampler(count, eta, "small", "quadratic")


def analytic(eta: float, count: int) -> Sequence[Sampler]:
    if eta:
        return Sampler(count, eta, "direct"), Sampler(count, eta, "estimate2")
    return Sampler(count, eta, "direct"), Sampler(count, eta, "direct", "quadratic")


@lru_cache(maxsize=2)
def measured(options: Options, task: Task, seed: int, size: Size) -> Metrics:
    """Distances of samples from real pictures, by the better of an arm's options."""
    sampler = chosen(task.case, [o for eta in task.etas for o in options(eta, task.count)], size)
    x, by = samples(task.case, sampler, seed, size), judge(task.case, seed, size)
    return {DISTANCE: by.distance(x), ENERGY: by.energy(x), "floor": by.floor, "pictures": levels(x)}


def judged(options: Options, task: Task, seed: int, size: Size) -> Metrics:
    """The same, and relative to the usual variance on the same network: of that NaN where it is at the floor itself."""
    found, base = measured(options, task, seed, size), measured(usual, task, seed, size)
    least = well_apart(base[DISTANCE], base["floor"])
    return {**found, RATIO: found[DISTANCE] / least, ENERGY_RATIO: found[ENERGY] / base[ENERGY]}


FULL = Size(6000, 6000)
SMOKE = Size(3, 3, trained=64, judged=64, validated=64, count=16)
MEANS = {"DDPM": (1.0,), "DDIM": (0.0,)}
TASKS = {
    f"{name}, {mean}, {count} steps": Task(Case(name), etas, count)
    for name in ("digits", "clothes")
    for mean, etas in MEANS.items()
    for count in (10, 25)
}
TRAINED = Study(
    "trained networks",
    judged,
    {USUAL: usual, ANALYTIC: analytic},
    TASKS,
    {
        "smoke": {"clothes, DDPM, 10 steps": SMOKE},
        "full": FULL,
    },
    claims={
        "few-steps": (inside(RATIO, ANALYTIC, high=0.9), inside(ENERGY_RATIO, ANALYTIC, high=1.05)),
    },
    trains=two_thirds("steps"),
    seeds={"full": 5},
    figures=(
        Dots(DISTANCE, "few-steps", log=True),
        Grid("pictures", cases=("digits, DDPM, 10 steps", "clothes, DDPM, 10 steps"), picture=(14, 14)),
    ),
)
BOTH = {
    f"{name}, {count} steps": Task(Case(name), (1.0, 0.0), count)
    for name in ("digits", "clothes")
    for count in (10, 25)
}
BEST = Study(
    "the best of each",
    judged,
    {USUAL: usual, ANALYTIC: analytic},
    BOTH,
    {"full": FULL},
    claims={"best-plain": inside(RATIO, ANALYTIC, high=0.9)},
    trains=two_thirds("steps"),
    seeds={"full": 5},
    figures=(Dots(DISTANCE, "best-plain", log=True),),
)

# ---- a mixture whose best network is known ---------------------------------------------------------------------------

SMALL, LARGE, BY_ESTIMATE = "DDPM, small variance", "DDPM, large variance", "DDPM, analytic variance"
BOUND = "bound above the entropy"
ALL = tuple(range(1, LINEAR.steps + 1))


def best(times: Sequence[int]) -> Variance:
    """With the exact expectations, which estimates approach."""
    return AnalyticVariance(statistics(LINE, tuple(times)))


def small(_times: Sequence[int]) -> Variance:
    return fixed_small


def large(_times: Sequence[int]) -> Variance:
    return fixed_large


@lru_cache(maxsize=4)
def on_line(arm: Any, count: int) -> Metrics:
    times = steps(count)
    return {**errors(times, 1.0, arm(times)), BOUND: excess_bound(times, arm(times))}


def compared(arm: Any, count: int, _seed: int, _size: None) -> Metrics:
    found = on_line(arm, count)
    return {**found, "W2 of the small variance over its own": on_line(small, count)["W2"] / found["W2"]}


COUNTS = {f"K = {count}": count for count in (5, 10, 25, 50)}
EXACT = Study(
    "a mixture on the line",
    compared,
    {SMALL: small, LARGE: large, BY_ESTIMATE: best},
    COUNTS,
    {
        "smoke": {"K = 5": None, "K = 10": None},
        "quick": {name: None for name, k in COUNTS.items() if k < 50},
        "full": None,
    },
    claims={
        "beats-both": tuple(
            ratio(metric, BY_ESTIMATE, over=arm, at_most=1) for metric in ("W2", BOUND) for arm in (LARGE, SMALL)
        ),
        "every-measure": (
            ratio("JS", BY_ESTIMATE, over=LARGE, at_most=1),
            ratio("JS", BY_ESTIMATE, over=SMALL, at_most=1),
            ratio("KL", BY_ESTIMATE, over=SMALL, at_most=1),
        ),
        "fewer-more": exponent("W2 of the small variance over its own", BY_ESTIMATE, high=-0.05),
    },
    varies="nothing",
    figures=(Lines("W2", "beats-both", log=(True, True)), Lines("KL", "every-measure", log=(True, True))),
)


def reached(arm: tuple[Any, int], metric: str, _seed: int, _size: None) -> Metrics:
    make, count = arm
    return {"error": on_line(make, count)[metric]}


HUNDRED, FIVE = "DDPM, small variance, 100 steps", "DDPM, analytic variance, 5 steps"
TWENTY = Study(
    "twenty times fewer steps",
    reached,
    {HUNDRED: (small, 100), FIVE: (best, 5)},
    {"likelihood bound": BOUND, "W2": "W2"},
    {"quick": None, "full": None},
    claims={"twentyfold": ratio("error", FIVE, over=HUNDRED, at_most=1)},
    varies="nothing",
)

# ---- which steps ----------------------------------------------------------------------------------------------------


def even(count: int) -> Sequence[int]:
    return steps(count)


def shortest(count: int) -> Sequence[int]:
    """The path with the least bound."""
    times: list[int] = optimal_trajectory(LINEAR, statistics(LINE, ALL).ms_eps, count)[0].tolist()
    return times


def walked(path: Any, count: int, _seed: int, _size: None) -> Metrics:
    times = path(count)
    return {BOUND: excess_bound(times, best(ALL)), "JS of DDIM": errors(times, 0.0, zero)["JS"]}


EVEN, SHORTEST = "even steps", "steps of the least bound"
PATHS = Study(
    "which steps",
    walked,
    {EVEN: even, SHORTEST: shortest},
    {name: k for name, k in COUNTS.items() if k < 50},
    {"smoke": {"K = 5": None}, "quick": None, "full": None},
    claims={
        "path": lower(BOUND, SHORTEST, than=EVEN, by=0.05),
        "not-for-ddim": ratio("JS of DDIM", SHORTEST, over=EVEN, at_least=1.1),
    },
    varies="nothing",
)

# ---- digits whose score is known ------------------------------------------------------------------------------------

EXCESS, PIXELS = "cross-entropy above the entropy", "distance in pixels"


def drawn(arm: str, count: int, seed: int, number: int) -> Metrics:
    """Samples of smoothed digits with the exact score."""
    model, draw, times = DIGITS.target.denoiser(LINEAR), torch.Generator().manual_seed(seed), steps(count)
    step = ddim_step() if arm == "ddim" else ddpm_step("small")
    if arm == "analytic":
        data = DIGITS.target.sample(1000, draw)
        step = ancestral(1.0, AnalyticVariance(estimate_x0_variance(model, data, times, generator=draw)))
    x = torch.randn(number, DIGITS.target.dim, generator=draw.manual_seed(seed), dtype=torch.float64)
    found = sample(model, x, times, step, generator=draw)
    told = DIGITS.errors(found)
    return {EXCESS: told["excess"], PIXELS: told["distance"], "pictures": as_levels(found[:12])}


SHARP = Study(
    "digits with a known score",
    drawn,
    {SMALL: "small", BY_ESTIMATE: "analytic"},
    {"10 steps": 10},
    {"smoke": 32, "full": 4000},
    claims={
        "smooth-then-noisy": (inside(EXCESS, SMALL, high=-5), inside(EXCESS, BY_ESTIMATE, low=5)),
        "nearer-digits": ratio(PIXELS, BY_ESTIMATE, over=SMALL, at_most=0.7),
    },
    seeds={"full": 5},
    figures=(Dots(EXCESS, "smooth-then-noisy"), Grid("pictures", picture=(8, 8))),
)

# ---- how steady the estimates are -----------------------------------------------------------------------------------

OFF = "relative error"


def spread(method: Any, t: int, seed: int, repeats: int) -> Metrics:
    """Root mean square over repeated estimates from 1000 draws, relative to the exact value."""
    model, draw = LINE.denoiser(LINEAR), torch.Generator().manual_seed(seed)
    exact, errors = float(statistics(LINE, (t,)).x0_var[t]), []
    for _ in range(repeats):
        found = estimate_x0_variance(model, LINE.sample(1000, draw), [t], method=method, generator=draw)
        errors.append(raw(found, t) / exact - 1)
    return {OFF: math.sqrt(sum(e * e for e in errors) / repeats)}


def raw(stats: VarianceStats, t: int) -> float:
    """Before it is clipped at 0: of estimate 2 from its mean square, of the others the value, which stays positive."""
    if stats.method == "estimate2":
        return (LINEAR.noise(t) / LINEAR.signal(t)) ** 2 * (1 - float(stats.ms_eps[t]))
    return float(stats.x0_var[t])


FIRST, SECOND, DIRECT = "estimate 1", "estimate 2", "direct"
TIMES = {f"t = {t}": t for t in (10, 100, 500, 900)}
STEADY = Study(
    "how steady the estimates are",
    spread,
    {SECOND: "estimate2", FIRST: "estimate1", DIRECT: "direct"},
    TIMES,
    {"smoke": 2, "quick": 20, "full": 200},
    claims={
        "steady": inside(OFF, DIRECT, high=0.1),
        "second-drowns": at("t = 900", inside(OFF, SECOND, low=1)),
    },
    figures=(Lines(OFF, "steady", log=(True, True)),),
)

EXPERIMENT = Experiment(
    __doc__,
    (TRAINED, BEST, EXACT, TWENTY, PATHS, SHARP, STEADY),
    units={BOUND: "nats", EXCESS: "nats", "JS": "nats", "KL": "nats"},
)
