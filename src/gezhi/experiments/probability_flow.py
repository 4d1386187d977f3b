"""Can a diffusion model be sampled by an ODE with the same marginals, and is DDIM its Euler method?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gezhi.diffusion.ddim import ddim_step
from gezhi.diffusion.denoiser import Model, Prediction
from gezhi.diffusion.gaussian_mixture import ExactDenoiser, GaussianMixture, mixture_quantile, output_density
from gezhi.diffusion.probability_flow import (
    dpm_solver_2,
    dpmpp_2m,
    euler_maruyama,
    flow_drift,
    heun,
    log_prob,
    time_grid,
)
from gezhi.diffusion.sampler import Step, ancestral, fixed_small, sample
from gezhi.diffusion.schedule import NoiseSchedule, StepCoefficients
from gezhi.diffusion.timesteps import timestep_subsequence
from gezhi.experiments.setups.judging import Case, Judge
from gezhi.experiments.setups.mixtures import DIGITS, EXP, LINE, LINEAR, NORMAL, Spacing, flow_error, quantiles, steps
from gezhi.experiments.setups.samples import Size, judge, levels, many, model_of, well_apart
from gezhi.lab import Dots, Experiment, Grid, Lines, Profile, Study, at, exponent, inside, ratio, two_thirds

Metrics = Mapping[str, Any]

# ---- the same marginals ---------------------------------------------------------------------------------------------


class Doubled:
    """A model whose score is twice that of another: its flow is the reverse SDE's drift without its noise."""

    def __init__(self, model: ExactDenoiser) -> None:
        self.model, self.schedule = model, model.schedule

    def __call__(self, x: Tensor, t: Any) -> Prediction:
        mean, variance = self.model(x, t)
        signal, noise = self.schedule.signal(t), self.schedule.noise(t)
        assert variance is not None
        return Prediction(2 * mean - x / signal, 2 * variance - (noise / signal) ** 2)


@dataclass(frozen=True)
class Target:
    """Data of known density, some of its points, and the tolerance of the solver."""

    mixture: GaussianMixture
    points: Callable[[int], Tensor]
    tolerance: float


def normal() -> Target:
    return Target(NORMAL, lambda n: NORMAL.sample(n, torch.Generator().manual_seed(0)), 1e-8)


def line() -> Target:
    return Target(LINE, lambda n: quantiles(n)[1], 1e-8)


def digits() -> Target:
    return Target(DIGITS.target, lambda n: DIGITS.target.sample(n, torch.Generator().manual_seed(0)), 1e-6)


def as_it_is(model: ExactDenoiser) -> Model:
    return model


def marginal_gap(model: Model, target: Target, x0: Tensor, stop: float) -> float:
    """Largest error of log p at the end of the flow, by the change of the density along it; bits a dimension."""

    def terminal(x: Tensor) -> Tensor:
        return target.mixture.log_prob(x, EXP.signal(stop), EXP.noise(stop))

    tight = target.tolerance
    found = log_prob(
        model, x0, divergence="moment", terminal=terminal, stop=stop, method="DOP853", rtol=tight, atol=tight
    )
    return float((found - target.mixture.log_prob(x0)).abs().max()) / (target.mixture.dim * math.log(2))


def step_gap(model: Model, x: Tensor, t: float, s: float) -> float:
    """Relative difference of a DDIM step from Euler's in ρ, whose slope follows from drift, diffusion and score."""
    found, _ = ddim_step()(model, x, t, s, None, None)
    signal, rho = EXP.signal(t), EXP.sigma(t)
    growth = EXP.diffusion_sq(t) / (2 * signal**2 * rho)
    slope = (flow_drift(model, x, t) - EXP.drift(t) * x) / (signal * growth)
    euler = EXP.signal(s) * (x / signal + (EXP.sigma(s) - rho) * slope)
    return float(((found - euler).norm(dim=1) / euler.norm(dim=1)).max())


def carried(change: Callable[[ExactDenoiser], Model], target: Target, _seed: int, points: int) -> Metrics:
    model, x0 = change(target.mixture.denoiser(EXP)), target.points(points)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    states = {t: EXP.signal(t) * x0 + EXP.noise(t) * noise for t in (1000, 600, 300, 50)}
    return {
        "marginal gap": max(marginal_gap(model, target, x0, stop) for stop in (250, 500, 750, 1000)),
        "step gap": max(step_gap(model, x, t, s * t) for t, x in states.items() for s in (0.2, 0.9)),
    }


FLOW = "flow"
MARGINALS = Study(
    "the same marginals",
    carried,
    {FLOW: as_it_is, "drift of the reverse SDE without its noise": Doubled},
    {"normal, 4 dimensions": normal, "mixture on the line": line, "digits, 64 dimensions": digits},
    {
        "smoke": {"normal, 4 dimensions": 4},
        "quick": {"normal, 4 dimensions": 16, "mixture on the line": 51, "digits, 64 dimensions": 2},
        "full": {"normal, 4 dimensions": 64, "mixture on the line": 401, "digits, 64 dimensions": 16},
    },
    claims={"ode": (inside("marginal gap", FLOW, high=1e-3), inside("step gap", FLOW, high=1e-9))},
    varies="nothing",
    figures=(Dots("marginal gap", "ode", log=True),),
)

# ---- solvers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Solver:
    step: Step
    spacing: Spacing = "time"
    calls_per_step: int = 1


DDIM, HEUN, MIDPOINT, MULTISTEP = "DDIM", "Heun", "DPM-Solver-2", "DPM-Solver++(2M)"
SOLVERS = {
    DDIM: Solver(ddim_step()),
    HEUN: Solver(heun, calls_per_step=2),
    MIDPOINT: Solver(dpm_solver_2, "logsnr", 2),
    MULTISTEP: Solver(dpmpp_2m, "logsnr"),
}
ERROR = "distance from the flow"


def solved(solver: Solver, calls: int, _seed: int, _size: None) -> Metrics:
    """Distance from the exact flow, and the way of one state from noise to data."""
    grid = time_grid(EXP, calls, solver.spacing, calls_per_step=solver.calls_per_step)
    start = torch.full((1, 1), 0.2, dtype=torch.float64)
    states = sample(LINE.denoiser(EXP), start, grid, solver.step, return_trajectory=True)
    return {
        ERROR: flow_error(solver.step, calls, solver.spacing, solver.calls_per_step),
        "a state on its way": states[:, 0, 0].numpy(),
        "time": [*grid, 0.0],
    }


def by_calls(*counts: int) -> dict[str, int]:
    return {f"{count} calls": count for count in counts}


FEW = Study(
    "few calls",
    solved,
    SOLVERS,
    by_calls(7, 11, 21, 51),
    {"smoke": {"11 calls": None}, "quick": None, "full": None},
    claims={
        "higher-order": tuple(ratio(ERROR, arm, over=DDIM, at_most=1) for arm in (HEUN, MIDPOINT)),
        "multistep": ratio(ERROR, MULTISTEP, over=DDIM, at_most=1),
    },
    varies="nothing",
    figures=(
        Lines(ERROR, "higher-order", log=(True, True)),
        Profile("a state on its way", cases=("11 calls",), x="time"),
    ),
)


def only_error(solver: Solver, calls: int, _seed: int, _size: None) -> Metrics:
    return {ERROR: flow_error(solver.step, calls, solver.spacing, solver.calls_per_step)}


MANY = Study(
    "many calls",
    only_error,
    SOLVERS,
    by_calls(101, 201, 401, 801),
    {"smoke": {"101 calls": None, "201 calls": None}, "quick": {"101 calls": None, "201 calls": None}, "full": None},
    claims={"second-order": tuple(exponent(ERROR, arm, -2.3, -1.7) for arm in (HEUN, MIDPOINT, MULTISTEP))},
    varies="nothing",
    figures=(Lines(ERROR, "second-order", log=(True, True)),),
)

# ---- ODE or SDE -----------------------------------------------------------------------------------------------------

SMALL, BEST, ODE = "SDE: DDPM", "SDE: DDPM, best variance of each state", "ODE: DPM-Solver++(2M)"


def best(_t: Any, _s: Any, c: StepCoefficients, prediction: Prediction) -> Tensor:
    """The exact variance of the step."""
    assert prediction.second_moment is not None
    return c.sigma2 + c.gamma**2 * prediction.second_moment


def by_sde(variance: Any, calls: int) -> float:
    return output_density(LINE.denoiser(EXP), steps(calls), 1.0, variance).w2(LINE)


def by_ode(calls: int) -> float:
    return flow_error(dpmpp_2m, calls, "logsnr")


def sampled(make: Callable[[int], float], calls: int, _seed: int, _size: None) -> Metrics:
    return {"W2": make(calls)}


EASIER = Study(
    "ODE or SDE",
    sampled,
    {SMALL: partial(by_sde, fixed_small), BEST: partial(by_sde, best), ODE: by_ode},
    by_calls(11, 21, 51),
    {"smoke": {"11 calls": None}, "quick": {"11 calls": None, "21 calls": None}, "full": None},
    claims={"ode-easier": (ratio("W2", ODE, over=SMALL, at_most=1), ratio("W2", ODE, over=BEST, at_most=1))},
    varies="nothing",
    figures=(Lines("W2", "ode-easier", log=(True, True)),),
)

# ---- any length of the chain, any noise -----------------------------------------------------------------------------


def spread_over_lengths(_arm: None, count: int, _seed: int, _size: None) -> Metrics:
    """How far JS differs between chains of 250, 500, 1000 and 2000 steps of one SDE, relative to its mean."""
    found = []
    for length in (250, 500, 1000, 2000):
        schedule, times = NoiseSchedule.su_exp(length), timestep_subsequence(length, count)
        found.append(output_density(LINE.denoiser(schedule), times, 1.0, fixed_small).js(LINE))
    return {"spread of JS": (max(found) - min(found)) / float(np.mean(found))}


LENGTHS = Study(
    "length of the chain",
    spread_over_lengths,
    {"DDPM": None},
    {f"K = {count}": count for count in (25, 50)},
    {"smoke": {"K = 25": None}, "full": None},
    claims={"any-length": inside("spread of JS", "DDPM", high=0.1)},
    varies="nothing",
)


def with_noise(share: float, _case: None, seed: int, size: tuple[int, int]) -> Metrics:
    """W2 of samples by Euler's method for the SDE with so much of the diffusion's noise."""
    calls, number = size
    draw, (start, _) = torch.Generator().manual_seed(seed), quantiles(number)
    out = sample(LINE.denoiser(EXP), start, time_grid(EXP, calls), euler_maruyama(share), generator=draw)
    ideal = mixture_quantile(LINE, (torch.arange(number, dtype=torch.float64) + 0.5) / number)
    return {"W2": float((out[:, 0].sort().values - ideal).square().mean().sqrt())}


NOISES = Study(
    "any noise",
    with_noise,
    {"no noise": 0.0, "half of the noise": 0.5, "all of the noise": 1.0},
    {"1000 steps": None},
    {"smoke": (11, 1000), "full": (1000, 100_000)},
    claims={
        "every-noise": tuple(
            inside("W2", arm, high=0.034) for arm in ("no noise", "half of the noise", "all of the noise")
        )
    },
    seeds={"full": 5},
    resolution={"W2": 1e-3},  # of the flow nothing varies by the seed
)

# ---- a trained network ----------------------------------------------------------------------------------------------

SDE, HEUNS = "DDPM", "ODE: Heun"
APART = "distance between ODE and SDE over distance to the data"
Walk = tuple[int, Step]


@dataclass(frozen=True)
class Length:
    """What is measured, steps of DDPM and of Heun's method."""

    size: Size
    sde: int = 1000
    ode: int = 100


def ddpm(length: Length) -> Walk:
    return length.sde, ancestral(1.0, fixed_small)


def ode(length: Length) -> Walk:
    return length.ode, heun


def apart(walk: Callable[[Length], Walk], case: Case, seed: int, length: Length) -> Metrics:
    """Fréchet distance of an arm's samples from other DDPM samples of the network, over DDPM's own from the data.

    Both less their floors: as many samples of the same kind.
    """
    size, model = length.size, model_of(case, seed, length.size)

    def made(count: int, step: Step, offset: int) -> Tensor:
        return many(model, case, timestep_subsequence(LINEAR.steps, count), step, size.count, seed + offset)

    by = judge(case, seed, size)
    one, two, three = (made(*ddpm(length), 10**6 * i) for i in range(3))
    x = one if walk is ddpm else made(*walk(length), 0)
    between = Judge(case, two, three)
    own = well_apart(by.distance(one), by.floor)
    return {APART: between.distance(x) / own, "distance to the data": by.distance(x), "pictures": levels(x)}


def shortened(length: Length) -> Length:
    return replace(length, size=two_thirds("steps")(length.size))


SMOKE = Length(Size(3, 3, trained=64, judged=64, validated=64, count=16), 4, 2)
NETWORK = Study(
    "a trained network",
    apart,
    {SDE: ddpm, HEUNS: ode},
    {"digits": Case("digits"), "clothes": Case("clothes")},
    {"smoke": {"clothes": SMOKE}, "full": {"digits": Length(Size(6000, 6000, count=500))}},
    claims={"trained": at("digits", inside(APART, HEUNS, high=0.25))},
    trains=shortened,
    seeds={"full": 5},
    figures=(Dots("distance to the data", log=True), Grid("pictures", picture=(14, 14))),
)

EXPERIMENT = Experiment(
    __doc__,
    (MARGINALS, FEW, MANY, EASIER, LENGTHS, NOISES, NETWORK),
    units={"marginal gap": "bits a dimension"},
)
