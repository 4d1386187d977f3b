"""How often a walker is where, and which links it takes: the five conventions."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import spsolve

from gezhi._checks import check_choice, check_number, invalid
from gezhi.graph.infomap.graphs import Floats, Graph, row_sums

STEPS = 1000
LONGEST = 1e6  # markov time: one module is best long before, and rounding grows with it


@dataclass(frozen=True, eq=False)
class Flow:
    """The stationary walk.

    Attributes:
        p: (n,) visit rate of each node; sums to 1 (all 0 where nothing flows).
        links: (n, n) flow over each link times the markov time, without self-loops.
        sent, landing: (n,) recorded teleports that start at a node, and the share of all that lands on it; their
            flow from a to b is `sent[a] * landing[b]`. All 0 where teleports are not recorded.
        symmetric: whether every link carries the same flow in both directions.
    """

    p: Floats
    links: Any
    sent: Floats
    landing: Floats
    symmetric: bool = False


def stationary_flow(
    graph: Graph, teleportation: float, recorded: bool, teleport_to: str, markov_time: float = 1.0
) -> Flow:
    r"""Visit rates and link flows of a graph; on directed graphs they rest on

    $$\pi=(1-\tau)\big(T^\top\pi+v\sum_{\alpha\ \mathrm{dangling}}\pi_\alpha\big)+\tau v \tag{2}$$

    with transition probabilities T, and v uniform over nodes, or in proportion to the weight that enters a node
    (recorded) or leaves it (unrecorded). Unrecorded, one step without teleports follows, which alone is counted.
    """
    check_choice("teleport_to", teleport_to, ("links", "nodes"))
    teleportation = check_number("teleportation", teleportation, at_least=0, below=1)
    markov_time = check_number("markov_time", markov_time, above=0, at_most=LONGEST)
    zero = np.zeros(graph.n)
    if not graph.directed or not graph.n:
        strength = row_sums(graph.weights.indptr, graph.weights.data)
        scale = 1 / (strength.sum() or 1.0)
        links = _links(graph.weights, graph.weights.data * (scale * markov_time))
        return Flow(strength * scale, links, zero, zero, symmetric=True)
    rate, landing, chance = _visit_rates(graph, teleportation, recorded, teleport_to)
    taken = np.repeat(rate, np.diff(graph.weights.indptr)) * chance
    if recorded:
        dangling = np.diff(graph.weights.indptr) == 0
        sent = teleportation * rate + (1 - teleportation) * rate * dangling
        return Flow(rate, _links(graph.weights, taken * ((1 - teleportation) * markov_time)), sent, landing)
    taken /= taken.sum() or 1.0
    arrived = np.bincount(graph.weights.indices, weights=taken, minlength=graph.n).astype(np.float64)
    return Flow(arrived, _links(graph.weights, taken * markov_time), zero, zero)


def _links(weights: Any, flow: Floats) -> Any:
    """The matrix of link flows, without the diagonal."""
    links = copy(weights)  # its own numbers, the same places
    links.data = flow
    if links.diagonal().any():
        every = links.tocoo()
        other = every.row != every.col
        links = csr_array((every.data[other], (every.row[other], every.col[other])), shape=weights.shape)
    return links


def _visit_rates(graph: Graph, tau: float, recorded: bool, teleport_to: str) -> tuple[Floats, Floats, Floats]:
    """π of (2), v, and the chance of each link once its source is reached."""
    weights = graph.weights
    leaving = row_sums(weights.indptr, weights.data)
    if teleport_to == "nodes":
        landing = np.full(graph.n, 1 / graph.n)
    else:
        total = np.asarray(weights.sum(axis=0)) if recorded else leaving
        landing = total / (total.sum() or 1.0)
    chance = weights.data / np.repeat(leaving, np.diff(weights.indptr))
    if tau == 0:
        _check_strongly_connected(weights)
    step = csr_array((chance, weights.indices, weights.indptr), shape=weights.shape).T.tocsr()
    return _stationary(step, leaving == 0, landing, tau), landing, chance


def _check_strongly_connected(weights: Any) -> None:
    parts: Any = connected_components(weights, directed=True, connection="strong", return_labels=False)
    if parts > 1:
        raise invalid("graph", "be strongly connected when teleportation=0", f"{parts} strong components",
                      "Pass teleportation > 0.")  # fmt: skip


def _stationary(step: Any, dangling: Any, landing: Floats, tau: float) -> Floats:
    """The fixed point of (2): power iteration down to rounding, or, where that would crawl, a sparse solve."""
    rate, nearest = landing.copy(), np.inf
    lost = np.flatnonzero(dangling)
    for _ in range(STEPS if tau > 0 else 0):
        new = (1 - tau) * (step @ rate + landing * rate[lost].sum()) + tau * landing  # (2)
        new = np.asarray(new / (new.sum() or 1.0))
        change = np.abs(new - rate).sum()
        rate = new
        if change < 1e-15 or (change < 1e-13 and change >= nearest):
            return rate
        nearest = change
    return _solved(step, landing, tau)


def _solved(step: Any, landing: Floats, tau: float) -> Floats:
    """(2) says π ∝ (I − (1 − τ) Tᵀ)⁻¹ v; with τ = 0 the first rate is set to 1 and its equation dropped."""
    n = len(landing)
    matrix = (csr_array((np.ones(n), (range(n), range(n))), shape=(n, n)) - (1 - tau) * step).tocsc()
    if tau > 0:
        rate = np.asarray(spsolve(matrix, landing))
    elif n == 1:
        rate = np.ones(1)
    else:
        rate = np.r_[1.0, np.atleast_1d(spsolve(matrix[1:, 1:], -matrix[1:, [0]].toarray().ravel()))]
    return np.asarray(rate / rate.sum())
