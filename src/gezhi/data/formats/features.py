"""Tables of numbers with a label: CSV and Parquet."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gezhi._checks import require
from gezhi.data.errors import DataError, fault, listed, shown
from gezhi.data.formats.files import as_number, check_file, check_size, check_width, records
from gezhi.data.formats.labels import encode
from gezhi.data.kinds import Features, Floats

MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}


def load_features(path: Path, label: str | None) -> Features:
    """Read a table; `label` names the label's column, None takes the last."""
    return (read_parquet if path.suffix.lower() == ".parquet" else read_csv)(path, label)


def read_csv(path: Path, label: str | None) -> Features:
    """One pass over the file, one record at a time; tabs separate in a `.tsv`, commas elsewhere."""
    rows = records(path, "\t" if path.suffix.lower() == ".tsv" else ",")
    line, header = next(rows, (1, []))
    columns = tuple(cell.strip() for cell in header)
    check_columns(path, columns, f"line {line}")
    target = label_position(path, columns, label)
    values, labels, lines_of = array("d"), list[str](), array("q")
    for line, cells in rows:
        check_width(path, line, len(cells), columns)
        labels.append(cells.pop(target).strip())
        lines_of.append(line)
        try:
            values.extend(map(float, cells))
        except ValueError:
            raise not_a_number(path, line, cells, columns, target) from None
    X = np.frombuffer(values, dtype=np.float64).reshape(len(labels), len(columns) - 1)
    return assembled(path, X, labels, columns, target, lambda row: f"line {lines_of[row]}")


def read_parquet(path: Path, label: str | None) -> Features:
    """The schema and the size first, then the columns; rows count from 1 in errors."""
    pl = require("polars", "lab")
    check_file(path)
    try:
        table = pl.scan_parquet(path, glob=False)
        schema = table.collect_schema()
        check_size(path, 8 * len(schema) * int(table.select(pl.len()).collect().item()), "the table")
        columns = tuple(schema)
        check_columns(path, columns, "the schema")
        target = label_position(path, columns, label)
        check_types(path, [(name, str(kind), kind.is_numeric() or kind == pl.Boolean) for name, kind in schema.items()],
                    target)  # fmt: skip
        frame = table.collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        first = str(error).splitlines()[0]
        raise fault(path, f"a file that cannot be read ({first})", "Parquet", "Write it again.") from None
    labels = ["" if value is None else str(value) for value in frame[columns[target]].to_list()]
    X = frame.drop(columns[target]).cast(pl.Float64).to_numpy(writable=True)
    return assembled(path, X, labels, columns, target, lambda row: f"row {row + 1}")


def assembled(
    path: Path, X: Floats, labels: Sequence[str], columns: tuple[str, ...], target: int, where: Callable[[int], str]
) -> Features:
    """What both forms end with: no missing value, at least one row, at least two classes."""
    if not labels:
        raise fault(path, "column names and no rows", "at least two rows", "Check how it was written.")
    names = columns[:target] + columns[target + 1 :]
    bad = np.argwhere(~np.isfinite(X))
    if len(bad):
        row, column = bad[0]
        at = f"{where(row)}, {place(columns, column + (column >= target))}"
        raise fault(path, f"{X[row, column]:g}", "a finite number", "Impute it or drop the row.", at=at)
    y, classes = encode(path, labels, lambda row: f"{where(row)}, {place(columns, target)}")
    return Features(np.ascontiguousarray(X, dtype=np.float64), y, classes, names, path.stem)


def check_columns(path: Path, columns: tuple[str, ...], at: str) -> None:
    """Raise DataError unless there are at least two columns, each with a name of its own."""
    if len(columns) < 2:
        found = f"one column ({shown(columns[0])})" if columns else "no column"
        raise fault(path, found, "two or more", "Separate by commas (.csv) or tabs (.tsv).", at=at)
    seen = set[str]()
    for position, name in enumerate(columns, 1):
        if not name or name in seen:
            found = f"the name {shown(name)} twice" if name else "a column without a name"
            fix = "Rename it." if name else "If it is a row number, write the file without it."
            raise fault(path, found, "one name a column", fix, at=f"{at}, column {position}")
        seen.add(name)
    if all(as_number(name) is not None for name in columns) and columns != tuple(map(str, range(len(columns)))):
        raise fault(path, f"only numbers ({listed(columns)})", "column names", "Add a first line.", at=at)


def label_position(path: Path, columns: tuple[str, ...], label: str | None) -> int:
    """Index of the label's column."""
    if label is None:
        return len(columns) - 1
    if label not in columns:
        raise fault(path, f"no column {label!r}", f"one of {listed(columns)}", "Name the label's column.")
    return columns.index(label)


def check_types(path: Path, types: Iterable[tuple[str, str, bool]], target: int) -> None:
    """Raise DataError for the first feature column that holds no numbers."""
    for position, (name, kind, numeric) in enumerate(types):
        if position != target and not numeric:
            raise fault(path, f"{kind} values", "numbers", ENCODE, at=f"column {position + 1} ({name})")


ENCODE = "Encode it as numbers (for example one-hot) or drop the column; if it is the label, name it."


def not_a_number(path: Path, line: int, cells: list[str], columns: tuple[str, ...], target: int) -> DataError:
    """The error for the first cell of a record that is no number."""
    position = next(i for i, cell in enumerate(cells) if as_number(cell) is None)
    cell = cells[position].strip()
    at = f"line {line}, {place(columns, position + (position >= target))}"
    if cell.lower() in MISSING:
        found = f"a missing value ({shown(cell)})"
        return fault(path, found, "a number", "Impute it or drop the row.", at=at)
    return fault(path, shown(cell), "a number", ENCODE, at=at)


def place(columns: tuple[str, ...], position: Any) -> str:
    """A column as an error names it."""
    return f"column {position + 1} ({columns[position]})"
