"""What a caller may pass as a graph, read into one weighted sparse matrix."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, issparse

from gezhi._checks import check_integer, check_same_length, invalid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PROBE = np.random.default_rng(0).random(1000)


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
    """A networkx or igraph graph, sparse or dense square matrix, or a tuple of edge arrays as `Graph`.

    Args:
        graph: networkx graph of any class or `igraph.Graph`; matrix with the weight from i to j at [i, j] (a pandas
            table with the same names on both sides keeps them); or arrays `(source, target)`,
            `(source, target, weight)` or `(source, target, weight, n)` of edges between nodes 0 … n − 1, where
            `weight` may be None (ones) and n defaults to the largest index plus 1. A graph may be empty.
        directed: for matrices and arrays; networkx and igraph graphs know their own direction.
        weight: edge attribute of a networkx or igraph graph that holds the weight (absent: 1); None: all weights are
            1. Where nodes of igraph have the attribute "name", that is what they are called.
    Errors: ValueError naming what is wrong: shape, negative or non-finite weight, index, asymmetry, a name given
        twice. TypeError for what is no graph.
    """
    if isinstance(graph, tuple):
        return _checked(_from_edges(*graph, directed=directed), directed)
    if hasattr(graph, "is_directed") and hasattr(graph, "nodes"):
        names = tuple(graph.nodes)
        index = {name: i for i, name in enumerate(names)}
        edges = graph.edges(data=weight, default=1) if weight else ((u, v, 1) for u, v in graph.edges())
        _check_direction(graph, directed, "DiGraph")
        return _named(names, [(index[u], index[v], w) for u, v, w in edges], bool(graph.is_directed()))
    if hasattr(graph, "is_directed") and hasattr(graph, "get_edgelist"):
        return _from_igraph(graph, directed, weight)
    if hasattr(graph, "columns") and hasattr(graph, "index"):
        names = tuple(graph.index)
        if names != tuple(graph.columns):
            raise invalid("graph", "name rows and columns alike", f"{names[:3]} and {tuple(graph.columns)[:3]}")
        return _checked(_from_matrix(graph.to_numpy(), directed), directed, names)
    return _checked(_from_matrix(graph, directed), directed)


def _check_direction(graph: Any, directed: bool, kind: str) -> None:
    if directed and not graph.is_directed():
        raise invalid("graph", f"be a {kind} when directed=True", f"an undirected {type(graph).__name__}",
                      "Turn each edge into two: networkx to_directed(), igraph as_directed().")  # fmt: skip


def _from_igraph(graph: Any, directed: bool, weight: str | None) -> Graph:
    _check_direction(graph, directed, "directed igraph.Graph")
    names = graph.vs["name"] if "name" in graph.vs.attributes() else range(graph.vcount())
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise invalid("graph", "have a name of its own for each node", f"several named {twice!r}",
                      'Delete the attribute: del graph.vs["name"].')  # fmt: skip
    weights = graph.es[weight] if weight and weight in graph.es.attributes() else [1] * graph.ecount()
    edges = [(u, v, 1 if w is None else w) for (u, v), w in zip(graph.get_edgelist(), weights, strict=True)]
    return _named(tuple(names), edges, bool(graph.is_directed()))


def _named(names: tuple[Hashable, ...], edges: list[tuple[int, int, Any]], towards: bool) -> Graph:
    ends = np.array([edge[:2] for edge in edges], dtype=np.int64).reshape(-1, 2)
    values = _numbers("weights", [edge[2] for edge in edges])
    return _checked(_from_edges(ends[:, 0], ends[:, 1], values, len(names), directed=towards), towards, names)


def _numbers(argument: str, values: Any) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        kind = type(values).__name__ if argument == "graph" else str(error)
        fix = "Pass a networkx or igraph graph, a matrix, or a tuple of edge arrays." if argument == "graph" else ""
        raise invalid(argument, "hold numbers", kind, fix, kind=TypeError) from None


def _from_matrix(matrix: Any, directed: bool) -> Any:
    if not issparse(matrix):
        matrix = _numbers("graph", matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise invalid("graph", "be a square matrix of weights", matrix.shape, "Pass edges as a tuple of arrays.")
    weights = matrix if _is_ready(matrix) else csr_array(matrix, dtype=np.float64, copy=True)
    weights = _tamed(weights, weights.data)
    weights.sum_duplicates()
    if not directed:
        _check_symmetric(weights)
    return weights


def _is_ready(matrix: Any) -> bool:
    """Whether the matrix may be used as it stands: nothing will be sorted or summed in place."""
    return isinstance(matrix, csr_array) and matrix.dtype == np.float64 and bool(matrix.has_canonical_format)


def _tamed(weights: Any, values: Floats) -> Any:
    """The same ratios between weights (an array or a matrix of these values), where sums would overflow or vanish."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not (low >= 0 and high < np.inf):
        bad = ~((values >= 0) & (values < np.inf))
        raise invalid("weights", "be finite and at least 0", values[bad][0], "Drop these edges or shift the weights.")
    if not high or 1e-150 < high < 1e150:
        return weights
    return weights * 0.5 ** math.frexp(high)[1] if high > 1 else weights * 2.0**600


def row_sums(start: Any, values: Floats) -> Floats:
    """The sums over compressed rows."""
    first, end = start[:-1], start[1:]
    if len(first) and (first < end).all():
        return np.add.reduceat(values, first)
    sums, filled = np.zeros(len(first)), np.flatnonzero(first < end)
    if len(filled):
        sums[filled] = np.add.reduceat(values, first[filled])
    return sums


def _check_symmetric(weights: Any) -> None:
    """W = Wᵀ if W r = Wᵀ r for a random r, which asks for no transposed copy; the gap is looked for where it fails."""
    n = weights.shape[0]
    r = np.random.default_rng(0).random(n) if n > len(PROBE) else PROBE[:n]
    there = np.bincount(weights.indices, weights.data * r.repeat(weights.indptr[1:] - weights.indptr[:-1]), n)
    back = row_sums(weights.indptr, weights.data * r[weights.indices])
    if n == 0 or np.abs(there - back).max() <= 1e-13 * back.max():
        return
    gap = np.abs((weights - weights.T.tocsr()).data)
    if gap.size and not gap.max() <= 1e-10 * np.abs(weights.data).max():
        raise invalid("graph", "be symmetric when directed=False", f"a difference of {gap.max():g}",
                      "Pass directed=True, or (A + A.T) / 2.")  # fmt: skip


def _from_edges(source: Any, target: Any, weight: Any = None, n: int | None = None, *, directed: bool) -> Any:
    source, target = _indices("source", source), _indices("target", target)
    weight = np.ones(len(source)) if weight is None else _numbers("weights", weight)
    check_same_length(source=len(source), target=len(target), weight=len(weight))
    highest = int(max(source.max(initial=-1), target.max(initial=-1)))
    n = highest + 1 if n is None else check_integer("n", n, at_least=0)
    if highest >= n or min(source.min(initial=0), target.min(initial=0)) < 0:
        lowest = min(source.min(initial=0), target.min(initial=0))
        raise invalid("source and target", f"lie between 0 and {n - 1}", lowest if lowest < 0 else highest)
    weight = _tamed(weight, weight)
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


def _checked(weights: Any, directed: bool, names: tuple[Hashable, ...] | None = None) -> Graph:
    if not weights.data.all():
        weights = weights.copy()
        weights.eliminate_zeros()
    return Graph(weights, directed, names)


def name_groups(names: Sequence[Hashable] | None, labels: Ints) -> list[set[Hashable]]:
    """The nodes of each label as a set of names, largest set first (then by the first node)."""
    order = np.argsort(labels, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(order) else []
    parts.sort(key=lambda part: (-len(part), int(part[0])))
    return [set(part.tolist()) if names is None else {names[i] for i in part} for part in parts]
