"""Does a loss that is the accuracy of noisy predictions give more accuracy than cross-entropy?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils.extmath import randomized_svd
from torch import Tensor, nn

from gezhi.data import Features, LabelledTexts, read
from gezhi.experiments.setups.orthant import orthant_by_sampling
from gezhi.experiments.setups.pictures import pooled
from gezhi.experiments.setups.side_by_side import Setting, Sides, train_side_by_side
from gezhi.experiments.setups.tables import Rows, by_row, digits, numbers, split
from gezhi.lab import YOUR_DATA, Dots, Experiment, Study, better, inside, itself, lower, same, two_thirds
from gezhi.losses.exact import (
    ExactLoss,
    ProbitLoss,
    expected_accuracy,
    log_expected_accuracy,
    power_loss,
    soft_accuracy_loss,
)

Metrics = Mapping[str, Any]
NODES = 8  # of the quadrature in training: p errs by less than 1e-3
ACCURACY, TRAINING = "accuracy", "training accuracy"

# ---- arms: twelve settings each -------------------------------------------------------------------------------------

DECAYS = (0.0, 0.1)


class LogOfMean(ProbitLoss):
    """-log of the mean expected accuracy: what the paper says is better than the mean itself."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        log_p = log_expected_accuracy(logits, labels, sigma=self.sigma, nodes=self.nodes)
        return math.log(max(len(log_p), 1)) - log_p.logsumexp(0)


def plain(*losses: Callable[[], Any]) -> Callable[[tuple[float, float]], list[Setting]]:
    """Six step sizes from the case's span, with and without weight decay."""

    def settings(span: tuple[float, float]) -> list[Setting]:
        return [Setting(losses, float(rate), decay) for rate in np.geomspace(*span, 6) for decay in DECAYS]

    return settings


def exact_tuned(span: tuple[float, float]) -> list[Setting]:
    """Three step sizes for four forms of EXACT: a learned σ with and without decay, and as the official code has it.

    There the logits are standardised, which divides the length of the weights, and decay with it, out; and Adam divides
    its own running size out of the gradient, as the official normaliser of gradients does.
    """
    official = [partial(ExactLoss, 1.0, margin=r, standardize=True, nodes=NODES) for r in (1.0, 10.0)]
    found = []
    for rate in map(float, np.geomspace(*span, 3)):
        found += [Setting((partial(ExactLoss, nodes=NODES),), rate, decay) for decay in DECAYS]
        found += [Setting((loss,), rate) for loss in official]
    return found


def as_is(loss: Any) -> Callable[[], Any]:
    """A loss without parameters, as what makes it."""
    return lambda: loss


CE, EXACT, LOG_MEAN = "cross-entropy", "EXACT, tuned", "−log of the mean"
PROBIT, THEN_SOFT, SOFT = "probit", "cross-entropy, then soft accuracy", "soft accuracy"
CROSS_ENTROPY = as_is(F.cross_entropy)
ARMS = {
    CE: plain(CROSS_ENTROPY),
    EXACT: exact_tuned,
    LOG_MEAN: plain(partial(LogOfMean, "learned", nodes=NODES)),
    PROBIT: plain(partial(ProbitLoss, nodes=NODES)),
    THEN_SOFT: plain(CROSS_ENTROPY, as_is(soft_accuracy_loss)),
}

# ---- cases ----------------------------------------------------------------------------------------------------------

PICKING = 0.2  # of the training rows
WORDS, DIRECTIONS = 5000, 256
TABLE_SPAN, TEXT_SPAN, PICTURE_SPAN = (0.003, 0.1), (0.0003, 0.03), (0.001, 0.03)


@dataclass(frozen=True, eq=False)
class Task:
    """Rows in the form that `columns` gives them once the training rows are known, and how they are divided."""

    columns: Callable[[Rows, Rows], tuple[Tensor, Tensor]]  # (training rows, test rows) -> their numbers
    divide: Callable[[int], tuple[Rows, Rows]]  # seed -> training rows, test rows
    y: Rows
    classes: int
    span: tuple[float, float]
    hidden: tuple[int, ...] = ()
    tested: int | None = None  # rows of a test set of its own, which follow the others


def of_table(data: Features) -> Task:
    """Standardised by the training rows."""

    def columns(train: Rows, test: Rows) -> tuple[Tensor, Tensor]:
        X = torch.from_numpy(numbers(data, train)).float()
        X = (X - X[train].mean(0)) / X[train].std(0).clamp(min=1e-6)
        return X[train], X[test]

    return Task(columns, partial(halves, data.y), data.y, len(data.classes), TABLE_SPAN)


def of_texts(*parts: LabelledTexts) -> Task:
    """Principal directions of the weights of words, both as the training rows have them."""
    texts = [text for part in parts for text in part.texts]
    y = np.concatenate([part.labels for part in parts])

    def columns(train: Rows, test: Rows) -> tuple[Tensor, Tensor]:
        words = TfidfVectorizer(max_features=WORDS, sublinear_tf=True, token_pattern=r"[\u4e00-\u9fff]|\w\w+")
        made = [words.fit_transform([texts[i] for i in train]), words.transform([texts[i] for i in test])]
        axes = randomized_svd(made[0], min(DIRECTIONS, *made[0].shape), random_state=0)[2].T
        left, right = (torch.from_numpy(part @ axes).float() for part in made)
        size = left.square().mean().sqrt().clamp(min=1e-6)
        return left / size, right / size

    return Task(columns, partial(halves, y), y, len(parts[0].classes), TEXT_SPAN)


def of_clothes() -> Task:
    """10 000 training pictures that the seed draws, and the test pictures of Fashion-MNIST."""
    train_set, test_set = read("fashion-mnist-train"), read("fashion-mnist-test")
    first = len(train_set.images)

    def divide(seed: int) -> tuple[Rows, Rows]:
        return np.random.default_rng(seed).permutation(first)[:10_000], np.arange(len(test_set.images)) + first

    def columns(train: Rows, test: Rows) -> tuple[Tensor, Tensor]:
        return pooled(train_set, train), pooled(test_set, test - first)

    y = np.concatenate([train_set.labels, test_set.labels])
    return Task(columns, divide, y, len(train_set.classes), PICTURE_SPAN, (128,), len(test_set.images))


def halves(y: Rows, seed: int) -> tuple[Rows, Rows]:
    """Classes in proportion; those of a single row are left out."""
    kept = np.flatnonzero(np.bincount(y)[y] > 1)
    train, test = split(y[kept], seed, 0.5)
    return kept[train], kept[test]


@lru_cache(maxsize=1)
def sides(task: Task, seed: int) -> Sides:
    train, test = task.divide(seed)
    train = np.random.default_rng(seed).permutation(train)
    left, right = task.columns(train, test)
    cut = round((1 - PICKING) * len(train))
    y = torch.from_numpy(task.y)
    first = 0 if task.tested is None else len(task.y) - task.tested
    return Sides(
        (left[:cut], left[cut:], right),
        (y[train[:cut]], y[train[cut:]], y[test]),
        torch.from_numpy(test - first),
        len(task.y) - first,
    )


@lru_cache(maxsize=1)
def task_of(data: Features | LabelledTexts) -> Task:
    return of_table(data) if isinstance(data, Features) else of_texts(data)


def trained(
    arm: Callable[[tuple[float, float]], list[Setting]], case: Task | Features | LabelledTexts, seed: int, steps: int
) -> Metrics:
    """Which test rows the setting and the state are right about that do best on the rows for picking."""
    task = case if isinstance(case, Task) else task_of(case)
    parts, settings = sides(task, seed), arm(task.span)
    widths = (parts.x[0].shape[1], *task.hidden, task.classes)
    best = train_side_by_side(settings, parts, widths, steps, seed)
    assert best.right is not None
    return {
        ACCURACY: by_row(parts.rows, parts.tested.numpy(), best.right.double().numpy()),
        TRAINING: best.training,
        "step size": settings[best.setting].rate,
        "setting": float(best.setting),
    }


SURVEY, NEWS, CLOTHES = "survey, linear", "news of 52 kinds, linear", "clothes, one hidden layer"
THESIS = Study(
    "accuracy",
    trained,
    ARMS,
    {
        SURVEY: lambda: of_table(read("fair-survey")),
        NEWS: lambda: of_texts(read("reuters-r52-train"), read("reuters-r52-test")),
        CLOTHES: of_clothes,
    },
    {"smoke": {SURVEY: 3, YOUR_DATA: 3}, "full": {SURVEY: 1500, NEWS: 800, CLOTHES: 1500}},
    claims={
        "no-gain": better(ACCURACY, CE, than=EXACT, by=-0.005),
        "exact-wins": better(ACCURACY, EXACT, than=CE, by=0.005),
        "log-of-mean": lower(ACCURACY, LOG_MEAN, than=EXACT, by=0.005),
        "probit": same(ACCURACY, PROBIT, than=CE, within=0.01),
        "soft-after": better(ACCURACY, THEN_SOFT, than=CE, by=0.005),
    },
    varies="rows",
    accepts="features",
    trains=two_thirds(),
    seeds={"full": 6},
    figures=(Dots(ACCURACY, ("no-gain", "exact-wins"), than=CE), Dots(TRAINING)),
)
YOUR_TEXTS = Study(
    "your texts",
    trained,
    {CE: ARMS[CE], EXACT: ARMS[EXACT]},
    {},
    {"smoke": 3, "quick": 200, "full": 800},
    claims={"no-gain-texts": better(ACCURACY, CE, than=EXACT, by=-0.005)},
    varies="rows",
    accepts="labelled texts",
    trains=two_thirds(),
)

# ---- the paper's three points ---------------------------------------------------------------------------------------

X, SIGNS, SIDE = (-0.25, 0.0, 0.25), (-1, -1, 1), (0, 0, 1)


def toy_loss(kind: str, logits: Tensor, sigma: Any) -> Tensor:
    """Of the three points; of two classes the first has the logit 0."""
    if kind == CE:
        return F.cross_entropy(logits, torch.tensor(SIDE))
    return 1 - expected_accuracy(logits, torch.tensor(SIDE), sigma=sigma).mean()


def toy_logits(b: Any, scale: Any = 1.0) -> Tensor:
    f = scale * (torch.tensor(X, dtype=torch.float64) - b)
    return torch.stack([torch.zeros_like(f), f], 1)


def with_fixed_scale(kind: str, sigma: float = 1.0) -> Callable[[None], Metrics]:
    """f(x) = x - b: the best b, found in one dimension around the best of a grid."""

    def measure(_: None) -> Metrics:
        def loss(b: float) -> float:
            return float(toy_loss(kind, toy_logits(b), sigma))

        near = min(np.linspace(-1, 6, 71), key=loss)
        found = minimize_scalar(loss, bounds=(near - 0.1, near + 0.1), method="bounded", options={"xatol": 1e-9})
        return _toy(float(found.x))

    return measure


def with_learned_scale(kind: str) -> Callable[[None], Metrics]:
    """f(x) = k(x - b), or a learned σ: 2000 gradient steps from b = 0 and a scale of 1."""

    def measure(_case: None) -> Metrics:
        b, log_scale = (torch.zeros((), dtype=torch.float64, requires_grad=True) for _ in range(2))
        descent = torch.optim.SGD([b, log_scale], lr=0.1)
        for _ in range(2000):
            descent.zero_grad()
            scale = log_scale.exp()
            loss = toy_loss(kind, toy_logits(b, scale), 1.0) if kind == CE else toy_loss(kind, toy_logits(b), scale)
            loss.backward()  # type: ignore[no-untyped-call]
            descent.step()
        return _toy(b.item())

    return measure


def _toy(b: float) -> Metrics:
    return {ACCURACY: float(np.mean([s * (x - b) > 0 for x, s in zip(X, SIGNS, strict=True)])), "threshold": b}


BARE_CE, BARE_EXACT = "cross-entropy, no scale", "EXACT, σ = 1"
SCALED_CE, SCALED_EXACT = "cross-entropy, learned scale", "EXACT, learned σ"
TOY = Study(
    "three points",
    itself,
    {
        BARE_CE: with_fixed_scale(CE),
        SCALED_EXACT: with_learned_scale(EXACT),
        BARE_EXACT: with_fixed_scale(EXACT),
        "EXACT, σ = 0.5": with_fixed_scale(EXACT, 0.5),
        "EXACT, σ = 0.25": with_fixed_scale(EXACT, 0.25),
        "EXACT, σ = 0.1": with_fixed_scale(EXACT, 0.1),
        SCALED_CE: with_learned_scale(CE),
    },
    {"f(x) = x − b": None},
    {"quick": None, "full": None},
    claims={
        "example": (inside(ACCURACY, BARE_CE, high=0.67), inside(ACCURACY, SCALED_EXACT, low=1)),
        "unfair": (inside(ACCURACY, SCALED_CE, low=1), inside(ACCURACY, BARE_EXACT, high=0.67)),
    },
    varies="nothing",
    figures=(Dots("threshold"),),
)

# ---- a confidently wrong start --------------------------------------------------------------------------------------

WRONG, ROWS = 200, 300


def from_a_wrong_start(loss: Callable[[Tensor, Tensor], Tensor], data: Features, seed: int, steps: int) -> Metrics:
    """Training accuracy after some steps from a model that was taught other labels."""
    train, test = split(data.y, seed, ROWS)
    x, y, draw = torch.from_numpy(data.X).float(), torch.from_numpy(data.y), torch.Generator().manual_seed(seed)
    model = nn.Linear(x.shape[1], len(data.classes))
    for minimised, labels, count in ((F.cross_entropy, (y + 1) % len(data.classes), WRONG), (loss, y, steps)):
        optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(count):
            rows = train[torch.randint(len(train), (64,), generator=draw).numpy()]
            optimiser.zero_grad()
            minimised(model(x[rows]), labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    with torch.no_grad():
        right = model(x).argmax(-1) == y
    return {TRAINING: float(right[train].float().mean()), ACCURACY: float(right[test].float().mean())}


STALL = Study(
    "a wrong start",
    from_a_wrong_start,
    {
        CE: F.cross_entropy,
        "Lq, q = 0.5": partial(power_loss, q=0.5),
        SOFT: soft_accuracy_loss,
        "EXACT, σ = 1": ExactLoss(1.0, nodes=NODES),
    },
    {"digits": digits},
    {"smoke": 2, "quick": 50, "full": 50},
    claims={"stall": better(TRAINING, CE, than=SOFT, by=0.05)},
    figures=(Dots(TRAINING, "stall"),),
)

# ---- what sampling costs --------------------------------------------------------------------------------------------

ERROR = "error of p"


def error(way: Callable[[Tensor, Tensor, int], Tensor], classes: int, seed: int, rows: int) -> Metrics:
    """Root mean square error of the expected accuracy of rows of random logits."""
    draw = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(rows, classes, generator=draw, dtype=torch.float64)
    labels = logits.argmax(-1)
    exact = expected_accuracy(logits, labels, nodes=64)
    return {ERROR: float((way(logits, labels, seed) - exact).square().mean().sqrt())}


def quadrature(nodes: int, logits: Tensor, labels: Tensor, _seed: int) -> Tensor:
    return expected_accuracy(logits, labels, nodes=nodes)


def sampled(logits: Tensor, labels: Tensor, seed: int) -> Tensor:
    return orthant_by_sampling(logits, labels, seed=seed)


SAMPLES, EIGHT = "16 samples, as the paper", "8 nodes"
COST = Study(
    "quadrature",
    error,
    {SAMPLES: sampled, EIGHT: partial(quadrature, 8), "16 nodes": partial(quadrature, 16)},
    {f"{k} classes": k for k in (10, 50)},
    {"smoke": 4, "quick": 64, "full": 256},
    claims={"sampling": (inside(ERROR, SAMPLES, low=0.01), inside(ERROR, EIGHT, high=0.001))},
    figures=(Dots(ERROR, "sampling", log=True),),
)

EXPERIMENT = Experiment(
    __doc__,
    (THESIS, YOUR_TEXTS, TOY, STALL, COST),
    units={ACCURACY: "%", TRAINING: "%"},
)
