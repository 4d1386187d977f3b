"""Graphs and partitions as other libraries hold them, sizes of weights, seeds, and an installation that is read-only."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from graph.infomap_reference import DIRECTED, TRIANGLES
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

import gezhi
from gezhi.graph import InfomapClustering, infomap_communities, knn_similarity_graph, map_equation
from gezhi.graph.infomap.graphs import read_graph

EXACT = {"abs": 1e-12, "rel": 0}
BITS = 2.32073035683379  # of two triangles and a bridge, a module each
BARBELL = nx.relabel_nodes(nx.Graph(list(zip(*TRIANGLES, strict=True))), dict(enumerate("abcdef")))
HALVES = dict.fromkeys("abc", 1) | dict.fromkeys("def", 0)


# ---- partitions by name ---------------------------------------------------------------------------------------------


@given(st.permutations("abcdef"))
def test_a_series_is_aligned_by_its_index(order):
    series = pd.Series([HALVES[name] for name in order], index=list(order))
    for partition in (series, series.astype(str), series.astype("category"), {name: series[name] for name in order}):
        assert map_equation(BARBELL, partition).total == pytest.approx(BITS, **EXACT)
    shuffled = pd.Series([0, 0, 0, 1, 1, 1], range(6)).sample(frac=1, random_state=1)
    assert map_equation(TRIANGLES, shuffled).total == pytest.approx(BITS, **EXACT)


def test_a_series_of_paths_is_a_tree():
    paths = pd.Series([(0, 0), (0, 0), (0, 1), (1,), (1,), (1,)], list("abcdef"))
    expected = map_equation(BARBELL, {name: paths[name] for name in "fedcba"})
    assert map_equation(BARBELL, paths[::-1]) == expected


def test_sets_are_taken_by_name():
    for groups in ([set("abc"), set("def")], (frozenset("fed"), set("cba")), iter([set("abc"), set("def"), set()])):
        assert map_equation(BARBELL, groups).total == pytest.approx(BITS, **EXACT)


# ---- other libraries' graphs ----------------------------------------------------------------------------------------


def as_igraph(G):
    igraph = pytest.importorskip("igraph", reason="igraph is not installed")
    graph = igraph.Graph(directed=G.is_directed())
    graph.add_vertices([str(name) for name in G])
    graph.add_edges([(str(u), str(v)) for u, v in G.edges()])
    if nx.is_weighted(G):
        graph.es["weight"] = [w for _, _, w in G.edges(data="weight")]
    return graph


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_an_igraph_graph_is_the_networkx_graph(directed, weighted):
    source, target, weight = DIRECTED
    G = (nx.DiGraph if directed else nx.MultiGraph)()
    ends = zip(source, target, weight, strict=True)
    G.add_edges_from((f"n{u}", f"n{v}", {"weight": w} if weighted else {}) for u, v, w in ends)
    g = as_igraph(G)
    labels = {f"n{a}": a // 3 for a in range(6)}
    assert map_equation(g, labels) == pytest.approx(map_equation(G, labels), **EXACT)
    assert map_equation(g, labels, directed=directed) == pytest.approx(map_equation(G, labels), **EXACT)
    parts = [{frozenset(part) for part in infomap_communities(graph, seed=1)} for graph in (g, G)]
    assert parts[0] == parts[1]
    fits = [InfomapClustering("precomputed").fit(graph) for graph in (g, G)]
    assert fits[0].codelength_ == pytest.approx(fits[1].codelength_, **EXACT)
    if weighted:
        plain = infomap_communities(g, weight=None, seed=1)
        assert {name for part in plain for name in part} == set(labels)


def test_igraph_nodes_without_names_are_numbers_and_edges_without_weight_count_one():
    igraph = pytest.importorskip("igraph", reason="igraph is not installed")
    graph = igraph.Graph(n=7, edges=list(zip(*TRIANGLES, strict=True)))
    assert infomap_communities(graph, seed=0) == [{0, 1, 2}, {3, 4, 5}, {6}]
    graph.es[0]["weight"] = 2.0  # the others hold None
    assert read_graph(graph, False).weights.toarray()[:2, :3].tolist() == [[0, 2, 1], [2, 0, 1]]
    assert infomap_communities(igraph.Graph(), seed=0) == []
    graph.vs["name"] = list("abcdefa")
    with pytest.raises(ValueError, match="graph must have a name of its own for each node: got several named 'a'"):
        map_equation(graph, [0] * 7)
    with pytest.raises(ValueError, match=r"graph must be a directed igraph\.Graph when directed=True"):
        map_equation(graph, [0] * 7, directed=True)


def test_an_adjacency_table_keeps_its_names():
    table = nx.to_pandas_adjacency(BARBELL)
    assert infomap_communities(table, seed=0) == [set("abc"), set("def")]
    assert map_equation(table, HALVES).total == pytest.approx(BITS, **EXACT)
    with pytest.raises(ValueError, match="graph must name rows and columns alike"):
        map_equation(table[list("bacdef")], HALVES)


def test_any_hashable_name_is_a_name():
    names = ["a\nb", "", " ", "a\tb", ("x", 1), None]
    G = nx.relabel_nodes(nx.Graph(list(zip(*TRIANGLES, strict=True))), dict(enumerate(names[:5])))
    parts = infomap_communities(G, seed=0)
    assert {frozenset(part) for part in parts} == {frozenset(names[:3]), frozenset([*names[3:5], 5])}
    assert map_equation(G, parts).total == pytest.approx(BITS, **EXACT)


# ---- weights of any size --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e307, 1.7e308, 1e160, 1e-160, 1e-300, 5e-310])
@pytest.mark.parametrize("directed", [False, True])
def test_only_ratios_of_weights_matter(size, directed):
    source, target, weight = (np.array(part) for part in DIRECTED)
    weight = weight / weight.max()
    expected = map_equation((source, target, weight), [0, 0, 0, 1, 1, 1], directed=directed)
    heavy = weight * size
    dense = np.zeros((6, 6))
    np.add.at(dense, (source, target), weight)
    dense = (dense if directed else dense + dense.T - np.diag(dense.diagonal())) * (size / 2)
    G = (nx.DiGraph if directed else nx.MultiGraph)()
    G.add_nodes_from(range(6))
    G.add_weighted_edges_from(zip(source.tolist(), target.tolist(), heavy.tolist(), strict=True))
    tolerance = {"abs": 1e-6 if size == 5e-310 else 1e-12, "rel": 0}  # few digits are left near the smallest number
    for graph in ((source, target, heavy), dense, csr_array(dense), G):
        assert map_equation(graph, [0, 0, 0, 1, 1, 1], directed=directed) == pytest.approx(expected, **tolerance)
        found = InfomapClustering("precomputed", directed=directed).fit(graph)
        assert found.codelength_.total <= expected.total + tolerance["abs"]


# ---- empty graphs ---------------------------------------------------------------------------------------------------

EMPTY = [nx.Graph(), nx.DiGraph(), csr_array((0, 0)), np.zeros((0, 0)), ([], []), ([], [], None, 0)]


@pytest.mark.parametrize("graph", EMPTY, ids=lambda graph: type(graph).__name__)
def test_a_graph_without_nodes_has_no_code(graph):
    assert map_equation(graph, []) == (0, 0, 0)
    assert infomap_communities(graph, seed=0) == []
    for two_level in (True, False):
        model = InfomapClustering("precomputed", two_level=two_level).fit(graph)
        assert model.labels_.tolist() == model.tree_ == model.flow_.tolist() == model.module_flow_.tolist() == []
        assert model.codelength_ == (0, 0, 0)
        assert model.one_level_codelength_ == 0


@pytest.mark.parametrize("convention", [{"recorded": True, "teleport_to": "nodes"}, {"teleportation": 0.0}])
def test_neither_has_a_directed_one(convention):
    assert map_equation(np.zeros((0, 0)), {}, directed=True, **convention) == (0, 0, 0)


# ---- numbers and seeds ----------------------------------------------------------------------------------------------


@pytest.mark.wrong_types
def test_numpy_scalars_are_parameters():
    settings = {"n_trials": 3, "markov_time": 1.5, "teleportation": 0.25, "random_state": 7, "n_jobs": 1}
    kinds = dict(zip(settings, [np.uint8, np.float32, np.float16, np.int64, np.int32], strict=True))
    other = {name: kinds[name](value) for name, value in settings.items()} | {
        "directed": np.True_,
        "two_level": np.False_,
    }
    fits = [InfomapClustering("precomputed", **some).fit(DIRECTED)
            for some in (settings | {"directed": True, "two_level": False}, other)]  # fmt: skip
    assert fits[0].tree_ == fits[1].tree_
    assert fits[0].codelength_ == fits[1].codelength_
    X = np.random.default_rng(0).random((9, 3))
    same = knn_similarity_graph(X, k=np.int8(2), min_sim=np.float32(0.5)) != knn_similarity_graph(X, k=2, min_sim=0.5)
    assert same.nnz == 0
    assert map_equation((*TRIANGLES, None, np.int64(6)), [0] * 6, markov_time=np.float32(2)).index == 0


def scattered(seed=0):
    """A graph on which trials disagree."""
    return nx.gnp_random_graph(120, 0.04, seed=seed)


def test_one_seed_is_one_result_in_every_form():
    G = scattered()
    matrix = nx.to_scipy_sparse_array(G, dtype=float)
    source, target = np.array(G.edges()).T
    for seed in (0, 1, np.int64(1)):
        model = InfomapClustering("precomputed", random_state=seed).fit(G)
        parts = {frozenset(np.flatnonzero(model.labels_ == i).tolist()) for i in range(model.labels_.max() + 1)}
        for graph in (G, matrix, (source, target, None, 120)):
            assert {frozenset(part) for part in infomap_communities(graph, seed=seed)} == parts
            again = InfomapClustering("precomputed", random_state=seed, n_jobs=2).fit(graph)
            np.testing.assert_array_equal(again.labels_, model.labels_)
    for make in (np.random.RandomState, np.random.default_rng):
        fits = [InfomapClustering("precomputed", random_state=make(3)).fit(G).labels_ for _ in range(2)]
        np.testing.assert_array_equal(*fits)


def test_other_seeds_search_elsewhere():
    codes = {
        InfomapClustering("precomputed", n_trials=1, random_state=s).fit(scattered()).codelength_ for s in range(8)
    }
    assert len(codes) > 1


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: map_equation(BARBELL, [set("abc"), set("cdef")]), ValueError, "partition must hold each node in one set: got 'c' in several"),
        (lambda: map_equation(BARBELL, [set("abc"), set("defx")]), ValueError, "partition must name nodes of the graph alone: got 'x'"),
        (lambda: map_equation(BARBELL, [set("abc"), set("de")]), ValueError, "partition must name every node: got no 'f'"),
        (lambda: map_equation(BARBELL, HALVES | {"g": 1}), ValueError, "partition must name nodes of the graph alone: got 'g'"),
        (lambda: map_equation(BARBELL, pd.Series(HALVES).drop("b")), ValueError, "partition must name every node: got no 'b'"),
        (lambda: map_equation(BARBELL, pd.Series(range(6))), ValueError, "partition must name every node: got no 'a'"),
        (lambda: map_equation(BARBELL, pd.Series([0] * 7, list("abcdeff"))), ValueError, "partition must have one entry a name: got several named 'f'"),
        (lambda: map_equation(BARBELL, pd.Series([0, 1, None, 1, 1, 1], list("abcdef"))), ValueError, "partition must give every node a label: got nan for node 'c'"),
        (lambda: map_equation(BARBELL, [0, 0, math.nan, 1, 1, 1]), ValueError, "partition must give every node a label: got nan for node 2"),
        (lambda: map_equation(BARBELL, pd.Series([0, 1, pd.NA, 1, 1, 1], list("abcdef"))), ValueError, "partition must give every node a label: got <NA> for node 'c'"),
        (lambda: map_equation(object(), [0]), TypeError, "graph must hold numbers: got object. Pass a networkx or igraph graph"),
        (lambda: map_equation(nx.Graph([(0, 1, {"weight": "heavy"})]), [0, 1]), TypeError, "weights must hold numbers: got could not convert"),
        (lambda: map_equation(([0], [1], ["x"]), [0, 1]), TypeError, "weights must hold numbers"),
        (lambda: map_equation(([0], [1], None, 2.5), [0, 1]), TypeError, "n must be an integer: got 2.5"),
        (lambda: map_equation(TRIANGLES, [0] * 6, markov_time=math.inf), ValueError, "markov_time must lie between .* and 1e.06: got inf"),
        (lambda: map_equation(TRIANGLES, [0] * 6, markov_time=math.nan), ValueError, "markov_time must"),
        (lambda: InfomapClustering("precomputed", n_trials=1.5).fit(TRIANGLES), TypeError, r"n_trials must be an integer: got 1.5 \(float\)"),
        (lambda: infomap_communities(BARBELL, n_trials=np.float64(2), seed=0), TypeError, "n_trials must be an integer"),
        (lambda: InfomapClustering("precomputed", random_state=-1).fit(TRIANGLES), ValueError, "random_state must lie between 0"),
        (lambda: knn_similarity_graph(np.eye(3), k=1.5), TypeError, "k must be an integer"),
    ],
)  # fmt: skip
@pytest.mark.wrong_types
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ---- a read-only installation ---------------------------------------------------------------------------------------

CONTAINER = """
import warnings
warnings.simplefilter("always")
import numpy as np
from gezhi.graph import InfomapClustering
from gezhi.graph.infomap import kernels
from gezhi.graph.infomap.search import SlowSearchWarning
with warnings.catch_warnings(record=True) as found:
    model = InfomapClustering("precomputed", n_trials=2).fit(([0, 1, 0, 3, 4, 3, 2], [1, 2, 2, 4, 5, 5, 3]))
assert [w for w in found if w.category is SlowSearchWarning and "NUMBA_CACHE_DIR" in str(w.message)], found
assert hasattr(kernels.best_of, "py_func") and kernels.best_of.stats.cache_path is None
print(model.labels_.tolist())
"""


def test_where_nothing_can_be_written_the_search_is_compiled_without_a_cache(tmp_path):
    pytest.importorskip("numba", reason="numba is not installed")
    package = tmp_path / "gezhi"
    shutil.copytree(Path(gezhi.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "experiments"))
    (package / "graph/infomap/__pycache__").write_text("a file where the folder would be: root may write anywhere")
    nowhere = str(package / "graph/infomap/__pycache__" / "cache")
    places = dict.fromkeys(("NUMBA_CACHE_DIR", "HOME", "XDG_CACHE_HOME"), nowhere)
    environment = os.environ | places | {"PYTHONPATH": str(tmp_path), "NUMBA_OPT": "0"}
    call = [sys.executable, "-B", "-c", CONTAINER]
    result = subprocess.run(
        call, env=environment, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[0, 0, 0, 1, 1, 1]"
