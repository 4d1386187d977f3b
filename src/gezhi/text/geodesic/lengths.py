"""Straight lengths between rows, and which rows are nearest: chosen by matrix products, measured from differences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gezhi._checks import invalid

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Metric = Literal["angular", "cosine", "euclidean"]
BLOCK = 2**20  # squared lengths in memory at a time
ROUNDING = 1e-12  # of |x|² + |y|²: what a matrix product may lose of a squared length


def prepared(name: str, rows: Array, metric: Metric) -> Array:
    """The rows themselves, or of length 1 where only directions count; ValueError names a row without one."""
    if metric == "euclidean":
        return rows
    largest = np.abs(rows).max(axis=1, keepdims=True)
    if not largest.all():
        fix = "It has no direction: leave it out, or take metric='euclidean'."
        raise invalid(name, "have no zero vector", f"one in row {int(np.argmin(largest))}", fix)
    scaled = rows / largest
    unit: Array = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    return unit


def lengths(x: Array, y: Array, metric: Metric) -> Array:
    """Between rows of equal number, of which all but the Euclidean have length 1; 0 for equal rows."""
    apart = np.linalg.norm(x - y, axis=1)
    if metric == "angular":
        return np.asarray(2 * np.arctan2(apart, np.linalg.norm(x + y, axis=1)))
    return np.asarray(apart**2 / 2 if metric == "cosine" else apart)


def squared_of(length: float, metric: Metric) -> float:
    """The squared Euclidean length of prepared rows that are so far from each other."""
    if metric == "angular":
        return 4 * math.sin(min(length, math.pi) / 2) ** 2
    return 2 * length if metric == "cosine" else length**2


def nearest(queries: Array, rows: Array, k: int, metric: Metric, *, own: bool = False) -> tuple[Ints, Ints, Array]:
    """Pairs of each query with its k nearest rows, by query, length and row, and their lengths.

    `own`: the queries are the rows, and none is its own neighbour.
    """

    def within(block: Array, largest: Array) -> Any:
        reach = np.partition(block, k - 1, axis=1)[:, k - 1]
        return block <= (reach + ROUNDING * largest)[:, None]

    return _chosen(queries, rows, metric, own, within, k)


def within_radius(
    queries: Array, rows: Array, radius: float, metric: Metric, *, own: bool = False
) -> tuple[Ints, Ints, Array]:
    """Pairs of each query with every row within the radius."""
    squared = squared_of(radius, metric)
    i, j, found = _chosen(queries, rows, metric, own, lambda block, most: block <= squared + ROUNDING * most[:, None])
    kept = found <= radius
    return i[kept], j[kept], found[kept]


def outsiders(rows: Array, labels: Ints, metric: Metric) -> tuple[Ints, Ints, Array]:
    """Each row with the nearest one of another component."""
    parts = []
    for part, block, _ in _squared(rows, rows):
        block[labels[part][:, None] == labels] = np.inf
        parts.append(block.argmin(axis=1))
    j = np.concatenate(parts)
    return np.arange(len(rows)), j, lengths(rows, rows[j], metric)


def _squared(queries: Array, rows: Array) -> Iterator[tuple[NDArray[Any], Array, Array]]:
    """Squared lengths of some queries to all rows, and the largest squares that they came from."""
    squares = (rows**2).sum(axis=1)
    step = max(1, BLOCK // len(rows))
    for start in range(0, len(queries), step):
        part = np.arange(start, min(start + step, len(queries)))
        here = (queries[part] ** 2).sum(axis=1)
        yield part, here[:, None] + squares - 2 * (queries[part] @ rows.T), here + squares.max()


def _chosen(
    queries: Array, rows: Array, metric: Metric, own: bool, within: Any, most: int | None = None
) -> tuple[Ints, Ints, Array]:
    """What a rule chooses of all pairs, measured afresh; the first `most` of each query in order of length and row."""
    found = []
    for part, block, largest in _squared(queries, rows):
        if own:
            block[np.arange(len(part)), part] = np.inf
        i, j = np.nonzero(within(block, largest))
        if own:
            i, j = i[part[i] != j], j[part[i] != j]
        length = lengths(queries[part[i]], rows[j], metric)
        order = np.lexsort((j, length, i))
        i, j, length = i[order], j[order], length[order]
        rank = np.arange(len(i)) - np.searchsorted(i, i)
        kept = rank < (len(rows) if most is None else most)
        found.append((part[i[kept]], j[kept], length[kept]))
    i, j, length = (np.concatenate(column) for column in zip(*found, strict=True))
    return i, j, length
