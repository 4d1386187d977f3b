"""One section a method: its page's words, the cards of its claims, its figures, what each arm cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from gezhi.lab.record import MethodResult, StudyResult, TestResult, Words
from gezhi.lab.report.costs import Cost, costs
from gezhi.lab.report.figures import FigureView, NamedRun, experiment_of, figures_of
from gezhi.lab.report.numbers import Measured, measured, region
from gezhi.lab.report.pages import Page, page
from gezhi.lab.report.phrases import named
from gezhi.lab.report.rows import Row
from gezhi.lab.report.summary import Tally
from gezhi.lab.report.text import joined, text

NARROW = 14  # characters of a formula that any screen holds


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

    @property
    def measured(self) -> bool:
        """Whether some run has tests of it."""
        return any(row.shown.tests for row in self.rows)

    @property
    def cases(self) -> Words:
        return joined((row.case for row in self.rows), "; ", "；")


@dataclass(frozen=True)
class Step:
    """A formula with the sentence that leads to it, in both languages; `math` is one where they agree."""

    lead: tuple[Markup, Markup]
    math: tuple[Markup, ...]
    tag: str

    @property
    def wide(self) -> bool:
        """Whether a phone may have to scroll it sideways."""
        return any(len(math.striptags()) + 2 * math.count("<mspace") > NARROW for math in self.math)


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
    def steps(self) -> list[Step]:
        """The first formulas of the derivation; a page in one language stands in for the other."""
        en, zh = (page or other for page, other in (self.pages, self.pages[::-1]))
        pairs = zip(en.formulas, zh.formulas, strict=False) if en and zh else ()
        return [Step((a.lead, b.lead), (a.math,) if a.math == b.math else (a.math, b.math), a.tag) for a, b in pairs]

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


def sections_of(
    rows: Sequence[Row], methods: Sequence[NamedRun], others: Sequence[NamedRun], proud: Sequence[Row]
) -> list[Section]:
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
        return text(f"{arm.en} over {than.en}, {metric.en}", f"{arm.zh} 比 {than.zh}，{metric.zh}")
    if test.how == "difference":
        return text(f"{arm.en} minus {than.en}, {metric.en}", f"{arm.zh} 减 {than.zh}，{metric.zh}")
    return joined([arm, metric])
