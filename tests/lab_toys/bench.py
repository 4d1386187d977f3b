"""A package outside the house whose files can be changed, and the keys of its cells as a new process computes them."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from gezhi.lab import cells
from gezhi.lab.cells import Job
from gezhi.lab.study import load_experiment

EXPERIMENT = '''"""A question?"""
import functools
from dataclasses import dataclass, field

import numpy as np
import torch

import outside.far.away
from gezhi.data import Features
from gezhi.lab import Dots, Experiment, Study, at, better
from outside import attributes, decorated
from outside.helpers import double
from outside.sub import triple as times

SHOWN = "an arm"
FACTOR = 7
TABLE = {"first": 1, "second": [2, 3]}
WORDS = {"some", "words", "in", "no", "order"}


@dataclass(frozen=True)
class Arm:
    gain: float
    with_ball: bool = False

    def play(self):
        return self.gain * 5


class Base:
    rate = 11

    @classmethod
    def build(cls):
        return cls(13)


class Player(Base):
    """Plays."""

    kind = "player"

    def __init__(self, strength):
        self.strength = strength

    @property
    def power(self):
        return self.strength + 17

    @staticmethod
    def rest():
        return 19

    def __call__(self, arm):
        return self.power + self.rest()


PLAYER = Player.build()


def closed(count):
    def inner(arm):
        return count + arm.gain

    return inner


CLOSED = closed(23)
PARTIAL = functools.partial(double, offset=29)


@functools.lru_cache
def cached(x):
    return x + 31


def default(x, more=(37, 41), *, extra=43):
    return x + sum(more) + extra


def measure(arm, case, seed, size):
    """What is measured."""
    from outside.late import lately  # here
    from outside import later

    word = [w for w in WORDS if w in {"some", "order"}]
    found = PLAYER(arm) + CLOSED(arm) + PARTIAL(1) + cached(FACTOR) + default(TABLE["first"]) + lately(1) + later.late()
    found += double(arm.play()) * times(1) + attributes.lookup(1) + outside.far.away.distance() + decorated.plain(1)
    found += decorated.retried(1) + decorated.wrapped(1) + decorated.unwrapped(1)
    return {"x": found + seed * size["steps"] + count(units=3), "words": len(word)}


def count(units):
    return units


def other(arm, case, seed, size):
    return {"y": 47.0}


def drawn():
    return np.arange(4) * 53


def table():
    rows = np.arange(4000.0).reshape(2000, 2)
    rows[1000, 1] = 59
    return Features(rows, np.zeros(2000, dtype=int), ("a",), ("x", "z"), "made")


CASES = {
    "toy": drawn,
    "array": np.arange(3000) + 61,
    "tensor": torch.full((3000,), 1.0) * 67,
    "table": table(),
    "nested": {"a": [1, 2], "b": np.array(["text", 71], dtype=object)},
}
ARMS = {"a": Arm(1), "b": Arm(2)}
STUDY = Study(
    "s",
    measure,
    ARMS,
    CASES,
    {"quick": {"steps": 1}, "full": {"steps": 10}},
    claims={"c": better("x", "b", than="a", by=0.1), "d": at("toy", better("x", "b", than="a", by=0.3))},
    figures=(Dots("x", "c"),),
)
SECOND = Study("t", other, {"a": 1, "b": 2}, {"toy": None}, {"quick": 1}, claims={"e": better("y", "b", than="a", by=1)})
TIMED = Study("timed", measure, ARMS, {"toy": None}, {"full": {"steps": 1}, "smoke": {"steps": 1}}, claims={}, timed=True, threads=1)
YOURS = Study("yours", other, {"a": 1, "b": 2}, {}, {"quick": 1}, claims={}, accepts="features")
EXPERIMENT = Experiment(__doc__, (STUDY, SECOND, TIMED, YOURS), units={"x": "%"})
'''
FILES = {
    "outside/__init__.py": "",
    "outside/experiment.py": EXPERIMENT,
    "outside/helpers.py": 'def double(x, offset=0):\n    """Twice."""\n    return x + x + offset\n\nUNUSED = 1\n',
    "outside/sub/__init__.py": "from .thrice import threefold as triple\nfrom outside.stranger import unrelated\n",
    "outside/sub/thrice.py": "from . import constants\n\ndef threefold(x):\n    return constants.THREE * x\n",
    "outside/sub/constants.py": "THREE = 3\n",
    "outside/stranger.py": "def unrelated():\n    return 1\n",
    "outside/attributes.py": "from outside import register\n\ndef lookup(x):\n    return register.deep.value + x\n",
    "outside/register.py": "from outside import deep\n\nOTHER = 73\n",
    "outside/deep.py": "value = 79\nvalueless = 80\n",
    "outside/far/__init__.py": "",
    "outside/far/away.py": "def distance():\n    return 83\n",
    "outside/late.py": "from outside.deep import valueless\n\ndef lately(x):\n    from .later import soon\n    return soon() + 89\n",
    "outside/later.py": "def soon():\n    return 97\n\ndef late():\n    return 101\n\ndef never():\n    return 102\n",
    "outside/decorated.py": """import contextlib
import functools

import torch


def decorator(fn):
    @functools.wraps(fn)
    def inner(*args):
        return fn(*args) + 103
    return inner


class Retry:
    def __init__(self, fn):
        functools.update_wrapper(self, fn)

    def __call__(self, *args):
        return self.__wrapped__(*args) + 107


@decorator
def plain(x):
    return x + 109


@Retry
def retried(x):
    return x + 113


@torch.no_grad()
def wrapped(x):
    return x + 127


class Context(contextlib.ContextDecorator):
    def __enter__(self):
        return 131
    def __exit__(self, *_):
        return False


@Context()
def unwrapped(x):
    return x + 137
""",
}


@dataclass
class Bench:
    """The files of the package, the key of its cells."""

    root: Path
    files: dict[str, str] = field(default_factory=lambda: dict(FILES))

    def job(self, **changes) -> Job:
        job = Job("outside.experiment", "s", "toy", 1000, "quick", ("a", "b"), None, str(self.root / "run"))
        return replace(job, **changes)

    def write(self) -> None:
        for name, text in self.files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def key(self, arm: str = "a", **changes) -> str:
        """The key as a new process would compute it."""
        self.write()
        self.forget()
        return self.job(**changes).key(arm)

    def change(self, file: str, old: str, new: str) -> None:
        assert self.files[file].count(old) == 1, (file, old)
        self.files[file] = self.files[file].replace(old, new)

    @staticmethod
    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "outside"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        for cached in (cells.arm_code, load_experiment):
            cached.cache_clear()
