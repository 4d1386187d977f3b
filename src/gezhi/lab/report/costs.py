"""What each arm of a study cost, and what it bought: so that equal compute is seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from gezhi.lab.record import Compute, MethodResult, StudyResult, Words
from gezhi.lab.report.figures import NamedRun
from gezhi.lab.report.numbers import exact_number
from gezhi.lab.report.phrases import named
from gezhi.lab.report.text import REFERENCE, brief, count, joined, text

COLUMNS = {
    "seconds": text("seconds", "秒"),
    "evaluations": text("model calls", "模型调用"),
    "parameters": text("parameters", "参数"),
}
MOST_METRICS = 3


@dataclass(frozen=True)
class Line:
    arm: Words
    cells: Sequence[str]


@dataclass(frozen=True)
class Cost:
    """A table of arms by case, for one study in one run."""

    study: Words
    headline: Words
    columns: Sequence[Words]
    cases: Sequence[tuple[Words, Sequence[Line]]]


def costs(runs: Sequence[NamedRun]) -> Iterator[Cost]:
    """One table a study, from the first run that measured it."""
    for study in runs[0][1].studies:
        for name, method in runs:
            found = [s for s in method.studies if s.name == study.name and s.compute]
            if found:
                yield cost(name, method, found[0])
                break


def cost(run: Words, method: MethodResult, study: StudyResult) -> Cost:
    entries = [entry for arms in study.compute.values() for entry in arms.values()]
    spent = [name for name in COLUMNS if any(getattr(entry, name) for entry in entries)]
    bought = _metrics(study)
    units = {t.metric: t.unit for c in method.claims if c.study == study.name for t in c.tests if t.unit}
    cases = []
    for case, arms in study.compute.items():
        lines = []
        for arm, entry in arms.items():
            cells = [*(_spent(entry, name) for name in spent), *_bought(study, case, arm, bought, units)]
            lines.append(Line(named(method, arm), cells))
        cases.append((named(method, case), lines))
    columns = [
        *(COLUMNS[name] for name in spent),
        *(joined([named(method, m), text(units.get(m, ""))]) for m in bought),
    ]
    where = text("reference run", "参考运行") if run is REFERENCE else text("")
    return Cost(named(method, study.name), joined([headline(study, entries), where]), columns, cases)


def headline(study: StudyResult, entries: Sequence[Compute]) -> Words:
    """`6 arms, 2 cases, 11 ms to 0.4 s each`."""
    seconds = [entry.seconds for entry in entries]
    low, high = brief(min(seconds)), brief(max(seconds))
    arms, cases = count(len(study.arms), "arm", "个臂"), count(len(study.compute), "case", "种情形")
    span = text(f"{low} to {high} each", f"各 {low} 至 {high}") if low != high else text(f"{low} each", f"各 {low}")
    return joined([arms, cases, span])


def _metrics(study: StudyResult) -> list[str]:
    """The study's metrics that are one number a seed."""
    found: dict[str, None] = {}
    for arms in study.replicates.values():
        for metrics in arms.values():
            found |= {name: None for name, values in metrics.items() if not any(isinstance(v, list) for v in values)}
    return list(found)[:MOST_METRICS]


def _spent(entry: Compute, name: str) -> str:
    value = getattr(entry, name)
    return "–" if value is None else exact_number(value, digits=3 if name == "seconds" else 9)


def _bought(study: StudyResult, case: str, arm: str, metrics: Sequence[str], units: dict[str, str]) -> Iterator[str]:
    """Mean of each metric over the seeds."""
    for metric in metrics:
        values = study.replicates.get(case, {}).get(arm, {}).get(metric, [])
        finite = [v * (100 if units.get(metric) == "%" else 1) for v in values if v is not None]
        yield exact_number(fmean(finite), digits=4) if finite else "–"
