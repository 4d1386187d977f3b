"""Large tables of edges, block by block: ten million rows in seconds, with memory for the numbers alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gezhi.data import Edges
from gezhi.data.formats.edges import HEADS

BLOCK = 2**25  # bytes
COLUMNS = ("source", "target", "weight")
Ints = NDArray[np.int64]


class Unusual(Exception):
    """Something that the reader row by row must look at."""


def read_regular(path: Path) -> Edges | None:
    """A table whose every row is plain, as `gezhi.data.load` reads it; None where anything is unusual.

    Quotes, empty lines and every fault are unusual: the reader row by row then finds its way, or the fault's place.
    """
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    for form in (numbered_integers, numbered_names):  # whole numbers, as most large tables have, need no dictionary
        try:
            return form(path, delimiter)
        except (Unusual, pl.exceptions.PolarsError, OSError, UnicodeDecodeError):
            continue
    return None


def numbered_integers(path: Path, delimiter: str) -> Edges:
    """Nodes are whole numbers, written without leading zeros."""
    ends, weight = columns(path, delimiter, integers)
    if ends.min() < 0 or ends.max() > 8 * len(ends) + 2**20:
        raise Unusual
    first = np.full(int(ends.max()) + 1, len(ends))
    first[ends[::-1]] = np.arange(len(ends) - 1, -1, -1)  # of several places the last written stays: the first
    found = ends[np.sort(first[first < len(ends)])]
    first[found] = np.arange(len(found))
    ends = first[ends]
    return Edges(ends[::2].copy(), ends[1::2].copy(), weight, False, tuple(map(str, found.tolist())), path.stem)


def numbered_names(path: Path, delimiter: str) -> Edges:
    """Nodes are names, numbered when first met."""
    nodes: dict[str, int] = {}

    def numbers(names: pl.Series) -> Ints:
        new = names.unique(maintain_order=True)
        known = [nodes.setdefault(name, len(nodes)) for name in new]
        return names.replace_strict(new, pl.Series(known), return_dtype=pl.Int64).to_numpy()

    ends, weight = columns(path, delimiter, numbers)
    return Edges(ends[::2].copy(), ends[1::2].copy(), weight, False, tuple(nodes), path.stem)


def integers(names: pl.Series) -> Ints:
    """The names as numbers, where each is the one way to write its number."""
    found = names.cast(pl.Int64)
    if not (found.cast(pl.String) == names).all():
        raise Unusual
    return found.to_numpy()


def columns(path: Path, delimiter: str, numbers: Callable[[pl.Series], Ints]) -> tuple[Ints, NDArray[np.float64]]:
    """Source and target in turn, as numbers, and the weights."""
    ends, weights = [], []
    for raw, width in blocks(path, delimiter):
        rows = plain_rows(raw, width, delimiter)
        pair = pl.DataFrame({name: rows[name].str.strip_chars() for name in COLUMNS[:2]})
        names = pair.select(pl.concat_list(pl.all()).explode()).to_series()
        if names.str.len_bytes().min() == 0:
            raise Unusual
        ends.append(numbers(names))
        weights.append(checked_weights(rows, width))
    if not ends:
        raise Unusual
    return np.concatenate(ends), np.concatenate(weights)


def blocks(path: Path, delimiter: str) -> Iterator[tuple[bytes, int]]:
    """Whole lines without a header, and how many columns the table has."""
    with path.open("rb") as file:
        first = file.readline().removeprefix(b"\xef\xbb\xbf")
        cells = [cell.strip().lower() for cell in first.decode().split(delimiter)]
        rest = b"" if tuple(cells[:2]) in HEADS else first
        while chunk := file.read(BLOCK):
            yield rest + chunk + file.readline(), len(cells)
            rest = b""
        if rest:
            yield rest, len(cells)


def plain_rows(raw: bytes, width: int, delimiter: str) -> Any:
    """The cells as text; no quotes, no empty lines, none missing."""
    if width not in (2, 3) or b'"' in raw or raw.count(b"\r") != raw.count(b"\r\n"):
        raise Unusual
    schema = dict.fromkeys(COLUMNS[:width], pl.String)
    rows = pl.read_csv(raw, has_header=False, separator=delimiter, quote_char=None, schema=schema)
    if rows.height != raw.count(b"\n") + (not raw.endswith(b"\n")) or any(rows[name].has_nulls() for name in schema):
        raise Unusual
    return rows


def checked_weights(rows: Any, width: int) -> NDArray[np.float64]:
    """The third column as finite numbers of at least 0; ones where there is none."""
    if width == 2:
        return np.ones(rows.height)
    weight: NDArray[np.float64] = rows["weight"].str.strip_chars().cast(pl.Float64).to_numpy()
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise Unusual
    return weight
