"""Graphs with known communities, and searches for communities to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from gezhi.data import Edges
from gezhi.graph import InfomapClustering, map_equation

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
EdgeArrays = tuple[Any, Any, Any, int]  # source, target, weight, number of nodes
RETRY = 100_000  # added to a generator seed whose graph did not come about


@dataclass(frozen=True, eq=False)
class Known:
    """A graph in the forms that the searches want, and its communities where they are known."""

    edges: EdgeArrays
    directed: bool
    truth: Ints | None = None

    @property
    def n(self) -> int:
        return self.edges[3]

    @property
    def networkx(self) -> Any:
        graph: Any = nx.DiGraph() if self.directed else nx.Graph()
        graph.add_nodes_from(range(self.n))
        for a, b, weight in zip(*(column.tolist() for column in self.edges[:3]), strict=True):
            held = graph.get_edge_data(a, b, {"weight": 0.0})["weight"]
            graph.add_edge(a, b, weight=held + weight)
        return graph

    def bits(self, labels: Any) -> float:
        return map_equation(self.edges, labels, directed=self.directed).total

    @property
    def mixing(self) -> float:
        """Share of the edges between communities."""
        assert self.truth is not None
        return float((self.truth[self.edges[0]] != self.truth[self.edges[1]]).mean())


def known(edges: Edges) -> Known:
    return Known((edges.source, edges.target, edges.weight, len(edges.nodes)), edges.directed, edges.groups)


def of_networkx(graph: Any, truth: Ints | None = None) -> Known:
    number = {name: i for i, name in enumerate(graph)}
    rows = np.array([(number[a], number[b], w) for a, b, w in graph.edges(data="weight", default=1)], dtype=float)
    return Known((rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64), rows[:, 2], len(graph)),
                 graph.is_directed(), truth)  # fmt: skip


def unweighted(graph: Any, truth: Ints | None = None) -> Known:
    plain = of_networkx(graph, truth)
    return Known((*plain.edges[:2], np.ones(len(plain.edges[0])), plain.n), plain.directed, truth)


# ---- generated graphs -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LFR:
    """Parameters of a benchmark graph whose degrees and community sizes follow power laws."""

    nodes: int
    mixing: float
    degree: int
    max_degree: int | None = None
    max_community: int | None = None
    power: float = 2.5


@lru_cache(maxsize=1)
def lfr(case: LFR, seed: int) -> Known:
    """The benchmark graph without self-loops; a seed that gives none within 2000 tries is replaced by a fixed next.

    A community of all nodes is excluded: networkx would look for a node outside it forever.
    """
    for generator in range(seed, seed + 50 * RETRY, RETRY):
        try:
            graph = nx.LFR_benchmark_graph(
                case.nodes, case.power, 1.5, case.mixing, average_degree=case.degree, max_degree=case.max_degree,
                min_community=20, max_community=case.max_community or case.nodes - 20, seed=generator, max_iters=2000,
            )  # fmt: skip
        except nx.ExceededMaxIterations:
            continue
        graph.remove_edges_from(list(nx.selfloop_edges(graph)))
        first = [min(graph.nodes[node]["community"]) for node in graph]
        return unweighted(graph, np.unique(first, return_inverse=True)[1])
    raise RuntimeError(f"no benchmark graph for {case} from seed {seed} on")


@lru_cache(maxsize=1)
def three_levels(shape: tuple[int, int, int], chances: tuple[float, float, float], seed: int) -> Known:
    """Groups inside groups: an edge's chance depends on whether both levels, the upper one or none is shared."""
    upper, lower, size = shape
    top, group = (np.arange(upper * lower * size) // each for each in (lower * size, size))
    a, b = np.triu_indices(len(top), 1)
    shared = np.where(group[a] == group[b], 0, np.where(top[a] == top[b], 1, 2))
    drawn = np.random.default_rng(seed).random(len(a)) < np.array(chances)[shared]
    return Known((a[drawn], b[drawn], np.ones(int(drawn.sum())), len(top)), False, top)


@lru_cache(maxsize=1)
def planted(edges: int, seed: int) -> Known:
    """Twenty edge ends a node on average, groups of 100, seven edges of ten inside a group."""
    rng, n = np.random.default_rng(seed), edges // 10
    source = rng.integers(n, size=edges)
    anywhere, nearby = rng.integers(n, size=edges), source // 100 * 100 + rng.integers(100, size=edges)
    target = np.where(rng.random(edges) < 0.7, np.minimum(nearby, n - 1), anywhere)
    return Known((source, target, np.ones(edges), n), False, np.arange(n) // 100)


# ---- searches -------------------------------------------------------------------------------------------------------

Search = Callable[[Known, int, int], Ints]  # graph, seed, number of starts -> labels


def labels_of(communities: Iterable[Iterable[int]], n: int) -> Ints:
    labels = np.empty(n, dtype=np.int64)
    for label, members in enumerate(communities):
        labels[list(members)] = label
    return labels


def infomap(graph: Known, seed: int, starts: int, **settings: Any) -> Any:
    """A fitted clusterer of a graph."""
    model = InfomapClustering("precomputed", directed=graph.directed, n_trials=starts, random_state=seed, **settings)
    return model.fit(graph.edges)


def infomap_labels(graph: Known, seed: int, starts: int) -> Ints:
    return np.asarray(infomap(graph, seed, starts).labels_)


def louvain(graph: Known, seed: int, starts: int, resolution: float = 1.0) -> Ints:
    """The partition of largest modularity among some starts."""
    held = graph.networkx
    found = [
        nx.community.louvain_communities(held, resolution=resolution, seed=seed + start) for start in range(starts)
    ]
    if starts > 1:
        found.sort(key=lambda communities: nx.community.modularity(held, communities))
    return labels_of(found[-1], graph.n)


def label_propagation(graph: Known, seed: int, _: int) -> Ints:
    return labels_of(nx.community.asyn_lpa_communities(graph.networkx, seed=seed), graph.n)


def true_communities(graph: Known, _seed: int, _starts: int) -> Ints:
    assert graph.truth is not None
    return graph.truth


def one_module(graph: Known, _seed: int, _starts: int) -> Ints:
    return np.zeros(graph.n, dtype=np.int64)


@lru_cache(maxsize=1)
def many_partitions(case: LFR, seed: int, starts: int) -> tuple[Known, Sequence[Ints], Sequence[float]]:
    """Louvain at seven resolutions and label propagation, from some starts each, and their modularities."""
    graph = lfr(case, seed)
    held = graph.networkx
    found = [
        nx.community.louvain_communities(held, resolution=resolution, seed=start)
        for resolution in (0.5, 0.7, 1, 1.4, 2, 3, 4)
        for start in range(starts)
    ]
    found += [list(nx.community.asyn_lpa_communities(held, seed=start)) for start in range(starts)]
    return graph, [labels_of(c, graph.n) for c in found], [nx.community.modularity(held, c) for c in found]
