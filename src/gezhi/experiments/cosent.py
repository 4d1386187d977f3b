"""Does ranking pairs train a better similarity than classifying them or regressing their cosine, and what does it cost?"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gezhi.data import read
from gezhi.experiments.setups import pairs as by
from gezhi.experiments.setups.questions import Arm, finetuned, questions
from gezhi.experiments.setups.texts import adapted, embedded
from gezhi.lab import Dots, Experiment, Lines, Profile, Study, better, exponent, lower, ratio, two_thirds
from gezhi.losses.cosent import CoSENTLoss, cosent_loss

COSENT, SBERT = "CoSENT", "Sentence-BERT"
DIGITS = {"digits": lambda: read("digits")}
SMOKE = by.Size(640, 200, 1, validation=100)
PASSES = two_thirds("epochs")


def cosent(_dim: int, _labels: Tensor) -> torch.nn.Module:
    return CoSENTLoss()


def regression(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[int, Tensor], torch.nn.Module]:
    return lambda _dim, labels: by.Regression(loss, labels)


VECTORS = Study(
    "vectors",
    by.vectors,
    {SBERT: (by.SentenceBert, "hard"), COSENT: (cosent, "hard")},
    DIGITS,
    {"smoke": SMOKE, "quick": by.Size(4000, 2000, 4), "full": by.Size(4000, 2000, 60)},
    claims={
        "beats-sbert": better("spearman", COSENT, than=SBERT, by=0.02),
        "faster-start": better("spearman, epoch 1", COSENT, than=SBERT, by=0.02),
        "accuracy": better("accuracy", COSENT, than=SBERT, by=0.02),
    },
    trains=PASSES,
    seeds={"full": 5},
    figures=(Dots("spearman", "beats-sbert"), Profile("spearman by epoch", "faster-start", x="epoch")),
)

ONE, SQUARED, FLOOR = "1 ∓ cos", "squared", "1 ∓ max(cos, 0.7)"
HARD, RANDOM = "hard negatives", "random negatives"
LOSSES = {ONE: regression(by.one_minus_plus), SQUARED: regression(by.squared), COSENT: cosent}
REGRESSION = Study(
    "regression",
    by.vectors,
    {f"{name}, {HARD}": (loss, "hard") for name, loss in LOSSES.items()}
    | {f"{FLOOR}, {HARD}": (regression(by.floored), "hard"), f"{ONE}, {RANDOM}": (LOSSES[ONE], "random")},
    DIGITS,
    {"full": by.Size(4000, 2000, 60)},
    claims={
        "one-fails": better("spearman", f"{COSENT}, {HARD}", than=f"{ONE}, {HARD}", by=0.02),
        "squared-fails": better("spearman", f"{COSENT}, {HARD}", than=f"{SQUARED}, {HARD}", by=0.02),
        "random-repairs": better("spearman", f"{ONE}, {RANDOM}", than=f"{ONE}, {HARD}", by=0.02),
        "floor-helps-little": lower("spearman", f"{FLOOR}, {HARD}", than=f"{ONE}, {HARD}", by=-0.02),
    },
    trains=PASSES,
    seeds={"full": 5},
    figures=(Dots("spearman", ("one-fails", "squared-fails", "random-repairs")),),
)

BCE = "cross-entropy"
CROSS = Study(
    "cross-encoder",
    by.cross,
    {BCE: by.binary_cross_entropy, COSENT: cosent_loss},
    DIGITS,
    {"full": by.Size(4000, 2000, 90)},
    claims={
        "cross-level": better("spearman", BCE, than=COSENT, by=-0.01),
        "cross-accuracy": better("accuracy", BCE, than=COSENT, by=-0.01),
        "cross-faster": better("spearman, epoch 8", COSENT, than=BCE, by=0.01),
    },
    trains=PASSES,
    seeds={"full": 20},
    figures=(Profile("spearman by epoch", ("cross-level", "cross-faster"), x="epoch"),),
)

AS_IS, SQUARED_COS, QUESTIONS = "encoder as it is", "squared error of the cosine", "insurance questions"
TEXTS = Study(
    "text pairs",
    adapted,
    {AS_IS: None, SBERT: by.SentenceBert, SQUARED_COS: regression(by.squared), COSENT: cosent},
    {
        **{name: lambda name=name: embedded(read(name)) for name in ("lee-pairs", "simlex-999")},
        QUESTIONS: questions,
    },
    {"smoke": {"simlex-999": 1}, "quick": {"simlex-999": 20}, "full": 60},
    claims={
        "text-gains": better("spearman", COSENT, than=AS_IS, by=0.02),
        "text-sbert": better("spearman", COSENT, than=SBERT, by=0.02),
        "text-squared": better("spearman", COSENT, than=SQUARED_COS, by=0.02),
    },
    accepts="pairs",
    trains=two_thirds(),
    seeds={"full": 20},
    figures=(Dots("spearman", ("text-gains", "text-sbert", "text-squared")),),
)
TUNED = Study(
    "fine-tuned encoder",
    finetuned,
    {
        SBERT: Arm(by.SentenceBert, 1e-4),
        COSENT: Arm(cosent, 1e-4),
        AS_IS: Arm(None),
    },  # of 2e-5 and 1e-4, better for both
    {QUESTIONS: questions},
    {"full": 100},
    claims={
        "tuned-sbert": better("spearman", COSENT, than=SBERT, by=0.02),
    },
    trains=two_thirds(),
    seeds={"full": 5},
    figures=(Dots("spearman", "tuned-sbert"),),
)


def by_matrix(scores: Tensor, labels: Tensor) -> Tensor:
    """All differences at once, hidden where the labels do not order them; quadratic in time and memory."""
    excess = (scores - scores[:, None]).masked_fill(labels >= labels[:, None], -math.inf)
    return torch.cat([scores.new_zeros(1), excess.flatten()]).logsumexp(0)


def sorting(scores: Tensor, labels: Tensor) -> Tensor:
    """What no form can do without, as a yardstick: the order, the scores in it, and a sum."""
    return scores[labels.argsort()].sum()


def step(loss: Callable[[Tensor, Tensor], Tensor], pairs: int, seed: int, _: None) -> Callable[[], None]:
    """Forward and backward on random scores."""
    draw = torch.Generator().manual_seed(seed)
    scores, labels = torch.randn(pairs, generator=draw).requires_grad_(), torch.rand(pairs, generator=draw)
    return lambda: torch.autograd.backward(loss(scores, labels), inputs=[scores])


MATRIX, SORTED, SORTING = "matrix", "sorted", "sorting alone"
COST = Study(
    "cost",
    step,
    {MATRIX: by_matrix, SORTED: cosent_loss},
    {"4096 pairs": 4096},
    {"full": None},
    claims={"faster": ratio("seconds", MATRIX, over=SORTED, at_least=100)},
    timed=True,
    repeats=5,
)
GROWTH = Study(
    "growth",
    step,
    {SORTING: sorting, SORTED: cosent_loss},
    {f"n = {n}": n for n in (4096, 8192, 16384, 32768, 65536)},
    {"full": None},
    claims={"linear": exponent("seconds", SORTED, 0.8, 1.3)},
    timed=True,
    repeats=10,
    figures=(Lines("seconds", "linear", log=(True, True)),),
)

EXPERIMENT = Experiment(
    __doc__,
    (CROSS, VECTORS, REGRESSION, TEXTS, TUNED, COST, GROWTH),
    units={"accuracy": "%", "seconds": "s"},
)
