"""The first screen: a row a method with its thesis, the board of verdicts above it, and the filters between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from gezhi import _catalogue
from gezhi.lab.record import Words
from gezhi.lab.report.rows import ClaimRow, Pair
from gezhi.lab.report.text import FILE, MARKS, VERDICTS, WINGS, joined, text, wing_name
from gezhi.lab.stats import Verdict

MOST_ALIASES = 2


@dataclass(frozen=True)
class Thesis:
    """One row; `row` is None where a method's page names no thesis."""

    pair: Pair

    @property
    def row(self) -> ClaimRow | None:
        return self.pair.thesis

    @property
    def verdict(self) -> Verdict:
        return self.row.shown.verdict if self.row else "not asked"

    @property
    def mark(self) -> str:
        return MARKS[self.verdict]

    @property
    def wing(self) -> str:
        return self.pair.lead.wing or "other"

    @property
    def alias(self) -> str:
        """Other names of the method, but for those that its title says."""
        title = self.pair.lead.title.en.casefold()
        return ", ".join([name for name in aliases(self.pair.stem) if name.casefold() not in title][:MOST_ALIASES])

    @property
    def short_name(self) -> Words:
        """The first alias where it is shorter than the title."""
        title = self.pair.lead.title
        return next((text(name) for name in aliases(self.pair.stem) if len(name) < len(title.en)), title)

    @property
    def elsewhere(self) -> tuple[Words, ClaimRow] | None:
        """What the user's file says, or their run where it says something else."""
        on_file = [row for row in self.pair.file_rows if row.shown.thesis]
        if on_file and self.pair.lead is not self.pair.file:
            return FILE, on_file[0]
        if self.row and self.row.differs and self.row.other:
            return text("your run", "本次运行"), self.row
        return None


def aliases(stem: str) -> list[str]:
    """The names under which a known method is looked for; numbers of articles are none."""
    known = _catalogue.methods().get(stem)
    return [name for name in known.aliases if not name.isdigit()] if known else []


@dataclass(frozen=True)
class Wing:
    """The theses of one wing."""

    key: str
    name: Words
    theses: Sequence[Thesis]


def wings_of(pairs: Sequence[Pair]) -> list[Wing]:
    """The wings in the house's order, others behind them."""
    by_wing: dict[str, list[Thesis]] = {name: [] for name in WINGS}
    for pair in pairs:
        by_wing.setdefault(pair.lead.wing, []).append(Thesis(pair))
    return [Wing(key or "other", wing_name(key), theses) for key, theses in by_wing.items() if theses]


@dataclass(frozen=True)
class Column:
    """One verdict of the board, with the methods that have it."""

    verdict: str
    mark: str
    name: Words
    theses: Sequence[Thesis]


def board(wings: Sequence[Wing]) -> list[Column]:
    """A column a verdict, its methods in alphabetical order."""
    every = sorted((t for wing in wings for t in wing.theses), key=lambda t: t.short_name.en.casefold())
    return [
        Column(verdict, MARKS[verdict], name, [t for t in every if t.verdict == verdict])
        for verdict, name in VERDICTS.items()
    ]


def empty_pairs(wings: Sequence[Wing]) -> Iterator[tuple[str, str]]:
    """The choices of both filters, all wings among them, that leave no row."""
    found = {(thesis.mark, key) for wing in wings for thesis in wing.theses for key in (wing.key, "all")}
    return (pair for pair in product(MARKS.values(), ("all", *(wing.key for wing in wings))) if pair not in found)


def headline(pairs: Sequence[Pair]) -> Words:
    """`36 theses, measured`; of a single method its title, on the user's file the file's name."""
    files = list(dict.fromkeys(pair.file.data for pair in pairs if pair.file and pair.file.data))
    if not pairs:
        return text("No method was asked", "没有要测的方法")
    if files and all(pair.file for pair in pairs):
        names = joined(map(text, files), ", ", "、")
        return text(f"{names.en}, measured", f"{names.zh}，逐项测量")
    if len(pairs) == 1:
        title = pairs[0].lead.title
        return text(f"{title.en}, measured", f"{title.zh}，测量所得")
    return text(f"{len(pairs)} theses, measured", f"{len(pairs)} 个论点，逐一测量")
