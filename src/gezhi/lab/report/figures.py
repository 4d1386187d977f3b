"""The figures of a method: what its experiment asked to see, drawn from the levels of both runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from gezhi.lab.record import Drawn, Words
from gezhi.lab.report.figure_data import Run
from gezhi.lab.report.figure_plots import Plot, plots
from gezhi.lab.report.rows import ClaimRow, Pair
from gezhi.lab.report.text import FILE, VERDICTS, YOURS, capitalised, joined, text

FEW = 3  # arms or cases that a caption names


@dataclass(frozen=True)
class Panel:
    """One drawing; `title` and `description` are what a screen reader speaks."""

    anchor: str
    title: Words
    description: Words
    svg: Markup


@dataclass(frozen=True)
class Figure:
    """A figure with its panels; `finding` comes from the verdicts, `caption` from the names of what is drawn."""

    number: int
    finding: Words
    caption: Words
    panels: Sequence[Panel]


Drawing = tuple[Words, Words, Plot]  # the run's name, the plot's title, the plot


def figures_of(pair: Pair, first: int) -> list[Figure]:
    """Every figure that some run has data for; `first`: number of the first one."""
    found: list[Figure] = []
    for study in pair.lead.measured.studies:
        for spec in study.figures:
            sides = list(_sides(pair, study.name, spec))
            drawn = once([(run.name, title, plot) for run in sides for title, plot in plots(run)])
            if drawn:
                number = first + len(found)
                about = [row for row in pair.rows if row.shown.id in spec.claims]
                caption = joined([subject(sides[0]), sentences(about), reading(sides[0], drawn)], " ", "")
                found.append(Figure(number, finding(about), caption, _panels(drawn, f"fig-{number}")))
    return found


def _sides(pair: Pair, study: str, spec: Drawn) -> Iterator[Run]:
    """The runs that measured the study, the user's own file before all."""
    file = pair.file if pair.file is not pair.lead else None
    for name, method in ((FILE, file), (pair.name, pair.lead), (YOURS, pair.beside)):
        for found in method.measured.studies if method else ():
            if method and found.name == study and found.levels:
                yield Run(name, method, found, spec)


def once(drawn: Sequence[Drawing]) -> list[Drawing]:
    """Exact figures are the same in both runs, and drawn once."""
    kept: list[Drawing] = []
    for name, title, plot in drawn:
        if plot not in [other for *_, other in kept]:
            twice = sum(plot == other for *_, other in drawn) > 1
            kept.append((text("Both runs", "两次运行") if twice else name, title, plot))
    return kept


def _panels(drawn: Sequence[Drawing], anchor: str) -> list[Panel]:
    extents = [plot.extents() for *_, plot in drawn]
    shared = [v for x, _ in extents for v in x], [v for _, y in extents for v in y]
    panels = []
    for i, (run, title, plot) in enumerate(drawn):
        name = f"{anchor}-{i}"
        svg = plot.draw(shared, f"{name} {name}-d")
        panels.append(Panel(name, joined([run, title], ": ", "："), joined(plot.spoken(), "; ", "；"), svg))
    return panels


def finding(rows: Sequence[ClaimRow]) -> Words:
    """What the figure's claims came to: the sentence of one, or how many got which verdict."""
    if len(rows) == 1:
        return said(rows[0])
    found = Counter(row.shown.verdict for row in rows)
    counts = joined(text(f"{n} {VERDICTS[v].en}", f"{VERDICTS[v].zh} {n}") for v, n in found.items())
    return text(f"{counts.en}.", f"{counts.zh}。") if found else counts


def sentences(rows: Sequence[ClaimRow]) -> Words:
    """The sentences of several claims, each behind its verdict."""
    return joined((said(row) for row in rows), " ", "") if len(rows) > 1 else text("")


def said(row: ClaimRow) -> Words:
    verdict, claim = capitalised(VERDICTS[row.shown.verdict]), row.shown.words
    return text(f"{verdict.en}: “{claim.en}”", f"{verdict.zh}：“{claim.zh}”")


def subject(run: Run) -> Words:
    """What is drawn: `Accuracy, %: softmax, linear; in 4 cases.`"""
    arms = _listed(run, run.arms, text("arms", "个臂"))
    cases = _listed(run, run.cases, text("cases", "种情形")) if len(run.study.cases) > 1 else text("")
    what = capitalised(joined([run.quantity(), joined([arms, cases], "; ", "；")], ": ", "："))
    return text(f"{what.en}.", f"{what.zh}。")


def _listed(run: Run, names: Sequence[str], many: Words) -> Words:
    """A few names that have no comma of their own, or how many there are."""
    if len(names) > FEW or any("," in name for name in names):
        return text(f"{len(names)} {many.en}", f"{len(names)} {many.zh}")
    return joined(map(run.method.named, names), ", ", "、")


def reading(run: Run, drawn: Sequence[Drawing]) -> Words:
    """How to read the marks of a figure."""
    one = text("round", "轮") if run.study.timed else text("seed", "个种子")
    base = run.method.named(run.baseline)
    many = len(run.study.seeds) > 1
    parts = [
        (run.baseline and run.spec.kind != "grid", text(f"Dashed: {base.en}.", f"虚线：{base.zh}。")),
        (many and run.spec.kind == "grid", text("Of the first seed.", "取自首个种子。")),
        (many and run.spec.kind in ("dots", "lines"),
         text(f"Each dot is one {one.en}; mean and 95\u00a0% interval.", f"每点为一{one.zh}；均值与 95\u00a0% 区间。")),
        (many and run.spec.kind == "profile", text("Mean over the seeds.", "各种子的均值。")),
        (any(plot.shaded for *_, plot in drawn), text("Shaded: what the claim allows.", "阴影：论断允许的范围。")),
    ]  # fmt: skip
    return joined([part for holds, part in parts if holds], " ", "")
