"""From a study's replicates to what a figure shows: means, intervals, and the regions that claims allow."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gezhi.lab.figures import Dots, Figure, Lines
from gezhi.lab.record import ClaimResult, MethodResult, StudyResult, TestResult, Words
from gezhi.lab.report.numbers import exact_number
from gezhi.lab.report.text import text
from gezhi.lab.stats import of_replicates

Region = tuple[float, float]
Extents = tuple[list[float], list[float]]  # what the horizontal and the vertical axis must hold


@dataclass(frozen=True)
class Summary:
    """Replicates with their mean and 95 % interval (None: there is only one)."""

    values: tuple[float, ...]
    mean: float
    interval: Region | None

    @property
    def extent(self) -> tuple[float, ...]:
        return (*self.values, *(self.interval or ()))


def summary(values: Iterable[float], *, log: bool = False) -> Summary | None:
    """Mean and Student interval, of the logarithms where the axis is logarithmic; None where nothing is finite."""
    kept = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    if not kept:
        return None
    estimate = of_replicates(np.log(kept) if log else kept)
    mean, *ends = (math.exp(v) if log else v for v in (estimate.value, *estimate.interval()) if math.isfinite(v))
    return Summary(tuple(kept), mean, (ends[0], ends[1]) if len(kept) > 1 else None)


@dataclass(frozen=True)
class Run:
    """One run's side of a figure: the study, and the named claims with their tests."""

    name: Words
    method: MethodResult
    study: StudyResult
    claims: Sequence[ClaimResult]
    units: Mapping[str, str]

    def label(self, english: str) -> Words:
        return Words(en=english, zh=self.method.zh.get(english, english))

    def factor(self, metric: str) -> float:
        return 100.0 if self.units.get(metric) == "%" else 1.0

    def arms(self, spec: Figure) -> list[str]:
        than = getattr(spec, "than", None)
        return [arm for arm in spec.arms or self.study.arms if arm in self.study.arms and arm != than]

    def baseline(self, spec: Figure) -> str:
        """The arm that the others are seen against: `than`, the study's first, or the figure's own first."""
        than, shown = getattr(spec, "than", None), self.arms(spec)
        if than is not None or len(shown) < 2:
            return than or ""
        return next((arm for arm in shown if arm == self.study.arms[0]), shown[0])

    def cases(self, spec: Figure) -> list[str]:
        """The cases with data, in the figure's order; a user's file stands for all."""
        measured = [case for case in self.study.cases if case in self.study.replicates]
        wanted = [case for case in spec.cases or measured if case in measured]
        return wanted or measured

    def values(self, metric: str, case: str, arm: str, than: str | None = None) -> list[float]:
        """The metric per seed in the axis' unit, or its difference from another arm; empty if it was not measured."""
        mine, factor = self._series(metric, case, arm), self.factor(metric)
        if than is None:
            return [value * factor for value in mine]
        return [(value - other) * factor for value, other in zip(mine, self._series(metric, case, than), strict=False)]

    def summary(self, spec: Dots | Lines, case: str, arm: str, *, log: bool) -> Summary | None:
        """The arm in this case; over test items, whose numbers are not kept, with the interval of the claim's test."""
        found = summary(self.values(spec.metric, case, arm, spec.than), log=log)
        if found is None or found.interval is not None:
            return found
        how, factor = "value" if spec.than is None else "difference", self.factor(spec.metric)
        for test in self.tests(case, (how,)):
            low, high = (None if end is None else end * factor for end in test.interval)
            asked = (test.metric, test.arm, test.than) == (spec.metric, arm, spec.than)
            if asked and low is not None and high is not None and low < high:
                return Summary(found.values, found.mean, (low, high))
        return found

    def _series(self, metric: str, case: str, arm: str) -> list[float]:
        found = self.study.replicates[case].get(arm, {}).get(metric, [])
        return [math.nan if v is None or isinstance(v, list) else v for v in found]

    def tests(self, case: str, how: Iterable[str]) -> Iterator[TestResult]:
        """The tests of the named claims in this case."""
        for claim in self.claims:
            if claim.case in (None, case):
                yield from (test for test in claim.tests if test.how in how)

    def region(self, spec: Dots | Lines, case: str, arm: str) -> Region | None:
        """Where the named claims want this arm, on the figure's axis; several regions are intersected."""
        found: Region | None = None
        for test in self.tests(case, ("value", "difference", "ratio")):
            mine = (test.metric, test.arm) == (spec.metric, arm)
            region = self.placed(test, case, spec.than) if mine else None
            if region and found and max(region[0], found[0]) <= min(region[1], found[1]):
                found = (max(region[0], found[0]), min(region[1], found[1]))
            found = found or region
        return found

    def placed(self, test: TestResult, case: str, than: str | None = None) -> Region | None:
        """The region of a test on an axis of its metric, or of differences from `than`."""
        low, high = open_ends(test, self.factor(test.metric) if test.how != "ratio" else 1.0)
        if than is not None:
            return (low, high) if (test.how, test.than) == ("difference", than) else None
        if test.than is None:
            return low, high
        other = summary(self.values(test.metric, case, test.than), log=test.how == "ratio")
        if other is None:
            return None
        return scaled(other.mean, low, high) if test.how == "ratio" else (other.mean + low, other.mean + high)


def scaled(mean: float, low: float, high: float) -> Region:
    """The region of a ratio over a positive mean; its open lower side ends at 0."""
    return mean * max(low, 0.0), mean * high


def open_ends(test: TestResult, factor: float = 1.0) -> Region:
    """The region with infinite ends where it is open."""
    return (-math.inf if test.low is None else test.low * factor, math.inf if test.high is None else test.high * factor)


@dataclass(frozen=True)
class Series:
    """One arm of a figure of lines; `points` holds a summary a case, `curve` a profile."""

    name: Words
    rank: int  # 0: the baseline
    x: list[float]
    points: list[Summary] = field(default_factory=list)
    curve: list[float] = field(default_factory=list)
    note: str = ""

    def spoken(self) -> Words:
        """Where the line begins and ends."""
        y = [p.mean for p in self.points] or self.curve
        ends = [(exact_number(self.x[i], digits=4), exact_number(y[i], digits=4)) for i in (0, -1)]
        return text(" to ".join(f"{v} at {x}" for x, v in ends), "，".join(f"{x} 处 {v}" for x, v in ends))


def spoken(summary: Summary) -> str:
    """`0.881 [0.872, 0.890]`."""
    if summary.interval is None:
        return exact_number(summary.mean, digits=4)
    low, high = summary.interval
    return f"{exact_number(summary.mean, digits=3)} [{exact_number(low, digits=3)}, {exact_number(high, digits=3)}]"


def places(cases: Sequence[str], values: Mapping[str, Any]) -> list[float] | None:
    """The numbers along which cases are drawn: their values, or the number in their names; None: they have none."""
    found = []
    for case in cases:
        value = values.get(case)
        number = re.search(r"[-+]?\d[\d  ]*\.?\d*(e[-+]?\d+)?", case)
        if isinstance(value, int | float):
            found.append(float(value))
        elif number:
            found.append(float(re.sub(r"\s", "", number[0])))
        else:
            return None
    return found if len(set(found)) == len(found) else None
