"""The map equation of a given partition or tree, term by term."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import entr

from gezhi._checks import check_same_length, entries_by_name, invalid
from gezhi.graph.infomap.flow import Flow, stationary_flow
from gezhi.graph.infomap.graphs import Floats, Graph, Ints, read_graph

LOG2 = math.log(2.0)


class Codelength(NamedTuple):
    """Bits per step of the walker: `total = index + module`."""

    total: float
    index: float  # type: ignore[assignment]
    module: float


def map_equation(
    graph: Any,
    partition: Any,
    *,
    directed: bool = False,
    teleportation: float = 0.15,
    recorded: bool = False,
    teleport_to: Literal["links", "nodes"] = "links",
    markov_time: float = 1.0,
) -> Codelength:
    r"""Bits a step that tell a random walker's path when nodes are named module by module.

    $$L=\mathrm{plogp}(q)-\sum_i\mathrm{plogp}(q^{in}_i)+\sum_i\big[\mathrm{plogp}(q^{out}_i+P_i)-\mathrm{plogp}(q^{out}_i)\big]
    -\sum_\alpha\mathrm{plogp}(p_\alpha) \tag{1}$$

    with $\mathrm{plogp}(x)=x\log_2x$ and $q=\sum_iq^{in}_i$; for a tree of modules, summed over its internal modules m
    (children c) and its leaf modules,

    $$L=\sum_m\big[\mathrm{plogp}(q^{out}_m+\sum_cq^{in}_c)-\mathrm{plogp}(q^{out}_m)-\sum_c\mathrm{plogp}(q^{in}_c)\big]
    +\sum_i\big[\mathrm{plogp}(q^{out}_i+P_i)-\mathrm{plogp}(q^{out}_i)\big]
    -\sum_\alpha\mathrm{plogp}(p_\alpha) \tag{4}$$

    Args:
        graph: networkx graph or `igraph.Graph`; sparse or dense square matrix, weight from i to j at [i, j]; or a
            tuple of edge arrays `(source, target)`, `(source, target, weight)` or `(source, target, weight, n)`.
            Weights ≥ 0, of any size; parallel edges are summed, zero weights dropped. Without nodes: 0 bits.
        partition: one hashable label per node, or one tuple per node (its modules from the root down; lengths may
            differ), in the order of the nodes. A dict or pandas Series from node to either is taken by name, and so
            is a list of sets of nodes, each node in one of them.
        directed: whether the direction of links counts; networkx and igraph graphs know their own. Undirected
            matrices must be symmetric (a self-loop stands once on the diagonal).
        teleportation: chance of a jump per step on directed graphs, 0 ≤ τ < 1; 0 needs a strongly connected graph.
        recorded: whether jumps are encoded (the 2009 paper and the article: True, with `teleport_to="nodes"`).
        teleport_to: jumps land on nodes alike, or in proportion to link weights. Unrecorded jumps to links are the
            default of the C++ program.
        markov_time: every link flow across a border is multiplied by it, 0 < t ≤ 1e6; larger values favour fewer
            modules.
    Returns: total, index (all codebooks of modules) and module (all codebooks of nodes) in bits; total ≥ 0.
    Errors: ValueError naming graph, weights, partition or parameter.
    Cost: O(n + m) for a partition, times the depth for a tree; O(m) a step of power iteration if directed.
    Example:
        >>> two_triangles = ([0, 1, 0, 3, 4, 3, 2], [1, 2, 2, 4, 5, 5, 3])
        >>> print("%.4f = %.4f + %.4f" % map_equation(two_triangles, [0, 0, 0, 1, 1, 1]))
        2.3207 = 0.1429 + 2.1779

    References: M. Rosvall, D. Axelsson, C. T. Bergstrom, The map equation, 2009; M. Rosvall, C. T. Bergstrom,
        Multilevel compression of random walks on networks, 2011;
        苏剑林, 最小熵原理(五):"层层递进"之社区发现与聚类, 2019.
    """
    read = read_graph(graph, directed)
    paths = partition_levels(partition, read)
    return codelength(stationary_flow(read, teleportation, recorded, teleport_to, markov_time), paths)


def plogp(x: Floats) -> Floats:
    """x log₂ x, 0 for x ≤ 0 (rounding may leave a rate below 0)."""
    return np.asarray(entr(np.maximum(x, 0.0)) / -LOG2)


def one_level_codelength(p: Floats) -> float:
    """Bits a step without modules: the entropy of the visit rates."""
    return abs(float(plogp(p).sum()))


def codelength(flow: Flow, levels: list[Ints]) -> Codelength:
    """(4), or (1), to which it comes down with a single level of modules.

    Args:
        flow: of the graph.
        levels: for each depth the number of each node's module there, −1 for nodes whose modules end above.
    """
    if len(levels) == 1:
        rate, out, into = border_flow(flow, levels[0])
        index = float(plogp(into.sum()) - plogp(into).sum())  # (1)
        module = float((plogp(out + rate) - plogp(out)).sum() - plogp(flow.p).sum())  # (1)
        return Codelength(max(index, 0.0) + max(module, 0.0), max(index, 0.0), max(module, 0.0))
    index = module = 0.0
    above, leaving = np.where(levels[0] < 0, -1, 0), np.zeros(1)
    for depth, labels in enumerate(levels):
        rate, out, into = border_flow(flow, labels)
        node = labels >= 0
        parent = np.zeros(len(rate), dtype=np.int64)
        parent[labels[node]] = above[node]
        has_child = np.bincount(parent, minlength=len(leaving)) > 0
        entering = np.bincount(parent, weights=into, minlength=len(leaving))
        index += float((plogp(leaving + entering) - plogp(leaving))[has_child].sum() - plogp(into).sum())  # (1) (4)
        below = levels[depth + 1] if depth + 1 < len(levels) else np.full(len(labels), -1)
        inner = node & (below < 0)
        leaf = np.zeros(len(rate), dtype=bool)
        leaf[labels[inner]] = True
        module += float((plogp(out + rate) - plogp(out))[leaf].sum() - plogp(flow.p[inner]).sum())  # (1) (4)
        above, leaving = labels, out
    index, module = max(index, 0.0), max(module, 0.0)
    return Codelength(index + module, index, module)


def border_flow(flow: Flow, labels: Ints) -> tuple[Floats, Floats, Floats]:
    r"""Visit rate, exit rate and entry rate of each module 0 … k − 1; nodes with label −1 are in none.

    Recorded teleports add, with the sums S and V of `sent` and `landing` over a module and over everything,

    $$q^{out}_i \mathrel{+}= S_i(1-V_i),\qquad q^{in}_i \mathrel{+}= \Big(\sum_\alpha S_\alpha-S_i\Big)V_i. \tag{3}$$
    """
    k = int(labels.max(initial=-1)) + 1
    source, target = labels.repeat(flow.links.indptr[1:] - flow.links.indptr[:-1]), labels[flow.links.indices]
    crosses = np.flatnonzero(source != target)
    source, target, carried = source[crosses], target[crosses], flow.links.data[crosses]
    node = labels if labels.min(initial=0) >= 0 else np.where(labels < 0, k, labels)  # those in none: a last module
    rate = _sums(node, flow.p, k)
    out, into = (_sums(np.where(ends < 0, k, ends), carried, k) for ends in (source, target))
    if flow.sent.any():
        sent, landing = _sums(node, flow.sent, k), _sums(node, flow.landing, k)
        out = out + np.maximum(sent * (1 - landing), 0.0)  # (3)
        into = into + np.maximum((flow.sent.sum() - sent) * landing, 0.0)  # (3)
    return rate, out, into


def _sums(module: Any, values: Floats, k: int) -> Floats:
    """Sums of values over modules 0 … k − 1."""
    return np.bincount(module, weights=values, minlength=k)[:k].astype(np.float64, copy=False)


def partition_levels(partition: Any, graph: Graph) -> list[Ints]:
    """Number of each node's module at each depth (−1 below the end of its path), whatever form the partition has."""
    entries = _in_node_order(partition, graph)
    check_same_length(partition=len(entries), nodes=graph.n)
    if isinstance(entries, np.ndarray) and entries.ndim == 1 and entries.dtype.kind in "iu":
        return [np.unique(entries, return_inverse=True)[1].astype(np.int64)]
    paths = [entry if isinstance(entry, tuple) else (entry,) for entry in entries]
    return path_levels(paths)


def path_levels(paths: list[tuple[Hashable, ...]]) -> list[Ints]:
    """The same for one tuple per node."""
    ends: set[tuple[Hashable, ...]] = set()
    levels: list[Ints] = []
    for depth in range(1, max(map(len, paths), default=1) + 1):
        numbers: dict[tuple[Hashable, ...], int] = {}
        try:
            level = [numbers.setdefault(path[:depth], len(numbers)) if len(path) >= depth else -1 for path in paths]
        except TypeError as error:
            raise invalid("partition", "have a hashable label or tuple per node", str(error), kind=TypeError) from None
        if ends & {path[: depth - 1] for path in paths if len(path) >= depth}:
            raise invalid("partition", "hold nodes in leaf modules only", "a module with nodes and modules in it")
        ends = {path for path in paths if len(path) == depth}
        levels.append(np.array(level, dtype=np.int64))
    if not all(paths):
        raise invalid("partition", "place every node in a module", "an empty tuple")
    return levels


def _in_node_order(partition: Any, graph: Graph) -> Any:
    if isinstance(partition, np.ndarray) and partition.dtype.kind in "iu":
        return partition
    if not isinstance(partition, Mapping | np.ndarray) and entries_by_name("partition", partition) is None:
        partition = list(partition)
        if partition and all(isinstance(entry, set | frozenset) for entry in partition):
            partition = _disjoint(partition)
    named = entries_by_name("partition", partition)
    if named is None:
        entries = partition.tolist() if isinstance(partition, np.ndarray) else partition
        names: Any = range(len(entries))
    else:
        names = range(graph.n) if graph.names is None else graph.names
        entries = [named[name] for name in names if name in named]
        if len(entries) < graph.n:
            raise invalid("partition", "name every node", f"no {next(n for n in names if n not in named)!r}")
        if len(named) > graph.n:
            raise invalid("partition", "name nodes of the graph alone", repr((named.keys() - set(names)).pop()))
    for name, entry in zip(names, entries, strict=True):
        if (isinstance(entry, float) and entry != entry) or type(entry).__name__ in ("NAType", "NaTType"):
            raise invalid("partition", "give every node a label", f"{entry} for node {name!r}")
    return entries


def _disjoint(groups: list[Any]) -> dict[Hashable, int]:
    """The number of each node's group; ValueError where groups overlap."""
    named: dict[Hashable, int] = {}
    for i, group in enumerate(groups):
        if not named.keys().isdisjoint(group):
            raise invalid("partition", "hold each node in one set", f"{(named.keys() & group).pop()!r} in several")
        named.update(dict.fromkeys(group, i))
    return named
