"""Dots: one row an arm, grouped by case; replicates as dots, mean and 95 % interval, the claim's region shaded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from gezhi.lab.drawing import Axis, Canvas, tick_label, widest, wrapped
from gezhi.lab.figure_data import Region, Run, Summary
from gezhi.lab.figures import Dots
from gezhi.lab.record import Words

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
    """The arms of one case, and where the baseline stands."""

    name: Words
    rows: Sequence[Row]
    baseline: float | None

    def extent(self) -> Iterator[float]:
        """Everything that the axis must hold."""
        for row in self.rows:
            yield from row.summary.extent
            yield from (end for end in row.region or () if math.isfinite(end))
        if self.baseline is not None:
            yield self.baseline


def groups(run: Run, spec: Dots) -> list[Group]:
    """What the figure shows of a run; arms without a finite number are left out."""
    found = []
    for case in run.cases(spec):
        rows = []
        for arm in run.arms(spec):
            summary = run.summary(spec, case, arm, log=spec.log)
            if summary:
                rows.append(Row(run.label(arm), arm == run.study.arms[0], summary, run.region(spec, case, arm)))
        if rows:
            lines = [row.summary.mean for row in rows if row.baseline]
            found.append(Group(run.label(case), rows, 0.0 if spec.than else next(iter(lines), None)))
    return found


def draw(shown: Sequence[Group], extent: Sequence[float], title: Words, *, log: bool, labelled_by: str) -> Markup:
    """The figure of one run; `extent` may span several runs, which then share their axis."""
    names = min(NAMES, widest(row.name for group in shown for row in group.rows))
    axis = Axis.over(extent, names + 12, RIGHT, log=log, pad=0.04)
    canvas, y = Canvas(), FIRST
    for group in shown:
        if len(shown) > 1:
            canvas.text((0, y + 17), group.name, "k head")
            y += HEADING
        y = _group(canvas, group, axis, y, names) + 6
    _axis(canvas, axis, y, title)
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
