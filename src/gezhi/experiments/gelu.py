"""Where do the constants of GELU's approximations come from, how far off are they, and does a model notice?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi.data import Features, Texts, read
from gezhi.experiments.setups import bytes as byte
from gezhi.experiments.setups.bytes import Training
from gezhi.experiments.setups.tables import numbers, split
from gezhi.experiments.setups.train import fit
from gezhi.lab import Dots, Experiment, Profile, Study, every, inside, ratio, same, two_thirds
from gezhi.nn.gelu import GELU, error_profile, fit_gelu_approximation, gelu_erf, gelu_sigmoid, gelu_tanh
from gezhi.nn.gelu.forms import GELUVariant
from gezhi.nn.transformer import Layer, Transformer

# ---- constants and errors ---------------------------------------------------------------------------------------------


def tanh_form(x: Tensor, constant: float) -> Tensor:
    return gelu_tanh(x, coefficient=constant)


def logistic_form(x: Tensor, constant: float) -> Tensor:
    return gelu_sigmoid(x, slope=constant)


BRACKET = {tanh_form: (0.02, 0.06), logistic_form: (1.0, 3.0)}


@dataclass(frozen=True)
class Choice:
    """A form and its constant: a number, or what makes the largest error of gate or value smallest."""

    form: Callable[[Tensor, float], Tensor]
    constant: float | Literal["gate", "value"]

    def fitted(self, grid: float) -> float:
        bracket = BRACKET[self.form]  # type: ignore[index]
        if self.constant == "value":
            return fit_gelu_approximation(gelu_erf, self.form, bracket=bracket, grid=grid).parameter
        if self.constant == "gate":
            gate, interval = (lambda x, constant: self.form(x, constant) / x), (grid, 8)
            found = fit_gelu_approximation(torch.special.ndtr, gate, bracket=bracket, interval=interval, grid=grid)
            return found.parameter
        return self.constant


def errors(choice: Choice, _case: None, _seed: int, grid: float) -> Mapping[str, Any]:
    """The constant, the largest error that it leaves, and the error along the half line."""
    constant = choice.fitted(grid)
    x = torch.linspace(0, 8, 321, dtype=torch.float64)
    return {
        "constant": constant,
        "error of the value": error_profile(lambda x: choice.form(x, constant), grid=grid).value,
        "x": x.numpy(),
        "error": (choice.form(x, constant) - gelu_erf(x)).numpy(),
    }


TANH, SERIES, TANH_GATE, TANH_VALUE = (
    "tanh, published", "tanh, series at 0", "tanh, fitted to Φ", "tanh, fitted to GELU"
)  # fmt: skip
LOGISTIC, LOGISTIC_GATE, LOGISTIC_VALUE = "logistic, published", "logistic, fitted to Φ", "logistic, fitted to GELU"
CONSTANTS = Study(
    "constants",
    errors,
    {
        TANH: Choice(tanh_form, 0.044715),
        SERIES: Choice(tanh_form, (4 - math.pi) / (6 * math.pi)),
        TANH_GATE: Choice(tanh_form, "gate"),
        TANH_VALUE: Choice(tanh_form, "value"),
        LOGISTIC: Choice(logistic_form, 1.702),
        LOGISTIC_GATE: Choice(logistic_form, "gate"),
        LOGISTIC_VALUE: Choice(logistic_form, "value"),
    },
    {"0 ≤ x ≤ 8": None},
    {"smoke": 1e-2, "quick": 1e-3, "full": 1e-3},
    claims={
        "minimax": (
            inside("constant", TANH_GATE, 0.0447145, 0.0447155),
            inside("constant", LOGISTIC_GATE, 1.7015, 1.7025),
        ),
        "series": ratio("constant", SERIES, over=TANH, at_least=1.01, at_most=1.03),
        "tanh-closer": ratio("error of the value", LOGISTIC, over=TANH, at_least=20),
        "better-for-gelu": (
            ratio("error of the value", LOGISTIC_VALUE, over=LOGISTIC, at_most=0.7),
            ratio("error of the value", TANH_VALUE, over=TANH, at_most=0.82),
        ),
    },
    varies="nothing",
    figures=(
        Profile("error", "better-for-gelu", arms=(LOGISTIC, LOGISTIC_VALUE), x="x"),
        Profile("error", "better-for-gelu", arms=(TANH, SERIES, TANH_VALUE), x="x"),
    ),
)


def single_precision(form: Callable[[Tensor], Tensor], _case: None, _seed: int, _size: None) -> Mapping[str, Any]:
    """Largest relative error in float32."""
    x = torch.linspace(-10, -1e-3, 100_001)
    exact = gelu_erf(x.double())
    return {"relative error": ((form(x) - exact) / exact).abs().max().item()}


TORCH, ERFC = "torch, exact", "erfc form"
PRECISION = Study(
    "single precision",
    single_precision,
    {TORCH: F.gelu, ERFC: gelu_erf},
    {"−10 ≤ x < 0": None},
    every(None),
    claims={
        "tail-float32": (inside("relative error", ERFC, high=1e-5), inside("relative error", TORCH, low=0.99)),
    },
    varies="nothing",
)

# ---- time ----------------------------------------------------------------------------------------------------------------


def torch_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def torch_logistic(x: Tensor) -> Tensor:
    """The logistic form by torch's fused SiLU."""
    return F.silu(1.702 * x) / 1.702


def passing(form: Callable[[Tensor], Tensor], elements: int, _seed: int, _: None) -> Callable[[], object]:
    """One forward and backward pass in float32."""
    x = torch.randn(elements).requires_grad_()
    return lambda: torch.autograd.grad(form(x).sum(), x)


TORCH_TANH, TORCH_LOGISTIC = "torch, tanh", "torch, SiLU of 1.702 x"
SPEED = Study(
    "speed",
    passing,
    {TORCH: F.gelu, TORCH_TANH: torch_tanh, TORCH_LOGISTIC: torch_logistic},
    {"10 000 000 elements": 10**7},
    {"full": None},
    claims={
        "no-saving": tuple(ratio("seconds", TORCH, over=arm, at_most=1.1) for arm in (TORCH_TANH, TORCH_LOGISTIC)),
    },
    timed=True,
    threads=2,
)

# ---- models whose activation is swapped after training ----------------------------------------------------------------


@dataclass(frozen=True)
class Swap:
    """The form a network is trained with, and the one it is asked to use afterwards."""

    trained: GELUVariant
    used: GELUVariant


def swapped(logits: Callable[[GELUVariant], Tensor], swap: Swap, right: Tensor) -> Mapping[str, Any]:
    """Accuracy with the form that is used, and by how much the swap changed the probability of the right answer."""
    with torch.no_grad():
        used, before = (logits(form).softmax(-1) for form in (swap.used, swap.trained))
    change = (used - before).gather(-1, right[:, None])
    return {"accuracy": (used.argmax(-1) == right).double().mean().item(), "change": change.double().mean().item()}


@dataclass(frozen=True)
class TableSize:
    """Steps of 64 rows, and noisy copies of each test row."""

    steps: int
    copies: int = 20


@lru_cache(maxsize=1)
def table_model(form: GELUVariant, data: Features, seed: int, steps: int) -> tuple[nn.Sequential, Tensor, Tensor]:
    """A trained perceptron with its test rows. Noise of half a standard deviation makes some of them hard to tell."""
    torch.manual_seed(seed)
    rows, rest = split(data.y, seed, 0.55)
    X, y = torch.from_numpy(numbers(data, rows)).float(), torch.from_numpy(data.y)
    X = (X - X[rows].mean(0)) / X[rows].std(0).clamp(min=1e-6)
    train, test = torch.from_numpy(rows), torch.from_numpy(rest)
    hidden = [nn.Linear(X.shape[1], 128), GELU(form), nn.Linear(128, 128), GELU(form)]
    model = nn.Sequential(*hidden, nn.Linear(128, len(data.classes)))

    def loss() -> Tensor:
        rows = train[torch.randint(len(train), (64,))]
        return F.cross_entropy(model(noisy(X[rows])), y[rows])

    fit(model.parameters(), loss, steps)
    return model, X[test], y[test]


def noisy(rows: Tensor) -> Tensor:
    return rows + 0.5 * torch.randn(rows.shape)


def swapped_in_table(swap: Swap, data: Features, seed: int, size: TableSize) -> Mapping[str, Any]:
    """On noisy copies of the test rows."""
    model, X, y = table_model(swap.trained, data, seed, size.steps)
    torch.manual_seed(seed)
    rows = noisy(X.repeat(size.copies, 1))

    def logits(form: GELUVariant) -> Tensor:
        model[1] = model[3] = GELU(form)
        return cast(Tensor, model(rows))

    return swapped(logits, swap, y.repeat(size.copies))


@lru_cache(maxsize=1)
def text_model(form: GELUVariant, data: Texts, seed: int, size: Training) -> tuple[Transformer, Tensor, Tensor]:
    """A trained byte model, test windows, and where they are masked; a fifth of the texts is held out."""
    torch.manual_seed(seed)
    train, test = byte.split_bytes(data, seed, test_share=0.2)
    model = byte.train(use(byte.byte_model(size.dim, size.depth), form), train, seed, size)
    count = 100 if size.steps < 10 else 20_000
    return model, *byte.windows(test, count, size.length, torch.Generator().manual_seed(seed))


def use(model: Transformer, form: GELUVariant) -> Transformer:
    for layer in model.layers:
        cast(Layer, layer).feed[1] = GELU(form)
    return model


def swapped_in_text(swap: Swap, data: Texts, seed: int, size: Training) -> Mapping[str, Any]:
    """At the masked bytes of held-out text."""
    model, ids, hidden = text_model(swap.trained, data, seed, size)
    return swapped(lambda form: byte.guesses(use(model, form), ids, hidden), swap, ids[hidden])


ERF: GELUVariant = "none"
SWAPS = {
    "erf": Swap(ERF, ERF),
    "erf → tanh": Swap(ERF, "tanh"),
    "erf → logistic": Swap(ERF, "sigmoid"),
    "tanh": Swap("tanh", "tanh"),
    "tanh → erf": Swap("tanh", ERF),
    "logistic": Swap("sigmoid", "sigmoid"),
    "logistic → erf": Swap("sigmoid", ERF),
}
TO_TANH = tuple(inside("change", arm, -0.001, 0.001) for arm in ("erf → tanh", "tanh → erf"))
TO_LOGISTIC = tuple(inside("change", arm, high=-0.001) for arm in ("erf → logistic", "logistic → erf"))
TABLE = Study(
    "perceptron",
    swapped_in_table,
    SWAPS,
    {"digits": lambda: read("digits")},
    {"smoke": TableSize(3, 1), "full": TableSize(2000)},
    claims={
        "tanh-swaps": TO_TANH,
        "logistic-costs": TO_LOGISTIC,
        "trains-alike": tuple(same("accuracy", arm, than="erf", within=0.005) for arm in ("tanh", "logistic")),
    },
    accepts="features",
    trains=two_thirds("steps"),
    figures=(Dots("change", ("tanh-swaps", "logistic-costs")),),
)
TEXT = Study(
    "masked bytes",
    swapped_in_text,
    SWAPS,
    {"Python documentation": lambda: read("python-documentation")},
    {"smoke": Training(1, 4, 32, 32, 1), "full": Training(400, 32, 32, 64)},
    claims={"tanh-swaps-text": TO_TANH, "logistic-costs-text": TO_LOGISTIC},
    accepts="texts",
    trains=two_thirds("steps"),
    seeds={"full": 5},
    figures=(Dots("change", ("tanh-swaps-text", "logistic-costs-text")),),
)

EXPERIMENT = Experiment(
    __doc__,
    (CONSTANTS, PRECISION, TABLE, TEXT, SPEED),
    units={"accuracy": "%", "change": "%", "seconds": "s"},
)
