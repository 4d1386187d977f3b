"""The figures of a method: the experiment's specifications, drawn from the replicates of both runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from gezhi.lab.figures import Figure, Profile
from gezhi.lab.record import MethodResult, Words
from gezhi.lab.report.figure_data import Run
from gezhi.lab.report.figure_plots import Plot, plots
from gezhi.lab.report.rows import Row
from gezhi.lab.report.text import VERDICTS, capitalised, joined, text
from gezhi.lab.study import Experiment, Study, load_experiment


@dataclass(frozen=True)
class Panel:
    """One drawing; `title` and `description` are what a screen reader speaks."""

    anchor: str
    title: Words
    description: Words
    svg: Markup


@dataclass(frozen=True)
class FigureView:
    """A figure with its panels; `finding` comes from the verdicts, `caption` from the experiment."""

    number: int
    finding: Words
    caption: Words
    panels: Sequence[Panel]


NamedRun = tuple[Words, MethodResult]  # "Your run" and its result
Drawn = tuple[Words, Words, Plot]  # the run's name, the plot's title, the plot


def experiment_of(stem: str) -> Experiment | None:
    """The experiment, or None where it cannot be imported: a report may be rendered far from its run."""
    try:
        return load_experiment(stem)
    except ImportError:
        return None


def figures_of(experiment: Experiment, runs: Sequence[NamedRun], rows: Sequence[Row], first: int) -> list[FigureView]:
    """Every figure that some run has data for; `first`: number of the first one."""
    found: list[FigureView] = []
    for study in experiment.studies:
        for spec in study.figures:
            number = first + len(found)
            sides = list(_sides(runs, study, spec, rows))
            drawn = once([(run.name, title, plot) for run in sides for title, plot in plots(run, spec, study.cases)])
            if drawn:
                about = [row for row in rows if row.mine.id in spec.claims]
                base = sides[0].label(sides[0].baseline(spec))
                how = reading(spec, study, base, shaded=any(plot.shaded for *_, plot in drawn))
                caption = joined([text(spec.en, spec.zh), how], " ", "")
                found.append(FigureView(number, finding(about), caption, _panels(drawn, f"fig-{number}")))
    return found


def _sides(runs: Sequence[NamedRun], study: Study, spec: Figure, rows: Sequence[Row]) -> Iterator[Run]:
    """The runs that measured the study, each with the tests of the named claims: its own, or the other run's."""
    for name, method in runs:
        measured = [s for s in method.studies if s.name == study.name and s.replicates]
        own = {c.key: c for c in method.claims if c.tests}
        claims = [own.get(row.mine.key, row.shown) for row in rows if row.mine.id in spec.claims]
        if measured:
            yield Run(name, method, measured[0], claims, study.units)


def once(drawn: Sequence[Drawn]) -> list[Drawn]:
    """Exact figures are the same in both runs, and drawn once."""
    kept: list[Drawn] = []
    for name, title, plot in drawn:
        if plot not in [other for *_, other in kept]:
            twice = sum(plot == other for *_, other in drawn) > 1
            kept.append((text("Both runs", "两次运行") if twice else name, title, plot))
    return kept


def _panels(drawn: Sequence[Drawn], anchor: str) -> list[Panel]:
    extents = [plot.extents() for *_, plot in drawn]
    shared = [v for x, _ in extents for v in x], [v for _, y in extents for v in y]
    panels = []
    for i, (run, title, plot) in enumerate(drawn):
        name = f"{anchor}-{i}"
        svg = plot.draw(shared, f"{name} {name}-d")
        panels.append(Panel(name, joined([run, title], ": ", "："), joined(plot.spoken(), "; ", "；"), svg))
    return panels


def finding(rows: Sequence[Row]) -> Words:
    """What the named claims' verdicts say: the claim itself where there is one, else how many got which."""
    if not rows:
        return text("")
    found = Counter((row.shown.verdict, row.from_reference) for row in rows)
    verdict = capitalised(
        joined(_counted(*kind, n if len(found) > 1 else 0) for kind, n in sorted(found.items(), key=_order))
    )
    claims = {row.mine.id: row.claim for row in rows}
    if len(claims) > 1:
        return text(f"{len(claims)} claims: {verdict.en.lower()}.", f"{len(claims)} 条论断：{verdict.zh}。")
    claim = next(iter(claims.values()))
    return text(f"{verdict.en}: “{claim.en}”", f"{verdict.zh}：“{claim.zh}”")


def _order(found: tuple[tuple[str, bool], int]) -> tuple[int, bool]:
    (verdict, elsewhere), _ = found
    return list(VERDICTS).index(verdict), elsewhere


def _counted(verdict: str, elsewhere: bool, n: int) -> Words:
    """`supported`; `2 supported`, where there are other verdicts too; and where the run itself gave none."""
    name = VERDICTS[verdict]
    en, zh = (f"{n} {name.en}", f"{name.zh} {n}") if n else (name.en, name.zh)
    return text(f"{en} in the reference run", f"参考运行中{zh}") if elsewhere else text(en, zh)


def reading(spec: Figure, study: Study, base: Words, *, shaded: bool) -> Words:
    """How to read the marks of a figure."""
    one = text("round", "轮") if study.alone else text("seed", "个种子")
    single = study.exact or study.varies == "items" or isinstance(spec, Profile)
    parts = [
        text(f"Dashed: {base.en}.", f"虚线：{base.zh}。"),
        text(f"Each dot is one {one.en}; mean and 95\u00a0% interval.", f"每点为一{one.zh}；均值与 95\u00a0% 区间。"),
        text("Shaded: what the claim allows.", "阴影：论断允许的范围。"),
    ]
    shown = (base.en, not single, shaded)
    return joined([part for part, holds in zip(parts, shown, strict=True) if holds], " ", "")
