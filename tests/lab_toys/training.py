"""Arms that a number of steps improves: settled, or still on their way when the run ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from lab_toys.calls import note
from lab_toys.planted import ladder

from gezhi.lab import Experiment, Study, at, better, exponent, inside, ratio, same, two_thirds

ROWS = 20


@dataclass(frozen=True)
class Steps:
    """How long an arm is trained; `width` does not change with it."""

    steps: int
    width: int = 1


@dataclass(frozen=True)
class Arm:
    """Where it ends, and after how many steps it has come to within 1/e of that."""

    end: float
    pace: float


ARMS = {
    "undertrained": Arm(1.0, 100.0),
    "settled": Arm(1.2, 3.0),
    "as good": Arm(1.25, 3.0),
    "lower": Arm(0.9, 3.0),
    "diverging": Arm(math.nan, 3.0),
}


def reached(arm: Arm, size: Steps) -> float:
    return arm.end * (1 - math.exp(-size.steps / arm.pace))


def trained(arm: Arm, n: float, seed: int, size: Steps) -> Mapping[str, float]:
    """A score, and one after the last pass: that name has the number of steps in it."""
    note("trained", arm, n, seed, size.steps, size.width)
    score = reached(arm, size) + ladder(seed) * arm.end**2
    if math.isnan(arm.end):
        score = 1.2 + ladder(seed) if size.steps > 80 else math.nan
    return {"score": score, "cost": n**score, f"score, step {size.steps}": score}


def by_row(arm: Arm, _n: float, seed: int, size: Steps) -> Mapping[str, Any]:
    rows = reached(arm, size) + ladder(seed) * arm.end**2 + np.linspace(-0.1, 0.1, ROWS) * arm.end
    return {"score": np.where(np.arange(ROWS) % 2 == seed % 2, rows, np.nan)}


SIZES = {"smoke": Steps(3), "quick": Steps(120), "full": {"n = 10": Steps(120), "n = 100": Steps(30, width=2)}}
CASES = {"n = 10": 10.0, "n = 100": 100.0}
TRAINED = Study(
    "trained",
    trained,
    ARMS,
    CASES,
    SIZES,
    claims={
        "gains on a baseline that still moves": better("score", "settled", than="undertrained", by=0.2),
        "a wide margin allows its moves": better("score", "undertrained", than="settled", by=-0.9),
        "equal to what still moves": same("score", "undertrained", than="settled", within=0.25),
        "two settled": same("score", "settled", than="as good", within=0.3),
        "a ratio to what still moves": ratio("score", "settled", over="undertrained", at_least=1.2),
        "a ratio of the settled": ratio("score", "settled", over="as good", at_least=0.9),
        "a ratio near 1 to what still moves": ratio("score", "undertrained", over="lower", at_most=1.0),
        "a ratio far from 1": ratio("score", "settled", over="undertrained", at_least=1.0),
        "a ratio of 1 of the settled": ratio("score", "settled", over="lower", at_least=1.0),
        "above an edge that is near": inside("score", "undertrained", low=0.6),
        "above an edge that is far": inside("score", "undertrained", low=-3),
        "a slope that still moves": exponent("cost", "undertrained", low=0.6),
        "a slope that has settled": exponent("cost", "settled", low=1.0),
        "nothing to compare with": better("score", "diverging", than="settled", by=-0.5),
        "after the last step": at("n = 10", better("score, step 120", "settled", than="undertrained", by=0.2)),
    },
    trains=two_thirds("steps"),
)
ROW_BY_ROW = Study(
    "row by row",
    by_row,
    {name: ARMS[name] for name in ("undertrained", "settled", "as good")},
    {"table": 1.0},
    {"quick": Steps(120)},
    claims={
        "rows still move": better("score", "settled", than="undertrained", by=0.2),
        "rows have settled": better("score", "settled", than="as good", by=-0.2),
    },
    varies="rows",
    trains=two_thirds("steps"),
)

EXPERIMENT = Experiment("Is it trained?", (TRAINED, ROW_BY_ROW))
