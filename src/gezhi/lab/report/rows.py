"""One row a claim: the run beside the reference run, and what each cell of the table says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from gezhi.lab.record import ClaimResult, MethodResult, Record, StudyResult, TestResult, Words
from gezhi.lab.report.glyph import Glyph, glyph
from gezhi.lab.report.numbers import Measured, measured
from gezhi.lab.report.phrases import basis, named, remark, study_of
from gezhi.lab.report.text import ROUNDS, VARIES, capitalised, joined, text


@dataclass(frozen=True)
class Row:
    """A claim in one case, in the run (`mine`) and in the reference run (`other`)."""

    method: MethodResult
    mine: ClaimResult
    other: ClaimResult | None
    other_method: MethodResult | None
    anchor: str
    number: int

    @property
    def judged(self) -> bool:
        return self.mine.verdict != "not asked"

    @property
    def from_reference(self) -> bool:
        """Whether only the reference run has a verdict."""
        return not self.judged and self.other is not None and self.other.verdict != "not asked"

    @property
    def shown(self) -> ClaimResult:
        """The result to speak of: the run's own, else the reference run's."""
        return self.other if self.from_reference and self.other else self.mine

    @property
    def claim(self) -> Words:
        return Words(en=self.mine.text, zh=self.mine.text_zh)

    @property
    def classes(self) -> str:
        """What the filter above the table looks for."""
        found = {"r": self.shown.verdict == "refuted", "u": self.mine.verdict in ("inconclusive", "not asked"),
                 "d": self.differs}  # fmt: skip
        return " ".join(name for name, holds in found.items() if holds)

    @property
    def differs(self) -> bool:
        """Whether both runs were asked and disagree."""
        return self.judged and self.other is not None and self.other.verdict not in ("not asked", self.mine.verdict)

    @property
    def study(self) -> StudyResult:
        return study_of(self.method, self.mine)

    @property
    def case(self) -> Words:
        return named(self.method, self.mine.case or "")

    @property
    def scope(self) -> Words:
        """Where the verdict holds: case, scope, what varies, and whether one test of several decided."""
        varies = ROUNDS if self.study.alone else VARIES[self.study.varies]
        n = len(self.shown.tests)
        deciding = text(f"the deciding one of {n} tests", f"{n} 项检验中起决定作用者") if n > 1 else text("")
        return capitalised(joined([self.case, self.mine.scope, varies, deciding], "; ", "；"))

    @cached_property
    def glyph(self) -> Glyph | None:
        """Drawn wherever a run left tests; of a timed claim without the reference run."""
        reference = None if self.mine.timed or (self.mine.exact and self.judged) else self.same_test
        if self.judged:
            return glyph(self.mine.tests[self.mine.deciding], reference, exact=self.mine.exact)
        known = self.shown if self.shown.tests else self.other
        tests = known.tests if known else []
        if known is None or not tests:
            return None
        other = tests[known.deciding] if self.from_reference and not self.mine.timed else None
        return glyph(tests[known.deciding], other, exact=known.exact, mine=False)

    @property
    def same_test(self) -> TestResult | None:
        """The reference run's result of the test that decided here, if the claim still asks the same."""
        test = self.mine.tests[self.mine.deciding] if self.mine.tests else None
        found = [t for t in self.other.tests if test and asks(t) == asks(test)] if self.other else []
        return found[0] if found else None

    @property
    def result(self) -> Measured | None:
        """The run's own number; also where it was measured but not judged."""
        tests = self.mine.tests
        return measured(tests[self.mine.deciding], exact=self.mine.exact) if tests else None

    @property
    def basis(self) -> Words:
        """What the number rests on, and what it could have seen."""
        return basis(self.method, self.mine)

    @property
    def remark(self) -> Words:
        """Stands under the verdict."""
        return remark(self.mine)

    @property
    def shown_remark(self) -> Words:
        return remark(self.shown)

    @property
    def shown_basis(self) -> Words:
        """What the result that is shown rests on, and in which run."""
        method = self.other_method if self.from_reference else self.method
        where = text("reference run", "参考运行") if self.from_reference else text("")
        return joined([basis(method or self.method, self.shown), where])

    @property
    def source(self) -> Words:
        """Which run the card of the claim speaks of."""
        if self.from_reference:
            return joined([text("reference run", "参考运行"), remark(self.mine)], "; ", "；")
        return text("your run", "本次运行") if self.judged else text("")

    @property
    def other_test(self) -> TestResult | None:
        """The reference run's result of the same test, or of its own deciding one where this run has none."""
        if self.mine.tests:
            return self.same_test
        return self.other.tests[self.other.deciding] if self.other and self.other.tests else None

    @property
    def other_result(self) -> Measured | None:
        return measured(self.other_test, exact=self.mine.exact) if self.other_test else None

    @property
    def other_basis(self) -> Words:
        """What the reference run's number rests on, and its remark."""
        if self.other is None:
            return text("")
        on = text("asked with another margin", "界限不同") if self.mine.tests and self.other.tests else text("")
        if self.other_test:
            on = text("" if self.mine.exact else f"n\u00a0=\u00a0{self.other_test.n}")
        return joined([on, remark(self.other)])


def rows_of(record: Record, reference: Record | None) -> list[Row]:
    """Every claim of the record, with its counterpart in the reference run."""
    methods = {m.stem: m for m in reference.methods} if reference else {}
    theirs = {(m.stem, c.key): c for m, c in reference.claims()} if reference else {}
    anchors = unique(f"{m.stem}.{c.key}" for m, c in record.claims())
    return [
        Row(method, claim, theirs.get((method.stem, claim.key)), methods.get(method.stem), next(anchors), number)
        for number, (method, claim) in enumerate(record.claims())
    ]


def asks(test: TestResult) -> tuple[str | float | None, ...]:
    """What a test compares and the region it allows."""
    return test.metric, test.arm, test.than, test.how, test.low, test.high


def unique(names: Iterator[str]) -> Iterator[str]:
    """Ids for HTML: no spaces, and none twice."""
    seen: set[str] = set()
    for name in names:
        slug = re.sub(r"[^\w.@=-]+", "-", name)
        while slug in seen:
            slug += "-"
        seen.add(slug)
        yield slug
