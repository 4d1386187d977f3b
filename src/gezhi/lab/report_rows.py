"""One row a claim: the run beside the reference run, and what each cell of the table says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from gezhi.lab.record import ClaimResult, MethodResult, Record, StudyResult, TestResult, Words
from gezhi.lab.report_glyph import Glyph, glyph
from gezhi.lab.report_numbers import Measured, measured, region, resolution
from gezhi.lab.report_text import ROUNDS, VARIES, capitalised, joined, replicates, text


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
        reference = None if self.mine.timed or self.mine.exact and self.judged else self.same_test
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
    def shown_basis(self) -> Words:
        """What the result that is shown rests on, and in which run."""
        method = self.other_method if self.from_reference else self.method
        where = text("reference run", "参考运行") if self.from_reference else text("")
        return joined([basis(method or self.method, self.shown), where])

    @property
    def source(self) -> Words:
        """Which run the card of the claim speaks of."""
        if self.from_reference:
            return joined([text("reference run", "参考运行"), self.mine.reason or text("")], "; ", "；")
        return text("your run", "本次运行") if self.judged else text("")

    @property
    def other_result(self) -> Measured | None:
        """The reference run's number for the same test, or for its own deciding one where this run has none."""
        if self.other is None or not self.other.tests:
            return None
        test = self.same_test if self.mine.tests else self.other.tests[self.other.deciding]
        return measured(test, exact=self.other.exact) if test else None

    @property
    def other_basis(self) -> Words:
        if self.other is None or self.other_method is None or not self.other.tests:
            return text("")
        if self.mine.tests and self.same_test is None:
            return joined([text("asked with another margin", "界限不同"), remark(self.other)])
        n = "" if self.other.exact else f"n\u00a0=\u00a0{self.other.tests[self.other.deciding].n}"
        return joined([text(n), remark(self.other)])


def named(method: MethodResult, english: str) -> Words:
    """A name of the experiment in both languages."""
    return text(english, method.zh.get(english, english))


def study_of(method: MethodResult, claim: ClaimResult) -> StudyResult:
    return next(study for study in method.studies if study.name == claim.study)


def asks(test: TestResult) -> tuple[str | float | None, ...]:
    """What a test compares and the region it allows."""
    return test.metric, test.arm, test.than, test.how, test.low, test.high


def basis(method: MethodResult, claim: ClaimResult) -> Words:
    """`5 seeds, resolves 0.33`; `exact`; empty for what was not measured."""
    if not claim.tests:
        return text("")
    if claim.exact:
        return text("exact", "精确")
    test = claim.tests[claim.deciding]
    seen = resolution(test)
    level = "" if claim.level == 0.95 else f"{100 * claim.level:.0f}\u00a0%"
    parts = [
        replicates(study_of(method, claim), test.n),
        text(f"{level} interval", f"{level} 区间") if level else text(""),
        text(f"resolves\u00a0{seen}", f"分辨\u00a0{seen}") if seen else text(""),
    ]
    return joined(parts)


def remark(claim: ClaimResult) -> Words:
    """Weak with its q, the seeds that are needed, or the reason for not asking."""
    weak = text("")
    if claim.weak and claim.q is not None:
        q = f"q\u00a0=\u00a0{claim.q:.3f}".replace("0.", ".")
        weak = text(f"weak, {q}", f"弱，{q}")
    return joined([weak, claim.reason or text("")], "; ", "；")


def rows_of(record: Record, reference: Record | None) -> list[Row]:
    """Every claim of the record, with its counterpart in the reference run."""
    methods = {m.stem: m for m in reference.methods} if reference else {}
    theirs = {(m.stem, c.key): c for m, c in reference.claims()} if reference else {}
    anchors = unique(f"{m.stem}.{c.key}" for m, c in record.claims())
    return [
        Row(method, claim, theirs.get((method.stem, claim.key)), methods.get(method.stem), next(anchors), number)
        for number, (method, claim) in enumerate(record.claims())
    ]


def unique(names: Iterator[str]) -> Iterator[str]:
    """Ids for HTML: no spaces, and none twice."""
    seen: set[str] = set()
    for name in names:
        slug = re.sub(r"[^\w.@=-]+", "-", name)
        while slug in seen:
            slug += "-"
        seen.add(slug)
        yield slug
