"""One section a method: its page's words, its claims, its figures, and what each arm reached and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gezhi.lab.record import Words
from gezhi.lab.report.cells import nothing
from gezhi.lab.report.figures import Figure, figures_of
from gezhi.lab.report.levels import Table, tables
from gezhi.lab.report.pages import Formula, Page, page
from gezhi.lab.report.rows import ClaimRow, Pair
from gezhi.lab.report.text import YOURS, count, duration, joined, text
from gezhi.lab.report.theses import Thesis
from gezhi.lab.verdicts import MethodResult


@dataclass(frozen=True)
class Section:
    """Everything that the report says about one method."""

    thesis: Thesis
    pages: tuple[Page | None, Page | None]
    figures: Sequence[Figure]
    levels: Sequence[Table]
    file_levels: Sequence[Table]

    @property
    def pair(self) -> Pair:
        return self.thesis.pair

    @property
    def method(self) -> MethodResult:
        return self.pair.lead

    @property
    def rows(self) -> Sequence[ClaimRow]:
        return self.pair.built_in

    @property
    def steps(self) -> list[tuple[Formula, Formula]]:
        """The first formulas of the derivation in both languages; a page in one of them stands in for the other."""
        en, zh = (page or other for page, other in (self.pages, self.pages[::-1]))
        return list(zip(en.formulas, zh.formulas, strict=False)) if en and zh else []

    @property
    def absent(self) -> list[tuple[Words, Words]]:
        """Why studies were not measured, with their names."""
        return absent(self.method)

    @property
    def file_absent(self) -> list[tuple[Words, Words]]:
        return absent(self.pair.file) if self.pair.file else []

    @property
    def file_run(self) -> Words:
        return of_run(self.pair.file) if self.pair.file else nothing()

    @property
    def runs(self) -> list[Words]:
        """Each run of it: budget, seeds, time, and the look where it is not the first."""
        sides = ((self.pair.name, self.method), (YOURS, self.pair.beside))
        return [joined([name, of_run(method)], ": ", "：") for name, method in sides if method]


def absent(method: MethodResult) -> list[tuple[Words, Words]]:
    """Each reason why something was not measured, with the names of the studies or cases."""
    found: dict[str, tuple[Words, list[Words]]] = {}
    for study in method.measured.studies:
        for case, why in study.reasons.items():
            found.setdefault(why.en, (why, []))[1].append(method.named(case or study.name))
    return [(why, joined(names, ", ", "、")) for why, names in found.values()]


def of_run(method: MethodResult) -> Words:
    """`quick, 5 seeds, 20 s, 2025-11-21; look 2`."""
    look = text(f"look {method.look}", f"第 {method.look} 次测量") if method.look > 1 else nothing()
    seeds = count(method.seeds, "seed", "个种子")
    line = joined([text(method.budget), seeds, duration(method.seconds), text(method.when[:10].replace("-", "\u2011"))])
    return joined([line, look], "; ", "；")


def sections_of(theses: Sequence[Thesis]) -> list[Section]:
    """The sections in the order of the theses; figures are numbered through."""
    found: list[Section] = []
    for thesis in theses:
        pair = thesis.pair
        first = 1 + sum(len(section.figures) for section in found)
        found.append(Section(
            thesis,
            (page(pair.stem, "en"), page(pair.stem, "zh")),
            figures_of(pair, first),
            list(tables(pair.lead)) if pair.lead is not pair.file else [],
            list(tables(pair.file)) if pair.file else [],
        ))  # fmt: skip
    return found
