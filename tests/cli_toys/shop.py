"""Which of three sellers is better? Divided over its two towns, and askable of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gezhi.lab import Experiment, Study, better, inside

NOISE = 0.01


def sold(gain: float, town: float, seed: int, _: None) -> Mapping[str, float]:
    """The gain is won in the first town and lost in the second."""
    return {"sold": 0.5 + town * gain + NOISE * (seed % 5 - 2) * gain / 0.1, "loss": 1 - gain}


TOWNS = Study(
    "towns",
    sold,
    {"plain": 0.0, "new": 0.1, "bold": 0.2},
    {"north": 1.0, "south": -1.0},
    {"smoke": None, "quick": None, "full": None},
    claims={
        "sells-more": better("sold", "new", than="plain", by=0.02),
        "bold-too": (better("sold", "bold", than="plain", by=0.02), better("sold", "bold", than="new", by=0.02)),
    },
)


def on_table(arm: float, table: Any, seed: int, _: None) -> Mapping[str, float]:
    return {"accuracy": 0.6 + arm + 0.001 * (seed % 5), "rows": float(len(np.asarray(table.X)))}


TABLE = Study(
    "table",
    on_table,
    {"plain": 0.0, "new": 0.1},
    {},
    {"smoke": None, "quick": None, "full": None},
    claims={"any-table": better("accuracy", "new", than="plain", by=0.02)},
    accepts="features",
)


def error(arm: float, _case: None, _seed: int, _: None) -> Mapping[str, float]:
    return {"error": arm}


EXACT = Study(
    "formula",
    error,
    {"formula": 1e-14},
    {"toy": None},
    {"smoke": None, "quick": None, "full": None},
    claims={"exact": inside("error", "formula", high=1e-12)},
    varies="nothing",
)

EXPERIMENT = Experiment(__doc__ or "", (TOWNS, TABLE, EXACT), units={"sold": "%", "accuracy": "%"})
