"""The two ways data can fail, and the one form of the sentence that says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class DataError(ValueError):
    """A file that cannot be used: where the fault is, what was found, what is expected, what to do."""


class DataUnavailable(Exception):
    """A listed source that is not on this machine, or cannot be; the message says how to get it."""


def fault(path: Path, found: str, expected: str, fix: str = "", *, at: str = "") -> DataError:
    """Build (not raise) the error `{path}, {at}: found {found}, expected {expected}. {fix}`.

    Example:
        >>> print(fault(Path("a.csv"), "'x'", "a number", "Encode it.", at="line 3, column 2 (age)"))
        a.csv, line 3, column 2 (age): found 'x', expected a number. Encode it.
    """
    place = f"{path}, {at}" if at else f"{path}"
    return DataError(f"{place}: found {found}, expected {expected}." + (f" {fix}" if fix else ""))


def listed(names: Sequence[str], most: int = 6) -> str:
    """The first few names, with an ellipsis where there are more."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def shown(text: str, length: int = 40) -> str:
    """A cell as an error quotes it: on one line, and not longer than a reader needs."""
    return repr(text if len(text) <= length else text[: length - 1] + "…")
