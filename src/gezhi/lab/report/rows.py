"""Claims of the run that leads beside those of the other one: a row a claim, and its cases inside."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from gezhi.lab.record import Words
from gezhi.lab.report.cells import Cell, TestLine, case_cell, claim_cell, nothing, same_test, test_lines
from gezhi.lab.report.glyph import Glyph, glyph
from gezhi.lab.report.text import BY, FILE, REFERENCE, YOURS, capitalised, joined, text, varies
from gezhi.lab.verdicts import CaseResult, ClaimResult, MethodResult, Record

FEW_NAMES = 44  # characters of the cases' names that fit under a strip
YOUR_ROWS = text("your file", "你的文件")


@dataclass(frozen=True)
class Pair:
    """A method in the run that leads, and in the one beside it.

    Words rest on the reference run, so it leads where there is one. A run on the user's own file stands alone and
    goes before everything that is built in.
    """

    lead: MethodResult
    beside: MethodResult | None
    name: Words  # of the run that leads
    file: MethodResult | None = None

    @property
    def stem(self) -> str:
        return self.lead.stem

    @cached_property
    def rows(self) -> list[ClaimRow]:
        """The claims, the thesis first; what only the other run asks stands last."""
        others = self.beside.claims if self.beside else []
        asked = [*self.lead.claims, *(c for c in others if self.lead.claim(c.id) is None)]
        rows = [ClaimRow(self, self.lead.claim(c.id), self._other(c.id)) for c in asked]
        return sorted(rows, key=lambda row: not row.shown.thesis)

    @property
    def built_in(self) -> list[ClaimRow]:
        """The claims but for those that were asked of the user's file, where no reference run leads."""
        asked = {row.shown.id for row in self.file_rows} if self.lead is self.file else set()
        return [row for row in self.rows if row.shown.id not in asked]

    @cached_property
    def file_rows(self) -> list[ClaimRow]:
        """The claims that were asked of the user's file."""
        if self.file is None:
            return []
        alone = Pair(self.file, None, FILE)
        return [row for row in alone.rows if any(case.tests for case in row.shown.cases)]

    @property
    def thesis(self) -> ClaimRow | None:
        return next((row for row in self.rows if row.shown.thesis), None)

    def _other(self, claim: str) -> ClaimResult | None:
        return self.beside.claim(claim) if self.beside else None


@dataclass(frozen=True)
class ClaimRow:
    """A claim in both runs."""

    pair: Pair
    lead: ClaimResult | None
    other: ClaimResult | None

    @property
    def shown(self) -> ClaimResult:
        found = self.lead or self.other
        assert found is not None
        return found

    @property
    def by(self) -> Words:
        return BY[self.shown.by]

    @property
    def scope(self) -> Words:
        """What was measured, and what varies; of the user's own file nothing that the page says of built-in data."""
        study = self.method.study(self.shown.study)
        what = YOUR_ROWS if self.pair.name is FILE else self.shown.scope
        parts = [Words(en=part.en.rstrip("."), zh=part.zh.rstrip(".。")) for part in (what, varies(study))]
        return capitalised(joined(parts, "; ", "；"))

    @property
    def method(self) -> MethodResult:
        """The run that `shown` is of."""
        if self.lead is None and self.pair.beside:
            return self.pair.beside
        return self.pair.lead

    @property
    def cell(self) -> Cell | None:
        return claim_cell(self.pair.lead, self.lead) if self.lead else None

    @property
    def other_cell(self) -> Cell | None:
        return claim_cell(self.pair.beside, self.other) if self.pair.beside and self.other else None

    @property
    def differs(self) -> bool:
        """Whether both runs gave a verdict and disagree."""
        verdicts = {claim.verdict for claim in (self.lead, self.other) if claim} - {"not asked"}
        return len(verdicts) > 1

    @cached_property
    def cases(self) -> list[CaseRow]:
        """The cases of the run that leads in their order, then those that only the other one asked."""
        lead, other = (({c.case: c for c in claim.cases} if claim else {}) for claim in (self.lead, self.other))
        return [CaseRow(self, lead.get(name), other.get(name)) for name in {**lead, **other}]

    @property
    def single(self) -> CaseRow | None:
        return self.cases[0] if len(self.cases) == 1 else None

    @property
    def strip(self) -> list[str]:
        """A verdict a case."""
        return [case.verdict for case in self.shown.cases]

    @property
    def names(self) -> Words:
        """The cases' names, where they are short."""
        names = joined((case.name for case in self.cases), "; ", "；")
        return names if len(names.en) <= FEW_NAMES else nothing()


@dataclass(frozen=True)
class CaseRow:
    """One case of a claim in both runs."""

    row: ClaimRow
    lead: CaseResult | None
    other: CaseResult | None

    @property
    def name(self) -> Words:
        found = self.lead or self.other
        return self.row.method.named(found.case if found else None)

    @property
    def cell(self) -> Cell | None:
        return case_cell(self.row.pair.lead, self.row.shown, self.lead) if self.lead else None

    @property
    def other_cell(self) -> Cell | None:
        beside = self.row.pair.beside
        return case_cell(beside, self.row.shown, self.other) if self.other and beside else None

    @property
    def glyph(self) -> Glyph | None:
        """The deciding test of the run that leads; below it the same test in the other, if it may be compared."""
        timed = self.row.shown.timed  # seconds of two machines are not compared
        if self.lead and self.lead.test:
            test = self.lead.test
            other = same_test(test, self.other.tests) if self.other and not timed and test.over != "nothing" else None
            return glyph(test, other, self.row.method.named)
        if self.other and self.other.test:
            return glyph(self.other.test, self.other.test, self.row.method.named, lead=False)
        return None

    @property
    def lines(self) -> list[TestLine]:
        """Every test where there are several, with what the other run found."""
        pair, other = self.row.pair, self.other.tests if self.other else []
        if self.lead and len(self.lead.tests) > 1:
            return list(test_lines(pair.lead, self.lead, other))
        if pair.beside and self.other and not (self.lead and self.lead.tests) and len(other) > 1:
            return list(test_lines(pair.beside, self.other, []))
        return []


def pairs_of(record: Record, reference: Record | None) -> list[Pair]:
    """Every method of the record with its counterpart in the reference run, which may be the record itself."""
    theirs = reference.by_stem if reference else {}
    itself = is_part(record, reference)
    return [pair_of(method, theirs.get(method.stem), itself) for method in record.methods]


def pair_of(mine: MethodResult, reference: MethodResult | None, itself: bool) -> Pair:
    if mine.data is not None:
        return Pair(reference or mine, None, REFERENCE if reference else FILE, mine)
    if reference is None or itself:
        return Pair(mine, None, REFERENCE if itself else YOURS)
    return Pair(reference, mine, REFERENCE)


def is_part(record: Record, reference: Record | None) -> bool:
    """Whether the record is the reference run, or a part of it."""
    theirs = reference.by_stem if reference else {}
    return bool(record.methods) and all(
        method.stem in theirs and theirs[method.stem].measured == method.measured for method in record.methods
    )
