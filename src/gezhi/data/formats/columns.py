"""Columns of a table of features: which are numbers, which are categories, and which are neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gezhi.data.errors import DataError, fault, listed, shown
from gezhi.data.formats.files import as_number
from gezhi.data.formats.labels import ordered
from gezhi.data.kinds import Floats

EXACT = 2**53  # whole numbers up to here are floats
WORD = "Encode it as numbers, leave the cell empty if its value is missing, or write all of the column in words if it "\
    "holds categories; if it is the label, name it."  # fmt: skip
DROP = "Encode it as numbers (for example one-hot) or drop the column; if it is the label, name it."


@dataclass(frozen=True)
class Flaw:
    """A column that is neither numbers nor categories: where that shows first, and what to do."""

    at: str
    found: str
    expected: str
    fix: str


def number(cell: str) -> float | Flaw | None:
    """A cell that is not missing as a number; None where it is a word, a flaw where no float is exactly that."""
    value = as_number(cell)
    if value is None:
        return None
    if value - value != 0:
        return endless("", cell.strip())
    if abs(value) >= EXACT and cell.strip().lstrip("+-").isdigit() and int(cell) != value:
        return inexact("", cell.strip())
    return value


def endless(at: str, found: str) -> Flaw:
    """The flaw of an infinity, or of a NaN that stands for no missing value."""
    return Flaw(at, found, "a finite number", "Impute it or drop the row.")


def inexact(at: str, found: str) -> Flaw:
    """The flaw of a whole number that no float is."""
    fix = "Scale it, or write it in words if it is a name."
    return Flaw(at, found, "a whole number below 2⁵³, or one that a float holds exactly", fix)


def refuse(path: Path, flaws: Sequence[Flaw]) -> DataError:
    """The error that names every flawed column at once, with the remedy of the first."""
    first, *others = flaws
    also = "; also " + listed([f"{flaw.found} in {flaw.at}" for flaw in others], 20) if others else ""
    return fault(path, first.found + also, first.expected, first.fix, at=first.at)


def mixed(words: int, numbers: int) -> bool:
    """Whether the words of a column are faults among numbers, rather than categories some of which are numbers."""
    return 0 < words <= numbers


def renumbered(codes: Floats, names: Sequence[str]) -> tuple[Floats, tuple[str, ...]]:
    """Codes by first appearance, as codes in the order of the names."""
    categories = ordered(names)
    place = {name: code for code, name in enumerate(categories)}
    order = np.array([place[name] for name in names], dtype=np.float64)
    known = np.isfinite(codes)
    renamed = codes.copy()
    renamed[known] = order[codes[known].astype(np.int64)]
    return renamed, categories


def check_names(path: Path, names: Sequence[str], at: str) -> None:
    """Raise DataError unless each column has a name of its own."""
    seen = set[str]()
    for position, name in enumerate(names, 1):
        if not name or name in seen:
            found = f"the name {shown(name)} twice" if name else "a column without a name"
            fix = "Rename it." if name else "If it is a row number, write the file without it."
            raise fault(path, found, "one name a column", fix, at=f"{at}, column {position}")
        seen.add(name)


def check_count(path: Path, names: Sequence[str], at: str) -> None:
    """Raise DataError unless there are at least two columns."""
    if len(names) < 2:
        found = f"one column ({shown(names[0])})" if names else "no column"
        raise fault(path, found, "two or more", "Separate by commas (.csv) or tabs (.tsv).", at=at)


def label_position(path: Path, names: Sequence[str], label: str | None) -> int:
    """Index of the label's column."""
    if label is None:
        return len(names) - 1
    if label not in names:
        raise fault(path, f"no column {label!r}", f"one of {listed(names)}", "Name the label's column.")
    return list(names).index(label)


def place(names: Sequence[str], position: Any) -> str:
    """A column as an error names it."""
    return f"column {position + 1} ({names[position]})"
