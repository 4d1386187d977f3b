"""Eight jobs of two arms that take a while, to be interrupted."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from lab_toys.calls import note
from lab_toys.planted import claim

from gezhi.lab import Experiment, Study, better


def nap(gain: float, case: int, seed: int, seconds: float) -> Mapping[str, float]:
    note("nap", gain, case, seed)
    time.sleep(seconds)
    return {"score": gain + np.random.default_rng([seed, case]).normal() * gain}


NAPS = Study(
    "naps",
    nap,
    {"base": 0.0, "gain": 1.0},
    {"one": 1, "two": 2},
    {"smoke": 0.0, "quick": 0.15},
    claims=(claim("gain", better("score", "gain", than="base", by=0.02)),),
)

EXPERIMENT = Experiment("Is anything lost?", (NAPS,))
