"""The search itself: its book-keeping against full evaluations, and compiled against plain Python."""

from __future__ import annotations

import math
import random
import sys

import networkx as nx
import numpy as np
import pytest
from graph.infomap_reference import CONVENTIONS, convention_name, nested, planted, random_edges, recursive_triangles
from hypothesis import given, settings
from hypothesis import strategies as st

from gezhi.graph import InfomapClustering, map_equation
from gezhi.graph.infomap import costs, kernels, multilevel, networks
from gezhi.graph.infomap.equation import codelength, one_level_codelength, path_levels
from gezhi.graph.infomap.flow import stationary_flow
from gezhi.graph.infomap.graphs import read_graph
from gezhi.graph.infomap.search import SlowSearchWarning, network

EACH_CONVENTION = pytest.mark.parametrize("convention", CONVENTIONS, ids=convention_name)
SEEDS = st.integers(1, 10**6)
TINY = {"abs": 1e-12, "rel": 0}


def prepared(graph, directed=False, recorded=False, teleport_to="links", markov_time=1.0):
    flow = stationary_flow(read_graph(graph, directed), 0.15, recorded, teleport_to, markov_time)
    return flow, network(flow)


def nats(flow, levels):
    """The code without the term that no partition changes, in the unit of the kernels."""
    return (codelength(flow, levels).total - one_level_codelength(flow.p)) * math.log(2)


def random_labels(seed, n, k=4):
    label = np.random.default_rng(seed).integers(0, k, n).astype(np.int32)
    networks.compact(label)
    return label


# ---- reference: incremental = full ----------------------------------------------------------------------------------


@given(SEEDS, st.sampled_from(CONVENTIONS))
def test_code_of_the_kernel_is_the_map_equation(seed, convention):
    flow, net = prepared(random_edges(seed, n=12, edges=30), **convention)
    label = random_labels(seed, 13)
    assert kernels.code(net, label) == pytest.approx(nats(flow, [label.astype(np.int64)]), **TINY)


@given(SEEDS, st.sampled_from(CONVENTIONS))
def test_change_of_a_move_is_the_difference_of_two_full_codes(seed, convention):
    flow, net = prepared(random_edges(seed, n=12, edges=30), **convention)
    label, rng = random_labels(seed, 13), np.random.default_rng(seed)
    before = nats(flow, [label.astype(np.int64)])
    state = costs.module_states(net, label)
    q = costs.total_entering(net, state)
    a, old = (chosen := int(rng.integers(13))), int(label[chosen])
    for j in (j for j in range(label.max() + 2) if j != old):
        towards = np.zeros(len(label) + 1)
        for e in range(net.start[a], net.start[a + 1]):
            towards[label[net.target[e]]] += net.weight[e]
        out = costs.changed(state, net.node, a, old, -1.0, towards[old], net.teleport, net.free)
        into = costs.changed(state, net.node, a, j, 1.0, towards[j], net.teleport, net.free)
        change = costs.plogp(q + out[1] + into[1]) - costs.plogp(q) + out[0] + into[0]
        after = label.astype(np.int64)
        after[a] = j
        after = np.unique(after, return_inverse=True)[1]
        assert change == pytest.approx(nats(flow, [after]) - before, **TINY)
        slope = math.log(q) + 1.0 if q > 0 else 0.0
        least = costs.least_change(state, net.node, a, j, towards[j], slope)
        assert least <= costs.plogp(q + into[1]) - costs.plogp(q) + into[0] + 1e-13


@EACH_CONVENTION
@pytest.mark.parametrize("time", [1.0, 2.0])
def test_gains_add_up(convention, time):
    for seed in range(5):
        _, net = prepared(random_edges(seed, n=30, edges=90), markov_time=time, **convention)
        label, draw = random_labels(seed, 31, 6), np.array([seed + 1])
        for step in (kernels.tune_coarsely, lambda *args: kernels.descend(*args, 20)):
            before = kernels.code(net, label)
            gain = step(net, label, draw)
            assert gain == pytest.approx(before - kernels.code(net, label), **TINY)
            assert gain >= 0


@EACH_CONVENTION
def test_aggregation_keeps_the_code(convention):
    _, net = prepared(random_edges(3, n=30, edges=90), **convention)
    fine, coarse = random_labels(1, 31, 12), random_labels(2, 12, 4)[:12]
    k = networks.compact(fine)
    small = networks.aggregate(net, fine, k)
    assert kernels.code(small, coarse[:k]) == pytest.approx(kernels.code(net, coarse[fine]), **TINY)
    inside = networks.cut(net, fine)
    assert (fine[np.repeat(np.arange(31), np.diff(inside.start))] == fine[inside.target]).all()
    np.testing.assert_array_equal(inside.node, net.node)


@EACH_CONVENTION
@pytest.mark.parametrize("graph", [nested(0), (*recursive_triangles(), None, 27)], ids=["nested", "triangles"])
def test_the_code_of_the_found_tree_is_that_of_the_map_equation(convention, graph):
    flow, net = prepared(graph, **convention)
    start = kernels.search(net, 5, 1e-6)
    found, paths = multilevel.search_tree(net, start, 5)
    assert found == pytest.approx(nats(flow, path_levels(paths)), **TINY)
    assert found <= kernels.code(net, start) + 1e-12
    inner = {path[:-1] for path in paths}
    children = {m: {path[: len(m) + 1] for path in paths if path[: len(m)] == m} for m in inner}
    assert all(len(found) > 1 for found in children.values()), "a module with a single child"


# ---- optimality -----------------------------------------------------------------------------------------------------


@given(SEEDS)
@settings(max_examples=15)
def test_small_graphs_reach_the_optimum_of_all_partitions(seed):
    graph = random_edges(seed, n=6, edges=9, isolated=0)
    best = min(map_equation(graph, labels).total for labels in set_partitions(6))
    assert InfomapClustering("precomputed", n_trials=20).fit(graph).codelength_.total == pytest.approx(best, abs=1e-9)


def set_partitions(n):
    """All partitions as labels in the order of first appearance (203 of 6 nodes)."""
    parts = [[0]]
    for _ in range(n - 1):
        parts = [[*part, i] for part in parts for i in range(max(part) + 2)]
    return parts


KINDS = [
    lambda n, rng, seed: nx.gnp_random_graph(n, rng.uniform(3, 9) / n, seed=seed),
    lambda n, rng, seed: nx.barabasi_albert_graph(n, int(rng.integers(2, 5)), seed=seed),
    lambda n, rng, seed: nx.watts_strogatz_graph(n, 6, rng.uniform(0.05, 0.4), seed=seed),
    lambda n, rng, seed: nx.planted_partition_graph(6, n // 6, 0.4, rng.uniform(0.01, 0.05), seed=seed),
    lambda n, _, seed: nx.powerlaw_cluster_graph(n, 3, 0.5, seed=seed),
    lambda n, rng, seed: nx.gnp_random_graph(n, rng.uniform(3, 9) / n, seed=seed, directed=True),
]


def random_graphs():
    """24 graphs of 30 to 300 nodes, of six kinds."""
    rng = np.random.default_rng(0)
    return [KINDS[i % 6](int(rng.integers(30, 300)), rng, int(rng.integers(1e9))) for i in range(24)]


def shortest_of_peers(G):
    """Bits of the better of C++ infomap and igraph, ten trials each."""
    infomap = pytest.importorskip("infomap", reason="infomap is not installed")
    igraph = pytest.importorskip("igraph", reason="igraph is not installed")
    network = infomap.Network()
    network.add_nodes(range(len(G)))
    network.add_links(np.array([(*edge, 1.0) for edge in G.edges()]))
    options = infomap.Options(silent=True, two_level=True, directed=G.is_directed(), num_trials=10, seed=1)
    igraph.set_random_number_generator(random.Random(1))
    graph = igraph.Graph(n=len(G), edges=list(G.edges()), directed=G.is_directed())
    labels = np.array(graph.community_infomap(trials=10).membership)
    return min(network.run(options=options).codelength, map_equation(G, labels).total)


def test_codes_of_random_graphs_are_those_of_the_best_peer():
    excess = []
    for G in random_graphs():
        ours = InfomapClustering("precomputed", n_trials=10).fit(G).codelength_.total
        excess.append(ours / shortest_of_peers(G) - 1)
    assert max(excess) <= 2e-4, excess
    assert np.mean(excess) < 0


@given(SEEDS, st.sampled_from(CONVENTIONS))
def test_mixing_and_trials_never_lengthen_the_best(seed, convention):
    _, net = prepared(random_edges(seed, n=30, edges=60), **convention)
    label, other, draw = random_labels(seed, 31, 6), random_labels(seed + 1, 31, 5), np.array([seed])
    assert kernels.code(net, kernels.mixed(net, label, other, draw)) <= kernels.code(net, label) + 1e-12
    best = kernels.first_of(net, label)
    for _ in range(3):
        better = kernels.joined(net, best, random_labels(seed + 2, 31, 4), seed, 1e-5)
        assert better.length <= best.length
        assert better.length == pytest.approx(kernels.code(net, better.label), **TINY)
        best = better


@given(SEEDS)
def test_an_overlay_is_the_common_refinement(seed):
    label, other = random_labels(seed, 31, 6), random_labels(seed + 1, 31, 5)
    part, k = networks.overlay(label, other)
    pairs = np.array(list(zip(label, other, strict=True)))
    assert k == len(np.unique(pairs, axis=0)) == part.max() + 1
    for a in range(31):
        np.testing.assert_array_equal(part == part[a], (pairs == pairs[a]).all(axis=1))


def test_a_kick_puts_half_of_the_nodes_on_their_own():
    label = np.repeat(np.arange(40), 25).astype(np.int32)
    kicked = kernels.kicked(label, np.array([5]))
    together = np.bincount(kicked, minlength=1000)[kicked] > 1
    assert 400 < together.sum() < 600
    assert all(len(set(label[kicked == i])) == 1 for i in set(kicked.tolist()))


def test_planted_groups_are_found():
    for seed in range(3):
        graph = planted(seed)
        model = InfomapClustering("precomputed").fit(graph)
        truth = np.repeat(np.arange(6), 12)
        assert model.codelength_.total <= map_equation(graph, truth).total + 1e-12


def test_ties_go_to_the_lowest_module():
    graph = ([0, 1, 3, 4], [1, 2, 2, 3])  # a path: node 2 is as near to one end as to the other
    _, net = prepared((*graph, None, 5))
    ends = np.array([0, 0, 2, 3, 3], np.int32)
    for seed in range(1, 20):
        label = ends.copy()
        kernels.core_loop(net, label, np.array([seed]), 1)
        assert label[2] in (0, 2, 3)
        if label.tolist() != ends.tolist() and len(set(label)) == 2:
            assert label[2] == 0


def test_markov_time_merges_modules():
    graph = planted(1)
    sizes = [InfomapClustering("precomputed", markov_time=t).fit(graph).labels_.max() + 1 for t in (0.3, 1, 5)]
    assert sizes[0] >= sizes[1] >= sizes[2]
    assert sizes[0] > sizes[2]


# ---- plain Python ---------------------------------------------------------------------------------------------------


@pytest.fixture
def without_numba(monkeypatch):
    """The package as it loads where numba is not installed."""
    parts = ("networks", "costs", "kernels", "multilevel")
    names = ["gezhi._jit", *(f"gezhi.graph.infomap.{part}" for part in parts)]
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    yield
    for name in names:  # what was loaded without numba goes before the compiled modules come back
        sys.modules.pop(name, None)


CASES = [(random_edges(4, n=25, edges=70), convention) for convention in CONVENTIONS] + [(planted(0, 4, 6), {})]


@pytest.fixture(scope="module")
def compiled_results():
    return [search_both(graph, convention) for graph, convention in CASES]


def search_both(graph, convention):
    found = [
        InfomapClustering("precomputed", two_level=two, n_trials=2, **convention).fit(graph) for two in (True, False)
    ]
    return [(model.tree_, model.codelength_) for model in found]


def test_plain_python_makes_the_same_moves(compiled_results, without_numba):
    for (graph, convention), expected in zip(CASES, compiled_results, strict=True):
        with pytest.warns(SlowSearchWarning, match=r"pip install 'gezhi\[graph\]'"):
            assert search_both(graph, convention) == expected
    plain = sys.modules["gezhi.graph.infomap.kernels"]
    assert not hasattr(plain.search, "py_func")


def test_the_map_equation_needs_no_numba(without_numba):
    assert map_equation(([0, 1], [1, 2]), [0, 0, 0]).index == 0
    assert "gezhi.graph.infomap.kernels" not in sys.modules
