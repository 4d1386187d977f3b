"""Can a metric without a gradient be trained by weighing sampled steps, and beyond what its surrogate gives?"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi.data import Features, read
from gezhi.experiments.setups.expected_step import ERROR, against, against_integral, against_newton
from gezhi.experiments.setups.metrics import Batch, Parts, Pictures, Reversal, Shirts
from gezhi.experiments.setups.store import kept
from gezhi.experiments.setups.tables import by_row, digits, numbers, split
from gezhi.experiments.setups.train import descend
from gezhi.lab import Dots, Experiment, Lines, Study, at, better, inside, itself, lower, two_thirds
from gezhi.training.sampling_descent import GuidedParameterSearch

Metrics = Mapping[str, Any]
Task = Pictures | Reversal
Setting = tuple[float, float]
Procedure = Callable[[Batch], object]
LOSS, TRAINING_LOSS, ACCURACY, TRAINING = "task loss", "training task loss", "accuracy", "training accuracy"

# ---- beyond the surrogate -------------------------------------------------------------------------------------------

LOOKS, CHOSEN_ON = 20, 500  # looks at the picking part, seed of the choices
TEMPERATURE = 0.01


@dataclass(frozen=True)
class Size:
    """Steps of the surrogate before, steps of the search after, and whether settings are chosen."""

    start: int
    steps: int
    chosen: bool = True


@dataclass(frozen=True)
class Way:
    """What adds to `.grad`, from a task, a model and a setting; the settings that are tried; plain steps that one costs.

    Attributes:
        like: whose choice is taken, where the way makes none.
    """

    make: Callable[[Task, nn.Module, Setting, int], Procedure]
    settings: tuple[Setting, ...] = ()
    cost: int = 1
    like: str = ""


def surrogate_alone(task: Task, model: nn.Module, _setting: Setting, _seed: int) -> Procedure:
    parameters = dict(model.named_parameters())

    def step(batch: Batch) -> None:
        torch.autograd.backward(task.surrogate(parameters, batch))

    return step


def policy_gradient(task: Task, model: nn.Module, setting: Setting, _seed: int) -> Procedure:
    parameters = dict(model.named_parameters())

    def step(batch: Batch) -> None:
        torch.autograd.backward(task.policy(parameters, batch, int(setting[1])))

    return step


def search(
    task: Task, model: nn.Module, setting: Setting, seed: int, mix: float = 0.5, correction: Any = "none"
) -> GuidedParameterSearch:
    return GuidedParameterSearch(
        model,
        task.surrogate,
        task.task_loss,
        sigma=setting[0],
        eta=setting[1],
        temperature=TEMPERATURE,
        mix=mix,
        clip=1.0,
        correction=correction,
        evaluate="loop" if isinstance(task, Reversal) else "vmap",
        generator=torch.Generator().manual_seed(seed),
    )


RATE = 1e-3  # of Adam; where a setting says another, it stands in its first place
SURROGATE, GUIDED, RANDOM, EXACT, POLICY = "surrogate", "guided search", "random search", "exact weights", "REINFORCE"
WAYS = {
    SURROGATE: Way(surrogate_alone, tuple(product((3e-4, 1e-3, 3e-3, 1e-2), (0.0, 1e-2, 1e-1))), 4),
    GUIDED: Way(search, tuple(product((0.003, 0.01, 0.03, 0.1), (0.05, 0.3, 1.0)))),
    RANDOM: Way(partial(search, mix=1.0), like=GUIDED),
    EXACT: Way(partial(search, correction="exact"), like=GUIDED),
    POLICY: Way(policy_gradient, tuple(product((1e-4, 3e-4, 1e-3, 3e-3), (2.0, 4.0, 8.0))), 2),
}


@dataclass(eq=False)
class Start:
    """A model at its surrogate's plateau, and its data."""

    parts: Parts
    state: dict[str, Tensor]


@lru_cache(maxsize=1)
def start_of(task: Task, seed: int, steps: int) -> Start:
    parts = task.draw(seed)
    model = fresh(task, seed)
    draw = torch.Generator().manual_seed(seed)
    parameters = dict(model.named_parameters())
    loss = partial(task.surrogate, parameters)
    descend(
        model.parameters(), lambda: torch.autograd.backward(loss(batch_of(task, parts, draw))), steps, rate=task.rate
    )
    return Start(parts, copy.deepcopy(model.state_dict()))


def fresh(task: Task, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    for part in task.model.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
    return task.model


def batch_of(task: Task, parts: Parts, draw: torch.Generator) -> Batch:
    rows = torch.randint(len(parts[0][0]), (task.batch,), generator=draw)
    return parts[0][0][rows], parts[0][1][rows]


def continued(way: Way, task: Task, seed: int, size: Size) -> Metrics:
    """The metric on fresh data of the best of twenty states, the start among them."""
    start, setting = start_of(task, seed, size.start), chosen(way, task, size)
    model, found = going_on(way, task, start, seed, size.steps, setting)
    parameters, (train, picking, test) = dict(model.named_parameters()), start.parts
    with torch.no_grad():
        losses = {LOSS: task.judge(parameters, test, picking), TRAINING_LOSS: task.judge(parameters, train, picking)}
        model.load_state_dict(start.state)
        before = task.judge(parameters, test, picking)
    return {**losses, "task loss before": before, **found, "first setting": setting[0], "second setting": setting[1]}


def chosen(way: Way, task: Task, size: Size) -> Setting:
    """By the picking part of a draw of its own; kept, since it is costly."""
    way = WAYS[way.like] if way.like else way
    if not size.chosen:
        return way.settings[len(way.settings) // 2]
    name = next(name for name, other in WAYS.items() if other is way)
    recipe = {"way": name, "settings": way.settings, "task": task.name, "size": asdict(SIZE), "version": 1}

    def make() -> dict[str, Tensor]:
        start = start_of(task, CHOSEN_ON, SIZE.start)
        runs = [going_on(way, task, start, CHOSEN_ON, SIZE.steps, s)[1]["picked task loss"] for s in way.settings]
        return {"loss": torch.tensor(runs)}

    return way.settings[int(kept("search-choice", recipe, make)["loss"].argmin())]


def going_on(
    way: Way, task: Task, start: Start, seed: int, steps: int, setting: Setting
) -> tuple[nn.Module, dict[str, float]]:
    """The model in its best state by the picking part; what the search found on the way, on average."""
    model, draw, picking = task.model, torch.Generator().manual_seed(seed + 1), start.parts[1]
    model.load_state_dict(start.state)
    torch.manual_seed(seed)
    procedure, steps = way.make(task, model, setting, seed), max(1, steps * way.cost)
    best, state, step = math.inf, start.state, 0
    seen: list[tuple[float, float]] = []
    parameters = dict(model.named_parameters())

    def look() -> None:
        nonlocal best, state
        with torch.no_grad():
            loss = task.judge(parameters, picking, picking)
        if loss < best:
            best, state = loss, copy.deepcopy(model.state_dict())

    def gradient() -> None:
        nonlocal step
        if step % max(1, steps // LOOKS) == 0:
            look()
        procedure(batch_of(task, start.parts, draw))
        if isinstance(procedure, GuidedParameterSearch) and procedure.last is not None:
            seen.append((procedure.last.ess, procedure.last.cosine))
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        step += 1

    plain = way.settings and way.make is not search
    decay = setting[1] if way.make is surrogate_alone else 0.0
    descend(model.parameters(), gradient, steps, rate=setting[0] if plain else RATE, decay=decay)
    look()
    model.load_state_dict(state)
    ess, cosine = np.mean(seen, 0) if seen else (math.nan, math.nan)
    return model, {"picked task loss": best, "ess": float(ess), "cosine with the surrogate's step": float(cosine)}


NUMERALS, SHIRTS, LETTERS = "error rate, numerals", "1 − F1, shirts", "edit distance, letters"
SIZE = Size(2000, 600)
METRIC = Study(
    "beyond the surrogate",
    continued,
    WAYS,
    {
        NUMERALS: lambda: Pictures(NUMERALS, read("mnist-train")),
        SHIRTS: lambda: Shirts(SHIRTS, read("fashion-mnist-train"), batch=256),
        LETTERS: lambda: Reversal(LETTERS),
    },
    {"smoke": {LETTERS: Size(2, 1, chosen=False)}, "full": SIZE},
    claims={
        "beyond": lower(LOSS, GUIDED, than=SURROGATE, by=0.01),
        "training-metric": lower(TRAINING_LOSS, GUIDED, than=SURROGATE, by=0.01),
        "over-reinforce": lower(LOSS, GUIDED, than=POLICY, by=0.01),
    },
    trains=two_thirds("start", "steps"),
    figures=(Dots(LOSS, "beyond", than=SURROGATE), Dots(TRAINING_LOSS, "training-metric", than=SURROGATE)),
)

# ---- from nothing ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Search:
    """Settings of a search on a linear model; None as σ: steps down the surrogate alone."""

    sigma: float | None = 0.05
    mix: float = 0.5
    correction: Any = "none"


ETA = 0.5


def from_nothing(arm: Search, data: Features, seed: int, steps: int) -> Metrics:
    """A linear model from 0, plain steps of the procedure; which rows are told right."""
    train, test = split(data.y, seed, 0.6)
    x, y = torch.from_numpy(numbers(data, train)).float(), torch.from_numpy(data.y)
    x = (x - x[train].mean(0)) / x[train].std(0).clamp(min=1e-2)
    zero = {"weight": torch.zeros(x.shape[1], len(data.classes)), "bias": torch.zeros(len(data.classes))}
    theta = {name: nn.Parameter(value) for name, value in zero.items()}
    draw = torch.Generator().manual_seed(seed)

    def surrogate(p: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return F.cross_entropy(batch[0] @ p["weight"] + p["bias"], batch[1])

    def errors(p: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return ((batch[0] @ p["weight"] + p["bias"]).argmax(-1) != batch[1]).float().mean()

    def plain(batch: Batch) -> None:
        torch.autograd.backward(ETA * surrogate(theta, batch))

    procedure: Procedure = plain
    if arm.sigma is not None:
        procedure = GuidedParameterSearch(
            theta, surrogate, errors, sigma=arm.sigma, temperature=TEMPERATURE, mix=arm.mix, eta=ETA,
            correction=arm.correction, evaluate="vmap", generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
    optimiser = torch.optim.SGD(theta.values(), lr=1.0)
    for _ in range(steps):
        rows = torch.from_numpy(train)[torch.randint(len(train), (64,), generator=draw)]
        optimiser.zero_grad()
        procedure((x[rows], y[rows]))
        optimiser.step()
    with torch.no_grad():
        right = (x @ theta["weight"] + theta["bias"]).argmax(-1) == y
    return {
        ACCURACY: by_row(len(y), test, right[test].double().numpy()),
        TRAINING: by_row(len(y), train, right[train].double().numpy()),
    }


NOISY = "guided search, σ = 0.2"
NOTHING = Study(
    "from nothing",
    from_nothing,
    {
        SURROGATE: Search(None),
        GUIDED: Search(),
        NOISY: Search(0.2),
        RANDOM: Search(mix=1.0),
        EXACT: Search(correction="exact"),
    },
    {"digits": digits},
    {"smoke": 3, "quick": 400, "full": 400},
    claims={
        "guide": better(TRAINING, GUIDED, than=RANDOM, by=0.05),
        "exact-weights": better(TRAINING, GUIDED, than=EXACT, by=0.01),
        "noise": better(TRAINING, GUIDED, than=NOISY, by=0.05),
    },
    varies="rows",
    accepts="features",
    figures=(Dots(TRAINING, ("guide", "exact-weights")),),
)

# ---- small steps ----------------------------------------------------------------------------------------------------

LINEAR, HOT, COLD, SQUARE = "linear loss", "linear loss, large α", "linear loss, small α", "quadratic loss"
STEPS = Study(
    "small steps",
    itself,
    {
        LINEAR: against_integral,
        HOT: against(lambda dim, kappa: kappa / (dim + 2), 1e-3),
        COLD: against(lambda _dim, _kappa: 1.0, 1e8),
        SQUARE: against_newton,
    },
    {"a ball, or everywhere": None},
    {"quick": None, "full": None},
    claims={
        "descent": tuple(inside(ERROR, arm, high=1e-5) for arm in (LINEAR, HOT, COLD)),
        "newton": inside(ERROR, SQUARE, high=1e-8),
    },
    varies="nothing",
)

# ---- weights --------------------------------------------------------------------------------------------------------

ESS = "effective candidates"


def effective(arm: Mapping[str, Any], dim: int, seed: int, draws: int) -> Metrics:
    """How many of four candidates count on average, where the task loss is the same everywhere."""
    theta = {"x": nn.Parameter(torch.zeros(dim))}
    slope = torch.ones(dim) / math.sqrt(dim)
    search = GuidedParameterSearch(
        theta, lambda p, _: p["x"] @ slope, lambda *_: 0.0, sigma=1.0, temperature=1.0,
        generator=torch.Generator().manual_seed(seed), **arm,
    )  # fmt: skip
    found = []
    for _ in range(draws):
        search(None)
        assert search.last is not None
        found.append(search.last.ess)
    return {ESS: float(np.mean(found))}


SUBSPACE = "subspace of 8"
WEIGHTS = Study(
    "weights",
    effective,
    {EXACT: {"correction": "exact"}, SUBSPACE: {"correction": "subspace", "rank": 8}},
    {f"D = {dim}": dim for dim in (10, 100, 1000, 10_000)},
    {"smoke": 2, "quick": 50, "full": 500},
    claims={"collapse": at("D = 10000", inside(ESS, EXACT, high=1.2), inside(ESS, SUBSPACE, low=1.4))},
    figures=(Lines(ESS, "collapse", log=(True, False)),),
)

EXPERIMENT = Experiment(
    __doc__,
    (METRIC, NOTHING, STEPS, WEIGHTS),
    units=dict.fromkeys((ACCURACY, TRAINING), "%"),
)
