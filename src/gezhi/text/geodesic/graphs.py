"""The graph of nearest neighbours, and what joins it where it falls apart."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from gezhi._checks import invalid
from gezhi.text.geodesic.lengths import Array, Ints, Metric, nearest, outsiders

Graph = Literal["union", "mutual"]
MOST_PAIRS = 2**26  # neighbours listed in the search for the k that joins


def symmetric(i: Ints, j: Ints, length: Array, n: int, graph: Graph) -> Any:
    """The CSR matrix of both directions of each pair that one (`union`) or both (`mutual`) of its ends name.

    Edges of length 0 stay stored, which `matrix.maximum(matrix.T)` would lose; where two lengths are given for a pair
    the shorter one counts.
    """
    low, high = np.minimum(i, j), np.maximum(i, j)
    order = np.lexsort((length, high, low))
    low, high, length = low[order], high[order], length[order]
    fresh = np.ones(len(low), dtype=bool)
    fresh[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    kept = np.flatnonzero(fresh)
    if graph == "mutual":
        kept = kept[np.diff(np.r_[kept, len(low)]) > 1]
    return joined(low[kept], high[kept], length[kept], n)


def joined(i: Ints, j: Ints, length: Array, n: int) -> Any:
    """CSR of edges, each once, in both directions."""
    both = np.r_[i, j].astype(np.int32), np.r_[j, i].astype(np.int32)
    return sparse.coo_array((np.r_[length, length], both), shape=(n, n)).tocsr()


def components(graph: Any) -> tuple[int, Ints]:
    """How many there are, and the component of each row."""
    count, labels = csgraph.connected_components(graph, directed=False)
    return int(count), labels.astype(np.int64)


def joining_edges(rows: Array, labels: Ints, metric: Metric) -> tuple[Ints, Ints, Array]:
    """The shortest edges that make one component of all: a shortest spanning tree of the components (Borůvka)."""
    found: list[tuple[int, int, float]] = []
    while labels.max() > 0:
        i, j, length = outsiders(rows, labels, metric)
        low, high = np.minimum(i, j), np.maximum(i, j)
        order = np.lexsort((high, low, length, labels[i]))
        first = order[np.unique(labels[i][order], return_index=True)[1]]
        edges = {(int(low[e]), int(high[e]), float(length[e])) for e in first}
        found += sorted(edges)
        ends = np.array([(labels[a], labels[b]) for a, b, _ in edges])
        count = int(labels.max()) + 1
        step = sparse.coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
        labels = components(step)[1][labels]
    a, b, lengths = zip(*found, strict=True)
    return np.array(a), np.array(b), np.array(lengths)


def joining_k(rows: Array, k: int, metric: Metric, graph: Graph) -> int | None:
    """The smallest k above the given one whose graph is connected; None where finding it would list too many pairs."""
    n, low = len(rows), k

    def connected(pairs: tuple[Ints, Ints, Array], k: int, of: int) -> bool:
        kept = np.flatnonzero(np.arange(n * of) % of < k)
        i, j, length = pairs
        return components(symmetric(i[kept], j[kept], length[kept], n, graph))[0] == 1

    while True:
        high = min(2 * low, n - 1)
        if high * n > MOST_PAIRS:
            return None
        pairs = nearest(rows, rows, high, metric, own=True)
        if connected(pairs, high, high):
            break
        low = high
    width = high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if connected(pairs, middle, width) else (middle, high)
    return high


def read_graph(X: Any, graph: Graph) -> Any:
    """A sparse square matrix of lengths as a symmetric graph; its stored zeros are edges."""
    if not sparse.issparse(X):
        fix = "Use kneighbors_graph(..., mode='distance'), or another metric for rows."
        raise invalid("X", "be a sparse matrix of lengths where metric='precomputed'", type(X).__name__, fix)
    matrix: Any = sparse.coo_array(X)  # type: ignore[call-overload]
    n, m = matrix.shape
    if n != m or n < 2:
        raise invalid("X", "be square, with two rows at least", f"shape {(n, m)}")
    i, j, length = matrix.row.astype(np.int64), matrix.col.astype(np.int64), matrix.data.astype(np.float64)
    if not ((length >= 0) & (length < np.inf)).all():
        raise invalid("X", "have finite lengths of at least 0", length[~((length >= 0) & (length < np.inf))][0])
    apart = i != j
    return symmetric(i[apart], j[apart], length[apart], n, graph)
