"""Does a margin in the softmax make features better for retrieval, and does the gain carry over to new classes?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from gezhi._checks import invalid
from gezhi.data import Features
from gezhi.experiments.setups.tables import by_row, digits, numbers, split, turned_digits
from gezhi.experiments.setups.train import fit
from gezhi.lab import YOUR_DATA, Dots, Experiment, Study, at, better, lower
from gezhi.losses.margin_softmax import MarginSoftmaxLoss, additive_angle, additive_cosine
from gezhi.losses.margin_softmax.margins import Margin

Labels = NDArray[np.int64]
LARGEST_TEST = 1000  # rows that retrieve each other


@dataclass(frozen=True, eq=False)
class Task:
    """A table, which of its rows are one picture (turned), and how a seed divides it.

    `new` classes are held out of training and make the test; 0: rows of all classes are trained on and others tested.
    """

    X: Tensor | Features  # of a user's table the columns wait for the training rows
    y: Labels
    picture: Labels
    new: int = 0
    train_size: float = 0.55

    def draw(self, seed: int) -> tuple[Labels, Labels]:
        if not self.new:
            train, test = split(self.y, seed, self.train_size)
        else:
            held = np.random.default_rng(seed).permutation(self.y.max() + 1)[: self.new]
            train, test = np.flatnonzero(~np.isin(self.y, held)), np.flatnonzero(np.isin(self.y, held))
        return train, np.random.default_rng(seed).permutation(test)[:LARGEST_TEST]

    def rows(self, train: Labels) -> Tensor:
        """The columns as numbers; a user's that leave [0, 1] are standardised, since they have units."""
        if isinstance(self.X, Tensor):
            return self.X
        X = torch.from_numpy(numbers(self.X, train)).float()
        unit = (X.min(0).values >= 0) & (X.max(0).values <= 1)
        return torch.where(unit, X, (X - X[train].mean(0)) / X[train].std(0).clamp(min=1e-6))


def of_digits(new: int = 0, train_size: float = 0.55) -> Task:
    data = digits()
    return Task(torch.from_numpy(data.X).float(), data.y, np.arange(len(data.y)), new, train_size)


def of_turned_digits() -> Task:
    """40 classes: a digit and how far it is turned; ten of them are new."""
    X, y, picture = turned_digits(4)
    return Task(torch.from_numpy(X).float(), y, picture, new=10)


def of_table(data: Features, new: int = 0) -> Task:
    return Task(data, data.y, np.arange(len(data.y)), new)


def trained_model(margin: Margin, X: Tensor, y: Tensor, steps: int) -> tuple[nn.Module, MarginSoftmaxLoss]:
    """A perceptron 64-128-16 under a margin softmax with s = 20."""
    model = nn.Sequential(nn.Linear(X.shape[1], 128), nn.ReLU(), nn.Linear(128, 16))
    head = MarginSoftmaxLoss(int(y.max()) + 1, 16, margin=margin, scale=20.0)
    nn.init.normal_(head.weight, std=0.1)

    def loss() -> Tensor:
        batch = torch.randint(len(y), (128,))
        found: Tensor = head(model(X[batch]), y[batch])
        return found

    fit([*model.parameters(), *head.parameters()], loss, steps, rate=2e-3)
    return model.requires_grad_(False), head.requires_grad_(False)


def retrieval(features: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Of each row, a query by cosine against the rest: is the nearest right, R-precision, distance from the class mean.

    Rows without another of their class are NaN.
    """
    unit = normalize(features.double(), dim=-1)
    order = (unit @ unit.mT).fill_diagonal_(-math.inf).argsort(-1, descending=True)[:, :-1]
    right = y[order] == y[:, None]
    relevant = right.sum(-1)
    among = torch.arange(right.shape[1]) < relevant[:, None]
    means = unit.new_zeros(int(y.max()) + 1, unit.shape[1]).index_add_(0, y, unit)
    found = {
        "top-1": right[:, 0].double(),
        "R-precision": (right & among).sum(-1).double() / relevant,
        "spread": (1 - (unit * normalize(means, dim=-1)[y]).sum(-1)).clamp(min=0).sqrt(),
    }
    return {name: values.masked_fill(relevant == 0, math.nan) for name, values in found.items()}


def on_task(margin: Margin, task: Task | Features, seed: int, steps: int) -> Mapping[str, Any]:
    """How well test rows find each other; where their classes were trained, whether they are classified right."""
    task = of_table(task) if isinstance(task, Features) else task
    train, test = task.draw(seed)
    X, y = task.rows(train), torch.from_numpy(task.y)
    model, head = trained_model(margin, X[train], y[train], steps)
    found = retrieval(model(X[test]), y[test])
    found["accuracy"] = (head.logits(model(X[test])).argmax(-1) == y[test]).double()
    fitted = head.logits(model(X[train])).argmax(-1) == y[train]
    rows = int(task.picture.max()) + 1
    # a picture stands once, however often it was turned
    return {
        **{name: by_row(rows, *_by_picture(task.picture[test], v.numpy())) for name, v in found.items()},
        "training accuracy": float(fitted.double().mean()),
    }


def _by_picture(picture: Labels, figures: NDArray[np.float64]) -> tuple[Labels, NDArray[np.float64]]:
    kept = np.isfinite(figures)
    pictures, place = np.unique(picture[kept], return_inverse=True)
    return pictures, np.bincount(place, figures[kept]) / np.bincount(place)


def on_new_classes(margin: Margin, data: Features, seed: int, steps: int) -> Mapping[str, Any]:
    """A third of the classes of a user's table is held out."""
    new = max(2, len(data.classes) // 3)
    if len(data.classes) - new < 2:
        raise invalid("classes", "be 4 at least, half of them to be held out", len(data.classes))
    return on_task(margin, of_table(data, new), seed, steps)


PLAIN, AM2, AM, ARC = "no margin", "cosine − 0.2", "cosine − 0.35", "angle + 0.3"
MARGINS: dict[str, Margin] = {
    PLAIN: additive_cosine(0), AM2: additive_cosine(0.2), AM: additive_cosine(0.35), ARC: additive_angle(0.3)
}  # fmt: skip
SEEN = ("seen classes, 988 images", "seen classes, 100 images")
STEPS, QUICK = 1000, {SEEN[0]: 300, YOUR_DATA: 600}
RETRIEVAL = Study(
    "retrieval",
    on_task,
    MARGINS,
    {
        SEEN[0]: of_digits,
        SEEN[1]: lambda: of_digits(train_size=100),
        "new classes, 7 digits trained": lambda: of_digits(new=3),
        "new classes, 30 turned digits trained": of_turned_digits,
    },
    {"smoke": {SEEN[0]: 5, YOUR_DATA: 5}, "quick": QUICK, "full": STEPS},
    claims={
        "retrieval": better("R-precision", AM, than=PLAIN, by=0.01),
        "smaller-margin": better("R-precision", AM2, than=PLAIN, by=0.01),
        "angle": better("R-precision", ARC, than=PLAIN, by=0.01),
        "nearest": better("top-1", AM, than=PLAIN, by=0.005),
        "spread": lower("spread", AM, than=PLAIN, by=0.01),
        "accuracy": at(SEEN, better("accuracy", AM, than=PLAIN, by=-0.005)),
    },
    varies="rows",
    accepts="features",
    seeds={"full": 40},
    figures=(Dots("R-precision", "retrieval"),),
)
YOURS = Study(
    "new classes of your table",
    on_new_classes,
    {PLAIN: MARGINS[PLAIN], AM: MARGINS[AM]},
    {},
    {"smoke": 5, "quick": 600, "full": STEPS},
    claims={"retrieval-new": better("R-precision", AM, than=PLAIN, by=0.01)},
    varies="rows",
    accepts="features",
)

EXPERIMENT = Experiment(
    __doc__,
    (RETRIEVAL, YOURS),
    units=dict.fromkeys(("R-precision", "top-1", "accuracy", "training accuracy"), "%"),
)
