"""Large tables of edges, block by block: ten million rows in seconds, with memory for the numbers alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gezhi.data.formats.edge_columns import Columns
from gezhi.data.formats.files import check_file
from gezhi.data.kinds import Edges, Floats

BLOCK = 2**25  # bytes
PLAIN = bytes(code for code in range(256) if code not in b'"' and (code >= 32 or code in b"\t\n\r"))
COMMENT = re.compile(rb"(?m)^[ \t]*[#%]")
BOM = b"\xef\xbb\xbf"
Ints = NDArray[np.int64]


class Unusual(Exception):
    """Something that the reader row by row must look at."""


def read_blocks(path: Path, columns: Columns) -> Edges | None:
    """A table whose every row is plain, as `read_rows` reads it; None where anything is unusual, or without polars.

    Every fault is unusual: the reader row by row then finds its place.
    """
    check_file(path)
    if columns.type is not None or columns.separator == " " or len(columns.first) < 2:
        return None
    try:
        pl: Any = import_module("polars")
    except ModuleNotFoundError:
        return None
    for form in (numbered_integers, numbered_names):  # whole numbers, as most large tables have, need no dictionary
        try:
            return form(path, columns, pl)
        except (Unusual, pl.exceptions.PolarsError, OSError, UnicodeDecodeError):
            continue
    return None


def numbered_integers(path: Path, columns: Columns, pl: Any) -> Edges:
    """Nodes are whole numbers, written without leading zeros."""

    def integers(names: Any) -> Ints:
        found = names.cast(pl.Int64)
        if not (found.cast(pl.String) == names).all():
            raise Unusual
        return np.asarray(found.to_numpy())

    ends, weight = read(path, columns, integers, pl)
    if ends.min() < 0 or ends.max() > 8 * len(ends) + 2**20:
        raise Unusual
    first = np.full(int(ends.max()) + 1, len(ends))
    first[ends[::-1]] = np.arange(len(ends) - 1, -1, -1)  # of several places the last written stays: the first
    found = ends[np.sort(first[first < len(ends)])]
    first[found] = np.arange(len(found))
    ends = first[ends]
    return Edges(ends[::2].copy(), ends[1::2].copy(), weight, False, tuple(map(str, found.tolist())), path.stem)


def numbered_names(path: Path, columns: Columns, pl: Any) -> Edges:
    """Nodes are names, numbered when first met."""
    nodes: dict[str, int] = {}

    def numbers(names: Any) -> Ints:
        new = names.unique(maintain_order=True)
        known = [nodes.setdefault(name, len(nodes)) for name in new]
        return np.asarray(names.replace_strict(new, pl.Series(known), return_dtype=pl.Int64).to_numpy())

    ends, weight = read(path, columns, numbers, pl)
    return Edges(ends[::2].copy(), ends[1::2].copy(), weight, False, tuple(nodes), path.stem)


def read(path: Path, columns: Columns, numbers: Callable[[Any], Ints], pl: Any) -> tuple[Ints, Floats]:
    """Source and target in turn, as numbers, and the weights."""
    ends, weights = [], []
    for raw in blocks(path, columns):
        rows = plain_rows(raw, columns, pl)
        pair = pl.DataFrame({str(i): rows[str(i)].str.strip_chars() for i in (columns.source, columns.target)})
        names = pair.select(pl.concat_list(pl.all()).explode()).to_series()
        if names.str.len_bytes().min() == 0:
            raise Unusual
        ends.append(numbers(names))
        weights.append(checked_weights(rows, columns.weight, pl))
    if not ends:
        raise Unusual
    return np.concatenate(ends), np.concatenate(weights)


def blocks(path: Path, columns: Columns) -> Iterator[bytes]:
    """Whole lines, from the first row on, which is left out where it is a header."""
    with path.open("rb") as file:
        for _ in range(columns.line - (not columns.header)):
            file.readline()
        rest = file.readline()
        rest = rest.removeprefix(BOM) if columns.line == 1 and not columns.header else rest
        while chunk := file.read(BLOCK):
            yield rest + chunk + file.readline()
            rest = b""
        if rest:
            yield rest


def special(raw: bytes) -> bool:
    """Whether there are quotes, control characters, comments or a byte order mark, which need a closer look."""
    marks = b"#" in raw or b"%" in raw
    return bool(raw.translate(None, PLAIN) or raw.count(b"\r") != raw.count(b"\r\n") or BOM in raw
                or (marks and COMMENT.search(raw)))  # fmt: skip


def plain_rows(raw: bytes, columns: Columns, pl: Any) -> Any:
    """The cells as text, columns named by position; none missing."""
    if special(raw):
        raise Unusual
    schema = {str(i): pl.String for i in range(len(columns.names))}
    rows = pl.read_csv(raw, has_header=False, separator=columns.separator, quote_char=None, schema=schema)
    if rows.height != raw.count(b"\n") + (not raw.endswith(b"\n")) or any(rows[name].has_nulls() for name in schema):
        raise Unusual
    return rows


def checked_weights(rows: Any, column: int | None, pl: Any) -> Floats:
    """The weights as finite numbers of at least 0; ones where there is no such column."""
    if column is None:
        return np.ones(rows.height)
    weight: Floats = rows[str(column)].str.strip_chars().cast(pl.Float64).to_numpy()
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise Unusual
    return weight
