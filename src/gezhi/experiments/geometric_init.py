"""Does a network keep its signal because its random matrices are nearly orthogonal, and what trains when it does?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi._checks import invalid
from gezhi.data import Images, read
from gezhi.lab import Dots, Experiment, Lines, Study, at, better, exponent, inside, ratio, same
from gezhi.nn.geometric_init import Distribution, Mode, orthogonal_, rotation_like_

Metrics = Mapping[str, Any]
Scheme = Callable[[Tensor, float], Tensor]  # fills a matrix; the number is the gain that the activation asks for

ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "linear": (lambda x: x, 1.0),
    "tanh": (torch.tanh, 1.0),
    "ReLU": (torch.relu, math.sqrt(2)),
}


def torch_default(weight: Tensor, _gain: float) -> Tensor:
    """As `torch.nn.Linear` starts: variance 1/3n, whatever follows."""
    return nn.init.kaiming_uniform_(weight, a=math.sqrt(5))


def independent(weight: Tensor, gain: float, mode: Mode = "fan_in") -> Tensor:
    return rotation_like_(weight, mode=mode, gain=gain)


def always(weight: Tensor, _gain: float, *, gain: float) -> Tensor:
    """Independent entries with a gain that does not look at the activation."""
    return independent(weight, gain)


def orthogonal(weight: Tensor, gain: float) -> Tensor:
    return orthogonal_(weight, gain=gain)


DEFAULT, ONE_N, TWO_N, ORTHOGONAL = "torch default", "variance 1/n", "variance 2/n", "orthogonal"


@dataclass(frozen=True)
class Net:
    """Layers of one width, what follows each, and for how many updates it is trained."""

    activation: str
    depth: int
    width: int
    updates: int = 0
    normalised: bool = False


# ---- pictures -------------------------------------------------------------------------------------------------------

SIDE = 14  # pixels, after pooling
FASHION = partial(read, "fashion-mnist-train")


def pixels(data: Images, rows: Tensor) -> Tensor:
    """Some pictures as rows of numbers: pooled to 14 × 14 where they are larger, with one mean and one deviation."""
    chosen = torch.from_numpy(np.asarray(data.images[rows.numpy()], dtype=np.float32))
    pictures = chosen.reshape(*chosen.shape[:3], -1).permute(0, 3, 1, 2)
    height, width = (min(SIDE, side) for side in pictures.shape[2:])
    x = F.adaptive_avg_pool2d(pictures, (height, width)).flatten(1)
    return (x - x.mean()) / x.std().clamp(min=1e-12)


def drawn(data: Images, seed: int, count: int) -> Tensor:
    """Row numbers of so many pictures."""
    if len(data.images) < count:
        raise invalid("images", f"be at least {count}", len(data.images))
    return torch.randperm(len(data.images), generator=torch.Generator().manual_seed(seed))[:count]


# ---- distances through a network that is not trained ----------------------------------------------------------------

PICTURES, PAIRS = 200, 2000
FACTOR = "distance factor"


@lru_cache(maxsize=1)
def inputs(data: Images, seed: int, width: int) -> Tensor:
    """Pictures as vectors of this width and mean square 1: turned at random, or their principal components."""
    x = pixels(data, drawn(data, seed, PICTURES)).double()
    if x.shape[1] > width:
        x = (x - x.mean(0)) @ torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:width].T
    turn = torch.empty(width, x.shape[1], dtype=x.dtype)
    x = x @ orthogonal_(turn, generator=torch.Generator().manual_seed(seed)).T
    return (x / x.square().mean().sqrt()).float()


def distances(scheme: Scheme, data: Images, seed: int, net: Net) -> Metrics:
    """By which factor the distance of two inputs grows or shrinks: the 90th percentile, and the median."""
    activation, gain = ACTIVATIONS[net.activation]
    x = inputs(data, seed, net.width)
    y = x
    for _ in range(net.depth):
        y = activation(y @ scheme(torch.empty(net.width, net.width), gain).T)
    left, right = torch.randint(PICTURES, (2, PAIRS), generator=torch.Generator().manual_seed(seed))
    before, after = ((z[left] - z[right]).norm(dim=1) for z in (x, y))
    factor = (after / before)[before > 0].log().abs().exp()
    return {FACTOR: factor.quantile(0.9).item(), "median factor": factor.median().item()}


NETS = {
    "linear, 12 layers of 768": Net("linear", 12, 768),
    "linear, 64 layers of 64": Net("linear", 64, 64),
    "tanh, 16 layers of 256": Net("tanh", 16, 256),
    "ReLU, 16 layers of 256": Net("ReLU", 16, 256),
}
DISTANCES = Study(
    "distances",
    distances,
    {DEFAULT: torch_default, ONE_N: independent, ORTHOGONAL: orthogonal},
    dict.fromkeys(NETS, FASHION),
    {"smoke": {"linear, 64 layers of 64": Net("linear", 2, 64)}, "quick": NETS, "full": NETS},
    claims={"keeps-signal": inside(FACTOR, ONE_N, high=2)},
    accepts="images",
    seeds={"full": 40},
    figures=(Dots(FACTOR, "keeps-signal", log=True),),
)

# ---- how orthogonal a random matrix is ------------------------------------------------------------------------------

ENTRY, WHOLE = "squared error of an entry", "squared error of the whole"


def gram(law: Distribution, n: int, _seed: int, draws: int) -> Metrics:
    """Of WᵀW against the identity: the mean square of an entry, and that of all over that of the identity."""
    error = 0.0
    for _ in range(draws):
        w = rotation_like_(torch.empty(n, n, dtype=torch.float64), distribution=law)
        error += (w.T @ w - torch.eye(n, dtype=w.dtype)).square().mean().item() / draws
    return {ENTRY: error, WHOLE: n * error}


LAWS: dict[str, Distribution] = {"normal": "normal", "uniform": "uniform", "signs": "sign"}
MATRICES = Study(
    "matrices",
    gram,
    LAWS,
    {f"n = {n}": n for n in (50, 100, 200, 400)},
    {"smoke": 1, "quick": 2, "full": 10},
    claims={
        "entries": tuple(exponent(ENTRY, law, -1.1, -0.9) for law in LAWS),
        "whole": tuple(inside(WHOLE, law, low=0.5) for law in LAWS),
    },
    figures=(Lines(ENTRY, "entries", log=(True, True)),),
)

# ---- norms through linear layers ------------------------------------------------------------------------------------

FORMULA, FALL, SPREAD = "formula", "fall of the log norm", "spread of the log norm"


def norms(scheme: Scheme | None, net: Net, _seed: int, draws: int) -> Metrics:
    """By how much the logarithm of a norm falls on average, and how it spreads over draws of the weights."""
    if scheme is None:
        share = net.depth / (2 * net.width)
        return {FALL: share, SPREAD: math.sqrt(share)}
    logs = torch.zeros(draws)
    for i in range(draws):
        x = torch.ones(net.width)
        for _ in range(net.depth):
            x = scheme(torch.empty(net.width, net.width), 1.0) @ x
        logs[i] = x.norm().log() - math.log(net.width) / 2
    return {FALL: -logs.mean().item(), SPREAD: logs.std().item()}


NORMS = Study(
    "norms",
    norms,
    {FORMULA: None, ONE_N: independent, ORTHOGONAL: orthogonal},
    {f"100 layers of {n}": Net("linear", 100, n) for n in (32, 64)},
    {"smoke": {"100 layers of 32": 2}, "full": 200},
    claims={
        "falls": ratio(FALL, ONE_N, over=FORMULA, at_least=0.9, at_most=1.1),
        "spreads": ratio(SPREAD, ONE_N, over=FORMULA, at_least=0.9, at_most=1.1),
        "rotation": (inside(FALL, ORTHOGONAL, -0.01, 0.01), inside(SPREAD, ORTHOGONAL, high=0.01)),
    },
    resolution={FALL: 1e-6, SPREAD: 1e-6},
    figures=(Dots(FALL, "rotation"), Dots(SPREAD, "rotation")),
)

WIDTHS = (256, 64, 512, 64, 256)
KEPT = "squared norm kept"
FAN_IN, FAN_OUT, FAN_AVG = "variance 1/inputs", "variance 1/outputs", "variance 2/(inputs + outputs)"


def through_widths(mode: Mode, activation: str, _seed: int, draws: int) -> Metrics:
    """The mean of the squared norm that comes out, over that which went in."""
    act, gain = ACTIVATIONS[activation]
    kept = 0.0
    for _ in range(draws):
        x = torch.randn(WIDTHS[0])
        before = x.square().sum()
        for n, m in pairwise(WIDTHS):
            x = act(independent(torch.empty(m, n), gain, mode) @ x)
        kept += (x.square().sum() / before).item() / draws
    return {KEPT: kept}


MODES: dict[str, Mode] = {FAN_IN: "fan_in", FAN_OUT: "fan_out", FAN_AVG: "fan_avg"}
ALTERNATING = Study(
    "alternating widths",
    through_widths,
    MODES,
    {"linear": "linear", "ReLU": "ReLU"},
    {"smoke": 2, "quick": 100, "full": 400},
    claims={"compromise": inside(KEPT, FAN_AVG, high=0.5)},
    figures=(Dots(KEPT, "compromise", log=True),),
)

# ---- training -------------------------------------------------------------------------------------------------------

RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
TRAINED, PICKING, TESTED, BATCH = 6000, 1000, 10_000, 128


class Sides(NamedTuple):
    """Pictures to train on, to pick the step size by and to test with; their classes follow in the same order."""

    x: tuple[Tensor, ...]
    y: tuple[Tensor, ...]


@lru_cache(maxsize=1)
def sides(data: Images, seed: int) -> Sides:
    rows = drawn(data, seed, TRAINED + PICKING + TESTED)
    classes = torch.from_numpy(np.asarray(data.labels))[rows]
    parts = [TRAINED, PICKING, TESTED]
    return Sides(torch.split(pixels(data, rows), parts), torch.split(classes, parts))


class Layers:
    """The same network once for every step size, side by side; biases start at 0."""

    def __init__(self, scheme: Scheme, net: Net, inputs: int, classes: int) -> None:
        self.activation, gain = ACTIVATIONS[net.activation]
        self.normalised = net.normalised
        widths = [inputs, *[net.width] * net.depth, classes]
        shapes = [(m, n) for n, m in pairwise(widths)]
        self.weights = [scheme(torch.empty(m, n), gain).repeat(len(RATES), 1, 1).requires_grad_() for m, n in shapes]
        self.biases = [torch.zeros(len(RATES), 1, m, requires_grad=True) for m, _ in shapes]

    @property
    def parameters(self) -> list[Tensor]:
        return self.weights + self.biases

    def __call__(self, x: Tensor) -> Tensor:
        """(rates, rows, classes)"""
        last = len(self.weights) - 1
        x = x.expand(len(RATES), *x.shape)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight.mT)
            if i < last:
                x = self.activation(x)
                x = F.layer_norm(x, x.shape[-1:]) if self.normalised else x
        return x


def trained(arm: Scheme | tuple[Scheme, int], data: Images, seed: int, net: Net) -> Metrics:
    """Plain gradient steps with the step size that does best on pictures of its own."""
    scheme, depth = arm if isinstance(arm, tuple) else (arm, net.depth)
    x, y = sides(data, seed)
    layers = Layers(scheme, Net(net.activation, depth, net.width, 0, net.normalised), x[0].shape[1], len(data.classes))
    rates, draw = torch.tensor(RATES)[:, None, None], torch.Generator().manual_seed(seed)
    for _ in range(net.updates):
        rows = torch.randint(TRAINED, (BATCH,), generator=draw)
        logits = layers(x[0][rows])
        loss = F.cross_entropy(logits.flatten(0, 1), y[0][rows].repeat(len(RATES)), reduction="sum") / BATCH
        slopes = torch.autograd.grad(loss, layers.parameters)
        with torch.no_grad():
            for parameter, slope in zip(layers.parameters, slopes, strict=True):
                parameter -= rates * slope
    with torch.no_grad():
        train, picking, test = ((layers(a).argmax(-1) == b).double().mean(-1) for a, b in zip(x, y, strict=True))
    best = int(picking.argmax())
    count = sum(p[0].numel() for p in layers.parameters)
    return {
        "accuracy": test[best].item(),
        "training accuracy": train[best].item(),
        "step size": RATES[best],
        "parameters": count,
    }


SCHEMES = {
    DEFAULT: torch_default,
    ONE_N: partial(always, gain=1.0),
    TWO_N: partial(always, gain=math.sqrt(2)),
    ORTHOGONAL: orthogonal,
}
SIXTEEN = {
    "tanh, 16 layers": Net("tanh", 16, 64, 400),
    "ReLU, 16 layers": Net("ReLU", 16, 64, 400),
    "tanh, 16 normalised layers": Net("tanh", 16, 64, 400, normalised=True),
}
TRAINING = Study(
    "training",
    trained,
    SCHEMES,
    dict.fromkeys(SIXTEEN, FASHION),
    {"smoke": {"tanh, 16 layers": Net("tanh", 2, 8, 1)}, "full": SIXTEEN},
    claims={
        "tanh-trains": at("tanh, 16 layers", better("training accuracy", ONE_N, than=DEFAULT, by=0.1)),
        "relu-trains": at(
            "ReLU, 16 layers",
            *(better("training accuracy", TWO_N, than=arm, by=0.1) for arm in (DEFAULT, ONE_N)),
        ),
        "norm-cures": at(
            "tanh, 16 normalised layers",
            *(same("accuracy", arm, than=DEFAULT, within=0.01) for arm in (ONE_N, ORTHOGONAL)),
        ),
    },
    seeds={"full": 5},
    figures=(Dots("training accuracy"),),
)
SHALLOW = "orthogonal, 4 layers"
DEEP = Study(
    "very deep",
    trained,
    {ONE_N: SCHEMES[ONE_N], ORTHOGONAL: orthogonal, SHALLOW: (orthogonal, 4)},
    {"tanh, 64 layers": FASHION},
    {"full": Net("tanh", 64, 64, 400)},
    claims={
        "rotations-train": better("training accuracy", ORTHOGONAL, than=ONE_N, by=0.1),
        "any-depth": better("training accuracy", ORTHOGONAL, than=SHALLOW, by=-0.1),
    },
    seeds={"full": 5},
    figures=(Dots("training accuracy"),),
)

EXPERIMENT = Experiment(
    __doc__,
    (DISTANCES, MATRICES, NORMS, ALTERNATING, TRAINING, DEEP),
    units=dict.fromkeys(("accuracy", "training accuracy"), "%"),
)
