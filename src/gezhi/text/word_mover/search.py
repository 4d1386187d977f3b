"""Exact search for the nearest documents: all are bounded in matrix form, few are solved."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gezhi._numerics import transport_with_potentials
from gezhi.text.word_mover.costs import Array, cosine, euclidean
from gezhi.text.word_mover.documents import Documents, Metric

HELD = 2**25  # costs, words of a query × words of all documents, that are kept; more are computed as they are needed
BLOCK = 2**20  # costs that are bounded at a time
SLACK = 1e-9  # a bound within it of the k-th best does not decide


class Found(NamedTuple):
    """The nearest documents, nearest first (ties: the lower number), and how many pairs were solved."""

    distances: Array
    indices: NDArray[np.int64]
    solved: int


class Costs:
    """From each word of a query to any words of the documents."""

    def __init__(self, query: Array, points: Array, metric: Metric) -> None:
        self.query, self.points = query, points
        self.function = euclidean if metric == "wmd" else cosine
        self.held = self.function(query, points) if query.shape[0] * points.shape[0] <= HELD else None

    def at(self, words: Any) -> Array:
        """(query's words, words)."""
        if self.held is not None:
            return np.asarray(self.held[:, words])
        return self.function(self.query, self.points[words])

    def least(self, potentials: Array) -> Array:
        """min_i(D_ij − u_i) of every word j."""
        step = len(self.points) if self.held is not None else max(1, HELD // len(self.query))
        parts = [slice(start, start + step) for start in range(0, len(self.points), step)]
        return np.concatenate([(self.at(part) - potentials[:, None]).min(axis=0) for part in parts])


class Collection:
    """Documents among which the nearest are sought."""

    def __init__(self, documents: Documents, metric: Metric) -> None:
        self.documents, self.metric = documents, metric
        self.centroids: Array = documents.weights @ documents.points
        self.sizes = np.diff(documents.weights.indptr)

    def __len__(self) -> int:
        return len(self.sizes)

    def distances(self, words: Array, p: Array) -> Array:
        """To every document, all solved."""
        costs = Costs(words, self.documents.points, self.metric)
        return np.array([self._solve(costs, p, j)[0] for j in range(len(self))])

    def bounds(self, words: Array, p: Array) -> Array:
        """The best bound of each document that needs no solution: centroids and (5)."""
        costs = Costs(words, self.documents.points, self.metric)
        found = self._rough(costs, p)
        for block in self._blocks(np.arange(len(self)), len(p)):
            found[block] = np.maximum(found[block], self._fine(costs, p, block, np.zeros(len(p))))
        return found

    def nearest(self, words: Array, p: Array, k: int, skip: int = -1) -> Found:
        """The k nearest documents of one that has these words with weights p; the document `skip` is not among them.

        Documents come in the order of a bound that costs one sparse product for all. The first k solutions leave
        potentials u of the query's words, whose mean makes, by the same product, a bound (8) of all other documents;
        (5) is computed for those that are still in question, and only what that leaves is solved.
        """
        costs = Costs(words, self.documents.points, self.metric)
        bounds = self._rough(costs, p)
        if skip >= 0:
            bounds[skip] = np.inf
        best: list[tuple[float, int]] = []
        first = np.argsort(bounds, kind="stable")[:k]
        shared = np.zeros(len(p))
        for j in first.tolist():
            value, potentials = self._solve(costs, p, j)
            insort(best, (value, j))
            shared += potentials / len(first)
        bounds = np.maximum(bounds, self._by_potentials(costs, p, shared))
        bounds[first] = np.inf
        slack = SLACK * max(1.0, best[-1][0], float(np.abs(self.centroids).max()))
        solved = len(first) + self._refine(costs, p, shared, bounds, best, slack)
        distances, indices = zip(*best, strict=True)
        return Found(np.array(distances), np.array(indices, dtype=np.int64), solved)

    def _refine(
        self, costs: Costs, p: Array, shared: Array, bounds: Array, best: list[tuple[float, int]], slack: float
    ) -> int:
        """Put into `best` what belongs there; returns how many pairs that took."""
        solved = 0
        order = np.argsort(bounds, kind="stable")
        order = order[bounds[order] <= best[-1][0] + slack]
        for block in self._blocks(order, len(p)):
            if bounds[block[0]] > best[-1][0] + slack:
                break
            fine = np.maximum(bounds[block], self._fine(costs, p, block, shared))
            for place in np.argsort(fine, kind="stable"):
                if fine[place] > best[-1][0] + slack:
                    break
                insort(best, (self._solve(costs, p, int(block[place]))[0], int(block[place])))
                best.pop()
                solved += 1
        return solved

    def _rough(self, costs: Costs, p: Array) -> Array:
        """Centroids (6), and one side of (4)."""
        squared = ((self.centroids - p @ costs.query) ** 2).sum(axis=1)
        centroid = np.sqrt(squared) if self.metric == "wmd" else squared / 2
        return np.asarray(np.maximum(centroid, self._by_potentials(costs, p, np.zeros(len(p)))))

    def _by_potentials(self, costs: Costs, p: Array, u: Array) -> Array:
        """u·p + Σ_j q_j min_i(D_ij − u_i) of every document: at most its distance, whatever u is. (8)"""
        return np.asarray(p @ u + self.documents.weights @ costs.least(u))

    def _fine(self, costs: Costs, p: Array, block: NDArray[Any], shared: Array) -> Array:
        """(5) of some documents from both sides, and from the shared potentials."""
        weights = self.documents.weights
        starts = np.concatenate([[0], np.cumsum(self.sizes[block])[:-1]])
        places = np.repeat(weights.indptr[block] - starts, self.sizes[block]) + np.arange(self.sizes[block].sum())
        q, here = weights.data[places], costs.at(weights.indices[places])
        u = np.minimum.reduceat(here, starts, axis=1)
        v = (here - np.repeat(u, self.sizes[block], axis=1)).min(axis=0)
        found = [p @ u + np.add.reduceat(q * v, starts)]
        for begun in [np.zeros(len(p)), shared] if shared.any() else [shared]:
            v = (here - begun[:, None]).min(axis=0)
            u = np.minimum.reduceat(here - v, starts, axis=1)
            found.append(p @ u + np.add.reduceat(q * v, starts))
        return np.asarray(np.max(found, axis=0))

    def _blocks(self, order: NDArray[Any], words: int) -> Iterator[NDArray[Any]]:
        """The documents in this order, as many at a time as make a block of costs."""
        ends = np.cumsum(self.sizes[order]) * words // BLOCK
        yield from (part for part in np.split(order, np.flatnonzero(np.diff(ends)) + 1) if len(part))

    def _solve(self, costs: Costs, p: Array, j: int) -> tuple[float, Array]:
        """The distance to a document, and the potentials of the query's words."""
        words, q = self.documents.of(j)
        here = np.ascontiguousarray(costs.at(words))
        if len(p) == len(q) and not here.diagonal().any() and (p == q).all():
            return 0.0, np.zeros(len(p))
        if len(p) == 1 or len(q) == 1:
            return float(p @ here @ q), here[:, 0] if len(q) == 1 else np.zeros(1)
        return transport_with_potentials(here, p, q)
