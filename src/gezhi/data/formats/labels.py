"""From labels as files hold them to class codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from gezhi.data.errors import fault, shown
from gezhi.data.formats.files import as_number
from gezhi.data.kinds import Codes


def encode(path: Path, labels: Sequence[str], where: Callable[[int], str]) -> tuple[Codes, tuple[str, ...]]:
    """Class codes and class names; where all labels are whole numbers, `1.0` is `1` and 10 comes after 9.

    Args:
        where: the place of a row, as an error names it.

    Errors: DataError for a missing label, for labels that are numbers but not whole, for fewer than two classes.
    """
    first: dict[str, int] = {}
    for row, name in enumerate(labels):
        first.setdefault(name, row)
    for name, row in first.items():
        if name.lower() in ("", "nan"):
            raise fault(path, "no label", "a class", "Fill it or drop the row.", at=where(row))
    classes, codes = numbered(path, first, where) or named(first)
    if len(classes) < 2:
        raise fault(path, f"one class only ({shown(classes[0])})", "at least two", "Add rows of another class.")
    return np.fromiter((codes[name] for name in labels), np.int64, len(labels)), classes


def named(first: dict[str, int]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Classes in alphabetical order, and the code of each label."""
    classes = tuple(sorted(first))
    return classes, {name: code for code, name in enumerate(classes)}


def numbered(
    path: Path, first: dict[str, int], where: Callable[[int], str]
) -> tuple[tuple[str, ...], dict[str, int]] | None:
    """Classes in the order of their values, and the code of each label; None unless all are numbers."""
    values = {name: value for name in first if (value := as_number(name)) is not None}
    if len(values) < len(first):
        return None
    for name, value in values.items():
        if not value.is_integer():
            fix = "Name the column that holds the classes, or bin this one."
            raise fault(path, shown(name), "a class, not a measured number", fix, at=where(first[name]))
    classes = sorted({int(value) for value in values.values()})
    position = {value: code for code, value in enumerate(classes)}
    return tuple(map(str, classes)), {name: position[int(value)] for name, value in values.items()}
