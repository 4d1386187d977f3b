"""The map equation against loops, the sheet's values and PyPI infomap; the public forms and what they refuse."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import networkx as nx
import numpy as np
import pytest
from contract import Sample, estimator_checks
from graph.infomap_reference import (
    CONVENTIONS,
    DIRECTED,
    LOOPS,
    TRIANGLES,
    convention_name,
    nested,
    random_edges,
    recursive_triangles,
    reference_code,
    reference_flow,
    two_level_code,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.metrics import normalized_mutual_info_score

from gezhi.graph import InfomapClustering, infomap_communities, knn_similarity_graph, map_equation

NUMPY = {"compiles": False, "differentiable": False, "reason": "it works on graphs"}


def fitted_labels(graph, **settings):
    return InfomapClustering("precomputed", **settings).fit(graph).labels_


SAMPLES = [
    Sample(map_equation, (csr_array(np.ones((4, 4))), np.array([0, 0, 1, 1])), **NUMPY),
    Sample(map_equation, (DIRECTED, [(0, 1), (0, 1), (0, 2), (1,), (1,), (1,)]), {"directed": True}, **NUMPY),
    Sample(fitted_labels, (csr_array(np.eye(5, k=1) + np.eye(5, k=-1)),), **NUMPY),
    Sample(infomap_communities, (nx.barbell_graph(4, 1),), {"seed": 0}, **NUMPY),
    Sample(knn_similarity_graph, (np.random.default_rng(0).random((9, 3)),), {"k": 2}, **NUMPY),
]
HALVES = [0, 0, 0, 1, 1, 1]
EACH_CONVENTION = pytest.mark.parametrize("settings", CONVENTIONS, ids=convention_name)
EXACT = {"abs": 1e-12, "rel": 0}


# ---- reference ------------------------------------------------------------------------------------------------------


@EACH_CONVENTION
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("time", [1.0, 0.4, 2.5])
def test_equals_the_loops(settings, seed, time):
    graph = random_edges(seed)
    labels = np.random.default_rng(seed + 50).integers(0, 4, graph[3])
    p, f = reference_flow(graph, **settings, markov_time=time)
    found = map_equation(graph, labels, **settings, markov_time=time)
    assert found.total == pytest.approx(two_level_code(p, f, labels.tolist()), **EXACT)
    assert found == pytest.approx(reference_code(p, f, labels.tolist()), **EXACT)
    assert found.total == found.index + found.module


@EACH_CONVENTION
@pytest.mark.parametrize("seed", range(3))
def test_trees_equal_the_loops(settings, seed):
    graph, rng = random_edges(seed, n=13), np.random.default_rng(seed)
    shapes = [(0, 0, 0), (0, 0, 1), (0, 1), (1,), (2, "a"), (2, "b", 0), (2, "b", 1)]
    paths = [shapes[i] for i in rng.integers(0, len(shapes), graph[3])]
    p, f = reference_flow(graph, **settings)
    assert map_equation(graph, paths, **settings) == pytest.approx(reference_code(p, f, paths), **EXACT)


def test_check_values_of_two_triangles():
    assert map_equation(TRIANGLES, [0] * 6).total == pytest.approx(2.556656707462823, **EXACT)
    expected = (2.32073035683379, 0.142857142857143, 2.177873213976647)
    assert map_equation(TRIANGLES, HALVES) == pytest.approx(expected, **EXACT)
    assert map_equation(TRIANGLES, range(6)).total == pytest.approx(4.556656707462823, **EXACT)
    for time, total in [(0.5, 2.006684566414346), (2.0, 2.824919644402478)]:
        assert map_equation(TRIANGLES, HALVES, markov_time=time).total == pytest.approx(total, **EXACT)
        assert map_equation(TRIANGLES, [0] * 6, markov_time=time).total == pytest.approx(2.556656707462823, **EXACT)


@pytest.mark.parametrize(
    ("recorded", "to", "total"),
    [(True, "nodes", 2.304238187301809), (True, "links", 2.233820312428885),
     (False, "links", 2.002653878720436), (False, "nodes", 2.006118456060768)],
)  # fmt: skip
def test_check_values_of_directed_conventions(recorded, to, total):
    settings = {"directed": True, "recorded": recorded, "teleport_to": to}
    assert map_equation(DIRECTED, HALVES, **settings).total == pytest.approx(total, **EXACT)
    best = InfomapClustering("precomputed", **settings).fit(DIRECTED)
    assert best.labels_.tolist() in (HALVES, [1 - i for i in HALVES])
    assert best.codelength_.total == pytest.approx(total, **EXACT)


def test_check_values_of_self_loops():
    assert map_equation(LOOPS, [0, 1, 1, 1]).total == pytest.approx(2.040841800865004, **EXACT)
    assert map_equation(LOOPS, [0] * 4).total == pytest.approx(1.981403590250632, **EXACT)
    assert fitted_labels(LOOPS).tolist() == [0] * 4


def test_check_values_of_karate():
    graph = nx.karate_club_graph()
    clubs = [graph.nodes[a]["club"] for a in graph]
    read = {"weight": None, "seed": 0}
    plain = nx.Graph(graph.edges())
    labels = dict(zip(graph, clubs, strict=True))
    assert map_equation(plain, labels).total == pytest.approx(4.462090721377539, **EXACT)
    assert map_equation(plain, [0] * 34).total == pytest.approx(4.704422598883344, **EXACT)
    found = infomap_communities(graph, **read)
    assert found[1] == {0, 1, 2, 3, 7, 9, 11, 12, 13, 17, 19, 21} or found[0] == {
        0,
        1,
        2,
        3,
        7,
        9,
        11,
        12,
        13,
        17,
        19,
        21,
    }
    assert {4, 5, 6, 10, 16} == found[2]
    assert [len(part) for part in found] == [17, 12, 5]
    best = map_equation(plain, found)
    assert best[:2] == pytest.approx((4.311792645801829, 0.256946717691877), **EXACT)


@pytest.mark.parametrize(
    ("graph", "total", "modules"),
    [(nx.les_miserables_graph(), 4.204714637183612, 10), (nx.ring_of_cliques(6, 5), 2.999533821358020, 6),
     (nx.florentine_families_graph(), 3.446961727359893, 4), (nx.barbell_graph(6, 0), 2.820710407209322, 2),
     (nx.petersen_graph(), 3.321928094887362, 1)],
)  # fmt: skip
def test_best_known_codes_are_found(graph, total, modules):
    found = InfomapClustering("precomputed", n_trials=20).fit(graph)
    assert found.codelength_.total == pytest.approx(total, **EXACT)
    assert found.labels_.max() + 1 == modules


def test_check_values_of_recursive_triangles():
    graph = recursive_triangles()
    for partition, total in [
        ([0] * 27, 4.745436833581181), ([a // 9 for a in range(27)], 3.682183184682595),
        ([(a // 9, a // 3) for a in range(27)], 3.484189880405219),
        ([(a // 9, a // 3) if a < 18 else (a // 3,) for a in range(27)], 3.462273137526415),
    ]:  # fmt: skip
        assert map_equation(graph, partition).total == pytest.approx(total, **EXACT)
    two = InfomapClustering("precomputed").fit(graph)
    assert two.codelength_.total == pytest.approx(3.564422432137261, **EXACT)
    tree = InfomapClustering("precomputed", two_level=False).fit(graph)
    assert tree.codelength_.total == pytest.approx(3.462273137526415, **EXACT)
    assert sorted({len(path) for path in tree.tree_}) == [1, 2]
    assert tree.labels_.max() + 1 == 9


# ---- oracle ---------------------------------------------------------------------------------------------------------


def by_infomap(graph, two_level, trials, **settings):
    """Result of the C++ program."""
    infomap = pytest.importorskip("infomap", reason="infomap is not installed")
    source, target, weight, n = graph
    network = infomap.Network()
    network.add_nodes(range(n))
    for edge in zip(source, target, np.ones(len(source)) if weight is None else weight, strict=True):
        network.add_link(int(edge[0]), int(edge[1]), float(edge[2]))
    to_nodes = settings.get("teleport_to") == "nodes"
    options = infomap.Options(
        silent=True, two_level=two_level, directed=settings["directed"], num_trials=trials, seed=1, to_nodes=to_nodes,
        recorded_teleportation=settings.get("recorded", False),
    )  # fmt: skip
    return network.run(options=options)


@EACH_CONVENTION
@pytest.mark.parametrize("two_level", [True, False], ids=["modules", "tree"])
def test_partitions_of_infomap_have_its_codelength(settings, two_level):
    for graph in (random_edges(1, n=30, edges=90, isolated=0), nested(0)):
        found = by_infomap(graph, two_level, 3, **settings)
        paths = {node.node_id: tuple(node.path[:-1]) for node in found.nodes()}
        expected = found.codelength
        scored = map_equation(graph, [paths[a] for a in range(graph[3])], **settings)
        assert scored.total == pytest.approx(expected, **EXACT)


@EACH_CONVENTION
def test_trees_are_no_longer_than_those_of_infomap(settings):
    for seed in (1, 2, 3):
        graph = nested(seed)
        ours = InfomapClustering("precomputed", two_level=False, n_trials=20, **settings).fit(graph)
        assert ours.codelength_.total <= by_infomap(graph, False, 20, **settings).codelength + 1e-10


def test_a_tree_of_infomap_on_recursive_triangles_is_no_shorter():
    graph = (*recursive_triangles(), None, 27)
    assert by_infomap(graph, False, 20, directed=False).codelength >= 3.462273137526415 - 1e-12


# ---- theorems -------------------------------------------------------------------------------------------------------

SEEDS = st.integers(0, 10**6)


@given(SEEDS, st.sampled_from(CONVENTIONS))
def test_invariances_and_bounds(seed, settings):
    graph, rng = random_edges(seed), np.random.default_rng(seed)
    source, target, weight, n = graph
    labels, order = rng.integers(0, 4, n), rng.permutation(n)
    length = map_equation(graph, labels, **settings)
    assert length.total >= 0
    scaled = map_equation((source, target, 7.5 * weight, n), labels, **settings)
    assert scaled == pytest.approx(length, **EXACT)
    places = np.empty(n, int)
    places[order] = labels
    renamed = map_equation((order[source], order[target], weight, n), 3 - places, **settings)
    assert renamed == pytest.approx(length, **EXACT)
    p, _ = reference_flow(graph, **settings)
    entropy = -sum(x * math.log2(x) for x in p if x > 0)
    assert map_equation(graph, [0] * n, **settings).total == pytest.approx(entropy, **EXACT)


@given(SEEDS, st.sampled_from(CONVENTIONS), st.booleans())
def test_found_codes_beat_one_module_and_singletons(seed, settings, two_level):
    graph = random_edges(seed, n=14, edges=40)
    model = InfomapClustering("precomputed", two_level=two_level, n_trials=2, **settings).fit(graph)
    again = map_equation(graph, model.tree_, **settings)
    assert again == pytest.approx(model.codelength_, **EXACT)
    assert again.total <= model.one_level_codelength_ + 1e-12
    assert again.total <= map_equation(graph, range(15), **settings).total + 1e-12
    assert model.flow_.sum() == pytest.approx(1)
    np.testing.assert_allclose(model.module_flow_, np.bincount(model.labels_, weights=model.flow_))


@given(SEEDS)
def test_more_trials_are_never_worse_and_a_tree_never_longer(seed):
    graph = random_edges(seed, n=20, edges=50)
    lengths = [InfomapClustering("precomputed", n_trials=k).fit(graph).codelength_.total for k in (1, 2, 6)]
    lengths.append(InfomapClustering("precomputed", n_trials=6, two_level=False).fit(graph).codelength_.total)
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(lengths))


def test_a_single_child_never_pays():
    assert map_equation(TRIANGLES, [(0, i) for i in HALVES]).total > map_equation(TRIANGLES, HALVES).total - 1e-12


# ---- the estimator and the networkx form ----------------------------------------------------------------------------


def test_common_checks_of_scikit_learn():
    count, skipped = estimator_checks(InfomapClustering(n_trials=2))
    assert skipped == {"check_array_api_input"}, "SCIPY_ARRAY_API is not set"
    assert count == Counter(passed=45, skipped=1)


def test_features_take_the_way_through_the_neighbour_graph():
    X, _ = load_iris(return_X_y=True)
    model = InfomapClustering(n_neighbors=7, min_similarity=0.9).fit(X)
    graph = knn_similarity_graph(X, k=7, min_sim=0.9)
    assert model.n_features_in_ == 4
    np.testing.assert_array_equal(model.labels_, fitted_labels(graph.maximum(graph.T)))
    directed = clone(model).set_params(directed=True).fit(X)
    np.testing.assert_array_equal(directed.labels_, fitted_labels(graph, directed=True))


def test_all_forms_of_a_graph_are_one():
    G = nx.les_miserables_graph()
    dense = nx.to_numpy_array(G)
    source, target = np.nonzero(np.triu(dense))
    forms = [
        G,
        dense,
        csr_array(dense),
        csr_matrix(dense),
        csr_array(dense).tocoo(),
        (source, target, dense[source, target]),
    ]
    fits = [InfomapClustering("precomputed").fit(form) for form in forms]
    for fit in fits[1:]:
        np.testing.assert_array_equal(fit.labels_, fits[0].labels_)
        assert fit.codelength_ == fits[0].codelength_
    assert fits[0].n_features_in_ == 77
    parts = infomap_communities(G, seed=0)
    names = np.array(G)
    assert {frozenset(part) for part in parts} == {frozenset(names[fits[0].labels_ == i].tolist()) for i in range(10)}
    assert map_equation(G, parts).total == pytest.approx(fits[0].codelength_.total, **EXACT)
    assert [len(part) for part in parts] == sorted(map(len, parts), reverse=True)


def test_networkx_graphs_know_their_direction_and_sum_parallel_edges():
    edges = [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 3), (5, 0)]
    labels = dict.fromkeys(range(6), 0) | {3: 1, 4: 1, 5: 1}
    expected = map_equation(tuple(np.array(edges).T), HALVES, directed=True)
    assert map_equation(nx.DiGraph(edges), labels) == pytest.approx(expected, **EXACT)
    assert map_equation(nx.DiGraph(edges), labels, directed=True) == pytest.approx(expected, **EXACT)
    twice = nx.MultiGraph(edges + [(b, a) for a, b in edges])
    assert map_equation(twice, labels) == pytest.approx(map_equation(nx.Graph(edges), labels), **EXACT)


@pytest.mark.parametrize("two_level", [True, False])
def test_threads_and_repeats_change_nothing(two_level):
    graph = nested(3)
    settings = {"two_level": two_level, "n_trials": 7}
    fits = [InfomapClustering("precomputed", n_jobs=jobs, **settings).fit(graph) for jobs in (1, 1, 2, 3, -1)]
    for fit in fits[1:]:
        assert fit.tree_ == fits[0].tree_
        assert fit.codelength_ == fits[0].codelength_


def test_labels_are_numbered_by_flow():
    model = InfomapClustering("precomputed").fit(nx.les_miserables_graph())
    assert (np.diff(model.module_flow_) <= 1e-12).all()
    tree = InfomapClustering("precomputed", two_level=False).fit(nested(0))
    assert sorted(set(tree.tree_)) == [
        tree.tree_[int(np.argmax(tree.labels_ == i))] for i in range(tree.labels_.max() + 1)
    ]


def test_lfr_communities_are_recovered():
    G = nx.LFR_benchmark_graph(
        300, 2.5, 1.5, 0.2, average_degree=10, max_degree=30, min_community=20, max_community=60, seed=1, max_iters=2000
    )
    G.remove_edges_from(nx.selfloop_edges(G))
    true = {a: min(G.nodes[a]["community"]) for a in G}
    model = InfomapClustering("precomputed").fit(G)
    assert model.codelength_.total <= map_equation(G, true).total + 1e-12
    assert normalized_mutual_info_score(list(true.values()), model.labels_) > 0.8


def test_knn_similarity_graph_is_the_definition():
    X = np.random.default_rng(2).normal(size=(30, 4))
    X[3] = 0
    cosine = X @ X.T / np.maximum(np.outer(*(np.linalg.norm(X, axis=1),) * 2), 1e-300)
    expected = np.zeros((30, 30))
    for i in range(30):
        others = sorted((j for j in range(30) if j != i), key=lambda j: -cosine[i, j])
        for j in others[:5]:
            expected[i, j] = cosine[i, j] if cosine[i, j] >= 0.6 else 0
    found = knn_similarity_graph(X, k=5)
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-12)
    np.testing.assert_allclose(knn_similarity_graph(csr_array(X), k=5).toarray(), expected, atol=1e-12)
    assert found[[3]].nnz == 0
    assert knn_similarity_graph(X[:1]).shape == (1, 1)
    assert knn_similarity_graph(X[:3], k=50, min_sim=0).shape == (3, 3)
