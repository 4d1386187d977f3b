"""Dots: one row an arm, grouped by case; replicates as dots, mean and 95 % interval, the claim's region shaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from gezhi.lab.record import Words
from gezhi.lab.report.drawing import Axis, Canvas, tick_label, widest, wrapped
from gezhi.lab.report.estimates import Region, Summary
from gezhi.lab.report.figure_data import Extents
from gezhi.lab.report.text import joined, text

WIDTH, RIGHT = 380.0, 366.0
NAMES = 150.0  # at most this wide; longer names take two lines
ROW, TALL_ROW, HEADING, FIRST, AXIS = 21.0, 30.0, 26.0, 4.0, 42.0


@dataclass(frozen=True)
class Row:
    """One arm in one case."""

    name: Words
    baseline: bool
    summary: Summary
    region: Region | None


@dataclass(frozen=True)
class Group:
    """The arms of one case (nameless where there is no other), and where the baseline stands."""

    name: Words
    rows: Sequence[Row]
    baseline: float | None


@dataclass(frozen=True)
class DotPlot:
    """What a figure of dots shows of one run."""

    groups: Sequence[Group]
    title: Words
    log: bool

    def extents(self) -> Extents:
        """Everything that the axis must hold."""
        rows = [row for group in self.groups for row in group.rows]
        values = [v for row in rows for v in (*row.summary.extent, *(row.region or ()))]
        return [*values, *(g.baseline for g in self.groups if g.baseline is not None)], []

    @property
    def shaded(self) -> bool:
        return any(row.region for group in self.groups for row in group.rows)

    def spoken(self) -> list[Words]:
        return [
            joined([group.name, row.name, text(row.summary.spoken())]) for group in self.groups for row in group.rows
        ]

    def draw(self, extents: Extents, labelled_by: str) -> Markup:
        """The figure; `extents` may span several runs, which then share their axis."""
        names = min(NAMES, widest(row.name for group in self.groups for row in group.rows))
        axis = Axis.over(extents[0], names + 12, RIGHT, log=self.log, pad=0.04)
        canvas, y = Canvas(), FIRST
        for group in self.groups:
            if group.name.en:
                canvas.text((0, y + 17), group.name, "k head")
                y += HEADING
            y = _group(canvas, group, axis, y, names) + 6
        _axis(canvas, axis, y, self.title)
        return canvas.svg(WIDTH, y + AXIS, labelled_by)


def _group(canvas: Canvas, group: Group, axis: Axis, top: float, names: float) -> float:
    heights = [TALL_ROW if _tall(row.name, names) else ROW for row in group.rows]
    starts = [top + sum(heights[:i]) for i in range(len(heights))]
    for row, start, height in zip(group.rows, starts, heights, strict=True):
        if row.region:
            _band(canvas, row.region, axis, (start, start + height))
    if group.baseline is not None:
        x = axis(group.baseline)
        canvas.line((x, top), (x, top + sum(heights)), "rule")
    for row, start, height in zip(group.rows, starts, heights, strict=True):
        _row(canvas, row, axis, start + height / 2, names)
    return top + sum(heights)


def _tall(name: Words, width: float) -> bool:
    return any(len(wrapped(text, width)) > 1 for text in (name.en, name.zh))


def _band(canvas: Canvas, region: Region, axis: Axis, rows: tuple[float, float]) -> None:
    canvas.rect((axis(region[0]), axis(region[1])), rows, "bf")
    for end in region:
        if math.isfinite(end):
            canvas.line((axis(end), rows[0]), (axis(end), rows[1]), "x")


def _row(canvas: Canvas, row: Row, axis: Axis, y: float, names: float) -> None:
    canvas.text((names, y + 4), row.name, "end" if row.baseline else "end k", names)
    if len(row.summary.values) > 1:
        canvas.dots(((axis(v), y + 5.5) for v in row.summary.values), "sd")
    if row.summary.interval:
        low, high = row.summary.interval
        canvas.line((axis(low), y - 2), (axis(high), y - 2), "o" if row.baseline else "ln")
    canvas.circle((axis(row.summary.mean), y - 2), "od" if row.baseline else "dot")


def _axis(canvas: Canvas, axis: Axis, y: float, title: Words) -> None:
    canvas.line((axis.start, y), (axis.end, y), "ax")
    for tick in axis.ticks():
        canvas.line((axis(tick), y), (axis(tick), y + 4), "ax")
        canvas.text((axis(tick), y + 17), tick_label(tick), "mid")
    canvas.text(((axis.start + axis.end) / 2, y + 35), title, "mid")
