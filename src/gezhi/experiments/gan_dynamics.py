"""Do GANs circle round their equilibrium, and what brings them to rest?"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.parametrizations import spectral_norm

from gezhi.data import Images, read
from gezhi.experiments.setups.games import Layers, Play, energy_distance, layers, play, principal, ring, sides
from gezhi.experiments.setups.views import digits
from gezhi.gan import (
    EMA,
    Game,
    GradientPenalty,
    QuadraticDivergence,
    dirac_field,
    dirac_gan,
    non_saturating,
    saturating,
    simulate,
    stability_report,
    wasserstein,
)
from gezhi.gan.divergences import Divergence
from gezhi.gan.game import Method
from gezhi.lab import Dots, Experiment, Study, better, every, inside, lower, two_thirds

Metrics = Mapping[str, Any]
MOTION, LEFT = "motion", "distance left"

# ---- a point, a ring, digits ----------------------------------------------------------------------------------------

NONE, ONE, ZERO = "no penalty", "one-centred", "zero-centred"
PENALTIES = {NONE: None, ONE: partial(GradientPenalty, 10.0), ZERO: partial(GradientPenalty, 1.0, center=0.0)}


@dataclass(frozen=True)
class Size:
    """Updates, or for the point the last time; samples of a batch; a step size for each arm; what a test looks at."""

    steps: int
    batch: int = 0
    rates: tuple[float, float, float] = (0.0, 0.0, 0.0)
    looks: int = 40
    tested: int = 2000


@dataclass(frozen=True, eq=False)
class Ground:
    """A divergence and what is to be imitated: nothing but a point, the ring, or pictures."""

    divergence: Divergence
    data: Images | str


def settling(arm: str, ground: Ground | Images, seed: int, size: Size) -> Metrics:
    """How much samples still move in the last quarter, and which share of the initial distance is left then."""
    ground = ground if isinstance(ground, Ground) else Ground(non_saturating, ground)
    if isinstance(ground.data, str) and ground.data == "point":
        return point(arm, ground.divergence, seed, size)
    return network(arm, ground, seed, size)


def point(arm: str, divergence: Divergence, seed: int, size: Size) -> Metrics:
    """The flow of the Dirac-GAN in the plane from a start that the seed draws."""
    draw = np.random.default_rng(seed)
    radii, turn, apart = (
        draw.uniform(0.5, 1.5, 2),
        draw.uniform(0, 2 * math.pi),
        draw.uniform(math.pi / 6, 5 * math.pi / 6),
    )
    angles = (turn, turn + apart)
    start = np.concatenate([r * np.array([math.cos(a), math.sin(a)]) for r, a in zip(radii, angles, strict=True)])
    make = PENALTIES[arm]
    field = dirac_field(
        divergence,
        penalty=None if make is None else make(at="real"),
        normalize_critic=arm == NONE and divergence is wasserstein,
    )
    states = simulate(field, start, np.linspace(0.75, 1, size.looks) * size.steps, rtol=1e-8).states[:, 2:]
    scale = float(np.linalg.norm(start[2:]))
    moved = math.sqrt(np.square(states - states.mean(0)).sum(1).mean())
    return {MOTION: moved / scale, LEFT: float(np.linalg.norm(states, axis=1).mean()) / scale}


RING = Layers((16, 128, 128, 2), (2, 128, 128), pictures=False)
DIGITS = Layers((32, 256, 256, 196), (196, 256, 256))


def network(arm: str, ground: Ground, seed: int, size: Size) -> Metrics:
    """A generator of points or pictures against a critic, both by Adam with a constant step size."""
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    if isinstance(ground.data, Images):
        nets, data = DIGITS, sides(ground.data, seed, 10_000 if size.steps > 100 else size.tested, size.tested)
        train, held = data.train, data.judge
    else:
        nets, train, held = RING, ring(50_000, draw), ring(size.tested, draw)
    generator, critic = nets.build()
    make = PENALTIES[arm]
    penalty = None if make is None else make(at="real" if arm == ZERO else "interpolates")
    constrained = spectral_norm if arm == NONE and ground.divergence is wasserstein else None
    game = Game(generator, critic, ground.divergence, penalty, critic_normalisation=constrained)
    watch = Watch(generator, held, train[: size.looks * 12], nets.generator[0], size, draw)
    play(
        game,
        lambda count: train[torch.randint(len(train), (count,), generator=draw)],
        lambda count: torch.randn(count, nets.generator[0], generator=draw),
        Play(size.steps, size.batch, size.rates[list(PENALTIES).index(arm)]),
        watch=watch,
    )
    return watch.found()


class Watch:
    """Samples of the same noise at the start and at equal distances in the last quarter of the updates."""

    def __init__(
        self, generator: torch.nn.Module, held: Tensor, other: Tensor, noise: int, size: Size, draw: torch.Generator
    ) -> None:
        self.generator, self.held = generator, held
        self.noise = torch.randn(512, noise, generator=draw)
        self.at = {0, *np.linspace(0.75 * size.steps, size.steps, size.looks).round().astype(int).tolist()}
        self.project = principal(held, 16)
        self.floor = energy_distance(self.project(other[:512]), self.project(held))
        self.samples: list[Tensor] = []

    @torch.no_grad()
    def __call__(self, step: int) -> None:
        if step in self.at:
            self.samples.append(self.generator(self.noise))

    def found(self) -> Metrics:
        last = torch.stack(self.samples[1:])
        spread = (self.held - self.held.mean(0)).square().sum(1).mean().sqrt()
        moved = (last - last.mean(0)).square().sum(-1).mean().sqrt()
        left = [self.distance(x) for x in self.samples]
        return {MOTION: float(moved / spread), LEFT: float(np.mean(left[1:]) / left[0])}

    def distance(self, samples: Tensor) -> float:
        return math.sqrt(max(energy_distance(self.project(samples), self.project(self.held)) - self.floor, 0.0))


MNIST = partial(read, "mnist-train")
DIVERGENCES = {"non-saturating": non_saturating, "Wasserstein": wasserstein}


def grounds(name: str) -> dict[str, Callable[[], Ground]]:
    data: Callable[[], Any] = MNIST if name == "digits" else lambda: name
    return {f"{loss}, {name}": partial(lambda d: Ground(d, data()), d) for loss, d in DIVERGENCES.items()}


STEPS = 10_000
# Step sizes of 1e-4, 3e-4 and 1e-3, by the distance left after half of the updates on seed 900.
SETTLING = Study(
    "settling",
    settling,
    dict(zip(PENALTIES, PENALTIES, strict=True)),
    {**grounds("point"), **grounds("ring"), **grounds("digits")},
    {
        "smoke": {"Wasserstein, point": Size(20, looks=5), "non-saturating, ring": Size(8, 16, (1e-3,) * 3, 3, 100)},
        "quick": dict.fromkeys(grounds("point"), Size(100)),
        "full": dict.fromkeys(grounds("point"), Size(300))
        | dict.fromkeys(grounds("ring"), Size(STEPS, 256, (3e-4, 3e-4, 3e-4)))
        | dict.fromkeys(grounds("digits"), Size(STEPS, 64, (3e-4, 3e-4, 3e-4))),
    },
    claims={
        "settles": (
            inside(MOTION, ZERO, high=0.05),
            inside(LEFT, ZERO, high=0.2),
            inside(MOTION, NONE, low=0.05),
            inside(MOTION, ONE, low=0.05),
        )
    },
    accepts="images",
    trains=two_thirds("steps"),
    seeds={"full": 5},
    figures=(Dots(MOTION, "settles", log=True), Dots(LEFT)),
)

# ---- the flow of a point --------------------------------------------------------------------------------------------

OFF, ROOT = "distance from the circle", "squared size times time"


@dataclass(frozen=True)
class Flow:
    """A field, where it starts and when it is looked at; the circle that the generator or the critic should end on."""

    field: Callable[[Any], Any]
    start: tuple[float, ...]
    until: float
    radius: float = math.nan
    of_critic: bool = False


def followed(flow: Flow, _case: None, _seed: int, share: float) -> Metrics:
    until = flow.until * share
    states = simulate(flow.field, flow.start, np.linspace(0.75, 1, 200) * until, rtol=1e-9).states
    phi, theta = np.split(states, 2, axis=1)
    half = len(flow.start) // 2
    scale = float(np.linalg.norm(flow.start[half:]))
    size = float(np.linalg.norm((phi if flow.of_critic else theta)[-1]))
    return {
        MOTION: math.sqrt(np.square(theta - theta.mean(0)).sum(1).mean()) / scale,
        LEFT: float(np.linalg.norm(theta[-1])) / scale,
        OFF: abs(size / flow.radius - 1),
        ROOT: float(until * np.square(states[-1]).sum() / 8),
    }


NEAR, FAR = (0.1, 0.2, 0.2, 0.1), (0.4, 0.8, 0.8, 0.4)  # the article's start, and four times that
CIRCLE = math.sqrt(0.48)  # of the momentum of FAR
NS, SAT, WGAN, GP, QP = "non-saturating", "saturating", "constrained WGAN", "penalty centred at 1", "GAN-QP"
QP_L2, GP_0, LINE = "GAN-QP with L2", "penalty centred at 0", "non-saturating on a line"
FLOWS = Study(
    "flows",
    followed,
    {
        NS: Flow(dirac_field(non_saturating), FAR, 300.0, CIRCLE),
        SAT: Flow(dirac_field(saturating), NEAR, 300.0),
        WGAN: Flow(dirac_field(wasserstein, normalize_critic=True), NEAR, 40.0),
        GP: Flow(dirac_field(wasserstein, penalty=GradientPenalty(0.1, at="real")), NEAR, 400.0, 1.0, True),
        QP: Flow(dirac_field(QuadraticDivergence(1.0)), FAR, 300.0, CIRCLE),
        QP_L2: Flow(dirac_field(QuadraticDivergence(1.0), weight_decay=0.1), FAR, 300.0),
        GP_0: Flow(dirac_field(wasserstein, penalty=GradientPenalty(0.1, center=0.0, at="real")), FAR, 300.0),
        LINE: Flow(dirac_field(non_saturating), (0.5, 0.5), 1e4),
    },
    {"Dirac-GAN": None},
    {"smoke": 0.02, "quick": 1.0, "full": 1.0},
    claims={
        "circles": tuple(inside(MOTION, arm, low=0.05) for arm in (NS, SAT, WGAN, GP, QP)),
        "same-circle": (inside(OFF, NS, high=1e-4), inside(OFF, QP, high=1e-4)),
        "unit-circle": inside(OFF, GP, high=1e-4),
        "decay-helps": (inside(MOTION, QP_L2, high=1e-3), inside(LEFT, QP_L2, high=1e-3)),
        "line-differs": inside(ROOT, LINE, 0.99, 1.01),
    },
    varies="nothing",
    figures=(Dots(MOTION, "circles", log=True),),
)

RADIUS = "spectral radius"
AT_ONCE, IN_TURN, EXTRA = "both at once", "in turn", "a look ahead"
METHODS: dict[str, Method] = {AT_ONCE: "simultaneous", IN_TURN: "alternating", EXTRA: "extragradient"}


def radius(method: Method, h: float, _seed: int, _size: None) -> Metrics:
    game = dirac_gan(wasserstein)
    return {RADIUS: stability_report(game, torch.zeros(4, dtype=torch.float64), h=h, method=method).spectral_radius}


DISCRETE = Study(
    "steps",
    radius,
    METHODS,
    {"step 0.1": 0.1, "step 0.5": 0.5},
    every(None),
    claims={
        "steps-too": (inside(RADIUS, AT_ONCE, low=1 + 1e-9), inside(RADIUS, IN_TURN, low=1 - 1e-9)),
        "look-ahead": inside(RADIUS, EXTRA, high=1 - 1e-9),
    },
    varies="nothing",
)

# ---- averages of weights --------------------------------------------------------------------------------------------

SHRINKS = "radius over the formula's"


def averaged_orbit(decay: float, _case: None, _seed: int, steps: int) -> Metrics:
    """The radius of the average of a point's orbit, over the orbit's radius and the formula for a steady rotation."""
    field, state, h = dirac_field(non_saturating), np.array(NEAR), 0.1
    mean, turn = state.copy(), 0.05
    for _ in range(steps):
        state[:2] += h * field(state)[:2]
        state[2:] += h * field(state)[2:]
        mean = decay * mean + (1 - decay) * state
    shrinks = (1 - decay) / abs(1 - decay * np.exp(1j * turn))
    return {SHRINKS: float(np.linalg.norm(mean[2:]) / np.linalg.norm(state[2:]) / shrinks)}


LOW, HIGH = "decay 0.99", "decay 0.999"
ORBIT = Study(
    "average of an orbit",
    averaged_orbit,
    {LOW: 0.99, HIGH: 0.999},
    {"Dirac-GAN": None},
    {"smoke": 500, "quick": 20_000, "full": 20_000},
    claims={"centre": (inside(SHRINKS, LOW, 0.98, 1.02), inside(SHRINKS, HIGH, 0.98, 1.02))},
    varies="nothing",
)

LAST, AVERAGE = "last weights", "average of weights"
ACCURACY, SPREAD = "accuracy", "spread of the accuracy"


def classifier(averages: bool, data: Images, seed: int, steps: int) -> Metrics:
    """Accuracy over the last two fifths of training with noisy pixels and a constant step size: mean and spread."""
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    x = sides(data, seed, 600, len(data.images) - 600)
    model = torch.nn.Sequential(*layers((x.train.shape[1], 64, 64, len(data.classes)), torch.nn.ReLU))
    ema = EMA(model, 0.99)
    optimiser, found = torch.optim.Adam(model.parameters(), lr=3e-3), []
    for step in range(steps):
        rows = torch.randint(600, (64,), generator=draw)
        noisy = x.train[rows] + 0.3 * torch.randn(64, x.train.shape[1], generator=draw)
        optimiser.zero_grad()
        torch.autograd.backward(F.cross_entropy(model(noisy), x.train_classes[rows]))
        optimiser.step()
        ema.update_parameters(model)
        if step >= 0.6 * steps and step % max(1, steps // 120) == 0:
            judge = copy.deepcopy(ema.module if averages else model)
            with torch.no_grad():
                found.append((judge(x.judge).argmax(1) == x.judge_classes).double().mean().item())
    return {ACCURACY: float(np.mean(found)), SPREAD: float(np.std(found))}


AVERAGES = Study(
    "average of a classifier",
    classifier,
    {LAST: False, AVERAGE: True},
    {"digits": digits},
    {"smoke": 20, "full": 1200},
    claims={
        "average-gains": better(ACCURACY, AVERAGE, than=LAST, by=0.001),
        "average-steadies": lower(SPREAD, AVERAGE, than=LAST, by=0.001),
    },
    accepts="images",
    figures=(Dots(ACCURACY, "average-gains"), Dots(SPREAD, "average-steadies")),
)

EXPERIMENT = Experiment(
    __doc__,
    (SETTLING, FLOWS, DISCRETE, ORBIT, AVERAGES),
    units={ACCURACY: "%", SPREAD: "%", LEFT: "%"},
)
