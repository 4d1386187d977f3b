"""Geodesic distance against loops, scipy and Isomap; graphs that fall apart; ranking and summaries."""

from __future__ import annotations

import math
import pickle
import warnings

import numpy as np
import pytest
from contract import Sample, estimator_checks
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse import csgraph
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.cluster import AgglomerativeClustering
from sklearn.datasets import make_swiss_roll
from sklearn.exceptions import NotFittedError
from sklearn.manifold import Isomap
from sklearn.neighbors import kneighbors_graph

from gezhi.text import (
    DisconnectedGraphError,
    GeodesicDistance,
    GeodesicSummarizer,
    NeighborGraphWarning,
    rank_by_topic,
)
from gezhi.text.geodesic import graphs, lengths

P = np.array([(0, 0), (1, 0), (2, 0.5), (3, 0.2), (3.2, 1.4), (2.2, 2.1), (1, 2), (0.1, 1.8)])
OF_K2 = [0, 1, 2.1180339887, 3.1620646396, 4.3786171457, 3.9288895413, 2.7247300835, 1.8027756377]
OF_K3 = [0, 1, 2.0615528128, 3.0099751242, 3.5615528128, 3.6740043625, 2.7247300835, 1.8027756377]

SAMPLES = [
    Sample(rank_by_topic, (P, np.array([2.0, 1.0])), {"geodesic": GeodesicDistance(2, metric="euclidean")},
           compiles=False, differentiable=False, reason="shortest paths are sought in SciPy"),
]  # fmt: skip


def fitted(X, k, metric="euclidean", **options):
    """The model, without word of a k that is large for few rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeighborGraphWarning)
        return GeodesicDistance(k, metric=metric, **options).fit(X)


def rows(seed, n=17, dim=3):
    return np.random.default_rng(seed).normal(size=(n, dim)) + 0.3


def loop_length(a, b, metric):
    if metric == "euclidean":
        return math.dist(a, b)
    cosine = sum(s * t for s, t in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)
    return math.acos(max(-1.0, min(1.0, cosine))) if metric == "angular" else 1 - cosine


def reference(X, k, metric="euclidean", graph="union", radius=None):
    """(1) by loops: neighbours by sorting, paths by Floyd and Warshall; edges besides."""
    points, n = X.tolist(), len(X)
    d = [[loop_length(a, b, metric) for b in points] for a in points]
    if radius is None:
        near = [sorted((j for j in range(n) if j != i), key=lambda j: (d[i][j], j))[:k] for i in range(n)]
    else:
        near = [[j for j in range(n) if j != i and d[i][j] <= radius] for i in range(n)]
    named = {(i, j) for i in range(n) for j in near[i]}
    edges = {(i, j) for i, j in named if graph == "union" or (j, i) in named}
    edges |= {(j, i) for i, j in edges}
    g = [[0.0 if i == j else d[i][j] if (i, j) in edges else math.inf for j in range(n)] for i in range(n)]
    for via in range(n):
        for i in range(n):
            for j in range(n):
                g[i][j] = min(g[i][j], g[i][via] + g[via][j])
    return np.array(g), edges


def edges_of(model):
    matrix = model.graph_.tocoo()
    return set(zip(matrix.row.tolist(), matrix.col.tolist(), strict=True))


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["euclidean", "angular", "cosine"])
@pytest.mark.parametrize("graph", ["union", "mutual"])
@pytest.mark.parametrize("k", [1, 2, 4, 16])
def test_equals_the_loops(k, graph, metric):
    X = rows(k)
    model = fitted(X, k, metric, graph=graph, connect="infinite")
    expected, edges = reference(X, k, metric, graph)
    assert edges_of(model) == edges
    np.testing.assert_allclose(model.distances(), expected, atol=1e-7 if metric == "angular" else 1e-12)
    assert model.n_components_ == len({tuple(np.isfinite(row)) for row in expected})


@pytest.mark.parametrize(("metric", "radius"), [("euclidean", 1.1), ("angular", 0.7), ("cosine", 0.25)])
def test_a_radius_equals_the_loops(metric, radius):
    X = rows(3)
    model = fitted(X, 1, metric, radius=radius, connect="infinite")
    expected, edges = reference(X, 0, metric, radius=radius)
    assert edges_of(model) == edges
    np.testing.assert_allclose(model.distances(), expected, atol=1e-7)


@pytest.mark.parametrize("block", [1, 50, 2**22])
def test_no_division_into_blocks_changes_anything(monkeypatch, block):
    monkeypatch.setattr(lengths, "BLOCK", block)
    X = rows(5, n=40)
    np.testing.assert_array_equal(fitted(X, 4).distances(), fitted(X, 4, n_jobs=2).distances())
    np.testing.assert_allclose(fitted(X, 4).distances(), reference(X, 4)[0], atol=1e-12)


@pytest.mark.parametrize("graph", ["union", "mutual"])
def test_a_query_equals_the_minimum_over_its_neighbours(graph):
    X, Q = rows(0, n=30), rows(1, n=5)
    model = fitted(X, 6, graph=graph, connect="infinite")
    g = model.distances()
    for q, found in zip(Q, model.query(Q), strict=True):
        straight = [math.dist(q, x) for x in X]
        near = sorted(range(30), key=lambda i: (straight[i], i))[:6]
        expected = [min(straight[i] + g[i, j] for i in near) for j in range(30)]
        np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_array_equal(model.query(Q, [3, 0]), model.query(Q)[:, [3, 0]])


# ---- the sheet's values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "j", "value"),
    [(12, 3, 1.552914270615), (12, 6, 3.105828541230), (40, 10, 1.569181914557), (40, 20, 3.138363829114)],
)
def test_points_on_a_circle(n, j, value):
    angles = 2 * np.pi * np.arange(n) / n
    model = fitted(np.stack([np.cos(angles), np.sin(angles)], axis=1), 2)
    assert model.distances([0], [j])[0, 0] == pytest.approx(value, abs=1e-11)
    expected = [2 * min(i, n - i) * np.sin(np.pi / n) for i in range(n)]
    np.testing.assert_allclose(model.distances([0])[0], expected, atol=1e-12)


def pairs(text):
    found = {(int(a), int(b)) for a, b in text.split()}
    return found | {(b, a) for a, b in found}


def test_eight_points_with_one_neighbour():
    model = fitted(P, 1, connect="infinite")
    assert edges_of(model) == pairs("01 23 34 56 67")
    assert model.components_.tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
    assert model.distances([0], [2])[0, 0] == math.inf


@pytest.mark.parametrize("graph", ["union", "mutual"])
def test_eight_points_with_two_neighbours(graph):
    model = fitted(P, 2, graph=graph)
    assert edges_of(model) == pairs("01 07 12 23 34 45 56 67")
    np.testing.assert_allclose(model.distances([0])[0], OF_K2, atol=1e-9)
    assert model.distances([2], [7])[0, 0] == pytest.approx(3.9208096264818897, abs=1e-12)


def test_eight_points_with_three_neighbours():
    model = fitted(P, 3)
    assert edges_of(model) == pairs("01 02 07 12 13 16 17 23 24 25 26 34 45 56 67")
    np.testing.assert_allclose(model.distances([0])[0], OF_K3, atol=1e-9)
    assert model.distances([2], [7])[0, 0] == pytest.approx(2.7247300834612833, abs=1e-12)


def test_angles_of_seven_points():
    expected = [0, 0.244978663126862, 0.066568163775823, 0.412410441597385, 0.762146540586983, 1.107148717794087,
                1.515297821549176]  # fmt: skip
    np.testing.assert_allclose(fitted(P[1:], 3, "angular").distances([0])[0], expected, atol=1e-12)


def test_a_query_of_eight_points():
    expected = [2.618033988750, 1.618033988750, 0.5, 1.544030650891, 2.338689550323, 1.118033988750, 2.322193446629,
                3.244147892358]  # fmt: skip
    np.testing.assert_allclose(fitted(P, 2).query([[2, 1]])[0], expected, atol=1e-11)


def test_a_point_that_stands_twice():
    model = fitted(np.r_[P, P[:1]], 2)
    assert model.distances([0], [8])[0, 0] == 0
    np.testing.assert_allclose(model.distances([8])[0], [*OF_K2, 0], atol=1e-9)
    np.testing.assert_allclose(model.query(P[:1])[0], [*OF_K2, 0], atol=1e-9)


def test_the_swiss_roll_is_unrolled_unless_k_cuts_corners():
    X, t = make_swiss_roll(1500, random_state=0)
    arc = 0.5 * (t * np.sqrt(1 + t**2) + np.arcsinh(t))
    sources = np.arange(0, 1500, 30)
    true = np.hypot(arc[sources, None] - arc, X[sources, None, 1] - X[:, 1])
    errors = {}
    for k in (10, 40):
        g = GeodesicDistance(k, metric="euclidean").fit(X).distances(sources)
        errors[k] = float(np.mean(np.abs(g - true)[true > 0] / true[true > 0])), spearmanr(g.ravel(), true.ravel())[0]
    assert errors[10][0] == pytest.approx(0.043, abs=0.004)
    assert errors[10][1] > 0.999
    assert errors[40][1] < 0.75


# ---- oracle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_equals_scipy_on_the_graph_of_scikit_learn(metric):
    X = rows(11, n=300, dim=5)
    matrix = kneighbors_graph(X, 8, mode="distance", metric=metric)
    expected = csgraph.dijkstra(matrix.maximum(matrix.T), indices=range(20))
    np.testing.assert_allclose(fitted(X, 8, metric).distances(np.arange(20)), expected, atol=1e-9)


def test_equals_isomap():
    X = rows(12, n=120, dim=4)
    expected = Isomap(n_neighbors=7).fit(X).dist_matrix_
    np.testing.assert_allclose(fitted(X, 7).distances(), expected, atol=1e-9)


def test_a_graph_of_another_search_is_taken_as_it_is():
    X = rows(13, n=50)
    own = fitted(X, 5)
    given = GeodesicDistance(metric="precomputed").fit(kneighbors_graph(X, 5, mode="distance"))
    np.testing.assert_allclose(given.distances(), own.distances(), atol=1e-12)
    assert given.path(0, 9) == own.path(0, 9)


def test_of_two_lengths_of_a_pair_the_shorter_counts():
    given = sparse.csr_array([[0, 5.0, 0], [2.0, 0, 1.0], [0, 3.0, 0]])
    for graph in ("union", "mutual"):
        model = GeodesicDistance(metric="precomputed", graph=graph).fit(given)
        assert model.distances([0]).tolist() == [[0, 2, 3]]


# ---- theorems -------------------------------------------------------------------------------------------------------

FEW = st.lists(st.tuples(*[st.integers(-4, 4)] * 2), min_size=5, max_size=14).map(np.array)


@given(FEW, st.integers(1, 3))
def test_it_is_a_metric_and_at_least_the_straight_distance(X, k):
    g = fitted(X, k, connect="nearest").distances()
    assert np.isfinite(g).all()
    np.testing.assert_allclose(g, g.T, atol=1e-12)
    assert (np.diag(g) == 0).all()
    assert (g[:, None] <= g[:, :, None] + g[None] + 1e-9).all()
    assert (g >= np.linalg.norm(X[:, None] - X, axis=2) - 1e-9).all()


@given(FEW, st.integers(1, 3))
def test_more_neighbours_never_lengthen_a_path(X, k):
    few, more = (fitted(X, size, connect="infinite").distances() for size in (k, k + 1))
    assert (more <= few + 1e-9).all()


@given(FEW, st.sampled_from(["union", "mutual"]))
def test_the_k_of_the_message_is_the_smallest_that_joins(X, graph):
    def count(k):
        return fitted(X, k, graph=graph, connect="infinite").n_components_

    if count(1) == 1:
        assert fitted(X, 1, graph=graph).n_components_ == 1
        return
    with pytest.raises(DisconnectedGraphError) as caught:
        fitted(X, 1, graph=graph)
    message = str(caught.value)
    assert f"got 1 and {count(1)} components" in message
    k = int(message.split("joins them is ")[1].split(":")[0])
    assert count(k) == 1
    assert count(k - 1) > 1


@given(FEW, st.floats(0.3, 3))
def test_the_radius_of_the_message_is_the_smallest_that_joins(X, radius):
    try:
        fitted(X, 1, radius=radius)
    except DisconnectedGraphError as error:
        least = float(str(error).split("joins them is ")[1].split(":")[0])
        assert fitted(X, 1, radius=least).n_components_ == 1
        assert fitted(X, 1, radius=np.nextafter(least, 0), connect="infinite").n_components_ > 1


@given(FEW)
def test_nearest_joins_by_a_shortest_spanning_tree(X):
    """The edges added are as long in all as those of a minimum spanning tree that has the old ones for nothing."""
    before, after = (fitted(X, 1, connect=how) for how in ("infinite", "nearest"))
    added = (after.graph_.sum() - before.graph_.sum()) / 2
    labels, best = before.components_, 0.0
    straight = np.linalg.norm(X[:, None] - X, axis=2)
    between = [(straight[i, j], labels[i], labels[j]) for i in range(len(X)) for j in range(i)]
    trees = {int(label): {int(label)} for label in labels}
    for length, a, b in sorted(between):
        if trees[int(a)] is not trees[int(b)]:
            best += length
            joint = trees[int(a)] | trees[int(b)]
            trees.update(dict.fromkeys(joint, joint))
    if len(set(np.round([length for length, *_ in between], 9))) == len(between):
        assert added == pytest.approx(best, abs=1e-9)
    assert added >= best - 1e-9


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_copies_that_see_nothing_else_are_said():
    X = np.r_[P, np.tile([[9.0, 9.0]], (4, 1))]
    with pytest.warns(NeighborGraphWarning, match="4 rows are copies of each other"):
        model = GeodesicDistance(2, metric="euclidean", connect="infinite").fit(X)
    assert model.n_components_ == 2
    assert (model.distances([8], [9, 10, 11]) == 0).all()
    assert (model.distances([0], [9]) == math.inf).all()


def test_ties_go_to_the_lower_row():
    model = fitted(np.zeros((6, 2)), 1, connect="infinite")
    assert edges_of(model) == pairs("01 02 03 04 05")


def test_single_floats_are_measured_in_double():
    X = rows(2).astype(np.float32)
    np.testing.assert_array_equal(fitted(X, 4).distances(), fitted(X.astype(np.float64), 4).distances())


def test_nearly_equal_directions_keep_their_digits():
    X = np.array([[1, 0], [1, 1e-9], [1, 3e-9], [0, 1.0]])
    g = fitted(X, 2, "angular").distances([0])[0]
    np.testing.assert_allclose(g, [0, 1e-9, 3e-9, np.pi / 2], rtol=1e-6)


def test_a_limit_cuts_paths_and_leaves_them_infinite():
    found = fitted(P, 2).distances([0], limit=2)[0]
    assert np.isfinite(found).tolist() == [value <= 2 for value in OF_K2]


def test_the_path_explains_the_distance():
    model = fitted(P, 2)
    assert model.path(0, 4) == [0, 1, 2, 3, 4]
    assert model.path(3, 3) == [3]
    with pytest.raises(ValueError, match="i and j must be rows of one component: got 0 and 2"):
        fitted(P, 1, connect="infinite").path(0, 2)


def test_queries_beyond_a_radius_are_infinitely_far():
    model = fitted(P, 1, radius=1.5)
    assert np.isinf(model.query([[50, 50]])).all()
    assert np.isfinite(model.query([[0, 0.5]])).all()


def test_joining_far_clusters_without_listing_all_pairs(monkeypatch):
    X = np.r_[rows(0), rows(1) + 100]
    with pytest.raises(DisconnectedGraphError, match="The smallest that joins them is 17: take it"):
        fitted(X, 5)
    monkeypatch.setattr(graphs, "MOST_PAIRS", 34 * 10)
    with pytest.raises(DisconnectedGraphError, match="Far more would be needed: take connect="):
        fitted(X, 5)


# ---- uses -----------------------------------------------------------------------------------------------------------


def test_ranking_puts_the_infinitely_far_last_with_relevance_zero():
    ranking = rank_by_topic(P, P[0], geodesic=GeodesicDistance(1, metric="euclidean", connect="infinite"))
    assert ranking.indices.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert ranking.relevance[2:].tolist() == [0] * 6
    assert ranking.relevance[1] == pytest.approx(1, rel=1e-8)


def test_ranking_averages_over_examples_of_the_topic():
    model = GeodesicDistance(2, metric="euclidean")
    single = [rank_by_topic(P, P[i], geodesic=model).distances for i in (0, 3)]
    np.testing.assert_allclose(rank_by_topic(P, P[[0, 3]], geodesic=model).distances, np.mean(single, axis=0))


def test_a_summary_takes_the_relevant_once_and_keeps_its_budget():
    vectors = np.array([[1, 0], [1, 0.001], [1, 0.5], [0.5, 1], [0, 1.0]])
    sentences = ["aaaa", "bbbb", "cccccc", "dd", "e"]
    model = GeodesicSummarizer(GeodesicDistance(1, connect="nearest"), max_similarity=0.95)
    assert model.summarize(sentences, vectors, [1, 0], budget=100).indices == [0, 2, 3, 4]
    assert model.summarize(sentences, vectors, [1, 0], budget=7) == (["aaaa", "dd", "e"], [0, 3, 4])
    assert model.summarize(sentences, vectors, [1, 0], budget=2, length=lambda s: 1).indices == [0, 2]
    assert model.summarize(sentences, vectors, [1, 0], budget=0.5) == ([], [])
    loose = GeodesicSummarizer(GeodesicDistance(1, connect="nearest"), max_similarity=1)
    assert loose.summarize(sentences, vectors, [1, 0], budget=8).indices == [0, 1]
    nearest = rank_by_topic(vectors, vectors.mean(axis=0), geodesic=model.geodesic).indices[0]
    assert model.summarize(sentences, vectors, budget=100).indices[0] == nearest


def test_clusters_of_two_rings_are_the_rings():
    angles = 2 * np.pi * np.arange(30) / 30
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    g = GeodesicDistance(3, metric="euclidean", connect="nearest").fit(np.r_[ring, 3 * ring]).distances()
    labels = AgglomerativeClustering(2, metric="precomputed", linkage="single").fit_predict(g)
    assert len(set(labels[:30])) == len(set(labels[30:])) == 1
    assert labels[0] != labels[30]


# ---- scikit-learn ---------------------------------------------------------------------------------------------------


def test_it_is_an_estimator():
    count, skipped = estimator_checks(GeodesicDistance(2, metric="euclidean", connect="nearest"))
    assert count["passed"] == 46
    assert skipped == {"check_array_api_input"}


def test_it_is_cloned_and_pickled():
    model = fitted(P, 2)
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.transform(P), model.query(P))
    with pytest.raises(NotFittedError):
        clone(model).distances()


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fitted(P, 8), "n_neighbors must be below the number of rows, 8: got 8"),
        (lambda: fitted(P, 0), "n_neighbors must lie between 1"),
        (lambda: fitted(P * np.nan, 2), "NaN"),
        (lambda: fitted(P / 0.0 + 1, 2), "infinity|NaN"),
        (lambda: fitted(P, 2, "angular"), "X must have no zero vector: got one in row 0"),
        (lambda: fitted(P, 2, "l1"), "metric must be one of"),
        (lambda: fitted(P, 2, graph="all"), "graph must be one of"),
        (lambda: fitted(P, 2, connect="no"), "connect must be one of"),
        (lambda: fitted(P, 2, radius=0), "radius must lie strictly between 0"),
        (lambda: fitted(P, 2).distances([8]), "sources must lie between 0 and 7: got 8"),
        (lambda: fitted(P, 2).distances([0], [-1]), "targets must lie between 0 and 7: got -1"),
        (lambda: fitted(P, 2).distances(limit=0), "limit must lie strictly between 0"),
        (lambda: fitted(P, 2).query(np.empty((0, 2))), "0 sample"),
        (lambda: fitted(P, 2).query([[1, 2, 3]]), "3 features"),
        (lambda: fitted(P[1:], 2, "angular").query([[0, 0]]), "Q must have no zero vector"),
        (lambda: fitted(P, 2, "precomputed"), "X must be a sparse matrix of lengths"),
        (lambda: fitted(sparse.eye(3, 2), 2, "precomputed"), r"X must be square.*\(3, 2\)"),
        (lambda: fitted(-sparse.eye(3), 2, "precomputed"), "X must have finite lengths of at least 0: got -1"),
        (lambda: fitted(sparse.csr_matrix((3, 3)), 2, "precomputed"), "X must be connected: got 3 components"),
        (lambda: rank_by_topic(P, [1, 2, 3], geodesic=GeodesicDistance(2, metric="euclidean")), "topic must be"),
        (lambda: GeodesicSummarizer(max_similarity=2).summarize(["a"], P[:1], budget=1), "max_similarity must"),
        (lambda: GeodesicSummarizer().summarize(["a"] * 8, P, budget=0), "budget must lie strictly between 0"),
        (lambda: GeodesicSummarizer().summarize(["a"], P, budget=1), "sentences and vectors must have the same length"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_graph_has_no_place_for_a_query():
    model = GeodesicDistance(metric="precomputed").fit(kneighbors_graph(P, 3, mode="distance"))
    with pytest.raises(ValueError, match="metric must be one of rows for query: got 'precomputed'"):
        model.query([[1, 2]])
    with pytest.raises(TypeError, match="sources must be a list of row numbers"):
        model.distances([0.5])


def test_many_neighbours_of_few_rows_are_warned_of():
    with pytest.warns(NeighborGraphWarning, match="n_neighbors is 3 of 8 rows"):
        GeodesicDistance(3, metric="euclidean").fit(P)
