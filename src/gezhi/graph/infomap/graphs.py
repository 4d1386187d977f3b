"""What a caller may pass as a graph, read into one weighted sparse matrix."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, issparse

from gezhi._checks import check_same_length, invalid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Graph:
    """Weights of the links, source by row.

    Attributes:
        weights: (n, n), > 0, sorted, without duplicates; symmetric where the graph is undirected (a self-loop once).
        directed: whether the direction of a link counts.
        names: what the caller calls the nodes, in the order of the rows; None: 0 … n − 1.
    """

    weights: Any
    directed: bool
    names: tuple[Hashable, ...] | None = None

    @property
    def n(self) -> int:
        return int(self.weights.shape[0])


def read_graph(graph: Any, directed: bool, weight: str | None = "weight") -> Graph:
    """A networkx graph, sparse or dense square matrix, or a tuple of edge arrays as `Graph`.

    Args:
        graph: networkx graph of any class; matrix with the weight from i to j at [i, j]; or arrays
            `(source, target)`, `(source, target, weight)` or `(source, target, weight, n)` of edges between nodes
            0 … n − 1, where `weight` may be None (ones) and n defaults to the largest index plus 1.
        directed: for matrices and arrays; a networkx graph knows its own direction.
        weight: edge attribute of a networkx graph that holds the weight (absent: 1); None: all weights are 1.
    Errors: ValueError naming what is wrong: shape, negative or non-finite weight, index, asymmetry, no node.
    """
    if isinstance(graph, tuple):
        return _checked(_from_edges(*graph, directed=directed), directed)
    if hasattr(graph, "is_directed") and hasattr(graph, "nodes"):
        return _from_networkx(graph, directed, weight)
    return _checked(_from_matrix(graph, directed), directed)


def _from_matrix(matrix: Any, directed: bool) -> Any:
    if not issparse(matrix):
        matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise invalid("graph", "be a square matrix of weights", matrix.shape, "Pass edges as a tuple of arrays.")
    weights = csr_array(matrix, dtype=np.float64, copy=not _is_clean(matrix))
    weights.sum_duplicates()
    if not directed:
        _check_symmetric(weights)
    return weights


def _is_clean(matrix: Any) -> bool:
    """Whether `csr_array` may share its memory: nothing will be sorted or summed in place."""
    return getattr(matrix, "format", "") == "csr" and bool(matrix.has_canonical_format)


def _check_symmetric(weights: Any) -> None:
    other = weights.T.tocsr()
    same = np.array_equal(weights.indices, other.indices) and np.array_equal(weights.indptr, other.indptr)
    gap = np.abs(weights.data - other.data if same else (weights - other).data)
    if gap.size and not gap.max() <= 1e-10 * np.abs(weights.data).max() and np.isfinite(weights.data).all():
        raise invalid("graph", "be symmetric when directed=False", f"a difference of {gap.max():g}",
                      "Pass directed=True, or (A + A.T) / 2.")  # fmt: skip


def _from_edges(source: Any, target: Any, weight: Any = None, n: int | None = None, *, directed: bool) -> Any:
    source, target = _indices("source", source), _indices("target", target)
    weight = np.ones(len(source)) if weight is None else np.asarray(weight, dtype=np.float64)
    check_same_length(source=len(source), target=len(target), weight=len(weight))
    highest = int(max(source.max(initial=-1), target.max(initial=-1)))
    n = highest + 1 if n is None else n
    if highest >= n or min(source.min(initial=0), target.min(initial=0)) < 0:
        lowest = min(source.min(initial=0), target.min(initial=0))
        raise invalid("source and target", f"lie between 0 and {n - 1}", lowest if lowest < 0 else highest)
    _check_weights(weight)
    if not directed:
        other = source != target
        source, target = np.r_[source, target[other]], np.r_[target, source[other]]
        weight = np.r_[weight, weight[other]]
    return coo_array((weight, (source, target)), shape=(n, n)).tocsr()


def _indices(name: str, values: Any) -> Any:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise invalid(name, "be a 1-d array of integers", f"{array.ndim}-d, {array.dtype}")
    largest = int(array.max(initial=0))
    return array.astype(np.int32 if largest < 2**31 - 1 else np.int64, copy=False)


def _from_networkx(graph: Any, directed: bool, weight: str | None) -> Graph:
    if directed and not graph.is_directed():
        raise invalid("graph", "be a DiGraph when directed=True", type(graph).__name__, "Pass G.to_directed().")
    names = tuple(graph.nodes)
    index = {name: i for i, name in enumerate(names)}
    edges = [(index[u], index[v], w) for u, v, w in graph.edges(data=weight, default=1)] if weight else [
        (index[u], index[v], 1) for u, v in graph.edges()
    ]  # fmt: skip
    ends = np.array([edge[:2] for edge in edges], dtype=np.int64).reshape(-1, 2)
    values = np.array([edge[2] for edge in edges], dtype=np.float64)
    towards = bool(graph.is_directed())
    return _checked(_from_edges(ends[:, 0], ends[:, 1], values, len(names), directed=towards), towards, names)


def _checked(weights: Any, directed: bool, names: tuple[Hashable, ...] | None = None) -> Graph:
    if not weights.shape[0]:
        raise invalid("graph", "have at least one node", "none")
    _check_weights(weights.data)
    if not weights.data.all():
        weights = weights.copy()
        weights.eliminate_zeros()
    return Graph(weights, directed, names)


def _check_weights(values: Floats) -> None:
    if values.size and not (values.min() >= 0 and values.max() < np.inf):
        bad = ~((values >= 0) & (values < np.inf))
        raise invalid("weights", "be finite and at least 0", values[bad][0], "Drop these edges or shift the weights.")


def name_groups(names: Sequence[Hashable] | None, labels: Ints) -> list[set[Hashable]]:
    """The nodes of each label as a set of names, largest set first (then by the first node)."""
    order = np.argsort(labels, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    parts.sort(key=lambda part: (-len(part), int(part[0])))
    return [set(part.tolist()) if names is None else {names[i] for i in part} for part in parts]
