"""Figures that are one number a test item: 0 or 1, or continuous; with nothing random, or over training and splits too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gezhi.lab import Experiment, Study, at, better, inside, ratio, same

ITEMS = 40


def hits(wrong: range, _case: None, _seed: int, _: None) -> Mapping[str, Any]:
    """Right on all items but these; and one number for all of them together."""
    correct = np.ones(ITEMS)
    correct[wrong.start : wrong.stop] = 0
    return {"correct": correct, "accuracy": correct.mean()}


FIXED = Study(
    "fixed test set",
    hits,
    {
        "base": range(0, 20),
        "better": range(0, 8),
        "a little better": range(0, 17),
        "perfect": range(0, 0),
        "nothing": range(0, ITEMS),
    },
    {"toy": None},
    {"smoke": None, "quick": None},
    claims={
        "clearly better": better("correct", "better", than="base", by=0.02),
        "a little better": better("correct", "a little better", than="base", by=0.02),
        "hopeless": better("correct", "a little better", than="base", by=0.0749),
        "perfect": inside("correct", "perfect", low=0.95),
        "fewer errors": ratio("correct", "better", over="base", at_least=1.1),
        "nothing right": ratio("correct", "better", over="nothing", at_least=1.1),
        "only one number": better("accuracy", "better", than="base", by=0.02),
    },
    varies="items",
)


UNTESTED = np.nan


def trained(spreads: tuple[float, float], tested: str, seed: int, _: None) -> Mapping[str, Any]:
    """Gains of 1 whose spread over seeds and over rows is given; both sum to 0."""
    over_seeds, over_rows = spreads
    if not any(spreads):
        return {"gain": untested(tested, seed, np.zeros(ITEMS)), "number": 0.0}
    gain = 1.0 + over_seeds * (seed % 5 - 2) + over_rows * np.linspace(-1, 1, ITEMS)
    return {"gain": untested(tested, seed, gain), "number": gain.mean()}


def untested(tested: str, seed: int, values: np.ndarray) -> np.ndarray:
    """All rows, a fifth of them that the seed draws, or as many as the values' own sum says: no two arms alike."""
    if tested == "splits":
        values = np.where(np.arange(ITEMS) % 5 == seed % 5, values, UNTESTED)
    if tested == "own rows":
        values = np.where(np.arange(ITEMS) < 20 + 10 * np.sign(np.abs(values).sum()), values, UNTESTED)
    if tested == "ragged":
        values = values[: ITEMS - seed % 2]
    return np.where(seed == 1002, UNTESTED, values) if tested == "nothing once" else values


TABLE = Study(
    "rows of a table",
    trained,
    {"base": (0.0, 0.0), "seeds vary": (0.5, 0.1), "rows vary": (0.01, 9.0), "both vary": (0.5, 3.0)},
    {name: name for name in ("all", "splits", "own rows", "ragged", "nothing once")},
    {"quick": None},
    claims={
        "over seeds": at("all", same("gain", "seeds vary", than="base", within=0.1)),
        "over rows": at("all", same("gain", "rows vary", than="base", within=0.1)),
        "over both": same("gain", "both vary", than="base", within=5),
        "a number": at("all", same("number", "both vary", than="base", within=5)),
    },
    varies="rows",
)

EXPERIMENT = Experiment("What does a test set decide?", (FIXED, TABLE), units={"correct": "%"})
