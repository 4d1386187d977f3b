"""Lines along cases and profiles along an array: the baseline dashed, every line labelled where it ends."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from gezhi.lab.record import Words
from gezhi.lab.report.drawing import Axis, Canvas, Point, polyline, text_width, tick_label, widest, wrapped
from gezhi.lab.report.estimates import Region
from gezhi.lab.report.figure_data import Extents, Series
from gezhi.lab.report.text import joined, text

WIDTH, HEIGHT = 380.0, 268.0
TOP, BOTTOM = 10.0, 226.0
LABELS = 112.0  # at most this wide, right of the axes; longer names take more lines
LINE, SAMPLE = 13.0, 14.0  # height of a label's line; length of the piece of line beside it
KINDS = ("base", "ln", "ln thin", "ln dotted")  # the baseline, and the other arms
BINS = 160  # of a profile; the lowest and the highest value of each are drawn


@dataclass(frozen=True)
class Band:
    """A region as (x, low, high) along the horizontal axis; one point: a short bar there; none: the whole width."""

    points: tuple[tuple[float, float, float], ...] = ()
    everywhere: Region | None = None
    stretches: bool = True  # the vertical axis must hold it


@dataclass(frozen=True)
class Chart:
    """What a figure of lines, or a profile, shows of one run (and one case)."""

    series: Sequence[Series]
    bands: Sequence[Band]
    log: tuple[bool, bool]
    title: Words  # of the horizontal axis
    ticks: Sequence[tuple[float, Words]] = ()  # none: round numbers

    def extents(self) -> Extents:
        """Everything that the horizontal and the vertical axis must hold."""
        regions = [v for band in self.bands if band.stretches for _, *ends in band.points for v in ends]
        measured = [v for s in self.series for point in s.points for v in point.extent]
        curves = [v for s in self.series for v in s.curve]
        everywhere = [v for band in self.bands for v in band.everywhere or ()]
        return [x for s in self.series for x in s.x], [*measured, *curves, *regions, *everywhere]

    @property
    def shaded(self) -> bool:
        return bool(self.bands)

    def spoken(self) -> list[Words]:
        return [joined([series.name, series.spoken()]) for series in self.series]

    def draw(self, extents: Extents, labelled_by: str) -> Markup:
        """The figure; `extents` may span several runs, which then share their axes."""
        right = min(LABELS, max(widest([s.name, text(s.note)]) for s in self.series))
        up = Axis.over(extents[1], BOTTOM, TOP, log=self.log[1])
        left = max(text_width(tick_label(tick)) for tick in up.ticks()) + 10
        pad = 0.0 if self.series[0].curve else 0.03
        along = Axis.over(extents[0], left, WIDTH - right - SAMPLE - 14, log=self.log[0], pad=pad)
        canvas, below = Canvas(), LINE * (_tick_lines(self, along) - 1)
        _frame(canvas, self, along, up, below)
        for band in self.bands:
            _band(canvas, band, along, up)
        ends = [_line(canvas, series, along, up) for series in self.series]
        heights = [_label_height(series, right) for series in self.series]
        for series, y in zip(self.series, spread(ends, heights), strict=True):
            _label(canvas, series, (along.end + 8, y), right)
        return canvas.svg(WIDTH, HEIGHT + below, labelled_by)


def _frame(canvas: Canvas, chart: Chart, along: Axis, up: Axis, below: float) -> None:
    for tick in up.ticks():
        canvas.line((along.start, up(tick)), (along.end, up(tick)), "gr")
        canvas.text((along.start - 6, up(tick) + 4), tick_label(tick), "end")
    canvas.line((along.start, BOTTOM), (along.end, BOTTOM), "ax")
    free = -math.inf
    for value, name in chart.ticks or [(t, text(tick_label(t))) for t in along.ticks(5)]:
        x, half = along(value), min(widest([name]), _tick_width(chart, along)) / 2
        canvas.line((x, BOTTOM), (x, BOTTOM + 4), "ax")
        if x - half > free:
            canvas.text((x, BOTTOM + 17 + below / 2), name, "mid", _tick_width(chart, along))
            free = x + half + 4
    canvas.text(((along.start + along.end) / 2, BOTTOM + 36 + below), chart.title, "mid")


def _tick_width(chart: Chart, along: Axis) -> float:
    return max(40.0, (along.end - along.start) / max(len(chart.ticks), 1) - 4)


def _tick_lines(chart: Chart, along: Axis) -> int:
    return max((_lines(name, _tick_width(chart, along)) for _, name in chart.ticks), default=1)


def _band(canvas: Canvas, band: Band, along: Axis, up: Axis) -> None:
    if band.everywhere:
        canvas.rect((along.start, along.end), [up(v) for v in band.everywhere], "bf")
        for edge in filter(math.isfinite, band.everywhere):
            canvas.line((along.start, up(edge)), (along.end, up(edge)), "x")
    elif len(band.points) == 1:
        x, *ends = band.points[0]
        middle = along(x)
        canvas.rect((max(middle - 10, along.start), min(middle + 10, along.end)), [up(v) for v in ends], "bf")
        for edge in filter(math.isfinite, ends):
            canvas.line((max(middle - 10, along.start), up(edge)), (min(middle + 10, along.end), up(edge)), "x")
    else:
        low = [(along(x), up(low)) for x, low, _ in band.points]
        high = [(along(x), up(high)) for x, _, high in band.points]
        canvas.path(polyline([*low, *reversed(high)]) + "z", "bf")


def _line(canvas: Canvas, series: Series, along: Axis, up: Axis) -> float:
    """Draw one arm; the height at which it ends."""
    kind = KINDS[series.rank % len(KINDS)]
    if series.curve:
        runs = list(envelope(series, along, up))
        canvas.path("".join(polyline(run) for run in runs if len(run) > 1), kind)
        return runs[-1][-1][1] if runs else BOTTOM
    canvas.path(polyline((along(x), up(p.mean)) for x, p in zip(series.x, series.points, strict=True)), kind)
    for x, point in zip(series.x, series.points, strict=True):
        if point.interval:
            low, high = point.interval
            canvas.line((along(x), up(low)), (along(x), up(high)), "whisker" if series.rank else "o")
        canvas.dots(((along(x), up(v)) for v in point.values if len(point.values) > 1), "sd")
        canvas.circle((along(x), up(point.mean)), "dot" if series.rank else "od", 2.8)
    return up(series.points[-1].mean)


def envelope(series: Series, along: Axis, up: Axis) -> Iterator[list[Point]]:
    """The curve with at most two points a bin, its lowest and its highest, so that no peak is lost; gaps split it."""
    run: list[Point] = []
    bins = max(1, math.ceil(len(series.x) / BINS))
    for start in range(0, len(series.x), bins):
        some = slice(start, start + bins)
        points = [
            p for p in zip(series.x[some], series.curve[some], strict=True) if along.holds(p[0]) and up.holds(p[1])
        ]
        if not points and run:
            yield run
            run = []
        kept = {min(points, key=lambda p: p[1]), max(points, key=lambda p: p[1])} if points else set()
        run += [(along(x), up(y)) for x, y in sorted(kept)]
    if run:
        yield run


def spread(middles: Sequence[float], heights: Sequence[float]) -> list[float]:
    """The middles of labels moved apart just enough, in the same order and above the axis."""
    order = sorted(range(len(middles)), key=lambda i: middles[i])
    placed = list(middles)
    for before, after in pairwise(order):
        placed[after] = max(placed[after], placed[before] + (heights[before] + heights[after]) / 2)
    limit = BOTTOM
    for i in reversed(order):
        placed[i] = min(placed[i], limit - heights[i] / 2)
        limit = placed[i] - heights[i] / 2
    return placed


def _lines(name: Words, width: float) -> int:
    return max(len(wrapped(text, width)) for text in (name.en, name.zh))


def _label_height(series: Series, width: float) -> float:
    return LINE * (_lines(series.name, width) + bool(series.note)) + 2


def _label(canvas: Canvas, series: Series, at: Point, width: float) -> None:
    """A short piece of the line, and its name."""
    canvas.line((at[0], at[1]), (at[0] + SAMPLE, at[1]), KINDS[series.rank % len(KINDS)])
    x, name = at[0] + SAMPLE + 5, "k" if series.rank else ""
    up = LINE / 2 if series.note else 0.0
    canvas.text((x, at[1] + 4 - up), series.name, name, width)
    if series.note:
        canvas.text((x, at[1] + 4 + _lines(series.name, width) * LINE / 2), series.note, name)
