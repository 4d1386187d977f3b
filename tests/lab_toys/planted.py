"""Arms with known effects over seeds. Their noise is a fixed ladder, so every interval is known beforehand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab_toys.calls import note

from gezhi.lab import Experiment, Study, better, exponent, inside, lower, ratio, same

STEP = 0.01
SPREAD = STEP * math.sqrt(2.5)  # standard deviation of five neighbouring steps


def ladder(seed: int) -> float:
    """−2, −1, 0, 1, 2 steps in turn: five neighbouring seeds have mean 0."""
    return STEP * (seed % 5 - 2)


@dataclass(frozen=True)
class Arm:
    """How far it lies from the baseline, how noisy it is, and which seed it breaks at."""

    effect: float = 0.0
    noise: float = 1.0
    breaks_at: int | None = None


BASE = Arm(noise=0)
ARMS = {
    "base": BASE,
    "true": Arm(0.1),
    "null": Arm(0.0),
    "reversed": Arm(-0.1),
    "on the margin": Arm(0.02),
    "near the margin": Arm(0.035),
    "without variance": Arm(0.1, noise=0),
    "broken": Arm(0.1, breaks_at=1002),
}


def score(arm: Arm, level: float, seed: int, _: Any) -> Mapping[str, float]:
    """The level of the seed is common to all arms, so that only paired differences see the effects."""
    note("score", arm, seed)
    value = level + math.sin(seed) + arm.effect + arm.noise * ladder(seed)
    return {"score": math.nan if seed == arm.breaks_at else value}


def gain(arm: str) -> Any:
    return better("score", arm, than="base", by=0.02)


TRUE, REVERSED, OPEN = gain("true"), gain("reversed"), gain("on the margin")
SEEDS = Study(
    "planted",
    score,
    ARMS,
    {"toy": 1000.0},
    {"smoke": None, "quick": None, "full": None},
    claims={
        "true": TRUE,
        "true and same": same("score", "null", than="base", within=0.02),
        "null": gain("null"),
        "reversed": REVERSED,
        "truly lower": lower("score", "reversed", than="base", by=0.02),
        "on the margin": OPEN,
        "open": gain("near the margin"),
        "without variance": gain("without variance"),
        "broken": gain("broken"),
        "both true": (TRUE, lower("score", "reversed", than="base", by=0.02)),
        "one open": (TRUE, OPEN),
        "one reversed": (TRUE, OPEN, REVERSED),
    },
)


def cost(power: float, n: float, seed: int, factor: float) -> Mapping[str, float]:
    """n to a power with some noise in it, or 0 and 1."""
    return {"cost": factor * n ** (power + ladder(seed)) if power else float(n > 10)}


TREND = Study(
    "trend",
    cost,
    {"linear": 1.0, "quadratic": 2.0, "zero": 0.0},
    {"n = 10": 10.0, "n = 100": 100.0, "n = 1000": 1000.0},
    {"quick": 3.0},
    claims={
        "quadratic": exponent("cost", "quadratic", 1.9, 2.1),
        "not linear": exponent("cost", "quadratic", high=1.5),
        "no logarithm": exponent("cost", "zero", high=1.5),
    },
)


def seconds(factor: float, _case: None, seed: int, _: None) -> Mapping[str, float]:
    return {"seconds": factor * math.exp(ladder(seed) * (factor > 1)), "items": 1.0}


RATIO = Study(
    "ratio",
    seconds,
    {"slow": 30.0, "fast": 1.0},
    {"toy": None},
    {"quick": None},
    claims={
        "ten times": ratio("seconds", "slow", over="fast", at_least=10),
        "at most ten times": ratio("seconds", "slow", over="fast", at_most=10),
        "thirty times": ratio("seconds", "slow", over="fast", at_least=30),
    },
)


def exact(value: float, _case: None, _seed: int, _: None) -> Mapping[str, Any]:
    return {"error": value, "profile": [0.0, value, 2 * value]}


EXACT = Study(
    "exact",
    exact,
    {"good": 1e-14, "bad": 1e-2, "infinite": math.inf, "undefined": math.nan},
    {"toy": None},
    {"smoke": None, "quick": None},
    claims={
        "exactly true": inside("error", "good", high=1e-12),
        "exactly false": inside("error", "bad", high=1e-12),
        "infinite": inside("error", "infinite", low=1.0),
        "undefined": inside("error", "undefined", high=1.0),
        "both errors": (inside("error", "good", high=1e-12), inside("error", "bad", high=1e-12)),
    },
    varies="nothing",
)

EXPERIMENT = Experiment("Does the judge see what was planted?", (SEEDS, TREND, RATIO, EXACT), units={"score": "%"})
