"""The interval glyph: a claim's region in one of three fixed places, and what was measured against it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gezhi.lab.record import Words
from gezhi.lab.report.numbers import Named, edges, in_both, region
from gezhi.lab.verdicts import TestResult

WIDTH, HEIGHT = 200.0, 44.0
AT_LEAST, AT_MOST, CENTRE = 72.0, 128.0, 100.0  # where the edge, or the middle of two, always stands
WIDEST = 88.0  # a region with two edges
FIRST, LAST = 9.0, 191.0  # marks stay within
ROOM = 0.8  # of the way to the end, when everything lies on one side of the only edge
APART = 2.0  # of labels that turn away from each other, to either side
LETTER = 6.0  # width of a character of the labels
DECADES = 2.0  # positive numbers that span more are drawn on the logarithm


@dataclass(frozen=True)
class Whisker:
    """An interval with its estimate; a mark alone (`low` is None) is exact."""

    x: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Label:
    x: float
    text: Words
    anchor: str  # "", or the class that ends or starts the text here


@dataclass(frozen=True)
class Glyph:
    """Everything in user units of the 200 × 44 view box."""

    band: tuple[float, float]
    edges: tuple[float, ...]
    labels: tuple[Label, ...]
    lead: Whisker | None
    other: Whisker | None
    title: Words

    @property
    def y(self) -> float:
        """Height of the coloured line: in the middle when nothing stands below it."""
        return 10.0 if self.other else 14.5


def same(name: str) -> Words:
    return Words(en=name, zh=name)


def glyph(test: TestResult, other: TestResult | None, named: Named = same, *, lead: bool = True) -> Glyph:
    """The glyph of a test; `other`: the same test in the run beside it, where it is drawn at all.

    Args:
        named: the unit in both languages.
        lead: whether the test's own estimate is drawn; it is not where only the other run has one.
    """
    drawn = [t for t in (test if lead else None, other) if t is not None and t.estimate is not None]
    exact = test.over == "nothing"
    values = [v for t in drawn for v in (t.estimate, *t.interval) if v is not None]
    place, low, high = placed(test, [*values, *origin(test)] if exact else values)
    marks = {id(t): _whisker(t, place, exact) for t in drawn}
    return Glyph(
        band=(0.0 if low is None else low, WIDTH if high is None else high),
        edges=tuple(edge for edge in (low, high) if edge is not None),
        labels=_labels(test, low, high, named),
        lead=marks.get(id(test)) if lead else None,
        other=marks.get(id(other)),
        title=in_both(region, test, named),
    )


def origin(test: TestResult) -> list[float]:
    """What an exact mark is seen against beside the only edge; it would stand at the same place in every row."""
    one_sided = test.low is None or test.high is None
    return [1.0 if test.how == "ratio" else 0.0] if one_sided else []


Placed = tuple[Callable[[float], float], float | None, float | None]


def placed(test: TestResult, values: Sequence[float]) -> Placed:
    """The row's one scale, the largest that keeps every value in, and the places of the region's edges."""
    ends = [end for end in (test.low, test.high) if end is not None]
    log = test.how == "ratio" or _spans_decades([*values, *ends])
    scale: Callable[[float], float] = (lambda v: math.log(max(v, 1e-300))) if log else (lambda v: v)
    points = [scale(v) for v in values]
    anchor = sum(scale(end) for end in ends) / len(ends)
    if len(ends) == 2:
        middle, size = CENTRE, _largest([(p - anchor, LAST - CENTRE) for p in points], scale(ends[1]) - anchor)
    else:
        middle = AT_MOST if test.low is None else AT_LEAST
        above, below = any(p > anchor for p in points), any(p < anchor for p in points)
        room = 1.0 if above and below else ROOM
        size = _largest([(p - anchor, (LAST - middle if p > anchor else middle - FIRST) * room) for p in points])

    def place(value: float) -> float:
        return round(middle + (scale(value) - anchor) * size, 1)

    return place, *(None if end is None else place(end) for end in (test.low, test.high))  # type: ignore[return-value]


def _largest(reaches: Sequence[tuple[float, float]], half_width: float = 0.0) -> float:
    """Units per pixel such that every (distance, room) fits; `half_width`: of a region with two edges."""
    limits = [room / abs(distance) for distance, room in reaches if distance]
    if half_width > 0:
        limits.append(WIDEST / 2 / half_width)
    return min(limits, default=1.0)


def _spans_decades(values: Sequence[float]) -> bool:
    return min(values) > 0 and math.log10(max(values) / min(values)) > DECADES


def _whisker(test: TestResult, place: Callable[[float], float], exact: bool) -> Whisker:
    assert test.estimate is not None
    if exact:
        return Whisker(place(test.estimate), None, None)
    low, high = test.interval
    return Whisker(place(test.estimate), 0.0 if low is None else place(low), WIDTH if high is None else place(high))


def _labels(test: TestResult, low: float | None, high: float | None, named: Named) -> tuple[Label, ...]:
    if low is None or high is None or test.low == test.high:
        x = high if low is None else low
        assert x is not None
        return (Label(x, in_both(region, test, named), ""),)
    least, most = in_both(lambda t: edges(t)[0], test, named), in_both(lambda t: edges(t)[1], test, named)
    wide = (len(least.en) + len(most.en)) * LETTER / 2 < high - low
    sides = ((low, least, "te", -APART), (high, most, "ts", APART))
    return tuple(Label(x, label, "") if wide else Label(x + shift, label, anchor) for x, label, anchor, shift in sides)
