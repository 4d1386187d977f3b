"""Many jobs of two arms, one of whose calls may never end."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from lab_toys.calls import note, perhaps_stop

from gezhi.lab import Experiment, Study, better


def score(gain: float, case: int, seed: int, _: None) -> Mapping[str, float]:
    note("score", gain, case, seed)
    perhaps_stop()
    return {"score": gain + np.random.default_rng([seed, case]).normal() * gain}


SCORES = Study(
    "scores",
    score,
    {"base": 0.0, "gain": 1.0},
    {"one": 1, "two": 2},
    {"smoke": None, "quick": None},
    claims={"gain": better("score", "gain", than="base", by=0.02)},
)

EXPERIMENT = Experiment("Is anything lost?", (SCORES,))
