"""The figures of a method: the experiment's specifications, drawn from the replicates of both runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from gezhi.lab import drawing_dots, drawing_lines
from gezhi.lab.figure_charts import lines_chart, profile_charts
from gezhi.lab.figure_data import Run
from gezhi.lab.figures import Dots, Figure, Lines, Profile
from gezhi.lab.record import MethodResult, Words
from gezhi.lab.report_numbers import SPACE, exact_number
from gezhi.lab.report_rows import Row
from gezhi.lab.report_text import REFERENCE, VERDICTS, capitalised, joined, text
from gezhi.lab.study import Experiment, Study, load_experiment


@dataclass(frozen=True)
class Panel:
    """One run's drawing; `title` and `description` are what a screen reader speaks."""

    anchor: str
    title: Words
    description: Words
    svg: Markup


@dataclass(frozen=True)
class FigureView:
    finding: Words
    caption: Words
    panels: tuple[Panel, ...]


Pair = tuple[Words, MethodResult]


def experiment_of(stem: str) -> Experiment | None:
    """The experiment, or None where it cannot be imported: a report may be rendered far from its run."""
    try:
        return load_experiment(stem)
    except ImportError:
        return None


def figures_of(experiment: Experiment, runs: Sequence[Pair], rows: Sequence[Row], first: int) -> list[FigureView]:
    """Every figure that some run has data for; `first`: number of the next figure, for ids."""
    found: list[FigureView] = []
    for study in experiment.studies:
        for spec in study.figures:
            sides = [run for pair in runs if (run := _side(pair, study, spec, rows))]
            panels = tuple(_panels(spec, study, sides, f"fig-{first + len(found)}"))
            if panels:
                found.append(FigureView(_finding(spec, rows), _caption(spec, study, sides), panels))
    return found


def _side(pair: Pair, study: Study, spec: Figure, rows: Sequence[Row]) -> Run | None:
    name, method = pair
    measured = next((s for s in method.studies if s.name == study.name and s.replicates), None)
    if measured is None:
        return None
    named = [c for c in method.claims if c.id in spec.claims]
    known = {c.key for c in named if c.tests}
    elsewhere = [row.shown for row in rows if row.mine.id in spec.claims and row.mine.key not in known]
    return Run(name, method, measured, [*(c for c in named if c.tests), *elsewhere], study.units)


def _panels(spec: Figure, study: Study, sides: Sequence[Run], anchor: str) -> Iterator[Panel]:
    if isinstance(spec, Dots):
        yield from _dots(spec, study, sides, anchor)
    elif isinstance(spec, Lines):
        charts = [(run, chart) for run in sides if (chart := lines_chart(run, spec, study.cases))]
        yield from _charts(spec, charts, study, anchor)
    elif isinstance(spec, Profile):
        yield from _charts(spec, [(run, chart) for run in sides for chart in profile_charts(run, spec)], study, anchor)


def _dots(spec: Dots, study: Study, sides: Sequence[Run], anchor: str) -> Iterator[Panel]:
    shown = [(run, groups) for run in sides if (groups := drawing_dots.groups(run, spec))]
    extent = [v for _, groups in shown for group in groups for v in group.extent()]
    for run, groups in shown:
        title = quantity(run, spec, study)
        lines = [
            joined([group.name if len(groups) > 1 else text(""), row.name, text(_spoken(row.summary.mean, row.summary.interval))])
            for group in groups for row in group.rows
        ]  # fmt: skip
        yield _panel(run, title, lines, f"{anchor}-{len(run.name.en)}",
                     lambda ids, g=groups, t=title: drawing_dots.draw(g, extent, t, log=spec.log, labelled_by=ids))  # fmt: skip
