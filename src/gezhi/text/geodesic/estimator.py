"""The scikit-learn form."""

from __future__ import annotations

import warnings
from typing import Any, Literal, Self

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from scipy import sparse
from scipy.sparse import csgraph
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from gezhi._checks import check_choice, check_integer, check_number, invalid
from gezhi.text.geodesic.graphs import Graph, components, joined, joining_edges, joining_k, read_graph, symmetric
from gezhi.text.geodesic.lengths import Array, Ints, Metric, nearest, prepared, within_radius


class NeighborGraphWarning(UserWarning):
    """The graph of neighbours is doubtful: its message says why, and what to do."""


class DisconnectedGraphError(ValueError):
    """The graph falls apart. Remedy: the k (or radius) that the message names, or `connect="nearest"`."""


class GeodesicDistance(TransformerMixin, BaseEstimator):
    r"""Distances along the data: shortest paths from neighbour to neighbour.

    $$g(i,j)=\min_{i=i_0,i_1,\dots,i_l=j}\sum_{s=1}^{l}d(v_{i_{s-1}},v_{i_s}),\qquad
      \{i_{s-1},i_s\}\text{ an edge} \tag{1}$$

    where {i, j} is an edge if j is one of the k nearest of i **or** i one of the k nearest of j. Of a vector q that is
    not in the graph, with $N_k(q)$ its k nearest stored ones,

    $$g(q,j)=\min_{i\in N_k(q)}\big[d(q,v_i)+g(i,j)\big] \tag{2}$$

    Args:
        n_neighbors: k, 1 … rows − 1; 10 to 20 are usual, 15 is our choice. Too small and the graph falls apart, too
            large and it cuts corners.
        radius: an edge wherever two rows are as near as this; then k counts for nothing.
        metric: d. `"angular"`, the angle, the safe one for sentence vectors; `"euclidean"`; `"cosine"`, 1 − cos, which
            is no metric: it favours many short hops; `"precomputed"`: X is a sparse square matrix of lengths, of any
            neighbour search, whose stored zeros are edges.
        graph: `"union"`: **or**, as above; `"mutual"`: **and**.
        connect: what to do where the graph is not connected. `"error"`: say how many components there are and the
            smallest k that joins them; `"infinite"`: distances between them are infinite; `"nearest"`: add the
            shortest edges that join them.
        n_jobs: processes that share the sources, as in joblib.

    Attributes:
        graph_: (n, n) CSR, lengths of edges in both directions.
        n_components_: of the graph before `connect` added edges.
        components_: (n,) of which each row is one.
        n_features_in_: columns of X.
    Errors: ValueError naming the argument; `DisconnectedGraphError`. Warnings: `NeighborGraphWarning` for k > n/4, and
        for rows with so many copies that they see nothing else.
    Cost: O(n² d) time for the graph, O(nk) memory; O(nk + n log n) a source. Use instead: `umap` or `pynndescent` for
        more than some 50,000 rows, whose graph can be given as it is.
    Example:
        >>> angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        >>> circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        >>> model = GeodesicDistance(n_neighbors=2, metric="euclidean").fit(circle)
        >>> model.distances([0], [3, 6]).round(6)
        array([[1.552914, 3.105829]])
        >>> model.path(0, 3)
        [0, 1, 2, 3]

    References: Tenenbaum et al., A Global Geometric Framework for Nonlinear Dimensionality Reduction, 2000; Basu Roy
        Chowdhury et al., Unsupervised Opinion Summarization Using Approximate Geodesics, 2022 (arXiv 2209.07496);
        苏剑林, 从局部到全局:语义相似度的测地线距离, 2022.
    """

    def __init__(
        self,
        n_neighbors: int = 15,
        *,
        radius: float | None = None,
        metric: Literal["angular", "euclidean", "cosine", "precomputed"] = "angular",
        graph: Graph = "union",
        connect: Literal["error", "infinite", "nearest"] = "error",
        n_jobs: int | None = 1,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.radius = radius
        self.metric = metric
        self.graph = graph
        self.connect = connect
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002
        """Build the graph of these rows."""
        check_choice("metric", self.metric, ("angular", "euclidean", "cosine", "precomputed"))
        check_choice("graph", self.graph, ("union", "mutual"))
        check_choice("connect", self.connect, ("error", "infinite", "nearest"))
        if self.metric == "precomputed":
            self._rows = None
            self.graph_ = read_graph(X, self.graph)
            self.n_features_in_ = X.shape[1]
        else:
            X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
            self._rows = prepared("X", X, self.metric)
            self.graph_ = self._neighbor_graph(self._rows)
        self.n_components_, self.components_ = components(self.graph_)
        if self.n_components_ > 1 and self.connect != "infinite":
            self._connect()
        return self

    def distances(self, sources: Any = None, targets: Any = None, *, limit: float = np.inf) -> Array:
        """g between fitted rows, (sources, targets); infinite where there is no path, or none up to `limit`.

        Args:
            sources, targets: numbers of rows; None: all. One shortest-path search is made for each source.
            limit: longer paths are not followed, > 0.
        """
        check_is_fitted(self)
        n = self.graph_.shape[0]
        starts = _places("sources", sources, n)
        ends = _places("targets", targets, n)
        limit = check_number("limit", limit, above=0)
        return self._from(self.graph_, starts, limit)[:, ends]

    def query(self, Q: Any, targets: Any = None) -> Array:
        """(2) from vectors that need not be in the graph, (queries, targets); the graph stays as it is.

        With a radius, the neighbours of a query are the rows within it; where there are none it is infinitely far.
        """
        check_is_fitted(self)
        rows = self._need_rows("query")
        Q = prepared("Q", validate_data(self, Q, dtype=np.float64, reset=False), self._metric)
        n, ends = len(rows), _places("targets", targets, len(rows))
        i, j, length = self._neighbors(Q, rows, min(int(self.n_neighbors), n))
        table = sparse.coo_array((length, (i, j)), shape=(len(Q), n + len(Q)))
        whole = sparse.vstack([sparse.hstack([self.graph_, _empty(n, len(Q))]), table]).tocsr()  # keeps stored zeros
        return self._from(whole, np.arange(n, n + len(Q)), np.inf)[:, ends]

    def transform(self, X: Any) -> Array:
        """`query`: a vector's distances to all fitted rows as its features."""
        return self.query(X)

    def path(self, i: int, j: int) -> list[int]:
        """The rows along the shortest path from i to j, both included. Errors: ValueError where there is none."""
        check_is_fitted(self)
        start, end = _places("i and j", [i, j], self.graph_.shape[0]).tolist()
        found, before = csgraph.dijkstra(self.graph_, indices=start, return_predecessors=True)
        if not np.isfinite(found[end]):
            raise invalid("i and j", "be rows of one component", f"{i} and {j}, of two", "Take connect='nearest'.")
        route = [end]
        while route[-1] != start:
            route.append(int(before[route[-1]]))
        return route[::-1]

    @property
    def _metric(self) -> Metric:
        return self.metric  # type: ignore[return-value]

    def _neighbor_graph(self, rows: Array) -> Any:
        n = len(rows)
        if self.radius is None:
            k = check_integer("n_neighbors", self.n_neighbors, at_least=1)
            if k >= n:
                raise invalid("n_neighbors", f"be below the number of rows, {n}", k)
            if k > n / 4:
                text = f"n_neighbors is {k} of {n} rows: beyond a quarter of them the graph cuts corners; lower it."
                warnings.warn(text, NeighborGraphWarning, stacklevel=3)
        i, j, length = self._neighbors(rows, rows, int(self.n_neighbors), own=True)
        if self.radius is None:
            self._warn_of_copies(rows, length)
        return symmetric(i, j, length, n, self.graph)

    def _neighbors(self, queries: Array, rows: Array, k: int, own: bool = False) -> tuple[Ints, Ints, Array]:
        if self.radius is None:
            return nearest(queries, rows, k, self._metric, own=own)
        radius = check_number("radius", self.radius, above=0)
        return within_radius(queries, rows, radius, self._metric, own=own)

    def _warn_of_copies(self, rows: Array, length: Array) -> None:
        """Rows all of whose neighbours are copies of them are a component of their own unless another row names one."""
        blind = np.flatnonzero((length.reshape(len(rows), -1) == 0).all(axis=1))
        if len(blind):
            copies = np.unique(rows[blind], axis=0, return_counts=True)[1].max()
            text = f"{copies} rows are copies of each other and see no other row; drop copies, or raise n_neighbors."
            warnings.warn(text, NeighborGraphWarning, stacklevel=4)

    def _connect(self) -> None:
        if self._rows is None:
            fix = "Give more neighbours, or take connect='infinite'."
            raise DisconnectedGraphError(str(invalid("X", "be connected", f"{self.n_components_} components", fix)))
        if self.connect == "error":
            raise DisconnectedGraphError(self._apart())
        i, j, length = joining_edges(self._rows, self.components_, self._metric)
        old = sparse.triu(self.graph_, format="coo")
        self.graph_ = joined(np.r_[old.row, i], np.r_[old.col, j], np.r_[old.data, length], len(self._rows))

    def _apart(self) -> str:
        rows, found = self._need_rows("fit"), f"{self.n_components_} components"
        rest = "or take connect='nearest' or 'infinite'."
        if self.radius is not None:
            most = float(joining_edges(rows, self.components_, self._metric)[2].max())
            fix = f"The smallest radius that joins them is {most!r}: take it, {rest}"
            return str(invalid("radius", "be large enough to connect the graph", f"{self.radius} and {found}", fix))
        k = joining_k(rows, int(self.n_neighbors), self._metric, self.graph)
        fix = f"The smallest that joins them is {k}: take it, {rest}" if k else f"Far more would be needed: {rest[3:]}"
        return str(
            invalid("n_neighbors", "be large enough to connect the graph", f"{self.n_neighbors} and {found}", fix)
        )

    def _need_rows(self, what: str) -> Array:
        if self._rows is None:
            raise invalid("metric", f"be one of rows for {what}", "'precomputed'", "A graph has no place for a vector.")
        return self._rows

    def _from(self, graph: Any, starts: Ints, limit: float) -> Array:
        """Shortest paths from some nodes to all."""
        jobs = min(effective_n_jobs(self.n_jobs), len(starts))
        parts = [part for part in np.array_split(starts, max(1, jobs)) if len(part)]
        run = delayed(csgraph.dijkstra)
        found = Parallel(n_jobs=jobs or 1)(run(graph, indices=part, limit=limit) for part in parts)
        return np.concatenate(found) if found else np.empty((0, graph.shape[0]))


def _empty(n: int, m: int) -> Any:
    return sparse.coo_array((n, m), dtype=np.float64)


def _places(name: str, value: Any, n: int) -> Ints:
    """Numbers of rows, checked; None: all."""
    if value is None:
        return np.arange(n)
    places = np.atleast_1d(np.asarray(value))
    if places.size and (places.ndim != 1 or not np.issubdtype(places.dtype, np.integer)):
        raise invalid(name, "be a list of row numbers", f"shape {places.shape} of {places.dtype}", kind=TypeError)
    wrong = places[(places < 0) | (places >= n)]
    if wrong.size:
        raise invalid(name, f"lie between 0 and {n - 1}", wrong[0])
    return places.astype(np.int64)
