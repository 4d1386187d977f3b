"""What each arm of a study reached and cost: so that equal compute, and how well the baseline trains, is seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gezhi.lab.record import Compute, MeasuredStudy, Words
from gezhi.lab.report.drawing import Axis, px
from gezhi.lab.report.estimates import Summary, metrics, summary
from gezhi.lab.report.numbers import decimals, exact_number, fixed
from gezhi.lab.report.text import brief, count, joined, text
from gezhi.lab.verdicts import MethodResult

COSTS = {
    "seconds": text("seconds a replicate", "每次重复秒数"),
    "evaluations": text("model calls", "模型调用"),
    "parameters": text("parameters", "参数"),
}
EXACT = 5  # digits of a level without interval
PLOT = 200.0  # width of the drawn level


@dataclass(frozen=True)
class Level:
    """One cell: mean and interval; empty where it was not measured."""

    mean: str
    interval: str = ""


@dataclass(frozen=True)
class Drawn:
    """A level as a line with a mark, and where the baseline stands; `low` is None without an interval."""

    x: str
    low: str | None
    high: str | None
    base: str


@dataclass(frozen=True)
class Line:
    """One arm in one case."""

    arm: Words
    baseline: bool
    levels: Sequence[Level]
    costs: Sequence[str]
    drawn: Drawn | None


@dataclass(frozen=True)
class Table:
    """The levels of a study: its metrics, what was spent, and the lines of each case."""

    study: Words
    headline: Words
    metrics: Sequence[Words]
    costs: Sequence[Words]
    cases: Sequence[tuple[Words, Sequence[Line]]]


def tables(method: MethodResult) -> Iterator[Table]:
    """One table a study with levels."""
    for study in method.measured.studies:
        if study.levels:
            yield table(method, study)


def table(method: MethodResult, study: MeasuredStudy) -> Table:
    names, units = metrics(study), method.measured.units
    entries = [entry for arms in study.compute.values() for entry in arms.values()]
    spent = [name for name in COSTS if any(getattr(entry, name) for entry in entries)]
    shown = [joined([method.named(m), method.named("" if (m, units.get(m)) == ("seconds", "s") else units.get(m, ""))])
             for m in names]  # fmt: skip
    cases = [(method.named(case), list(_lines(method, study, case, names, spent))) for case in study.levels]
    return Table(method.named(study.name), headline(study, entries), shown, [COSTS[name] for name in spent], cases)


def headline(study: MeasuredStudy, entries: Sequence[Compute]) -> Words:
    """`6 arms, 2 cases, 11 ms to 0.4 s each`."""
    arms, cases = count(len(study.arms), "arm", "个臂"), count(len(study.levels), "case", "种情形")
    if not entries:
        return joined([arms, cases])
    seconds = [entry.seconds for entry in entries]
    low, high = brief(min(seconds)), brief(max(seconds))
    span = text(f"{low} to {high} each", f"各 {low} 至 {high}") if low != high else text(f"{low} each", f"各 {low}")
    return joined([arms, cases, span])


def _lines(
    method: MethodResult, study: MeasuredStudy, case: str, names: Sequence[str], spent: Sequence[str]
) -> Iterator[Line]:
    units = method.measured.units
    factors = {name: 100.0 if units.get(name) == "%" else 1.0 for name in names}
    found = {arm: [summary(study, name, case, arm, factor=factors[name]) for name in names] for arm in study.arms}
    drawn = dict(_drawn({arm: levels[0] for arm, levels in found.items() if levels}))
    for arm, levels in found.items():
        costs = [_spent(study.compute.get(case, {}).get(arm), name) for name in spent]
        baseline = arm == study.arms[0] and len(study.arms) > 1
        yield Line(method.named(arm), baseline, [_level(level) for level in levels], costs, drawn.get(arm))


def _level(found: Summary | None) -> Level:
    if found is None:
        return Level("–")
    if found.interval is None:
        return Level(exact_number(found.mean, digits=EXACT))
    low, high = found.interval
    if max(map(abs, found.extent)) >= 1e6 or max(map(abs, found.interval)) < 1e-4:
        ends = (exact_number(end, digits=2) for end in found.interval)
        return Level(exact_number(found.mean, digits=3), f"[{', '.join(ends)}]")
    digits = decimals(found.mean, low, high)
    return Level(fixed(found.mean, digits), f"[{fixed(low, digits)}, {fixed(high, digits)}]")


def _drawn(levels: dict[str, Summary | None]) -> Iterator[tuple[str, Drawn]]:
    """The first metric of every arm on one axis; nothing to see where all agree."""
    known = {arm: level for arm, level in levels.items() if level}
    ends = [v for level in known.values() for v in (level.mean, *(level.interval or ()))]
    if len(known) < 2 or min(ends) == max(ends):
        return
    axis = Axis.over(ends, 4, PLOT - 4, pad=0)
    base = px(axis(next(iter(known.values())).mean))
    for arm, level in known.items():
        low, high = (px(axis(end)) for end in level.interval) if level.interval else (None, None)
        yield arm, Drawn(px(axis(level.mean)), low, high, base)


def _spent(entry: Compute | None, name: str) -> str:
    value = getattr(entry, name) if entry else None
    return "–" if value is None else exact_number(value, digits=3 if name == "seconds" else 9)
