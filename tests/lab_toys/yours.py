"""Studies that take a user's file: a table, judged over seeds, and probabilities, judged over items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from lab_toys.calls import note
from lab_toys.planted import ladder

from gezhi.data import Features, Probabilities
from gezhi.lab import Experiment, Study, at, better, every, exponent


def built_in() -> Features:
    return Features(np.zeros((4, 1)), np.array([0, 1, 0, 1]), ("a", "b"), ("x",), "built in")


def share(gain: float, data: Features, seed: int, _: None) -> Mapping[str, Any]:
    """Share of the first class, and a number that is positive."""
    note("share", data.name, seed)
    return {"share": (data.y == 0).mean() + gain + ladder(seed) * (gain > 0), "rows": float(len(data.y))}


GAIN = better("share", "gain", than="base", by=0.02)
TABLE = Study(
    "table",
    share,
    {"base": 0.0, "gain": 0.1},
    {"rows = 4": built_in, "rows = 8": built_in},
    every(None),
    claims={
        "anywhere": GAIN,
        "there": at("rows = 4", GAIN),
        "along": exponent("rows", "gain", high=3),
    },
    accepts="features",
)


def hit(which: str, data: Probabilities, seed: int, _: None) -> Mapping[str, Any]:
    """Whether each test item is right: by the predictions, or always."""
    note("hit", data.name, seed)
    right = data.test.argmax(axis=1) == data.test_labels
    return {"correct": np.where(which == "always", True, right).astype(float)}


PREDICTED = Study(
    "probabilities",
    hit,
    {"base": "predictions", "always": "always"},
    {},
    every(None),
    claims={"beats": better("correct", "always", than="base", by=0.02)},
    varies="items",
    accepts="probabilities",
)

EXPERIMENT = Experiment("What of your data?", (TABLE, PREDICTED))
