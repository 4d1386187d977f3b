"""From a study's levels to what a figure shows: means, intervals, and the regions that claims allow."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from gezhi.lab.record import Drawn, MeasuredStudy, Words
from gezhi.lab.report.estimates import Region, Summary, summary
from gezhi.lab.report.numbers import exact_number
from gezhi.lab.report.text import joined, text
from gezhi.lab.verdicts import CaseResult, ClaimResult, MethodResult, TestResult

Extents = tuple[list[float], list[float]]  # what the horizontal and the vertical axis must hold
NUMBER = re.compile(r"[-+]?\d[\d\u00a0 ]*\.?\d*(e[-+]?\d+)?")


@dataclass(frozen=True)
class Run:
    """One run's side of a figure: the study, and the figure's claims with their tests."""

    name: Words
    method: MethodResult
    study: MeasuredStudy
    spec: Drawn

    @property
    def claims(self) -> list[ClaimResult]:
        """Those of this study, whose regions have a place here."""
        own = [name for name in self.spec.claims if name in self.study.claims]
        return [claim for name in own if (claim := self.method.claim(name))]

    def unit(self, metric: str) -> str:
        return self.method.measured.units.get(metric, "")

    def factor(self, metric: str) -> float:
        return 100.0 if self.unit(metric) == "%" else 1.0

    def quantity(self) -> Words:
        """What the values are: `accuracy, %`, `accuracy minus softmax, pp`."""
        metric, unit = self.spec.metric, self.unit(self.spec.metric)
        name = self.method.named(metric)
        if self.spec.than is not None:
            name = joined([name, self.method.named(self.spec.than)], " minus ", " 减 ")
            unit = "pp" if unit == "%" else unit
        return joined([name, self.method.named("" if (metric, unit) == ("seconds", "s") else unit)])

    @property
    def arms(self) -> list[str]:
        return [arm for arm in self.spec.arms or self.study.arms if arm in self.study.arms and arm != self.spec.than]

    @property
    def baseline(self) -> str:
        """The arm that the others are seen against: `than`, the study's first, or the figure's own first."""
        if self.spec.than is not None or len(self.arms) < 2:
            return self.spec.than or ""
        return self.study.arms[0] if self.study.arms[0] in self.arms else self.arms[0]

    @property
    def cases(self) -> list[str]:
        """The cases with data, in the figure's order; a user's file stands for all."""
        measured = [case for case in self.study.cases if case in self.study.levels]
        return [case for case in self.spec.cases or measured if case in measured] or measured

    def summary(self, case: str, arm: str, *, log: bool) -> Summary | None:
        """The arm in this case, in the axis' unit."""
        metric = self.spec.metric
        return summary(self.study, metric, case, arm, self.spec.than, log=log, factor=self.factor(metric))

    def curve(self, metric: str, case: str, arm: str) -> list[float]:
        """The mean over the seeds of a metric that is an array; NaN where it is not finite."""
        found = self.study.levels[case].get(arm, {}).get(metric, [])
        arrays = [np.array(level, dtype=float) for level in found if isinstance(level, list)]
        if not arrays or len({len(a) for a in arrays}) > 1:
            return []
        mean = np.mean(arrays, axis=0) * self.factor(metric)
        return [float(v) if np.isfinite(v) else math.nan for v in mean]

    def tests(self, case: str, how: Iterable[str]) -> Iterator[TestResult]:
        """The tests of the figure's claims in this case."""
        for claim in self.claims:
            for result in claim.cases:
                yield from (t for t in result.tests if t.how in how and self._where(claim, result, t) in (None, case))

    def _where(self, claim: ClaimResult, result: CaseResult, test: TestResult) -> str | None:
        """The case that a test speaks of; beside an exponent the one that the claim names."""
        named = self.study.claims[claim.id].cases
        return result.case if result.case or test.how == "exponent" or not named else named[0]

    def region(self, case: str, arm: str) -> Region | None:
        """Where the claims want this arm, on the figure's axis; several regions are intersected."""
        found: Region | None = None
        for test in self.tests(case, ("value", "difference", "ratio")):
            mine = (test.metric, test.arm) == (self.spec.metric, arm)
            region = self.placed(test, case) if mine else None
            if region and found and max(region[0], found[0]) <= min(region[1], found[1]):
                found = (max(region[0], found[0]), min(region[1], found[1]))
            found = found or region
        return found

    def placed(self, test: TestResult, case: str) -> Region | None:
        """The region of a test on an axis of its metric, or of differences from the figure's `than`."""
        low, high = open_ends(test, self.factor(test.metric) if test.how != "ratio" else 1.0)
        if self.spec.than is not None:
            return (low, high) if (test.how, test.than) == ("difference", self.spec.than) else None
        if test.than is None:
            return low, high
        log, factor = test.how == "ratio", self.factor(test.metric)
        other = summary(self.study, test.metric, case, test.than, log=log, factor=factor)
        if other is None:
            return None
        return (other.mean * max(low, 0.0), other.mean * high) if log else (other.mean + low, other.mean + high)


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


def places(cases: Sequence[str], study: MeasuredStudy) -> list[float] | None:
    """The numbers along which cases are drawn: the study's, or those in their names; None: they have none."""
    found: list[float] = []
    for case in cases:
        value, number = study.cases.get(case), NUMBER.search(case)
        if value is None and number is None:
            return None
        found.append(float(re.sub(r"\s", "", number[0])) if value is None and number else float(value or 0.0))
    return found if len(set(found)) == len(found) else None
