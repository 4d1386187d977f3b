"""One section a method: its page's words, the cards of its claims, its figures, what each arm cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from gezhi.lab.record import ClaimResult, MethodResult, StudyResult, TestResult, Words
from gezhi.lab.report_figures import FigureView, NamedRun, experiment_of, figures_of
from gezhi.lab.report_numbers import Measured, exact_number, measured, region
from gezhi.lab.report_pages import Page, page
from gezhi.lab.report_rows import Row
from gezhi.lab.report_summary import Tally
from gezhi.lab.report_text import count, joined, text

MOST_METRICS = 3


@dataclass(frozen=True)
class TestLine:
    """One test of a conjunction: what it compares, what was found, what the claim allows."""

    __test__ = False

    name: Words
    result: Measured
    region: str


@dataclass(frozen=True)
class Card:
    """A claim with its cases; `proud`: the refuted one that stands first."""

    claim: Words
    rows: Sequence[Row]
    proud: bool


@dataclass(frozen=True)
class Cost:
    """What each arm of a study cost, and what it bought."""

    study: Words
    run: Words
    headline: Words
    columns: Sequence[Words]
    groups: Sequence[tuple[Words, Sequence[tuple[Words, Sequence[str]]]]]


@dataclass(frozen=True)
class Section:
    """Everything that the report says about one method."""

    method: MethodResult
    rows: Sequence[Row]
    pages: tuple[Page | None, Page | None]
    cards: Sequence[Card]
    figures: Sequence[FigureView]
    drawable: bool
    costs: Sequence[Cost]

    @property
    def tally(self) -> Tally:
        return Tally.of(row.mine for row in self.rows)

    @property
    def ran(self) -> bool:
        return any(study.reason is None for study in self.method.studies)

    @property
    def in_reference(self) -> bool:
        return any(row.from_reference for row in self.rows)

    @property
    def scopes(self) -> list[Words]:
        return list({row.mine.scope.en: row.mine.scope for row in self.rows if row.mine.scope.en}.values())

    @property
    def absent(self) -> list[tuple[Words, Words]]:
        """Why studies were not measured, with their names."""
        found: dict[str, list[StudyResult]] = {}
        for study in self.method.studies:
            if study.reason:
                found.setdefault(study.reason.en, []).append(study)
        return [
            (studies[0].reason or text(""), joined(named(self.method, study.name) for study in studies))
            for studies in found.values()
        ]


def sections_of(rows: Sequence[Row], methods: Sequence[NamedRun], others: Sequence[NamedRun], proud: Sequence[Row]) -> list[Section]:  # noqa: E501
    """The sections in the record's order; `others`: the reference run's methods, drawn beside; `proud`: go first."""
    theirs = {method.stem: (name, method) for name, method in others}
    found: list[Section] = []
    for name, method in methods:
        own = [row for row in rows if row.method is method]
        runs = [(name, method), *([theirs[method.stem]] if method.stem in theirs else [])]
        experiment = experiment_of(method.stem)
        first = 1 + sum(len(section.figures) for section in found)
        found.append(Section(
            method, own, (page(method.stem, "en"), page(method.stem, "zh")),
            list(cards(own, proud)),
            figures_of(experiment, runs, own, first) if experiment else [],
            experiment is not None,
            list(costs(runs)),
        ))  # fmt: skip
    return found


def named(method: MethodResult, english: str) -> Words:
    """A name of the experiment in both languages."""
    return text(english, method.zh.get(english, english))


def cards(rows: Sequence[Row], proud: Sequence[Row]) -> Iterator[Card]:
    """One card a claim, whatever the number of cases; the proud one first."""
    by_claim: dict[str, list[Row]] = {}
    for row in rows:
        by_claim.setdefault(row.mine.id, []).append(row)
    first = {row.mine.id for row in rows if any(row is other for other in proud)}
    for claim in sorted(by_claim, key=lambda name: name not in first):
        yield Card(by_claim[claim][0].claim, by_claim[claim], claim in first)


def test_lines(row: Row) -> list[TestLine]:
    """Every test behind the verdict that the row shows."""
    claim = row.shown
    return [TestLine(test_name(row.method, t), measured(t, exact=claim.exact), region(t)) for t in claim.tests]


def test_name(method: MethodResult, test: TestResult) -> Words:
    """`elu + 1 minus softmax, loss`; `elu + 1, exponent of seconds`."""
    metric, arm, than = (named(method, name) for name in (test.metric, test.arm, test.than or ""))
    if test.how == "exponent":
        return text(f"{arm.en}, exponent of {metric.en}", f"{arm.zh}，{metric.zh}的指数")
    if test.how == "ratio":
        return text(f"{arm.en} : {than.en}, {metric.en}", f"{arm.zh} : {than.zh}，{metric.zh}")
    if test.how == "difference":
        return text(f"{arm.en} minus {than.en}, {metric.en}", f"{arm.zh} 减 {than.zh}，{metric.zh}")
    return joined([arm, metric])


def costs(runs: Sequence[NamedRun]) -> Iterator[Cost]:
    """What the arms of each study cost, in the first run that measured it."""
    for study in runs[0][1].studies:
        for name, method in runs:
            found = [s for s in method.studies if s.name == study.name and s.compute]
            if found:
                yield cost(name, method, found[0])
                break


def cost(run: Words, method: MethodResult, study: StudyResult) -> Cost:
    entries = [entry for arms in study.compute.values() for entry in arms.values()]
    kept = [name for name in ("seconds", "evaluations", "parameters") if any(getattr(e, name) for e in entries)]
    names = {"seconds": text("seconds", "秒"), "evaluations": text("model calls", "模型调用"),
             "parameters": text("parameters", "参数")}  # fmt: skip
    units = {t.metric: t.unit for c in method.claims if c.study == study.name for t in c.tests if t.unit}
    metrics = _metrics(study)
    groups = []
    for case, arms in study.compute.items():
        lines = []
        for arm, entry in arms.items():
            numbers = [getattr(entry, column) for column in kept]
            cells = ["–" if v is None else exact_number(v, digits=3 if k == "seconds" else 9) for k, v in zip(kept, numbers, strict=True)]  # noqa: E501
            cells += [_mean(study.replicates.get(case, {}).get(arm, {}).get(m, []), units.get(m, "")) for m in metrics]
            lines.append((named(method, arm), cells))
        groups.append((named(method, case), lines))
    columns = [*(names[k] for k in kept), *(joined([named(method, m), text(units.get(m, ""))]) for m in metrics)]
    return Cost(named(method, study.name), run, _headline(study), columns, groups)


def _metrics(study: StudyResult) -> list[str]:
    """The study's metrics that are one number a seed."""
    found: dict[str, None] = {}
    for arms in study.replicates.values():
        for metrics in arms.values():
            found.update(dict.fromkeys(m for m, values in metrics.items() if not any(isinstance(v, list) for v in values)))
    return list(found)[:MOST_METRICS]


def _mean(values: Sequence[float | None], unit: str) -> str:
    finite = [v for v in values if v is not None]
    return exact_number(fmean(finite) * (100 if unit == "%" else 1), digits=4) if finite else "–"


def _headline(study: StudyResult) -> Words:
    """`6 arms, 0.01 to 0.4 s each`."""
    seconds = [entry.seconds for arms in study.compute.values() for entry in arms.values()]
    low, high = (exact_number(v, digits=2) for v in (min(seconds), max(seconds)))
    arms, cases = count(len(study.arms), "arm", "个臂"), count(len(study.compute), "case", "种情形")
    return joined([arms, cases, text(f"{low} to {high}\u00a0s each", f"各 {low} 至 {high} 秒")])
