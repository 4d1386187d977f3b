"""Does a known class prior, applied after training to uncertain predictions, make them better?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gezhi.classification.alternating_normalization import normalize_alternately, top_k_uncertainty
from gezhi.data import Features, Probabilities
from gezhi.experiments.setups.tables import by_row, numbers, split, turned_digits
from gezhi.experiments.setups.texts import encoded
from gezhi.lab import Dots, Experiment, Study, better, every, lower, ratio

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Predictions:
    """What a classifier says of a test set, the two priors one may know, and which rows of a table it tells of."""

    test: Array
    labels: Labels
    train_count: Array
    true_prior: Array
    rows: Labels
    table: int  # rows of the whole table
    threshold: float = 0.9
    trained: float = np.nan  # accuracy on the training rows

    @property
    def train_prior(self) -> Array:
        return np.asarray(self.train_count / self.train_count.sum())

    @property
    def k(self) -> int:
        return min(3, int(self.test.shape[1]))

    @property
    def uncertain(self) -> NDArray[np.bool_]:
        return top_k_uncertainty(self.test, self.k) >= self.threshold

    def per_row(self, figures: Array) -> Array:
        """The mean figure of each row of the table; an image stands once, however often it was turned."""
        count = np.bincount(self.rows, minlength=self.table)
        tested = np.flatnonzero(count)
        return by_row(self.table, tested, np.bincount(self.rows, figures, self.table)[tested] / count[tested])


# ---- arms: predictions in, probabilities out --------------------------------------------------------------------------


def can(p: Predictions, prior: Callable[[Predictions], Array]) -> Array:
    return normalize_alternately(p.test, prior(p), k=p.k, threshold=p.threshold)


def all_at_once(p: Predictions) -> Array:
    """The variant that appends every uncertain row to A together: one column step, one row step."""
    columns = p.test * p.train_prior / np.maximum(p.test.sum(axis=0), 1e-300)  # a class that nobody predicts adds 0
    return np.where(p.uncertain[:, None], columns / columns.sum(axis=1, keepdims=True), p.test)


def logit_adjustment(p: Predictions, prior: Array | None = None) -> Array:
    """Every row times new prior (None: the true one) over training prior."""
    return np.asarray(p.test * (p.true_prior if prior is None else prior) / np.maximum(p.train_prior, 1e-12))


def expectation_maximisation(p: Predictions) -> Array:
    """Prior estimated from the predictions alone (Saerens, Latinne and Decaestecker, 2002), then logit adjustment."""
    prior = p.train_prior
    for _ in range(200):
        joint = logit_adjustment(p, prior)
        prior = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
    return logit_adjustment(p, prior)


PLAIN, TRAIN, TRUE, SMOOTH = "plain", "CAN, training prior", "CAN, true prior", "CAN, add-one prior"
AT_ONCE, LOGITS, EM = "CAN, all rows at once", "logit adjustment, true prior", "EM, told nothing"
Arm = Callable[[Predictions], Array]
ARMS: dict[str, Arm] = {
    PLAIN: lambda p: p.test,
    TRAIN: partial(can, prior=lambda p: p.train_prior),
    SMOOTH: partial(can, prior=lambda p: (p.train_count + 1) / (p.train_count + 1).sum()),
    TRUE: partial(can, prior=lambda p: p.true_prior),
    AT_ONCE: all_at_once,
    LOGITS: logit_adjustment,
    EM: expectation_maximisation,
}


# ---- tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Digits:
    """Quarter turns, rows to train on, noise on the pixels, and whether half the classes become rare in training."""

    turns: int
    train_rows: int
    noise: float = 0.0
    thinned: bool = False
    threshold: float = 0.9

    def predictions(self, seed: int) -> Predictions:
        """A logistic regression on rows drawn at random, so their frequencies are noisy; no image is on both sides."""
        rng, (X, y, image) = np.random.default_rng(seed), turned_digits(self.turns)
        X = X + self.noise * rng.normal(size=X.shape)
        pool = rng.permutation(image.max() + 1)[: min(self.train_rows, 2 * self.train_rows // self.turns)]
        test = ~np.isin(image, pool)
        training = np.zeros(len(y), dtype=bool)
        training[rng.permutation(np.flatnonzero(~test))[: self.train_rows]] = True
        if self.thinned:  # drop 88 % of the training rows of the first half of the classes
            training &= (y > y.max() // 2) | (rng.random(len(y)) < 0.12)
        return fitted(LogisticRegression(max_iter=1000), X, y, training, test, image, self.threshold)


@dataclass(frozen=True)
class Questions:
    """Questions about insurance by kind, as MiniLM's vectors; the test set is the published one."""

    train_rows: int

    def predictions(self, seed: int) -> Predictions:
        data, count = encoded("insuranceqa-en-train", "insuranceqa-en-test")
        rows = np.arange(len(data.y))
        training = np.isin(rows, np.random.default_rng(seed).permutation(count)[: self.train_rows])
        return fitted(scaled(), data.X, data.y, training, rows >= count, rows)


def scaled() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


@lru_cache(maxsize=1)
def predictions(task: Digits | Questions | Features, seed: int) -> Predictions:
    """Of a task; of a user's table by a scaled logistic regression on half of its rows."""
    if not isinstance(task, Features):
        return task.predictions(seed)
    rows = np.arange(len(task.y))
    train, _ = split(task.y, seed, 0.5)
    return fitted(scaled(), numbers(task, train), task.y, np.isin(rows, train), ~np.isin(rows, train), rows)


def fitted(
    model: Any, X: Array, y: Labels, training: Any, test: Any, rows: Labels, threshold: float = 0.9
) -> Predictions:
    classes = int(y.max()) + 1
    model.fit(X[training], y[training])
    probs = np.zeros((int(test.sum()), classes))
    probs[:, model.classes_] = model.predict_proba(X[test])
    count, true = (np.bincount(y[part], minlength=classes).astype(float) for part in (training, test))
    trained = float(model.score(X[training], y[training]))
    return Predictions(probs, y[test], count, true / true.sum(), rows[test], int(rows.max()) + 1, threshold, trained)


# ---- measures --------------------------------------------------------------------------------------------------------


def correct(probs: Array, labels: Labels) -> Array:
    return np.asarray(probs.argmax(axis=1) == labels, dtype=float)


def accuracy(arm: Arm, task: Any, seed: int, _: None) -> Mapping[str, Any]:
    """Whether each row is right after an arm's post-processing."""
    p = predictions(task, seed)
    return {"accuracy": p.per_row(correct(arm(p), p.labels)), "training accuracy": p.trained}


def on_your_probabilities(arm: Arm, data: Probabilities, _seed: int, _: None) -> Mapping[str, Any]:
    """One 0/1 number per test item; the prior is counted on the reference labels."""
    count = np.bincount(data.reference_labels, minlength=data.test.shape[1]).astype(float)
    items = np.arange(len(data.test))
    p = Predictions(data.test, data.test_labels, count, count / count.sum(), items, len(items))
    return {"accuracy": correct(arm(p), p.labels)}


GRID = tuple(product((0.75, 0.9), (0.5, 1.0, 2.0), (1, 3)))  # threshold, alpha, iterations


@lru_cache(maxsize=1)
def grid_scores(task: Digits, seed: int, reference_rows: int) -> tuple[Array, Array, Predictions]:
    """Validation accuracy and hits on the test rows of every cell; A is a sample of the confident test rows."""
    p, rng = predictions(task, seed), np.random.default_rng(seed)
    validation, hits = np.isin(p.rows, rng.permutation(p.table)[: p.table // 2]), []
    for threshold, alpha, iterations in GRID:
        confident = p.test[top_k_uncertainty(p.test) < threshold]
        sample = confident[rng.permutation(len(confident))[:reference_rows]]
        adjusted = normalize_alternately(
            p.test, p.true_prior, threshold=threshold, alpha=alpha, iterations=iterations, reference=sample
        )
        hits.append(correct(adjusted, p.labels))
    scores = np.array([hit[validation].mean() for hit in hits])
    return scores, np.where(validation, np.nan, hits), p


def tuned(use_default: bool, task: Digits, seed: int, reference_rows: int) -> Mapping[str, Any]:
    """Test accuracy of the cell chosen on validation, or of α = 1 and one iteration at the same threshold."""
    scores, hits, p = grid_scores(task, seed, reference_rows)
    best = int(scores.argmax())
    right = hits[GRID.index((GRID[best][0], 1.0, 1)) if use_default else best]
    return {"accuracy": p.per_row(right)}


# ---- studies ---------------------------------------------------------------------------------------------------------

ASKED = {name: ARMS[name] for name in (PLAIN, TRAIN, SMOOTH, TRUE, AT_ONCE, LOGITS)}
MANY = Study(
    "many classes",
    accuracy,
    ASKED,
    {
        "40 classes, 200 rows": Digits(4, 200),
        "40 classes, 600 rows": Digits(4, 600),
        "40 classes, 2000 rows": Digits(4, 2000),
        "12 kinds of questions, 1000 rows": Questions(1000),
    },
    {"smoke": {"40 classes, 200 rows": None}, "quick": {"40 classes, 600 rows": None}, "full": None},
    claims={
        "gain-train": better("accuracy", TRAIN, than=PLAIN, by=0.002),
        "gain-true": better("accuracy", TRUE, than=PLAIN, by=0.002),
        "smoothing": better("accuracy", SMOOTH, than=TRAIN, by=0.002),
        "at-once": lower("accuracy", AT_ONCE, than=TRAIN, by=-0.002),
    },
    varies="rows",
    accepts="features",
    seeds={"full": 20},
    figures=(Dots("accuracy", ("gain-train", "gain-true"), than=PLAIN),),
)
FEW = Study(
    "few classes",
    accuracy,
    {name: ARMS[name] for name in (PLAIN, TRAIN, TRUE)},
    {
        "10 classes, 100 rows": Digits(1, 100),
        "10 classes, 300 rows": Digits(1, 300),
        "10 classes, 1000 rows": Digits(1, 1000),
        "10 classes, 1000 noisy rows": Digits(1, 1000, noise=0.35),
    },
    {"smoke": {"10 classes, 300 rows": None}, "quick": {"10 classes, 300 rows": None}, "full": None},
    claims={
        "few-train": lower("accuracy", TRAIN, than=PLAIN, by=-0.002),
        "few-true": lower("accuracy", TRUE, than=PLAIN, by=-0.002),
    },
    varies="rows",
    seeds={"full": 20},
)
SHIFT = Study(
    "shifted prior",
    accuracy,
    {name: ARMS[name] for name in (PLAIN, TRAIN, TRUE, LOGITS, EM)},
    {"half the classes rare in training": Digits(1, 1000, noise=0.35, thinned=True, threshold=0.75)},
    every(None),
    claims={
        "right-prior": better("accuracy", TRUE, than=PLAIN, by=0.02),
        "wrong-prior": lower("accuracy", TRAIN, than=PLAIN, by=0.01),
        "beats-em": better("accuracy", TRUE, than=EM, by=0.01),
        "beats-logits": better("accuracy", TRUE, than=LOGITS, by=0.01),
    },
    varies="rows",
    seeds={"full": 20},
    figures=(Dots("accuracy", ("right-prior", "wrong-prior"), than=PLAIN),),
)
KNOBS = Study(
    "knobs",
    tuned,
    {"α = 1, one iteration": True, "chosen on validation": False},
    {"40 classes, 600 rows": Digits(4, 600)},
    {"full": 150},
    claims={"knobs": lower("accuracy", "chosen on validation", than="α = 1, one iteration", by=-0.002)},
    varies="rows",
)
GIVEN = Study(
    "your probabilities",
    on_your_probabilities,
    {name: ARMS[name] for name in (PLAIN, TRAIN, SMOOTH, EM)},
    {},
    every(None),
    claims={"gain-here": better("accuracy", TRAIN, than=PLAIN, by=0.002)},
    varies="items",
    accepts="probabilities",
    figures=(Dots("accuracy", "gain-here"),),
)


def row_loop(probs: Array, prior: Array) -> None:
    """The published form: one table per uncertain row."""
    uncertain = top_k_uncertainty(probs) >= 0.9
    for row in probs[uncertain]:
        table = np.concatenate([probs[~uncertain], row[None]])
        table = table / table.mean(axis=0) * prior
        table = table / table.sum(axis=1, keepdims=True)


def bert_layer(probs: Array, _prior: Array) -> None:
    """One of the twelve layers that BERT needs to predict these rows from texts of 32 tokens."""
    layer = torch.nn.TransformerEncoderLayer(768, 12, 3072, batch_first=True).eval()
    with torch.no_grad():
        layer(torch.zeros(len(probs), 32, 768))


def adjusting(
    arm: Callable[[Array, Array], object], shape: tuple[int, int], seed: int, _: None
) -> Callable[[], object]:
    """An arm on random probabilities, some rows of them certain."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=shape) * rng.choice([0.3, 4.0], size=(shape[0], 1))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    prior = np.full(shape[1], 1 / shape[1])
    return lambda: arm(probs, prior)


LOOP, CLOSED, LAYER = "loop over rows", "closed form", "one layer of BERT"
SPEED = Study(
    "speed",
    adjusting,
    {LOOP: row_loop, CLOSED: normalize_alternately},
    {"2000 rows, 119 classes": (2000, 119)},
    {"full": None},
    claims={"closed-form": ratio("seconds", LOOP, over=CLOSED, at_least=100)},
    timed=True,
)
COST = Study(
    "cost of predicting",
    adjusting,
    {LAYER: bert_layer, CLOSED: normalize_alternately},
    {"200 rows, 119 classes": (200, 119)},
    {"full": None},
    claims={"free": ratio("seconds", CLOSED, over=LAYER, at_most=0.1)},
    timed=True,
)

EXPERIMENT = Experiment(
    __doc__,
    (MANY, FEW, SHIFT, KNOBS, SPEED, COST, GIVEN),
    units={"accuracy": "%", "training accuracy": "%", "seconds": "s"},
)
