"""Do the weights of a formula classify as well as those of an iteration, and what does the formula save?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import count
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from gezhi.classification.closed_form_logistic import ClosedFormLogisticRegression
from gezhi.data import Features
from gezhi.experiments.setups.tables import Floats, by_row, digits, numbers, split
from gezhi.experiments.setups.texts import encoded
from gezhi.experiments.setups.train import fit
from gezhi.lab import YOUR_DATA, Dots, Experiment, Study, better, every, lower, ratio, same, two_thirds

Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Rows for training are drawn from `pool`; those of `held` (none: what was not drawn) are the test set."""

    data: Features
    pool: Labels
    held: Labels | None = None

    def draw(self, seed: int, rows: float | None) -> tuple[Labels, Labels]:
        if rows is None:
            return self.pool, self.held if self.held is not None else self.pool
        train, rest = split(self.data.y[self.pool], seed, rows)
        return self.pool[train], self.pool[rest] if self.held is None else self.held


def table(data: Features) -> Split:
    return Split(data, np.arange(len(data.y)))


def vectors(train: str, test: str) -> Split:
    """768 numbers a text: the mean of MiniLM's last layer over the tokens, and its first token."""
    data, count = encoded(train, test)
    return Split(data, np.arange(count), np.arange(count, len(data.y)))


# ---- arms: (training rows, labels, seed, steps) -> scores of classes ---------------------------------------------------

Predict = Callable[[Floats], Labels]


def descent(X: Floats, y: Labels, steps: int) -> Predict:
    """A dense layer on standardised columns by Adam on batches of 32, without penalty."""
    scaler = StandardScaler().fit(X)
    rows, labels = torch.from_numpy(scaler.transform(X)).float(), torch.from_numpy(y)
    head = torch.nn.Linear(rows.shape[1], int(y.max()) + 1)
    torch.nn.init.xavier_uniform_(head.weight)
    batches = (batch for _ in count() for batch in torch.split(torch.randperm(len(rows)), 32))

    def loss() -> torch.Tensor:
        batch = next(batches)
        return torch.nn.functional.cross_entropy(head(rows[batch]), labels[batch])

    fit(head.parameters(), loss, steps, rate=1e-2, decay=0.0)
    weight, bias = (p.detach().double().numpy() for p in (head.weight, head.bias))
    return lambda Z: np.asarray((scaler.transform(Z) @ weight.T + bias).argmax(axis=1))


def penalised(X: Floats, y: Labels, _steps: int) -> Predict:
    """scikit-learn's logistic regression with its default L2 penalty, on standardised columns, to convergence."""
    scaler = StandardScaler().fit(X)
    model = LogisticRegression(C=1.0, max_iter=5000).fit(scaler.transform(X), y)
    return lambda Z: np.asarray(model.predict(scaler.transform(Z)))


def closed(X: Floats, y: Labels, _steps: int, shrinkage: Literal["oas"] | None = None) -> Predict:
    return ClosedFormLogisticRegression(shrinkage=shrinkage).fit(X, y).predict


DESCENT, L2, CLOSED, OAS = "gradient descent", "L2 penalty", "closed form", "closed form, OAS"
ARMS = {DESCENT: descent, L2: penalised, CLOSED: closed, OAS: partial(closed, shrinkage="oas")}


@dataclass(frozen=True)
class Size:
    """Rows for training (a count, a share, or None: all), steps of gradient descent."""

    rows: float | None
    steps: int


def accuracy(fit: Callable[..., Predict], case: Split | Features, seed: int, size: Size) -> Mapping[str, Any]:
    """Whether each row of the test set is told right, and how many of the training rows are."""
    case = table(case) if isinstance(case, Features) else case
    train, test = case.draw(seed, size.rows)
    X, y = numbers(case.data, train), case.data.y
    predict = fit(X[train], y[train], size.steps)
    right = by_row(len(y), test, predict(X[test]) == y[test])
    return {"accuracy": right, "training accuracy": (predict(X[train]) == y[train]).mean()}


INSURANCE = lru_cache(maxsize=1)(partial(vectors, "insuranceqa-en-train", "insuranceqa-en-test"))
HEADS = Study(
    "linear heads",
    accuracy,
    ARMS,
    {
        "digits, 60 rows": lambda: table(digits()),
        "digits, 1200 rows": lambda: table(digits()),
        "insurance questions, 1000 rows": INSURANCE,
        "insurance questions, all rows": INSURANCE,
    },
    {
        "smoke": {"digits, 60 rows": Size(60, 50), YOUR_DATA: Size(0.67, 50)},
        "quick": {
            "digits, 60 rows": Size(60, 1000),
            "digits, 1200 rows": Size(1200, 1000),
            YOUR_DATA: Size(0.67, 3000),
        },
        "full": {
            "digits, 60 rows": Size(60, 3000),
            "digits, 1200 rows": Size(1200, 6000),
            "insurance questions, 1000 rows": Size(1000, 6000),
            "insurance questions, all rows": Size(None, 6000),
            YOUR_DATA: Size(0.67, 6000),
        },
    },
    claims={
        "as-good": better("accuracy", CLOSED, than=DESCENT, by=-0.01),
        "as-good-as-l2": better("accuracy", CLOSED, than=L2, by=-0.01),
        "shrunk-as-good": better("accuracy", OAS, than=L2, by=-0.01),
        "shrinkage-helps": better("accuracy", OAS, than=CLOSED, by=0.01),
    },
    varies="rows",
    accepts="features",
    trains=two_thirds("steps"),
    figures=(Dots("accuracy", "as-good"),),
)

SHARES = {f"{share:g} rows a column": share for share in (0.5, 1, 2, 5, 10)}


def accuracy_at(share: float, data: Features, seed: int, _: None) -> Mapping[str, Any]:
    """The closed form on so many rows a column; all arms of a seed are tested on the same rows."""
    pool, test = split(data.y, seed, 1000)
    return accuracy(closed, Split(data, pool, test), seed, Size(round(share * data.X.shape[1]), 0))


DIP = Study(
    "rows against columns",
    accuracy_at,
    SHARES,
    {"digits": digits},
    every(None),
    claims={"dip": lower("accuracy", "1 rows a column", than="0.5 rows a column", by=0.02)},
    varies="rows",
    figures=(Dots("accuracy", "dip"),),
)


@lru_cache(maxsize=1)
def gaussian_classes(seed: int, rows: int, columns: int, condition: float) -> tuple[Floats, Floats, Labels, Labels]:
    """Ten normal classes with unit noise, mapped linearly: covariance of this condition number, mean log scale 0."""
    rng = np.random.default_rng(seed)
    y, means = rng.integers(10, size=rows + 10_000), 3 / np.sqrt(columns) * rng.normal(size=(10, columns))
    left, right = (np.linalg.qr(rng.normal(size=(columns, columns)))[0] for _ in range(2))
    spread = left * np.geomspace(condition**-0.25, condition**0.25, columns)
    X = (means[y] + rng.normal(size=(len(y), columns))) @ spread @ right
    return X[:rows], X[rows:], y[:rows], y[rows:]


def fitting(make: Callable[[], Any], case: tuple[int, int, float], seed: int, _: None) -> Callable[[], Any]:
    """A fit, and afterwards its test accuracy."""
    X, X_test, y, y_test = gaussian_classes(seed, *case)

    def fit() -> Mapping[str, Any]:
        model = make().fit(X, y)
        return {"accuracy": lambda: model.score(X_test, y_test)}

    return fit


LBFGS = "lbfgs, C = 1"
SPEED = Study(
    "speed",
    fitting,
    {LBFGS: partial(LogisticRegression, C=1.0, max_iter=2000), CLOSED: ClosedFormLogisticRegression},
    {
        "100 columns, condition 1": (50_000, 100, 1.0),
        "100 columns, condition 100": (50_000, 100, 1e2),
        "768 columns, condition 1": (50_000, 768, 1.0),
    },
    {"full": None},
    claims={
        "faster": (
            ratio("seconds", LBFGS, over=CLOSED, at_least=10),
            same("accuracy", CLOSED, than=LBFGS, within=0.01),
        )
    },
    timed=True,
    repeats=1,
    seeds={"full": 5},
)

EXPERIMENT = Experiment(
    __doc__,
    (HEADS, DIP, SPEED),
    units={"accuracy": "%", "training accuracy": "%", "seconds": "s"},
)
