"""What spoils a verdict or is marked beside it: bends, spreads below resolution, skewed differences, cases at odds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from lab_toys.planted import ladder

from gezhi.lab import Experiment, Study, at, better, exponent, inside, itself, same

N = {f"n = {n}": n for n in (10, 100, 1000, 10_000, 100_000)}


def power(n: float) -> float:
    return n**1.5


def saturating(n: float) -> float:
    """Slope 1.5, but 0.5 between the last two."""
    return n**1.5 if n < 20_000 else 10 ** (6 + 0.5)


def growing(n: float) -> float:
    """Slopes 0.6, 1.2, 1.8, 2.4."""
    return math.exp(0.3 / math.log(10) * math.log(n) ** 2 - 0.3 * math.log(n))


def staircase(n: float) -> float:
    """Slopes 2, 1, 2, 1."""
    return 10 ** [1, 3, 4, 6, 7][round(math.log10(n)) - 1]


LAWS = {"power": power, "saturating": saturating, "growing": growing, "staircase": staircase}
ALONG = {
    "a power": exponent("cost", "power", 1.4, 1.6),
    "a power that is refuted": exponent("cost", "power", 1.6, 1.8),
    "bends at the end": exponent("cost", "saturating", 1.2, 1.6),
    "bends all along": exponent("cost", "growing", 1.4, 1.6),
    "grows everywhere": exponent("cost", "growing", high=0.5),
    "steps up and down": exponent("cost", "staircase", 1.3, 1.7),
}
LAW = Study(
    "laws",
    lambda law, n, _seed, _: {"cost": law(n)},
    LAWS,
    N,
    {"quick": None},
    claims=ALONG,
    varies="nothing",
)


def noisy(law: Callable[[float], float], n: float, seed: int, spread: float) -> Mapping[str, float]:
    """The law with noise of its own in each case and seed; the same law with so much that neighbours tell nothing."""
    noise = np.random.default_rng([seed, n]).normal(size=2)
    return {"cost": law(n) * math.exp(spread * noise[0]), "rough cost": law(n) * math.exp(20 * spread * noise[1])}


NOISY_LAW = Study(
    "noisy laws",
    noisy,
    LAWS,
    N,
    {"quick": 0.05},
    claims={f"{name}, with noise": asked for name, asked in ALONG.items()}
    | {"a rough power that is refuted": exponent("rough cost", "power", high=1.1)},
)


def fine(arm: str, _case: None, seed: int, _: None) -> Mapping[str, float]:
    """Differences of 0 or 1 with a spread that is rounding, or a step of the metric."""
    spread = {"tiny": 1e-9, "in steps": 0.0, "skewed": 0.0}.get(arm, 0.0)
    found = (1.0 if arm == "tiny" else 0.0) + spread * (seed % 5)
    skew = [0.0, 0.01, 0.02, 0.03, 9.0][seed % 5] if arm == "skewed" else ladder(seed) if arm == "even" else 0.0
    return {"score": 3 + found + skew, "rank": 2.0, "wide": 3 + found}


FINE = Study(
    "spreads",
    fine,
    {name: name for name in ("base", "tiny", "in steps", "even", "skewed")},
    {"toy": None},
    {"quick": None},
    claims={
        "a spread of a billionth": better("score", "tiny", than="base", by=0.5),
        "a resolution that allows it": better("wide", "tiny", than="base", by=0.5),
        "a resolution that forbids it": better("wide", "tiny", than="base", by=0.95),
        "a proven zero": same("wide", "in steps", than="base", within=0.2),
        "too coarse for this zero": same("score", "in steps", than="base", within=0.2),
        "a rank that never varies": inside("rank", "base", high=2.5),
        "plainly skewed": better("score", "skewed", than="base", by=-20),
        "not skewed": better("score", "even", than="base", by=-1),
    },
    resolution={"wide": 0.1, "rank": 1.0},
)


def with_effect(gain: float, effect: float, seed: int, _: None) -> Mapping[str, float]:
    return {"score": gain * effect + ladder(seed) * (gain > 0)}


def broken(gain: float, effect: float, seed: int, _: None) -> Mapping[str, float]:
    if effect > 1:
        raise ZeroDivisionError("nothing to divide by")
    return with_effect(gain, effect, seed, _)


EFFECTS = {"good": 0.1, "fine": 0.2, "bad": -0.1, "worse": -0.2, "margin": 0.02}
GAIN = better("score", "gain", than="base", by=0.02)


def over_cases(name: str, *cases: str, measure: Any = with_effect, more: Mapping[str, float] | None = None) -> Study:
    effects = {case: EFFECTS[case] for case in cases} | dict(more or {})
    return Study(name, measure, {"base": 0.0, "gain": 1.0}, effects, {"quick": None}, claims={name: GAIN})


PARTS = Study(
    "parts",
    with_effect,
    {"base": 0.0, "gain": 1.0},
    EFFECTS,
    {"quick": dict.fromkeys(("good", "bad", "margin"), None)},
    claims={
        "at one case": at("bad", GAIN),
        "at two cases": at(("good", "fine"), GAIN),
        "at a case that is not asked": at("worse", GAIN),
    },
)

EXPERIMENT = Experiment(
    "What is marked?",
    (
        LAW,
        NOISY_LAW,
        FINE,
        over_cases("agreed", "good", "fine"),
        over_cases("refuted", "bad", "worse"),
        over_cases("divided", "good", "bad", "margin"),
        over_cases("open", "good", "margin"),
        over_cases("one fails", "good", "fine", measure=broken, more={"breaks": 2.0}),
        over_cases("all fail", measure=broken, more={"breaks": 2.0, "breaks too": 3.0}),
        PARTS,
        Study("itself", itself, {"zero": lambda case: {"error": 0.0 * case}}, {"toy": 1.0}, {"quick": None},
              claims={"measures itself": inside("error", "zero", high=0)}, varies="nothing"),
    ),
)  # fmt: skip
