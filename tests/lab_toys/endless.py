"""A timed study whose fourth call may never end."""

from __future__ import annotations

from collections.abc import Callable

from lab_toys.calls import note, perhaps_stop

from gezhi.lab import Experiment, Study, inside


def clocked(arm: int, _case: None, _seed: int, _: None) -> Callable[[], None]:
    def call() -> None:
        note("score", arm)
        perhaps_stop()

    return call


TIMED = Study(
    "timed",
    clocked,
    {"base": 1, "other": 2},
    {"toy": None},
    {"quick": None},
    claims={"short": inside("seconds", "other", high=1)},
    timed=True,
)

EXPERIMENT = Experiment("Does it end?", (TIMED,))
