"""From labels as files hold them to class codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from gezhi.data.errors import fault, shown
from gezhi.data.formats.files import as_number
from gezhi.data.kinds import Codes

MISSING = {"", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none", "?"}  # without regard to case


def is_missing(cell: str) -> bool:
    """Whether a cell says that its value is not known."""
    return len(cell) < 8 and cell.strip().lower() in MISSING


def encode(path: Path, labels: Sequence[str], where: Callable[[int], str]) -> tuple[Codes, tuple[str, ...]]:
    """Class codes and class names; names are texts and stay apart as they are written (`7` is not `007`).

    Args:
        where: the place of a row, as an error names it.

    Errors: DataError for a missing label, for labels that are numbers but not whole, for fewer than two classes.
    """
    first: dict[str, int] = {}
    for row, name in enumerate(labels):
        first.setdefault(name, row)
    classes = classes_of(path, first, where)
    codes = {name: code for code, name in enumerate(classes)}
    return np.fromiter((codes[name] for name in labels), np.int64, len(labels)), classes


def classes_of(path: Path, first: dict[str, int], where: Callable[[int], str]) -> tuple[str, ...]:
    """Class names of distinct labels, each with the row it first stands in; errors as in `encode`."""
    for name, row in first.items():
        if is_missing(name):
            found = "no label" + (f" ({shown(name)})" if name.strip() else "")
            raise fault(path, found, "a class", "Fill it or drop the row.", at=where(row))
    values = {name: as_number(name) for name in first}
    if None not in values.values():
        for name, value in values.items():
            if value is not None and value == value and abs(value) < 2**53 and not value.is_integer():
                fix = "Name the column that holds the classes, or bin this one."
                raise fault(path, shown(name), "a class, not a measured number", fix, at=where(first[name]))
    if len(first) < 2:
        found = f"one class only ({shown(next(iter(first)))})" if first else "no class"
        raise fault(path, found, "at least two", "Add rows of another class.")
    return ordered(first)


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Distinct names in the order of their numbers where each is the one way to write its number, else alphabetical."""
    distinct = sorted(set(names))
    numbers = {name: number for name in distinct if (number := canonical(name)) is not None}
    return tuple(sorted(distinct, key=numbers.__getitem__) if len(numbers) == len(distinct) else distinct)


def canonical(name: str) -> int | float | None:
    """The number that Python writes exactly so; None for any other text."""
    value = as_number(name) if len(name) < 400 else None
    if value is None or value - value != 0:  # infinities and NaN are words
        return None
    if name.lstrip("-").isdigit():
        return int(name) if str(int(name)) == name else None
    return value if repr(value) == name else None
