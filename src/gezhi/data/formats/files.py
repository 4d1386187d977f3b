"""What every reader starts with: a file that exists and is not too large, as lines of UTF-8 or as records."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from gezhi.data.errors import fault, listed, shown

MAX_BYTES = 2 * 2**30  # of a file, and of what is unpacked from it


def check_file(path: Path) -> None:
    """Raise DataError unless `path` is a file that holds something, and no more than the limit."""
    check_regular(path)
    size = path.stat().st_size
    if size == 0:
        raise fault(path, "an empty file", "data", "Check how it was written.")
    check_size(path, size)


def check_regular(path: Path) -> None:
    """Raise DataError unless `path` is a file: a pipe or a device may never end."""
    if not path.is_file():
        special = path.exists() and not path.is_dir()
        found = "a pipe or a device" if special else "a folder" if path.is_dir() else "no such file"
        raise fault(path, found, "a file", "Copy its content into a file." if special else "Check the path.")


def check_size(path: Path, size: int, what: str = "") -> None:
    """Raise DataError if `size` bytes, stored or about to be unpacked, are more than the limit."""
    if size > MAX_BYTES:
        found = f"{size:,} bytes" + (f" in {what}" if what else "")
        raise fault(path, found, f"at most {MAX_BYTES:,}", "Take a sample of it.")


def lines(path: Path) -> Iterator[str]:
    """Lines with their ends, decoded one by one, so that a fault has a place; a byte order mark is dropped."""
    check_file(path)
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                at = f"line {number}, column {len(raw[: error.start].decode('utf-8')) + 1}"
                fix = "Convert it, e.g. iconv -f GB18030 -t UTF-8."
                raise fault(path, f"byte 0x{raw[error.start]:02x}", "UTF-8 text", fix, at=at) from None
            yield text.removeprefix("\ufeff") if number == 1 else text


def records(path: Path, delimiter: str, rows: Iterable[str] | None = None) -> Iterator[tuple[int, list[str]]]:
    """Records of a CSV with the line each ends on; empty lines are skipped.

    `rows` are the file's lines, where the caller looks at them first: it must hand on one for each line of the file.
    """
    reader = csv.reader(lines(path) if rows is None else rows, delimiter=delimiter, strict=True,
                        skipinitialspace=delimiter == " ")  # fmt: skip
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            at = f"line {reader.line_num}"
            raise fault(path, f"broken CSV ({error})", "CSV", "Export it again.", at=at) from None
        if cells:
            yield reader.line_num, cells


def check_width(path: Path, line: int, width: int, columns: tuple[str, ...]) -> None:
    """Raise DataError unless a record has as many cells as there are columns."""
    if width != len(columns):
        expected = f"{len(columns)} columns ({listed(columns)})"
        found = "1 column" if width == 1 else f"{width} columns"
        at = f"line {line}, column {min(width, len(columns)) + 1}"
        raise fault(path, found, expected, "Look for a missing or extra separator.", at=at)


def as_number(cell: str) -> float | None:
    """The cell as a float, None where it is none; digits of other scripts and `1_000` are text."""
    if "_" in cell or not cell.isascii():
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def finite(path: Path, cell: str, what: str, at: str) -> float:
    """The cell as a finite number, or DataError saying `what` it should have been."""
    value = as_number(cell)
    if value is None or not math.isfinite(value):
        raise fault(path, shown(cell), f"a number ({what})", at=at)
    return value
