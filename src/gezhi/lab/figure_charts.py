"""From a run's replicates to the chart of a figure of lines or profiles."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gezhi.lab.drawing import tick_label
from gezhi.lab.drawing_lines import Band, Chart
from gezhi.lab.figure_data import Run, Series, open_ends, places, profile_series
from gezhi.lab.figures import Lines, Profile
from gezhi.lab.record import TestResult, Words
from gezhi.lab.report_numbers import measured

NUMBER = r"[-+]?\d[\d ]*\.?\d*(e[-+]?\d+)?"


def lines_chart(run: Run, spec: Lines, values: Mapping[str, Any]) -> Chart | None:
    """Each arm's metric along the cases; None where fewer than two cases were measured."""
    cases = run.cases(spec)
    if len(cases) < 2:
        return None
    numbers = places(cases, values)
    x = dict(zip(cases, numbers or map(float, range(len(cases))), strict=True))
    if numbers:
        cases.sort(key=lambda case: x[case])
    series = [s for arm in run.arms(spec) if (s := _series(run, spec, arm, cases, x))]
    if not series:
        return None
    ticks = [(x[c], Words(en=(n := tick_label(x[c])), zh=n) if numbers else run.label(c)) for c in cases]
    bands = [*_regions(run, spec, cases, x), *_wedges(run, spec, cases, x)]
    return Chart(series, bands, ticks, axis_title(run, cases) if numbers else Words(en="", zh=""))


def axis_title(run: Run, cases: list[str]) -> Words:
    """What the cases' names share beside their numbers: `n=512`, `n=1024` give `n`."""
    names = [run.label(case) for case in cases]
    shared = [{re.sub(NUMBER, "", text, count=1).strip(" =:,") for text in texts}
              for texts in ([n.en for n in names], [n.zh for n in names])]  # fmt: skip
    en, zh = (next(iter(found)) if len(found) == 1 else "" for found in shared)
    return Words(en=en, zh=zh.removeprefix("个"))


def profile_charts(run: Run, spec: Profile) -> Iterator[Chart]:
    """One chart a case: each arm's array along `x`."""
    for case in run.cases(spec):
        series = profile_series(run, spec, case)
        tests = [t for claim in run.claims if claim.case in (None, case) for t in claim.tests if t.how == "value"]
        factor = run.factor(spec.metric)
        bands = {open_ends(t, factor): Band(everywhere=open_ends(t, factor)) for t in tests}
        if series:
            yield Chart(series, list(bands.values()), title=run.label(spec.x))


def _series(run: Run, spec: Lines, arm: str, cases: list[str], x: Mapping[str, float]) -> Series | None:
    found = {case: s for case in cases if (s := run.summary(spec, case, arm, log=spec.log[1]))}
    if not found:
        return None
    slope = next((t for t in run.tests(spec, cases[0], ["exponent"]) if t.arm == arm and t.estimate is not None), None)
    note = str(measured(slope, exact=run.study.varies == "nothing")) if slope else ""
    baseline = arm == run.study.arms[0]
    return Series(run.label(arm), baseline, [x[case] for case in found], list(found.values()), note=note)


def _regions(run: Run, spec: Lines, cases: list[str], x: Mapping[str, float]) -> Iterator[Band]:
    """One band an arm, through the cases that the named claims speak of."""
    for arm in run.arms(spec):
        found = [(x[case], *region) for case in cases if (region := run.region(spec, case, arm))]
        if found:
            yield Band(tuple(found))


def _wedges(run: Run, spec: Lines, cases: list[str], x: Mapping[str, float]) -> Iterator[Band]:
    """The slopes that a claim on an exponent allows, from the first point of its arm."""
    if min(x.values()) <= 0:
        return
    for test in run.tests(spec, cases[0], ["exponent"]):
        start = run.summary(spec, cases[0], test.arm, log=True)
        if start:
            yield Band(tuple(_wedge(test, start.mean, [x[case] for case in cases])), stretches=False)


def _wedge(test: TestResult, first: float, x: list[float]) -> Iterator[tuple[float, float, float]]:
    low, high = open_ends(test)
    for value in x:
        growth = math.log(value / x[0])
        yield value, *(first * math.exp(min(max(slope * growth, -700.0), 700.0)) if growth else first
                       for slope in (low, high))  # type: ignore[misc]  # fmt: skip
