"""From a run's levels to what its figures draw: one plot a run, or one a case for profiles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
from markupsafe import Markup

from gezhi.lab.record import Words
from gezhi.lab.report.drawing import tick_label
from gezhi.lab.report.drawing_dots import DotPlot, Group, Row
from gezhi.lab.report.drawing_grid import Pictures, Strip
from gezhi.lab.report.drawing_lines import Band, Chart
from gezhi.lab.report.estimates import Region
from gezhi.lab.report.figure_data import NUMBER, Extents, Run, Series, open_ends, places
from gezhi.lab.report.numbers import SPACE, measured
from gezhi.lab.report.text import joined, text
from gezhi.lab.verdicts import TestResult


class Plot(Protocol):
    """A drawing of one run that can share its axes with that of another."""

    @property
    def shaded(self) -> bool: ...
    def extents(self) -> Extents: ...
    def spoken(self) -> list[Words]: ...
    def draw(self, extents: Extents, labelled_by: str) -> Markup: ...


def plots(run: Run) -> Iterator[tuple[Words, Plot]]:
    """The plots of a figure for one run, each with its title."""
    if run.spec.kind == "dots" and (dots := dot_plot(run)).groups:
        yield dots.title, dots
    elif run.spec.kind == "lines" and (chart := lines_chart(run)):
        yield against(run.quantity(), chart.title), chart
    elif run.spec.kind == "profile":
        for case in run.cases:
            if (chart := profile_chart(run, case)).series:
                name = run.method.named(case) if len(run.cases) > 1 else text("")
                yield joined([name, against(run.quantity(), chart.title)]), chart
    elif run.spec.kind == "grid":
        for case in run.cases:
            if (pictures := picture_grid(run, case)).strips:
                yield run.method.named(case) if len(run.cases) > 1 else run.quantity(), pictures


def against(up: Words, along: Words) -> Words:
    return joined([up, along], " against ", " 对 ")


def axes(run: Run) -> tuple[bool, bool]:
    """Which axes are logarithmic: along, up."""
    log = run.spec.log
    return log if isinstance(log, tuple) else (log, log)


def dot_plot(run: Run) -> DotPlot:
    """Arms without a finite number are left out, and so are cases without arms."""
    groups, (log, _) = [], axes(run)
    for case in run.cases:
        rows = [
            Row(run.method.named(arm), arm == run.baseline, summary, run.region(case, arm))
            for arm in run.arms
            if (summary := run.summary(case, arm, log=log))
        ]
        baseline = next((row.summary.mean for row in rows if row.baseline), None)
        name = run.method.named(case) if len(run.study.cases) > 1 else text("")
        groups += [Group(name, rows, 0.0 if run.spec.than else baseline)] if rows else []
    return DotPlot(groups, run.quantity(), log)


def lines_chart(run: Run) -> Chart | None:
    """Each arm's metric along the cases; None where fewer than two cases were measured."""
    numbers = places(run.cases, run.study)
    x = dict(zip(run.cases, numbers or map(float, range(len(run.cases))), strict=True))
    cases = sorted(run.cases, key=lambda case: x[case])
    series = [s for arm, rank in ranked(run) if (s := _series(run, arm, rank, cases, x))]
    if len(cases) < 2 or not series:
        return None
    ticks = [(x[case], text(tick_label(x[case])) if numbers else run.method.named(case)) for case in cases]
    bands = [*_regions(run, cases, x), *_wedges(run, cases, x)]
    return Chart(series, bands, axes(run), shared_words(run, cases) if numbers else text(""), ticks)


def shared_words(run: Run, cases: list[str]) -> Words:
    """What the cases' names share beside their numbers: `n=512`, `n=1024` give `n`."""
    named = [run.method.named(case) for case in cases]
    shared = []
    for names in ([name.en for name in named], [name.zh for name in named]):
        rest = {NUMBER.sub("", name, count=1).strip(" =:,") for name in names}
        shared.append(rest.pop() if len(rest) == 1 else "")
    return text(*shared)


def profile_chart(run: Run, case: str) -> Chart:
    """Each arm's array of the metric over its array `x`; a region spans the whole width."""
    series = []
    for arm, rank in ranked(run):
        x, curve = run.curve(run.spec.x, case, arm), run.curve(run.spec.metric, case, arm)
        if x and len(x) == len(curve):
            series.append(Series(run.method.named(arm), rank, x, curve=curve))
    signed = any(v < 0 for s in series for v in s.curve)
    bands = [Band(everywhere=region) for region in _profile_regions(run, case, signed=signed)]
    return Chart(series, bands, axes(run), run.method.named(run.spec.x))


def picture_grid(run: Run, case: str) -> Pictures:
    """The first seed's pictures of each arm; arms whose levels do not make whole pictures are left out."""
    height, width = run.spec.picture
    strips = []
    for arm in run.arms:
        levels = next(iter(run.study.levels[case].get(arm, {}).get(run.spec.metric, [])), None)
        if isinstance(levels, list) and levels and len(levels) % (height * width) == 0:
            tiles = np.nan_to_num(np.array(levels, dtype=float)).reshape(-1, height, width)
            strips.append(Strip(run.method.named(arm), tiles.clip(0, 255).round().astype(np.uint8)))
    return Pictures(strips)


def _profile_regions(run: Run, case: str, *, signed: bool) -> dict[Region, None]:
    """The regions of claims on figures of the profile, such as its `largest error`; sizes bound it on both sides."""
    found: dict[Region, None] = {}
    for test in run.tests(case, ("value", "ratio")):
        drawn = run.spec.metric in test.metric and test.arm in run.arms
        region = run.placed(test, case) if drawn else None
        if region:
            low, high = region
            found[(-high, high) if signed and low in (0.0, -math.inf) else region] = None
    return found


def ranked(run: Run) -> list[tuple[str, int]]:
    """The arms with their ranks: the baseline has 0, the others count from 1."""
    others = [arm for arm in run.arms if arm != run.baseline]
    return [(arm, 1 + others.index(arm) if arm in others else 0) for arm in run.arms]


def _series(run: Run, arm: str, rank: int, cases: list[str], x: Mapping[str, float]) -> Series | None:
    found = {case: s for case in cases if (s := run.summary(case, arm, log=axes(run)[1]))}
    if not found:
        return None
    slope = next((test for test in _exponents(run, cases[0]) if test.arm == arm), None)
    note = str(measured(slope)) if slope else ""
    at = [x[case] for case in found]
    return Series(run.method.named(arm), rank, at, list(found.values()), note=note.replace(SPACE, " "))


def _exponents(run: Run, case: str) -> list[TestResult]:
    return [t for t in run.tests(case, ["exponent"]) if t.metric == run.spec.metric and t.estimate is not None]


def _regions(run: Run, cases: list[str], x: Mapping[str, float]) -> Iterator[Band]:
    """One band an arm, through the cases that the figure's claims speak of."""
    for arm in run.arms:
        found = [(x[case], *region) for case in cases if (region := run.region(case, arm))]
        if found:
            yield Band(tuple(found))


def _wedges(run: Run, cases: list[str], x: Mapping[str, float]) -> Iterator[Band]:
    """The slopes that a claim on an exponent allows, from the first point of its arm."""
    for test in _exponents(run, cases[0]):
        start = run.summary(cases[0], test.arm, log=True)
        if start and x[cases[0]] > 0:
            yield Band(tuple(_wedge(test, start.mean, [x[case] for case in cases])), stretches=False)


def _wedge(test: TestResult, first: float, x: list[float]) -> Iterator[tuple[float, float, float]]:
    for value in x:
        growth = math.log(value / x[0])
        low, high = (first * math.exp(min(max(slope * growth, -700.0), 700.0)) if growth else first
                     for slope in open_ends(test))  # fmt: skip
        yield value, low, high
