"""A timed study between two others, and what a measurement finds around it: threads, caches, processes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from lab_toys.calls import note
from threadpoolctl import threadpool_info

from gezhi.lab import Experiment, Study, inside, lower

SECONDS = 0.002  # that a call takes


@lru_cache(maxsize=1)
def shared(case: str, seed: int) -> float:
    """What the arms of a case and a seed have in common."""
    note("shared", case, seed)
    return float(seed)


def found() -> Mapping[str, float]:
    """Threads that torch and BLAS may use."""
    return {"threads": torch.get_num_threads(), "BLAS threads": max(pool["num_threads"] for pool in threadpool_info())}


def surroundings(arm: str, case: str, seed: int, _: Any) -> Mapping[str, float]:
    note("measure", *arm.split(), case, seed, os.getpid(), time.monotonic())
    shared(case, seed)
    time.sleep(SECONDS)
    return found()


def clocked(arm: str, case: str, seed: int, _: Any) -> Callable[[], Mapping[str, Any]]:
    """The call that the lab times."""
    shared(case, seed)

    def call() -> Mapping[str, Any]:
        note("call", *arm.split(), case, seed, os.getpid(), time.monotonic())
        time.sleep(SECONDS)
        return {**found(), "later": lambda: note("later", case, seed) or threading.active_count()}

    return call


def study(name: str, measure: Any, asked: Any, **options: Any) -> Study:
    arms = {"base": f"{name} base", "other": f"{name} other"}
    return Study(
        name, measure, arms, {"one": "one", "two": "two"}, {"smoke": None, "quick": None}, {name: asked}, **options
    )


EXPERIMENT = Experiment(
    "What is around a measurement?",
    (
        study("before", surroundings, lower("threads", "other", than="base", by=1)),
        study("timed", clocked, inside("seconds", "other", SECONDS, 1), timed=True, threads=2, repeats=4),
        study("after", surroundings, lower("threads", "other", than="base", by=1)),
    ),
)
