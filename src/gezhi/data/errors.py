"""How data can fail or be doubtful, and the one form of the sentence that says so."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class DataError(ValueError):
    """A file that cannot be used: where the fault is, what was found, what is expected, what to do."""


class DataUnavailable(Exception):
    """A listed source that is not on this machine, or cannot be; the message says how to get it."""


class DataWarning(UserWarning):
    """A file that could mean two things: how it was read, and what to pass where that is wrong."""


def fault(path: Path, found: str, expected: str, fix: str = "", *, at: str = "") -> DataError:
    """Build (not raise) the error `{path}, {at}: found {found}, expected {expected}. {fix}`.

    Example:
        >>> print(fault(Path("a.csv"), "'x'", "a number", "Encode it.", at="line 3, column 2 (age)"))
        a.csv, line 3, column 2 (age): found 'x', expected a number. Encode it.
    """
    place = f"{path}, {at}" if at else f"{path}"
    return DataError(f"{place}: found {found}, expected {expected}." + (f" {fix}" if fix else ""))


def doubt(path: Path, read: str, fix: str, *, at: str = "") -> None:
    """Warn, in the form of `fault`, that a file was read in one of two possible ways."""
    place = f"{path}, {at}" if at else f"{path}"
    warnings.warn(f"{place}: {read}. {fix}", DataWarning, stacklevel=2)


@contextmanager
def named(path: Path, expected: str) -> Iterator[None]:
    """Whatever is raised while a file is read becomes a DataError that names the file.

    Faults that a reader knows pass as they are, and so does the line that installs a missing extra. Everything else,
    down to a panic of a compiled reader, has its cause in the file: nothing but the file varies.
    """
    try:
        yield
    except (DataError, ModuleNotFoundError, Warning):
        raise
    except BaseException as error:
        panic = type(error).__name__ == "PanicException"  # of compiled readers; it derives from BaseException alone
        if not (panic or isinstance(error, Exception)):
            raise
        raise fault(path, f"something that cannot be read ({said(error)})", expected, "Write it again.") from None


def said(error: BaseException) -> str:
    """The type of an error and the first line of its text, as far as a reader needs it."""
    text = getattr(error, "strerror", None) or (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__


def listed(names: Sequence[str], most: int = 6) -> str:
    """The first few names, with an ellipsis where there are more."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def shown(text: str, length: int = 40) -> str:
    """A cell as an error quotes it: on one line, and not longer than a reader needs."""
    return repr(text if len(text) <= length else text[: length - 1] + "…")
