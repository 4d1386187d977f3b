"""Flows in every convention, and how graphs are read and refused."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest
from graph.infomap_reference import CONVENTIONS, DIRECTED, TRIANGLES, convention_name, random_edges, reference_flow
from scipy.sparse import csr_array

from gezhi.graph import InfomapClustering, infomap_communities, knn_similarity_graph, map_equation
from gezhi.graph.infomap import flow as flow_module
from gezhi.graph.infomap.flow import stationary_flow
from gezhi.graph.infomap.graphs import read_graph

EACH_CONVENTION = pytest.mark.parametrize("settings", CONVENTIONS, ids=convention_name)


def flow_of(graph, *, directed=True, recorded=False, teleport_to="links", teleportation=0.15, markov_time=1.0):
    return stationary_flow(read_graph(graph, directed), teleportation, recorded, teleport_to, markov_time)


def whole(flow):
    """Link flow and recorded jumps as one n × n matrix."""
    return flow.links.toarray() + np.outer(flow.sent, flow.landing) * (1 - np.eye(len(flow.p)))


# ---- reference ------------------------------------------------------------------------------------------------------


@EACH_CONVENTION
@pytest.mark.parametrize("seed", range(5))
def test_flows_equal_the_loops(settings, seed):
    graph = random_edges(seed, n=11, edges=20 + seed)
    for time in (1.0, 3.0):
        p, f = reference_flow(graph, **settings, markov_time=time)
        found = flow_of(graph, **settings, markov_time=time)
        np.testing.assert_allclose(found.p, p, atol=1e-13)
        np.testing.assert_allclose(whole(found), f, atol=1e-13)


@pytest.mark.parametrize("tau", [0.5, 0.01, 1e-5])
def test_small_teleportation_is_solved(tau):
    p, f = reference_flow(DIRECTED, directed=True, teleportation=tau)
    found = flow_of(DIRECTED, teleportation=tau)
    np.testing.assert_allclose(found.p, p, atol=1e-12)
    np.testing.assert_allclose(whole(found), f, atol=1e-12)


def test_iteration_and_solve_agree(monkeypatch):
    graph = random_edges(7, n=20, edges=60)
    iterated = flow_of(graph, recorded=True, teleport_to="nodes")
    monkeypatch.setattr(flow_module, "STEPS", 0)
    np.testing.assert_allclose(flow_of(graph, recorded=True, teleport_to="nodes").p, iterated.p, atol=1e-14)


# ---- check values ---------------------------------------------------------------------------------------------------


def test_check_values_of_visit_rates():
    expected = {
        (True, "nodes"): [0.2404485931, 0.2293813041, 0.1224870543, 0.1307805825, 0.1361634951, 0.1407389709],
        (False, "links"): [0.2719706798, 0.2551750778, 0.1204494081, 0.1150650474, 0.1218052902, 0.1155344967],
    }
    for (recorded, to), p in expected.items():
        np.testing.assert_allclose(flow_of(DIRECTED, recorded=recorded, teleport_to=to).p, p, atol=6e-11)
    loops = ([0, 0, 1, 2, 2, 1], [0, 1, 2, 2, 3, 3], [2, 1, 1, 0.5, 1, 1])
    p = [0.285714285714, 0.285714285714, 0.238095238095, 0.190476190476]
    np.testing.assert_allclose(flow_of(loops, directed=False).p, p, atol=1e-12)


# ---- theorems -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_without_teleports_flow_in_is_flow_out(seed):
    ring = (
        np.r_[np.arange(9), [0, 3, 5]],
        np.r_[np.arange(1, 9), 0, [4, 8, 1]],
        np.random.default_rng(seed).random(12) + 0.1,
    )
    found = flow_of(ring, teleportation=0)
    f = found.links.toarray()
    np.testing.assert_allclose(f.sum(axis=0), f.sum(axis=1), atol=1e-14)
    np.testing.assert_allclose(f.sum(axis=0), found.p, atol=1e-14)
    again = flow_of(ring, teleportation=0, recorded=True)
    np.testing.assert_allclose(again.p, found.p, atol=1e-14)


@pytest.mark.parametrize("to", ["links", "nodes"])
def test_recorded_flow_is_stationary(to):
    found = flow_of(random_edges(5), recorded=True, teleport_to=to)
    graph = read_graph(random_edges(5), True).weights.toarray()
    loops = np.diag(graph) / np.maximum(graph.sum(axis=1), 1e-300) * found.p * 0.85
    inflow = whole(found).sum(axis=0) + loops + found.sent * found.landing
    np.testing.assert_allclose(inflow, found.p, atol=1e-14)


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_parallel_edges_are_summed_and_zero_weights_dropped():
    many = ([0, 1, 2, 2, 0, 1], [1, 0, 1, 2, 2, 2], [1.0, 2.0, 0.5, 1.0, 0.0, 0.0])
    once = read_graph(many, False).weights.toarray()
    np.testing.assert_array_equal(once, [[0, 3, 0], [3, 0, 0.5], [0, 0.5, 1]])
    assert read_graph(many, False).weights.nnz == 5
    np.testing.assert_array_equal(
        read_graph(nx.MultiGraph([(0, 1), (1, 0), (1, 1)]), False).weights.toarray(), [[0, 2], [2, 1]]
    )


def test_isolated_nodes_stay_alone_at_no_cost():
    alone = (*TRIANGLES, None, 8)
    model = InfomapClustering("precomputed").fit(alone)
    assert model.labels_.tolist() == [0, 0, 0, 1, 1, 1, 2, 3]
    assert model.codelength_.total == pytest.approx(2.32073035683379, abs=1e-12)
    assert model.flow_[6:].tolist() == [0, 0]
    dangling = flow_of((*DIRECTED, 7), recorded=True, teleport_to="nodes")
    assert dangling.p[6] > 0


def test_no_edges_give_singletons_of_length_zero():
    for directed in (False, True):
        model = InfomapClustering("precomputed", directed=directed).fit(csr_array((4, 4)))
        assert model.labels_.tolist() == [0, 1, 2, 3]
        assert model.codelength_ == (0, 0, 0)
        assert model.one_level_codelength_ == 0
    assert infomap_communities(nx.empty_graph(3), seed=0) == [{0}, {1}, {2}]
    assert map_equation(([], [], None, 2), [0, 1], directed=True) == (0, 0, 0)


def test_a_single_node_and_a_self_loop():
    for graph in (np.array([[2.0]]), np.array([[0.0]])):
        for directed in (False, True):
            assert InfomapClustering("precomputed", directed=directed).fit(graph).labels_.tolist() == [0]
    assert map_equation(np.array([[2.0]]), [0]).total == 0
    assert map_equation(np.array([[2.0]]), [0], directed=True, teleportation=0).total == 0


def test_a_disconnected_graph_is_fine():
    both = (np.r_[TRIANGLES[0], np.array(TRIANGLES[0]) + 6], np.r_[TRIANGLES[1], np.array(TRIANGLES[1]) + 6])
    two = InfomapClustering("precomputed").fit(both)
    assert all(len(set(np.flatnonzero(two.labels_ == i) // 6)) == 1 for i in set(two.labels_.tolist()))
    assert two.codelength_.total == pytest.approx(2.438693532148307, abs=1e-12)  # one of the halves stays whole
    tree = InfomapClustering("precomputed", two_level=False).fit(both)
    assert tree.codelength_.total == pytest.approx(2.32073035683379, abs=1e-12)
    assert {tuple(np.flatnonzero(tree.labels_ == i).tolist()) for i in range(4)} == {
        (0, 1, 2),
        (3, 4, 5),
        (6, 7, 8),
        (9, 10, 11),
    }


def test_read_only_unsorted_and_integer_matrices_are_taken_and_kept():
    weights = csr_array((np.array([3, 1, 1, 3]), np.array([2, 1, 0, 0]), np.array([0, 2, 3, 4])), shape=(3, 3))
    before = weights.indices.copy()
    for array in (weights.data, weights.indices, weights.indptr):
        array.flags.writeable = False
    assert len(InfomapClustering("precomputed").fit(weights).labels_) == 3
    np.testing.assert_array_equal(weights.indices, before)
    canonical = csr_array(weights.toarray().astype(float))
    for array in (canonical.data, canonical.indices, canonical.indptr):
        array.flags.writeable = False
    assert len(InfomapClustering("precomputed").fit(canonical).labels_) == 3


# ---- errors ---------------------------------------------------------------------------------------------------------

SQUARE = np.ones((3, 3))


def broken(value):
    return ([0, 1], [1, 2], [1.0, value])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: map_equation(broken(-1.0), [0, 0, 1]), r"weights must be finite and at least 0: got -1.0"),
        (lambda: map_equation(broken(math.nan), [0, 0, 1]), "weights must be finite .* got nan"),
        (lambda: map_equation(broken(math.inf), [0, 0, 1]), "weights must be finite .* got inf"),
        (lambda: map_equation(-SQUARE, [0, 0, 1]), "weights must be finite"),
        (lambda: map_equation(csr_array(SQUARE * math.nan), [0, 0, 1], directed=True), "weights must be finite"),
        (lambda: map_equation(np.ones((3, 2)), [0, 0, 1]), r"graph must be a square matrix of weights: got \(3, 2\)"),
        (lambda: map_equation(np.ones(3), [0, 0, 1]), "graph must be a square matrix"),
        (lambda: map_equation(csr_array(np.triu(SQUARE)), [0, 0, 1]), "graph must be symmetric when directed=False"),
        (lambda: map_equation(np.triu(SQUARE), [0, 0, 1]), "Pass directed=True"),
        (lambda: map_equation(([0, 5], [1, 2], None, 4), [0] * 4), "source and target must lie between 0 and 3: got 5"),
        (lambda: map_equation(([0, -1], [1, 2]), [0] * 3), "source and target must lie between 0 and 2: got -1"),
        (lambda: map_equation(([0, 1], [1]), [0, 1]), "source and target and weight must have the same length"),
        (lambda: map_equation(([0.5, 1], [1, 0]), [0, 1]), "source must be a 1-d array of integers"),
        (lambda: map_equation(nx.path_graph(3), [0, 0, 1], directed=True), "graph must be a DiGraph when directed=True"),
        (lambda: map_equation(([0, 1], [1, 2]), [0, 0, 1], directed=True, teleportation=0), "strongly connected when teleportation=0: got 3"),
        (lambda: map_equation(TRIANGLES, [0] * 5), "partition and nodes must have the same length: got 5 and 6"),
        (lambda: map_equation(TRIANGLES, [(0, 1), (0,), (1,), (1,), (1,), (1,)]), "partition must hold nodes in leaf modules only"),
        (lambda: map_equation(TRIANGLES, [(), (0,), (1,), (1,), (1,), (1,)]), "partition must place every node in a module"),
        (lambda: map_equation(nx.path_graph(3), {0: 1, 1: 1}), "partition must name every node: got no 2"),
        (lambda: map_equation(TRIANGLES, [0] * 6, teleport_to="edges"), "teleport_to must be one of"),
        (lambda: map_equation(TRIANGLES, [0] * 6, teleportation=1), "teleportation must"),
        (lambda: map_equation(TRIANGLES, [0] * 6, markov_time=0), "markov_time must"),
        (lambda: InfomapClustering("euclidean").fit(SQUARE), "affinity must be one of"),
        (lambda: InfomapClustering("precomputed", n_trials=0).fit(SQUARE), "n_trials must"),
        (lambda: InfomapClustering("precomputed", markov_time=math.inf).fit(SQUARE), "markov_time must .* got inf"),
        (lambda: InfomapClustering().fit(SQUARE * math.nan), "NaN"),
        (lambda: knn_similarity_graph(SQUARE, k=0), "k must"),
        (lambda: knn_similarity_graph(SQUARE, min_sim=1.5), "min_sim must"),
        (lambda: knn_similarity_graph(np.ones(3)), r"X must have shape \(rows, features\)"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_wrong_types_are_named():
    with pytest.raises(TypeError, match="partition must have a hashable label"):
        map_equation(TRIANGLES, [[0], [1], [0], [0], [0], [0]])
    with pytest.raises(TypeError, match="n_trials must be a number"):
        InfomapClustering("precomputed", n_trials="ten").fit(SQUARE)
