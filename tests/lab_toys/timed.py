"""A timed study between two others, and what a measurement finds around it: threads and caches."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from lab_toys.calls import note
from lab_toys.planted import claim
from threadpoolctl import threadpool_info

from gezhi.lab import Experiment, Study, lower


@lru_cache(maxsize=1)
def shared(case: str, seed: int) -> float:
    """What the arms of a case and a seed have in common."""
    note("shared", case, seed)
    return float(seed)


def surroundings(arm: str, case: str, seed: int, _: None) -> Mapping[str, float]:
    """Threads that torch and BLAS may use."""
    note("measure", *arm.split(), case, seed)
    shared(case, seed)
    return {"threads": torch.get_num_threads(), "BLAS threads": max(pool["num_threads"] for pool in threadpool_info())}


def study(name: str, **options: Any) -> Study:
    arms = {"base": f"{name} base", "other": f"{name} other"}
    sizes = {"smoke": None, "quick": None}
    trend = claim(name, lower("threads", "other", than="base", by=1))
    return Study(name, surroundings, arms, {"one": "one", "two": "two"}, sizes, claims=(trend,), **options)


EXPERIMENT = Experiment(
    "What is around a measurement?", (study("before"), study("timed", alone=True, threads=2), study("after"))
)
