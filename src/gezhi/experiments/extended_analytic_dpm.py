"""Where the mean of a step is imperfect, does a learned variance of the residual beat the analytic one?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from gezhi.diffusion.analytic_dpm import AnalyticVariance, estimate_x0_variance
from gezhi.diffusion.denoiser import Model
from gezhi.diffusion.extended_analytic_dpm import HeadVariance
from gezhi.diffusion.gaussian_mixture import ExactDenoiser, entropy, nelbo, output_density, sliced_w2
from gezhi.diffusion.sampler import Noise, Step, Variance, ancestral, sample
from gezhi.experiments.setups import variances
from gezhi.experiments.setups.mixtures import (
    DIGITS,
    LINE,
    LINEAR,
    Wave,
    normal_errors,
    plane,
    statistics,
    steps,
)
from gezhi.experiments.setups.pictures import as_levels
from gezhi.experiments.setups.tables import by_row
from gezhi.experiments.setups.variances import Size, best_of, bounds
from gezhi.lab import Dots, Experiment, Grid, Lines, Study, at, every, exponent, lower, ratio, two_thirds

Metrics = Mapping[str, Any]

# ---- a trained network ----------------------------------------------------------------------------------------------

ANALYTIC, RESIDUAL, LINEAR_HEAD = "analytic", "residual", "residual, linear head"
SOFTPLUS, RELATIVE, SECOND_MOMENT = "residual, softplus head", "residual, relative head", "second moment of the noise"
BITS = "bits a dimension"


@dataclass(frozen=True)
class Task:
    """A network that was trained long, or short, and the number of steps."""

    trunk: str
    count: int


def held_out(names: tuple[str, ...], task: Task, seed: int, size: Size) -> Metrics:
    """The bound on unseen digits, by the best of an arm's variances on others; which that was."""
    found, rows = bounds(task.trunk, seed, size), variances.divided(seed, size).test_rows
    name, bits = best_of(found, task.count, names)
    chosen = {f"chose {option}": float(option == name) for option in names if len(names) > 1}
    return {
        BITS: by_row(1797, rows, bits.numpy()),
        "error of the noise": float(found["error of the noise"]),
        **chosen,
    }


TASKS = {
    f"trained {kind}, {count} steps": Task(kind, count) for kind in ("long", "short") for count in variances.COUNTS
}
FEW = tuple(name for name, task in TASKS.items() if task.count <= 25)
TRAINED = Study(
    "a trained network",
    held_out,
    {
        ANALYTIC: variances.ANALYTIC,
        RESIDUAL: variances.RESIDUAL,
        "large": (variances.LARGE,),
        SECOND_MOMENT: (variances.SECOND,),
        LINEAR_HEAD: ("linear",),
        SOFTPLUS: ("softplus",),
        RELATIVE: ("relative",),
    },
    TASKS,
    {
        "smoke": {"trained short, 5 steps": Size(4, 2, 2, draws=8, trained=64, validated=1650, counts=(5,))},
        "full": Size(7000, 700, 3000),
    },
    claims={
        "residual": lower(BITS, RESIDUAL, than=ANALYTIC, by=0.02),
        "linear-head": lower(BITS, LINEAR_HEAD, than=ANALYTIC, by=0.02),
        "second-moment": lower(BITS, SECOND_MOMENT, than=ANALYTIC, by=0.02),
        "relative": at(FEW, lower(BITS, RELATIVE, than=SOFTPLUS, by=0.02)),
    },
    varies="rows",
    trains=two_thirds("long", "heads"),
    seeds={"full": 8},
    figures=(Dots(BITS, "residual", arms=(ANALYTIC, RESIDUAL, "large"), than=ANALYTIC),),
)

# ---- a mixture on the line, with a mean that is exact or wrong -------------------------------------------------------

SECOND, DIRECT, BY_NOISE, BY_RESIDUAL = "estimate 2", "direct estimate", "second moment (SN)", "residual (NPR)"
BOUND = "bound above the entropy"
GRIDS = {5: (56.0, 14336), 10: (28.0, 7168)}  # a second moment of few steps throws mass far out


@dataclass(frozen=True)
class Line:
    """How wrong the network is, steps, and DDPM's mean (eta 1) or DDIM's."""

    error: Wave | None
    count: int
    eta: float = 1.0


def given(arm: str, case: Line) -> tuple[ExactDenoiser, Variance]:
    """The model, and the variance with the exact expectations."""
    if arm in (BY_NOISE, BY_RESIDUAL):
        kind: Any = "noise" if arm == BY_NOISE else "residual"
        return LINE.denoiser(LINEAR, error=case.error, moment=kind), HeadVariance()
    method = "direct" if arm == DIRECT else "estimate2"
    stats = statistics(LINE, tuple(steps(case.count)), case.error, method)
    return LINE.denoiser(LINEAR, error=case.error), AnalyticVariance(stats)


def bounded(arm: str, case: Line, _seed: int, _size: None) -> Metrics:
    model, variance = given(arm, case)
    return {BOUND: nelbo(model, steps(case.count), variance) - entropy(LINE)}


@lru_cache(maxsize=8)
def line_w2(arm: str, case: Line) -> float:
    model, variance = given(arm, case)
    length, points = GRIDS.get(case.count, (14.0, 3584)) if arm == BY_NOISE and case.error else (14.0, 3584)
    return output_density(model, steps(case.count), case.eta, variance, length=length, points=points).w2(LINE)


def wrong(*counts: int) -> dict[str, Line]:
    return {f"wrong by {height}, {k} steps": Line(Wave(height), k) for height in (0.05, 0.15) for k in counts}


EXACT = Study(
    "a network that is wrong by a known amount",
    bounded,
    {SECOND: SECOND, DIRECT: DIRECT, BY_NOISE: BY_NOISE, BY_RESIDUAL: BY_RESIDUAL},
    wrong(5, 10, 25, 50),
    {"smoke": {"wrong by 0.15, 5 steps": None}, "quick": dict.fromkeys(wrong(5, 10, 25)), "full": None},
    claims={
        "order": (ratio(BOUND, BY_RESIDUAL, over=DIRECT, at_most=1), ratio(BOUND, DIRECT, over=SECOND, at_most=1)),
        "second-worse": at(tuple(wrong(5, 10)), ratio(BOUND, BY_NOISE, over=SECOND, at_least=1)),
        "residual-best": ratio(BOUND, BY_RESIDUAL, over=BY_NOISE, at_most=1),
    },
    varies="nothing",
    figures=(Dots(BOUND, "residual-best", log=True),),
)


def spread(arm: str, case: Line, _seed: int, _size: None) -> Metrics:
    own = line_w2(arm, case)
    return {"W2": own, "W2 of the analytic variance over its own": line_w2(DIRECT, case) / own}


SAMPLED = Study(
    "samples of a wrong network",
    spread,
    {DIRECT: DIRECT, BY_NOISE: BY_NOISE, BY_RESIDUAL: BY_RESIDUAL},
    {f"wrong by 0.15, {k} steps": Line(Wave(0.15), k) for k in (5, 10, 25, 50)},
    {"quick": {"wrong by 0.15, 25 steps": None}, "full": None},
    claims={"nearer": tuple(ratio("W2", BY_RESIDUAL, over=arm, at_most=1) for arm in (DIRECT, BY_NOISE))},
    varies="nothing",
)


def perfect(arm: str, count: int, seed: int, size: None) -> Metrics:
    return spread(arm, Line(None, count), seed, size)


COUNTS = {f"K = {k}": k for k in (5, 10, 25, 50)}
FEWER = Study(
    "a perfect network",
    perfect,
    {DIRECT: DIRECT, BY_RESIDUAL: BY_RESIDUAL},
    COUNTS,
    {"smoke": dict.fromkeys(("K = 5", "K = 10")), "quick": dict.fromkeys(("K = 5", "K = 10", "K = 25")), "full": None},
    claims={"fewer-more": exponent("W2 of the analytic variance over its own", BY_RESIDUAL, high=-0.05)},
    varies="nothing",
    figures=(Lines("W2", log=(True, True)),),
)

# ---- one variance an entry ------------------------------------------------------------------------------------------

ONE, EACH = "one variance for all", "a variance for each entry and state"


@dataclass(frozen=True)
class Data:
    """A target of known density, and DDPM's mean (eta 1) or DDIM's (eta 0)."""

    name: str
    eta: float


def entries(arm: str, case: Data, _seed: int, count: int) -> Metrics:
    if case.name == "line":
        return {"W2": line_w2(DIRECT if arm == ONE else BY_RESIDUAL, Line(None, count, case.eta))}
    return {"W2": normal_errors(steps(count), case.eta, mean_variance if arm == ONE else HeadVariance())["W2"]}


def mean_variance(t: Any, s: Any, c: Any, prediction: Any) -> Tensor:
    """Of a normal target the variance of x₀ is the same at every state: its mean over the entries."""
    return HeadVariance(per_state=True)(t, s, c, prediction)


ENTRIES = Study(
    "one variance or many",
    entries,
    {ONE: ONE, EACH: EACH},
    {
        f"{name}, {mean}": Data(key, eta)
        for name, key in (("normal", "normal"), ("mixture on the line", "line"))
        for mean, eta in (("DDPM", 1.0), ("DDIM", 0.0))
    },
    every(10),
    claims={"many": ratio("W2", EACH, over=ONE, at_most=0.8)},
    varies="nothing",
)

PIXELS = "distance in pixels"


def drawn(arm: str, eta: float, seed: int, number: int) -> Metrics:
    """Samples of smoothed digits with the exact score, in ten steps."""
    model, draw, times = DIGITS.target.denoiser(LINEAR), torch.Generator().manual_seed(seed), steps(10)
    variance: Variance = HeadVariance()
    if arm == ONE:
        data = DIGITS.target.sample(1000, draw)
        variance = AnalyticVariance(estimate_x0_variance(model, data, times, generator=draw))
    x = torch.randn(number, DIGITS.target.dim, generator=draw.manual_seed(seed), dtype=torch.float64)
    found = sample(model, x, times, ancestral(eta, variance), generator=draw)
    return {PIXELS: DIGITS.errors(found)["distance"], "pictures": as_levels(found[:12])}


PICTURES = Study(
    "digits with a known score",
    drawn,
    {ONE: ONE, EACH: EACH},
    {"DDPM": 1.0, "DDIM": 0.0},
    {"smoke": {"DDPM": 32}, "full": 4000},
    claims={"many-digits": ratio(PIXELS, EACH, over=ONE, at_most=0.9)},
    seeds={"full": 5},
    figures=(Dots(PIXELS, "many-digits"), Grid("pictures", cases=("DDPM",), picture=(8, 8))),
)

# ---- how much structure ---------------------------------------------------------------------------------------------


def whole(model: Model, x: Tensor, t: Any, s: Any, memory: Any, noise: Noise | None) -> tuple[Tensor, Any]:
    """DDPM's step with the whole covariance of the state."""
    assert isinstance(model, ExactDenoiser)
    c = model.schedule.step(s, t, 1.0)
    y = c.kappa * x + c.gamma * model(x, t).mean
    if s == 0 or noise is None:
        return y, memory
    covariance = model.mixture.covariance_given(x, c.signal_t, c.noise_t)
    total = c.sigma2 * torch.eye(x.shape[1], dtype=x.dtype) + c.gamma**2 * covariance
    return y + (torch.linalg.cholesky(total) @ noise(x)[..., None])[..., 0], memory


def by_state(_model: ExactDenoiser, _draw: torch.Generator) -> Step:
    return ancestral(1.0, HeadVariance(per_state=True))


def by_entry(_model: ExactDenoiser, _draw: torch.Generator) -> Step:
    return ancestral(1.0, HeadVariance())


def by_covariance(_model: ExactDenoiser, _draw: torch.Generator) -> Step:
    return whole


def by_number(model: ExactDenoiser, draw: torch.Generator) -> Step:
    data = model.mixture.sample(20_000, draw)
    stats = estimate_x0_variance(model, data, steps(10), num_samples=20_000, batch_size=20_000, generator=draw)
    return ancestral(1.0, AnalyticVariance(stats))


def structured(make: Any, _case: None, seed: int, number: int) -> Metrics:
    """Sliced W2 of samples in ten steps, in the plane."""
    target = plane()
    model, draw = target.denoiser(LINEAR), torch.Generator().manual_seed(seed)
    step = make(model, draw)
    x = torch.randn(number, 2, generator=draw.manual_seed(seed), dtype=torch.float64)
    return {"sliced W2": sliced_w2(sample(model, x, steps(10), step, generator=draw), target)}


NUMBER, STATE, ENTRY, COVARIANCE = (
    "one number",
    "a number a state",
    "a number a state and entry",
    "a covariance a state",
)
STRUCTURE = Study(
    "how much structure",
    structured,
    {NUMBER: by_number, STATE: by_state, ENTRY: by_entry, COVARIANCE: by_covariance},
    {"mixture in the plane": None},
    {"smoke": 200, "full": 4000},
    claims={
        "structure": tuple(
            ratio("sliced W2", more, over=less, at_most=0.97)
            for less, more in ((NUMBER, STATE), (STATE, ENTRY), (ENTRY, COVARIANCE))
        )
    },
    seeds={"full": 5},
    figures=(Dots("sliced W2", "structure"),),
)

EXPERIMENT = Experiment(
    __doc__,
    (TRAINED, EXACT, SAMPLED, FEWER, ENTRIES, PICTURES, STRUCTURE),
    units={BOUND: "nats"},
)
