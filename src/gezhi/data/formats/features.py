"""Tables of numbers and categories with a label: CSV; Parquet stands in a file of its own."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gezhi.data.errors import doubt, fault, listed, shown
from gezhi.data.formats.columns import (
    EXACT,
    WORD,
    Flaw,
    check_count,
    check_names,
    label_position,
    mixed,
    number,
    place,
    refuse,
    renumbered,
)
from gezhi.data.formats.files import as_number, check_width, records
from gezhi.data.formats.labels import encode, is_missing
from gezhi.data.formats.parquet import read_parquet
from gezhi.data.kinds import Features, Floats


def load_features(path: Path, label: str | None = None, header: bool | None = None) -> Features:
    """Read a table; `label` names the label's column, None takes the last; a Parquet file needs no `header`."""
    return read_parquet(path, label) if path.suffix.lower() == ".parquet" else Table(path, label, header).read()


class Table:
    """A CSV, read twice: once for numbers and labels, once for the columns that turn out to hold words.

    Memory is that of the numbers. The first row waits until all below it is known, since only that tells a header.
    """

    def __init__(self, path: Path, label: str | None, header: bool | None) -> None:
        self.path, self.header = path, header
        self.separator = "\t" if path.suffix.lower() == ".tsv" else ","
        self.line, cells = next(self.rows(), (1, []))
        self.first = tuple(cell.strip() for cell in cells)
        check_count(path, self.first, f"line {self.line}")
        self.unnamed = tuple(f"column {i}" for i in range(1, len(self.first) + 1))
        by_name = header is not False and (label is None or label in self.first or label not in self.unnamed)
        self.target = label_position(path, self.first if by_name else self.unnamed, label)
        self.header = True if header is None and label in self.first else header
        self.values, self.lines, self.labels = array("d"), array("q"), list[str]()
        self.known: dict[str, str] = {}
        self.words: dict[int, tuple[int, int, str]] = {}  # of a column: how many, line and text of the first
        self.flaws: dict[int, Flaw] = {}

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        return records(self.path, self.separator)

    def read(self) -> Features:
        rows = self.rows()
        next(rows, None)
        for line, cells in rows:
            check_width(self.path, line, len(cells), self.first)
            self.add(line, cells)
        X = np.frombuffer(self.values, dtype=np.float64).reshape(len(self.labels), len(self.first) - 1)
        named = self.first_is_header(X)
        if not named:
            below, self.values = X, array("d")
            self.add(self.line, list(self.first))
            X = np.vstack([np.frombuffer(self.values, dtype=np.float64), below])
            self.labels.insert(0, self.labels.pop())
            self.lines.insert(0, self.lines.pop())
        return self.assembled(X, self.first if named else self.unnamed, named)

    def add(self, line: int, cells: list[str]) -> None:
        """Take in a row: its label as text, its other cells as numbers, NaN for whatever is none."""
        label = cells.pop(self.target).strip()
        self.labels.append(self.known.setdefault(label, label))
        self.lines.append(line)
        if "_" not in (text := "".join(cells)) and text.isascii():
            try:
                row = list(map(float, cells))
                if max(map(abs, row)) < EXACT:
                    self.values.extend(row)
                    return
            except ValueError:
                pass
        self.values.extend(self.value(line, column, cell) for column, cell in enumerate(cells))

    def value(self, line: int, column: int, cell: str) -> float:
        if is_missing(cell):
            return np.nan
        value = number(cell)
        if value is None:
            count, first, text = self.words.get(column, (0, line, cell.strip()))
            self.words[column] = (count + 1, first, text)
        if isinstance(value, Flaw):
            found = Flaw(self.place(line, column), value.found, value.expected, value.fix)
            self.flaws.setdefault(column, found)
        return value if isinstance(value, float) else np.nan

    def first_is_header(self, X: Floats) -> bool:
        """What the caller says; else whether words stand over numbers; else whether the words are found nowhere else.

        A first row of numbers is data, unless it counts the columns from 0, as pandas does for want of names. Where
        both words and numbers stand over numbers, or nothing decides, it is a header, and that is said.
        """
        if self.header is not None or not len(X) or self.first == tuple(map(str, range(len(self.first)))):
            return self.header is not False
        over = {as_number(cell) is None for column, cell in self.over_numbers(X) if not is_missing(cell)}
        if over == {True}:
            return True
        if over == {False} or (not over and self.first_recurs()):
            return False
        said, fix = listed(list(map(shown, self.first)), 3), "Pass header=False (--no-header) if they are a row."
        doubt(self.path, f"{said} are read as names of columns", fix, at=f"line {self.line}")
        return True

    def over_numbers(self, X: Floats) -> Iterator[tuple[int, str]]:
        """The cells of the first row below which numbers stand, few of them words at most."""
        for column in range(X.shape[1]):
            numbers, (words, *_) = int(np.isfinite(X[:, column]).sum()), self.words.get(column, (0,))
            if numbers and (not words or mixed(words, numbers)):
                yield column, self.first[self.position(column)]

    def first_recurs(self) -> bool:
        """Whether each cell of the first row stands again below it, in its column."""
        left = {column: cell for column, cell in enumerate(self.first) if not is_missing(cell)}
        rows = self.rows()
        next(rows, None)
        for _, cells in rows:
            left = {column: cell for column, cell in left.items() if cells[column].strip() != cell}
            if not left:
                return True
        return False

    def assembled(self, X: Floats, names: tuple[str, ...], named: bool) -> Features:
        if named:
            check_names(self.path, names, f"line {self.line}")
        self.names = names
        if not self.labels:
            raise fault(self.path, "column names and no rows", "at least two rows", "Check how it was written.")
        self.check(X)
        categories = self.categories(X, named)
        y, classes = encode(self.path, self.labels, lambda row: f"line {self.lines[row]}, {place(names, self.target)}")
        columns = names[: self.target] + names[self.target + 1 :]
        return Features(np.ascontiguousarray(X), y, classes, columns, self.path.stem, categories)

    def check(self, X: Floats) -> None:
        """Raise DataError naming every column that is neither numbers nor categories."""
        flaws = dict(self.flaws)
        for column, (count, line, text) in self.words.items():
            if mixed(count, int(np.isfinite(X[:, column]).sum())):
                flaws.setdefault(column, Flaw(self.place(line, column), shown(text), "a number", WORD))
            elif column in flaws:
                del flaws[column]  # among words it is a word
        if flaws:
            raise refuse(self.path, [
                Flaw(flaw.at + f" ({self.names[self.position(column)]})", flaw.found, flaw.expected, flaw.fix)
                for column, flaw in sorted(flaws.items())
            ])  # fmt: skip

    def categories(self, X: Floats, named: bool) -> dict[int, tuple[str, ...]]:
        """Write the codes of the columns of words into `X`; their names."""
        if not self.words:
            return {}
        codes = {column: array("d") for column in self.words}
        known: dict[int, dict[str, int]] = {column: {} for column in self.words}
        rows = self.rows()
        if named:
            next(rows, None)
        for _, cells in rows:
            for column, found in codes.items():
                cell = cells[self.position(column)].strip()
                found.append(np.nan if is_missing(cell) else known[column].setdefault(cell, len(known[column])))
        categories = {}
        for column in sorted(self.words):
            X[:, column], categories[column] = renumbered(np.array(codes[column]), list(known[column]))
        return categories

    def position(self, column: int) -> int:
        """A column of the features as a column of the file."""
        return column + (column >= self.target)

    def place(self, line: int, column: int) -> str:
        return f"line {line}, column {self.position(column) + 1}"
