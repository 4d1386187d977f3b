"""Figures that are one number a test item: 0 or 1, or continuous; with nothing random, or over training seeds too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from lab_toys.planted import claim

from gezhi.lab import Experiment, Study, better, inside, same

ITEMS = 40


def hits(wrong: range, _case: None, _seed: int, _: None) -> Mapping[str, Any]:
    """Right on all items but these; and one number for all of them together."""
    correct = np.ones(ITEMS)
    correct[wrong.start : wrong.stop] = 0
    return {"correct": correct, "accuracy": correct.mean()}


FIXED = Study(
    "fixed test set",
    hits,
    {"base": range(0, 20), "better": range(0, 8), "a little better": range(0, 17), "perfect": range(0, 0)},
    {"toy": None},
    {"smoke": None, "quick": None},
    claims=(
        claim("clearly better", better("correct", "better", than="base", by=0.02)),
        claim("a little better", better("correct", "a little better", than="base", by=0.02)),
        claim("perfect", inside("correct", "perfect", low=0.95)),
        claim("only one number", better("accuracy", "better", than="base", by=0.02)),
    ),
    varies="items",
    units={"correct": "%"},
)


def both(spreads: tuple[float, float], _case: None, seed: int, _: None) -> Mapping[str, Any]:
    """Gains of 1 whose spread over seeds and over items is given; both sum to 0."""
    over_seeds, over_items = spreads
    ladder = np.linspace(-1, 1, ITEMS)
    return {"gain": 1.0 + over_seeds * (seed % 5 - 2) + over_items * ladder if any(spreads) else np.zeros(ITEMS)}


BOTH = Study(
    "fixed test set, random training",
    both,
    {"base": (0.0, 0.0), "seeds vary": (0.5, 0.1), "items vary": (0.01, 9.0)},
    {"toy": None},
    {"quick": None},
    claims=(
        claim("wider over seeds", same("gain", "seeds vary", than="base", within=0.1)),
        claim("wider over items", same("gain", "items vary", than="base", within=0.1)),
    ),
    varies="both",
)

EXPERIMENT = Experiment("What does a test set decide?", (FIXED, BOTH))
