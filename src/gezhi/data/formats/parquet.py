"""Parquet: read in a process apart first, which may be stopped or die, then here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gezhi._checks import require
from gezhi.data.errors import fault, shown
from gezhi.data.formats import files
from gezhi.data.formats.columns import (
    DROP,
    EXACT,
    WORD,
    Flaw,
    check_count,
    check_names,
    endless,
    inexact,
    label_position,
    mixed,
    number,
    place,
    refuse,
    renumbered,
)
from gezhi.data.formats.labels import classes_of, is_missing
from gezhi.data.kinds import Codes, Features, Floats

SECONDS = 300
READER = 2**32  # bytes that the reader itself may take
# the sizes first, then everything, under a limit of memory: a compiled reader ends its process where it runs out
TRIAL = """
import json, sys
path, limit = sys.argv[1], int(sys.argv[2])
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, ValueError):
    pass
import polars as pl
try:
    table = pl.scan_parquet(path, glob=False)
    names = list(table.collect_schema())
    rows = int(table.select(pl.len()).collect().item())
    print(json.dumps({"rows": rows, "columns": len(names)}), flush=True)
    sys.stdin.readline()
    table.collect()
    print("{}", flush=True)
except BaseException as error:
    print(json.dumps({"error": (str(error).splitlines() or [type(error).__name__])[0][:160]}), flush=True)
"""


def read_parquet(path: Path, label: str | None) -> Features:
    """The sizes first, then the columns; rows count from 1 in errors."""
    pl = require("polars", "lab")
    files.check_file(path)
    try_apart(path)
    frame = pl.read_parquet(path, glob=False)
    check_texts(path, frame, pl)
    names = tuple(frame.columns)
    check_count(path, names, "the schema")
    check_names(path, names, "the schema")
    target = label_position(path, names, label)
    if not frame.height:
        raise fault(path, "column names and no rows", "at least two rows", "Check how it was written.")
    X = np.empty((frame.height, len(names) - 1))
    flaws, categories = [], dict[int, tuple[str, ...]]()
    for column, name in enumerate(names[:target] + names[target + 1 :]):
        found = Column(frame[name], place(names, column + (column >= target)), pl).read()
        if isinstance(found, Flaw):
            flaws.append(found)
            continue
        X[:, column], words = found
        if words is not None:
            categories[column] = words
    if flaws:
        raise refuse(path, flaws)
    y, classes = labels(path, frame[names[target]], place(names, target), pl)
    return Features(X, y, classes, names[:target] + names[target + 1 :], path.stem, categories)


def try_apart(path: Path) -> None:
    """Raise DataError unless another process can read the file within a limit of memory and time.

    A compiled reader that meets a wrong count may end its process, and a few bytes may stand for gigabytes; the sizes
    that the file's head announces are checked before anything is unpacked.
    """
    limit = str(files.MAX_BYTES + READER)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "POLARS_MAX_THREADS": "1"}
    command = [sys.executable, "-c", TRIAL, str(path.absolute()), limit]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          env=environment, text=True) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            sizes = json.loads(process.stdout.readline() or '{"error": "its reader ended"}')
            if "error" not in sizes:
                check_sizes(path, sizes["rows"], sizes["columns"])
                rest, _ = process.communicate("\n", timeout=SECONDS)
                sizes = json.loads(rest or '{"error": "its reader ended"}')
        except subprocess.TimeoutExpired:
            sizes = {"error": f"not read in {SECONDS} s"}
        finally:
            process.kill()
    if "error" in sizes:
        raise fault(path, f"a file that cannot be read ({sizes['error']})", "Parquet", "Write it again.")


def check_sizes(path: Path, rows: int, columns: int) -> None:
    """Raise DataError where the table, or what it takes to read it, is too large."""
    files.check_size(path, 8 * rows * columns, "the table")
    files.check_size(path, 24 * rows * columns, "what reading the table takes")


class Column:
    """A column of features: numbers, truth values, or words."""

    def __init__(self, values: Any, at: str, pl: Any) -> None:
        self.values, self.at, self.pl = values, at, pl

    def read(self) -> tuple[Floats, tuple[str, ...] | None] | Flaw:
        """Its numbers, or its codes with their names; NaN is missing."""
        kind = self.values.dtype
        if kind.is_integer() and (flaw := self.rounded()):
            return flaw
        if kind.is_numeric() or kind in (self.pl.Boolean, self.pl.Null):
            return self.finite(np.array(self.values.cast(self.pl.Float64).to_numpy(), dtype=np.float64))
        if kind in (self.pl.String, self.pl.Categorical, self.pl.Enum):
            return self.worded()
        return Flaw(self.at, f"{kind} values", "numbers", DROP)

    def row(self, condition: Any) -> str:
        """The place of the first value of which something holds."""
        return f"row {int(np.flatnonzero(condition)[0]) + 1}, {self.at}"

    def rounded(self) -> Flaw | None:
        large = self.values.filter((self.values >= EXACT) | (self.values <= -EXACT))
        for value in large.to_list():
            if float(value) != value:
                at = self.row((self.values == value).fill_null(False).to_numpy())
                return inexact(at, str(value))
        return None

    def finite(self, numbers: Floats) -> tuple[Floats, None] | Flaw:
        infinite = np.isinf(numbers)
        if infinite.any():
            return endless(self.row(infinite), f"{numbers[infinite][0]:g}")
        return numbers, None

    def worded(self) -> tuple[Floats, tuple[str, ...] | None] | Flaw:
        """Words, of which each distinct one is looked at once, as a cell of a CSV would be."""
        table = self.values.drop_nulls().value_counts()
        keys, counts = table.to_series(0), table.to_series(1).to_list()
        texts = [None if is_missing(text) else text.strip() for text in keys.to_list()]
        numbers = [None if text is None else number(text) for text in texts]
        words = sum(count for text, value, count in zip(texts, numbers, counts, strict=True)
                    if text is not None and value is None)  # fmt: skip
        filled = sum(count for value, count in zip(numbers, counts, strict=True) if value is not None)
        if words and not mixed(words, filled):
            meant = list(dict.fromkeys(text for text in texts if text is not None))
            code = {text: float(i) for i, text in enumerate(meant)}
            return renumbered(self.replaced(keys, [None if text is None else code[text] for text in texts]), meant)
        flawed = [text is not None and not isinstance(value, float) for text, value in zip(texts, numbers, strict=True)]
        return (
            self.flaw(keys.filter(self.pl.Series(flawed))) if any(flawed) else self.finite(self.replaced(keys, numbers))
        )

    def flaw(self, flawed: Any) -> Flaw:
        """What the first of the texts that are no numbers is."""
        among = self.values.is_in(flawed.implode()).fill_null(False).to_numpy()
        text = str(self.values[int(np.flatnonzero(among)[0])]).strip()
        found = number(text)
        return replace(
            found if isinstance(found, Flaw) else Flaw("", shown(text), "a number", WORD), at=self.row(among)
        )

    def replaced(self, keys: Any, values: list[Any]) -> Floats:
        """The column with a number for each of its distinct texts."""
        new = self.pl.Series(values, dtype=self.pl.Float64)
        found = self.values.replace_strict(keys, new, default=None, return_dtype=self.pl.Float64)
        return np.array(found.to_numpy(), dtype=np.float64)


def check_texts(path: Path, frame: Any, pl: Any) -> None:
    """Raise DataError where the texts of a column, which a file may hold once for many rows, are too long in all."""
    for name, kind in frame.schema.items():
        if kind == pl.String:
            files.check_size(path, int(frame[name].str.len_bytes().sum()), f"the texts of {shown(name)}")


def labels(path: Path, values: Any, at: str, pl: Any) -> tuple[Codes, tuple[str, ...]]:
    """Class codes and names; each distinct label is looked at once."""
    kind = values.dtype
    if not (kind.is_numeric() or kind in (pl.Boolean, pl.String, pl.Categorical, pl.Enum)):
        raise fault(path, f"{kind} values", "labels", "Name the label's column.", at=at)
    distinct = values.unique(maintain_order=True)
    names = ["" if value is None else str(value).strip() for value in distinct.to_list()]
    first: dict[str, int] = {}
    for name, row in zip(names, values.is_first_distinct().arg_true().to_list(), strict=True):
        first.setdefault(name, row)
    classes = classes_of(path, first, lambda row: f"row {row + 1}, {at}")
    code = {name: number for number, name in enumerate(classes)}
    new = pl.Series([code[name] for name in names], dtype=pl.Int64)
    return np.array(values.replace_strict(distinct, new, return_dtype=pl.Int64).to_numpy()), classes
