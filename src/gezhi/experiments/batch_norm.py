"""Does batch normalisation help because it smooths the loss, or because it fixes the distribution of inputs?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi.data import Features, read
from gezhi.experiments.setups.tables import numbers
from gezhi.lab import Dots, Experiment, Study, at, every, lower, ratio
from gezhi.theory.batch_norm import gradient_lipschitz, input_smoothness, landscape_probe

Metrics = Mapping[str, Any]
Floats = np.ndarray[Any, np.dtype[np.float64]]

# ---- logistic regression, exact -------------------------------------------------------------------------------------


def raw(x: Floats) -> Floats:
    return x


def centred(x: Floats) -> Floats:
    return np.asarray(x - x.mean(0))


def standardised(x: Floats) -> Floats:
    """Divided by the deviation over all rows; columns without spread become 0."""
    spread = x.std(0)
    return centred(x) / np.where(spread > 0, spread, 1)


def descent(change: Callable[[Floats], Floats], data: Features, _seed: int, steps: int) -> Metrics:
    """Constants of the table as it is changed, and the loss after steps of size 1/L from 0: upper classes or lower."""
    x = change(numbers(data, np.arange(len(data.y))))
    target = np.asarray(data.y >= len(data.classes) // 2, dtype=float)
    constant, (bound, condition) = gradient_lipschitz(x), input_smoothness(x)
    inputs = np.hstack([x, np.ones((len(x), 1))])
    weights = np.zeros(inputs.shape[1])
    for _ in range(steps):
        chance = 1 / (1 + np.exp(-np.clip(inputs @ weights, -500, 500)))
        weights -= inputs.T @ (chance - target) / len(x) / constant
    z = inputs @ weights
    loss = float((np.logaddexp(0, z) - target * z).mean())
    return {"Lipschitz constant": constant, "input bound": bound, "condition number": condition, "loss": loss}


def grey_digits() -> Features:
    data = read("digits")
    return Features(data.X / 16, data.y, data.classes, data.columns, data.name)


RAW, CENTRED_INPUT, STANDARDISED = "raw", "centred", "standardised"
TABLES = Study(
    "logistic regression",
    descent,
    {RAW: raw, CENTRED_INPUT: centred, STANDARDISED: standardised},
    {
        "digits": grey_digits,
        "wine": partial(read, "wine"),
        "breast cancer": partial(read, "breast_cancer"),
    },
    every(200),
    claims={
        "centring-smooths": ratio("Lipschitz constant", CENTRED_INPUT, over=RAW, at_most=1),
        "scaling-roughens": at("digits", ratio("Lipschitz constant", STANDARDISED, over=CENTRED_INPUT, at_least=1)),
        "scaling-trains": (
            ratio("loss", STANDARDISED, over=CENTRED_INPUT, at_most=1),
            ratio("condition number", STANDARDISED, over=CENTRED_INPUT, at_most=1),
        ),
    },
    varies="nothing",
    accepts="features",
)

# ---- networks -------------------------------------------------------------------------------------------------------

WIDTH, BATCH, LEVELS = 64, 128, (1.5, 0.75, 0.5)
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class Centre(nn.Module):
    """Batch normalisation without the division."""

    running_mean: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        mean = self.running_mean
        if self.training:
            mean = x.mean(0)
            self.running_mean.lerp_(mean.detach(), 0.1)
        return self.weight * (x - mean) + self.bias


class Noise(nn.Module):
    """Moves and stretches every channel anew at each step of training, and every row a little."""

    on = True

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.on):
            return x
        scale, shift = 1 + torch.rand(x.shape[1]) / 4, torch.rand(x.shape[1]) - 0.5
        rows = torch.rand(2, *x.shape) / 5 - 0.1
        return x * (scale + rows[0]) + shift + rows[1]


Parts = Callable[[int, int], tuple[nn.Module, ...]]  # (width of the input, of the output) -> a layer


def plain(inner: int, outer: int) -> tuple[nn.Module, ...]:
    return nn.Linear(inner, outer), nn.ReLU()


def after(inner: int, outer: int) -> tuple[nn.Module, ...]:
    return nn.Linear(inner, outer), nn.BatchNorm1d(outer), nn.ReLU()


def noisy(inner: int, outer: int) -> tuple[nn.Module, ...]:
    return nn.Linear(inner, outer), nn.BatchNorm1d(outer), Noise(), nn.ReLU()


def only_centred(inner: int, outer: int) -> tuple[nn.Module, ...]:
    return nn.Linear(inner, outer), Centre(outer), nn.ReLU()


def before(inner: int, outer: int) -> tuple[nn.Module, ...]:
    return nn.BatchNorm1d(inner), nn.Linear(inner, outer), nn.ReLU()


def bare(inner: int, outer: int) -> tuple[nn.Module, ...]:
    return nn.Linear(inner, outer), nn.BatchNorm1d(outer, affine=False), nn.ReLU()


def network(parts: Parts, depth: int, inputs: int, seed: int) -> nn.Sequential:
    """So many layers and an output, in He's initialisation."""
    torch.manual_seed(seed)
    widths = [inputs] + [WIDTH] * depth
    layers = [part for inner, outer in pairwise(widths) for part in parts(inner, outer)]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    for part in model:
        if isinstance(part, nn.Linear):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            nn.init.zeros_(part.bias)
    return model


@dataclass(frozen=True)
class Images:
    """Rows of pixels and their classes."""

    pixels: Tensor
    labels: Tensor


@lru_cache(maxsize=1)
def pictures(name: str, sets: tuple[str, ...]) -> Images:
    """All pictures of a name, averaged to 14 × 14, from 0 to 1."""
    parts = [read(f"{name}-{part}") for part in sets]
    whole = torch.from_numpy(np.concatenate([part.images for part in parts]))
    pixels = torch.cat([F.avg_pool2d(some[:, None].float(), 2).flatten(1) / 255 for some in torch.split(whole, 10_000)])
    return Images(pixels, torch.from_numpy(np.concatenate([part.labels for part in parts])))


@dataclass(frozen=True)
class Size:
    """Updates, and pictures for training, validation and test."""

    updates: int = 400
    most: int = 2000  # updates until the loss has come down to where the gradient is looked at
    pictures: tuple[int, int, int] = (10_000, 2000, 5000)
    sets: tuple[str, ...] = ("train", "test")  # of which they are drawn


@lru_cache(maxsize=1)
def splits(name: str, seed: int, size: Size) -> list[Images]:
    data = pictures(name, size.sets)
    order = torch.randperm(len(data.pixels), generator=torch.Generator().manual_seed(seed))
    parts = torch.split(order[: sum(size.pictures)], list(size.pictures))
    return [Images(data.pixels[part], data.labels[part]) for part in parts]


def updates(model: nn.Sequential, data: Images, rate: float, seed: int) -> Iterator[int]:
    """Steps of gradient descent on batches of 128, one a turn, without momentum or decay."""
    draw, optimiser = torch.Generator().manual_seed(seed), torch.optim.SGD(model.parameters(), lr=rate)
    step = 0
    while True:
        for rows in torch.split(torch.randperm(len(data.pixels), generator=draw), BATCH):
            if len(rows) < min(BATCH, len(data.pixels)):
                continue
            optimiser.zero_grad()
            torch.autograd.backward(F.cross_entropy(model.train()(data.pixels[rows]), data.labels[rows]))
            optimiser.step()
            step += 1
            yield step


@torch.no_grad()
def error(model: nn.Module, data: Images) -> float:
    """Share of wrong classes in evaluation; a network that has diverged guesses."""
    return float((model.eval()(data.pixels).argmax(1) != data.labels).double().mean())


Case = tuple[str, int]  # pictures and depth


@lru_cache(maxsize=16)
def tried(parts: Parts, case: Case, seed: int, size: Size) -> dict[str, float]:
    """Every step size tried, the best by validation kept: its error, and the largest one that is about as good."""
    name, depth = case
    train, validation, test = splits(name, seed, size)
    errors: dict[float, tuple[float, float, float]] = {}
    for rate in RATES:
        model = network(parts, depth, train.pixels.shape[1], seed)
        next(step for step in updates(model, train, rate, seed) if step == size.updates)
        errors[rate] = error(model, validation), error(model, test), error(model, train)
    rate = min(RATES, key=lambda rate: errors[rate][0])
    usable = max(r for r in RATES if errors[r][0] <= errors[rate][0] + 0.02)
    return {"error": errors[rate][1], "training error": errors[rate][2], "step size": rate, "usable step": usable}


@lru_cache(maxsize=16)
def looked_at(parts: Parts, case: Case, seed: int, size: Size) -> dict[str, float]:
    """At the best step size: how much gradients change at three levels of the loss, and inputs of layers between steps."""
    name, depth = case
    train, *_ = splits(name, seed, size)
    model = network(parts, depth, train.pixels.shape[1], seed)
    shown, changes, levels = (train.pixels[:512], train.labels[:512]), [], list(LEVELS)
    moves = Movement(model)
    for step in updates(model, train, tried(parts, case, seed, size)["step size"], seed):
        if step <= size.updates:
            moves.look(shown[0])
        if step % 10 == 0 and levels:
            set_noise(model, False)
            found = landscape_probe(model.train(), F.cross_entropy, shown, step_sizes=(0.1,), relative=True)
            set_noise(model, True)
            while levels and found.loss <= levels[0]:
                changes.append(float(found.gradient_changes[0]))
                levels.pop(0)
        if step >= size.updates and (not levels or step >= size.most):
            break
    change = math.nan if levels else math.exp(float(np.log(changes).mean()))
    return {"gradient change": change, "movement of inputs": moves.mean}


class Movement:
    """Change between updates of the channel means of what layers read of the same rows, over their deviation."""

    def __init__(self, model: nn.Sequential) -> None:
        self.model, self.watching, self.sum, self.count = model, False, 0.0, 0
        self.last: dict[nn.Module, Tensor] = {}
        for part in list(model)[1:]:
            if isinstance(part, nn.Linear):
                part.register_forward_pre_hook(self.see)

    @torch.no_grad()
    def look(self, rows: Tensor) -> None:
        self.watching = True
        self.model.train()(rows)
        self.watching = False

    def see(self, part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if not self.watching:
            return
        mean, spread = inputs[0].mean(0), inputs[0].std(0)
        if part in self.last:
            moved = (mean - self.last[part]).abs().mean() / spread.mean()
            self.sum, self.count = self.sum + float(moved.nan_to_num()), self.count + 1
        self.last[part] = mean

    @property
    def mean(self) -> float:
        return self.sum / max(1, self.count)


def set_noise(model: nn.Sequential, on: bool) -> None:
    for part in model:
        if isinstance(part, Noise):
            part.on = on


def trained(parts: Parts | None, case: Case, seed: int, size: Size) -> Metrics:
    """The best of seven step sizes, and how smooth its way was; without parts, half of what normalisation gains."""
    without, with_it = (tried(some, case, seed, size)["error"] for some in (plain, after))
    if parts is None:  # where nothing is gained there is nothing to explain
        return {"error": math.sqrt(without * with_it) if with_it <= 0.9 * without else math.nan}
    metrics = {**tried(parts, case, seed, size), **looked_at(parts, case, seed, size)}
    if parts is noisy and metrics["movement of inputs"] < 2 * looked_at(after, case, seed, size)["movement of inputs"]:
        metrics["error"] = math.nan  # what was fixed is still fixed
    return metrics


DIGITS, CLOTHES = "mnist", "fashion-mnist"
SMOKE = Size(3, 3, (256, 100, 100), ("test",))
WITHOUT, BN, NOISY, CENTRED, HALF = "none", "BN", "BN + noise", "centred only", "half of the gain"
WHY = Study(
    "why it helps",
    trained,
    {WITHOUT: plain, BN: after, NOISY: noisy, CENTRED: only_centred, HALF: None},
    {"digits, 8 layers": (DIGITS, 8), "clothes, 8 layers": (CLOTHES, 8), "digits, 3 layers": (DIGITS, 3)},
    {"smoke": {"clothes, 8 layers": SMOKE}, "full": Size()},
    claims={
        "why": (
            ratio("error", NOISY, over=HALF, at_most=1),
            ratio("gradient change", BN, over=WITHOUT, at_most=0.8),
            ratio("gradient change", CENTRED, over=WITHOUT, at_most=0.8),
        ),
        "larger-steps": at("digits, 8 layers", ratio("usable step", BN, over=WITHOUT, at_least=3)),
        "noise": lower("error", NOISY, than=BN, by=-0.01),
    },
    seeds={"full": 6},
    figures=(Dots("error", "noise", log=True), Dots("gradient change", "why", log=True)),
)

BEFORE, BARE = "BN before the linear map", "BN without γ and β"


def placed(parts: Parts, case: Case, seed: int, size: Size) -> Metrics:
    return tried(parts, case, seed, size)


WHERE = Study(
    "where it stands",
    placed,
    {BN: after, BEFORE: before, BARE: bare},
    {"digits, 8 layers": (DIGITS, 8)},
    {"full": Size()},
    claims={
        "before": ratio("error", BEFORE, over=BN, at_most=0.9),
        "icing": lower("error", BARE, than=BN, by=-0.01),
    },
    seeds={"full": 6},
    figures=(Dots("error", ("before", "icing")),),
)

EXPERIMENT = Experiment(
    __doc__,
    (WHY, WHERE, TABLES),
    units={"error": "%", "training error": "%", "loss": "nats"},
)
