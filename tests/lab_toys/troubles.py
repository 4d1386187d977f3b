"""Data that cannot be had, a measure that fails, one that forgets a metric, one that warns; and a healthy study."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from lab_toys.planted import ladder

from gezhi.data import DataUnavailable
from gezhi.lab import Experiment, Study, better

ARMS = {"base": 0.0, "gain": 0.1}
GAIN = better("score", "gain", than="base", by=0.02)


def score(gain: float, _case: Any, seed: int, _: None) -> Mapping[str, Any]:
    return {"score": gain + ladder(seed) * (gain > 0)}


def absent() -> None:
    raise DataUnavailable("poems is not on this machine. Run: gezhi data get poems")


def failing(gain: float, _case: Any, _seed: int, _: None) -> Mapping[str, Any]:
    raise ZeroDivisionError(f"nothing to divide by in [/{gain}]")


def forgetful(gain: float, _case: Any, _seed: int, _: None) -> Mapping[str, Any]:
    return {"score": 0.0} if gain == 0 else {"scores": 0.0}


def wordy(_gain: float, _case: Any, _seed: int, _: None) -> Mapping[str, Any]:
    return {"score": "high"}


def warning(gain: float, case: Any, seed: int, size: None) -> Mapping[str, Any]:
    warnings.warn(f"seed {seed} is ill-conditioned", RuntimeWarning, stacklevel=1)
    return score(gain, case, seed, size)


def study(name: str, measure: Any, cases: Mapping[str, Any]) -> Study:
    return Study(name, measure, ARMS, cases, {"quick": None}, claims={name: GAIN})


EXPERIMENT = Experiment(
    "What goes wrong?",
    (
        study("healthy", score, {"toy": None}),
        study("one case absent", score, {"toy": None, "poems": absent}),
        study("absent", score, {"poems": absent}),
        study("failing", failing, {"toy": None}),
        study("forgetful", forgetful, {"toy": None}),
        study("wordy", wordy, {"toy": None}),
        study("warning", warning, {"toy": None}),
    ),
)
