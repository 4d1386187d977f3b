"""From a run's replicates to what its figures draw: one plot a run, or one a case for profiles."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from markupsafe import Markup

from gezhi.lab.figures import Dots, Figure, Lines, Profile
from gezhi.lab.record import TestResult, Words
from gezhi.lab.report.drawing import tick_label
from gezhi.lab.report.drawing_dots import DotPlot, Group, Row
from gezhi.lab.report.drawing_lines import Band, Chart
from gezhi.lab.report.figure_data import Extents, Region, Run, Series, open_ends, places
from gezhi.lab.report.numbers import SPACE, measured
from gezhi.lab.report.text import joined, text


class Plot(Protocol):
    """A drawing of one run that can share its axes with that of another."""

    @property
    def shaded(self) -> bool: ...
    def extents(self) -> Extents: ...
    def spoken(self) -> list[Words]: ...
    def draw(self, extents: Extents, labelled_by: str) -> Markup: ...


def plots(run: Run, spec: Figure, values: Mapping[str, Any]) -> Iterator[tuple[Words, Plot]]:
    """The plots of a figure for one run, each with its title; `values`: what the study's cases stand for."""
    if isinstance(spec, Dots) and (dots := dot_plot(run, spec)).groups:
        yield dots.title, dots
    elif isinstance(spec, Lines) and (chart := lines_chart(run, spec, values)):
        yield joined([quantity(run, spec), chart.title], " against ", " 对 "), chart
    elif isinstance(spec, Profile):
        for case in run.cases(spec):
            if (chart := profile_chart(run, spec, case)).series:
                name = run.label(case) if len(run.cases(spec)) > 1 else text("")
                yield joined([name, joined([quantity(run, spec), chart.title], " against ", " 对 ")]), chart


def quantity(run: Run, spec: Figure) -> Words:
    """What the values are: `accuracy, %`, `accuracy minus softmax, pp`."""
    unit, than = run.units.get(spec.metric, ""), getattr(spec, "than", None)
    metric = run.label(spec.metric)
    if than is not None:
        metric = joined([metric, run.label(than)], " minus ", " 减 ")
    if unit == "%" and than is not None:
        unit = "pp"
    return joined([metric, text("" if (spec.metric, unit) == ("seconds", "s") else unit)])


def dot_plot(run: Run, spec: Dots) -> DotPlot:
    """Arms without a finite number are left out, and so are cases without arms."""
    groups = []
    for case in run.cases(spec):
        rows = [
            Row(run.label(arm), arm == run.baseline(spec), summary, run.region(spec, case, arm))
            for arm in run.arms(spec)
            if (summary := run.summary(spec, case, arm, log=spec.log))
        ]
        baseline = next((row.summary.mean for row in rows if row.baseline), None)
        name = run.label(case) if len(run.study.cases) > 1 else text("")
        groups += [Group(name, rows, 0.0 if spec.than else baseline)] if rows else []
    return DotPlot(groups, quantity(run, spec), spec.log)


def lines_chart(run: Run, spec: Lines, values: Mapping[str, Any]) -> Chart | None:
    """Each arm's metric along the cases; None where fewer than two cases were measured."""
    cases = run.cases(spec)
    numbers = places(cases, values)
    x = dict(zip(cases, numbers or map(float, range(len(cases))), strict=True))
    cases = sorted(cases, key=lambda case: x[case])
    series = [s for arm, rank in ranked(run, spec) if (s := _series(run, spec, arm, rank, cases, x))]
    if len(cases) < 2 or not series:
        return None
    ticks = [(x[case], text(tick_label(x[case])) if numbers else run.label(case)) for case in cases]
    bands = [*_regions(run, spec, cases, x), *_wedges(run, spec, cases, x)]
    return Chart(series, bands, spec.log, shared_words(run, cases) if numbers else text(""), ticks)


def shared_words(run: Run, cases: list[str]) -> Words:
    """What the cases' names share beside their numbers: `n=512`, `n=1024` give `n`."""
    shared = []
    for names in ([run.label(case).en for case in cases], [run.label(case).zh for case in cases]):
        rest = {re.sub(r"[-+]?\d[\d ]*\.?\d*(e[-+]?\d+)?", "", name, count=1).strip(" =:,") for name in names}
        shared.append(rest.pop() if len(rest) == 1 else "")
    return text(*shared)


def profile_chart(run: Run, spec: Profile, case: str) -> Chart:
    """Each arm's array of the metric over its array `x`; a region spans the whole width."""
    series = []
    for arm, rank in ranked(run, spec):
        found = run.study.replicates[case].get(arm, {})
        x, curve = (_array(found.get(name), run.factor(name)) for name in (spec.x, spec.metric))
        if x and curve:
            series.append(Series(run.label(arm), rank, x, curve=curve))
    signed = any(v < 0 for s in series for v in s.curve)
    bands = [Band(everywhere=region) for region in _profile_regions(run, spec, case, signed=signed)]
    return Chart(series, bands, spec.log, run.label(spec.x))


def _profile_regions(run: Run, spec: Profile, case: str, *, signed: bool) -> dict[Region, None]:
    """The regions of claims on figures of the profile, such as its `largest error`; sizes bound it on both sides."""
    found: dict[Region, None] = {}
    for test in run.tests(case, ("value", "ratio")):
        region = run.placed(test, case) if spec.metric in test.metric else None
        if region:
            low, high = region
            found[(-high, high) if signed and low in (0.0, -math.inf) else region] = None
    return found


def ranked(run: Run, spec: Figure) -> list[tuple[str, int]]:
    """The arms with their ranks: the baseline has 0, the others count from 1."""
    others = [arm for arm in run.arms(spec) if arm != run.baseline(spec)]
    return [(arm, 1 + others.index(arm) if arm in others else 0) for arm in run.arms(spec)]


def _array(values: list[Any] | None, factor: float) -> list[float]:
    """The first seed's array (profiles come from exact studies), with the one `math.nan` for what is not finite."""
    first = values[0] if values else None
    return [math.nan if v is None else v * factor for v in first] if isinstance(first, list) else []


def _series(run: Run, spec: Lines, arm: str, rank: int, cases: list[str], x: Mapping[str, float]) -> Series | None:
    found = {case: s for case in cases if (s := run.summary(spec, case, arm, log=spec.log[1]))}
    if not found:
        return None
    slope = next((test for test in _exponents(run, spec, cases[0]) if test.arm == arm), None)
    note = str(measured(slope, exact=run.study.varies == "nothing")) if slope else ""
    at = [x[case] for case in found]
    return Series(run.label(arm), rank, at, list(found.values()), note=note.replace(SPACE, " "))


def _exponents(run: Run, spec: Lines, case: str) -> list[TestResult]:
    return [t for t in run.tests(case, ["exponent"]) if t.metric == spec.metric and t.estimate is not None]


def _regions(run: Run, spec: Lines, cases: list[str], x: Mapping[str, float]) -> Iterator[Band]:
    """One band an arm, through the cases that the named claims speak of."""
    for arm in run.arms(spec):
        found = [(x[case], *region) for case in cases if (region := run.region(spec, case, arm))]
        if found:
            yield Band(tuple(found))


def _wedges(run: Run, spec: Lines, cases: list[str], x: Mapping[str, float]) -> Iterator[Band]:
    """The slopes that a claim on an exponent allows, from the first point of its arm."""
    for test in _exponents(run, spec, cases[0]):
        start = run.summary(spec, cases[0], test.arm, log=True)
        if start and x[cases[0]] > 0:
            yield Band(tuple(_wedge(test, start.mean, [x[case] for case in cases])), stretches=False)


def _wedge(test: TestResult, first: float, x: list[float]) -> Iterator[tuple[float, float, float]]:
    for value in x:
        growth = math.log(value / x[0])
        low, high = (first * math.exp(min(max(slope * growth, -700.0), 700.0)) if growth else first
                     for slope in open_ends(test))  # fmt: skip
        yield value, low, high
