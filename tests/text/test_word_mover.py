"""Distances between bags of words against loops, POT and HiGHS, their bounds, and the exact search that prunes."""

from __future__ import annotations

import importlib.util
import itertools
import math
import pickle

import numpy as np
import pytest
import torch
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from gezhi._numerics import transport, transport_with_potentials
from gezhi.text import WordMoverIndex, emd, word_movers_distance, word_rotators_distance
from gezhi.text.word_mover import (
    reduced_emd,
    relaxed_emd,
    rwmd,
    search,
    sinkhorn,
    wcd,
    wrd_centroid_bound,
    wrd_gelbrich_bound,
    wrd_relaxed_bound,
)
from gezhi.text.word_mover.costs import cosine, euclidean
from gezhi.text.word_mover.search import Costs

X_A, Y_A = np.array([[1.0, 0], [0, 2], [-1, 1]]), np.array([[1.0, 1], [0, -1]])
X_B = np.sin(np.outer(np.arange(1, 6), np.arange(1, 4))) + 0.1
Y_B = np.cos(np.outer(np.arange(1, 5), [1, 1.5, 2.5])) - 0.2

NO_GRADIENT = {"compiles": False, "differentiable": False, "reason": "an exact solver in NumPy"}
SAMPLES = [
    Sample(emd, (np.array([0.5, 0.5]), np.array([0.25, 0.75]), np.array([[0.0, 1.0], [1.0, 0.0]])), **NO_GRADIENT),
    Sample(word_movers_distance, (X_A, Y_A), **NO_GRADIENT),
    Sample(word_rotators_distance, (X_A, Y_A), **NO_GRADIENT),
    Sample(
        sinkhorn,
        (torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75]), torch.tensor([[0.0, 1.0], [1.0, 0.5]])),
        {"max_iter": 3},
    ),
]


def reference_emd(p, q, cost):
    """(1) with integer weights: the cheapest of all ways to pair unit after unit."""
    units = math.lcm(sum(p), sum(q))
    left = [i for i, count in enumerate(p) for _ in range(count * units // sum(p))]
    right = [j for j, count in enumerate(q) for _ in range(count * units // sum(q))]
    ways = itertools.permutations(right)
    return min(sum(float(cost[i][j]) for i, j in zip(left, way, strict=True)) for way in ways) / units


def loop_costs(x, y, kind):
    rows = []
    for a in x.tolist():
        rows.append([])
        for b in y.tolist():
            dot = sum(s * t for s, t in zip(a, b, strict=True))
            lengths = math.hypot(*a) * math.hypot(*b)
            rows[-1].append(math.dist(a, b) if kind == "euclidean" else 1 - dot / lengths)
    return np.array(rows)


def corpus(seed, documents=40, words=30, dim=6, most=9):
    """Vectors around a few topics, and counts; some documents stand twice."""
    rng = np.random.default_rng(seed)
    topics = rng.normal(size=(5, dim))
    vectors = topics[rng.integers(5, size=words)] + 0.5 * rng.normal(size=(words, dim))
    counts = np.zeros((documents, words))
    for row in counts:
        np.add.at(row, rng.integers(words, size=rng.integers(1, most + 1)), 1)
    counts[documents // 2] = counts[1]
    return vectors, counts


def as_bags(vectors, counts):
    return [(vectors[row > 0], row[row > 0]) for row in counts]


def pair_distance(metric, x, y, p, q):
    if metric == "wrd":
        return word_rotators_distance(x, y, p, q)
    return word_movers_distance(x, y, p, q, cost="cosine" if metric == "cosine" else "euclidean")


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [(1, 1, 1), (2, 1), (3, 3), (1,), (1, 2, 3)])
@pytest.mark.parametrize("q", [(1, 2), (1, 1, 1), (4, 2), (1,), (2, 4)])
def test_emd_equals_the_cheapest_pairing(p, q):
    cost = np.random.default_rng(len(p) + 7 * sum(q)).random((len(p), len(q)))
    value, plan = emd(p, q, cost, return_plan=True)
    assert value == pytest.approx(reference_emd(p, q, cost), abs=1e-12)
    assert value == pytest.approx((plan * cost).sum(), abs=1e-15)
    np.testing.assert_allclose(plan.sum(axis=1), np.divide(p, sum(p)), atol=1e-12)
    np.testing.assert_allclose(plan.sum(axis=0), np.divide(q, sum(q)), atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_distances_equal_the_loops(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(3, 4)), rng.normal(size=(2, 4))
    assert word_movers_distance(x, y, cost="cosine") == pytest.approx(
        reference_emd((1,) * 3, (1,) * 2, loop_costs(x, y, "cosine")), abs=1e-12
    )
    by_loops = reference_emd((1, 2, 1), (3, 1), loop_costs(x, y, "euclidean"))
    assert word_movers_distance(x, y, [1, 2, 1], [3, 1]) == pytest.approx(by_loops, abs=1e-12)
    assert word_movers_distance(x, y, [1, 2, 1], [3, 1], cost="rms") == pytest.approx(by_loops / 2, abs=1e-12)
    x /= np.linalg.norm(x, axis=1, keepdims=True) / [[1.0], [2.0], [1.0]]
    y /= np.linalg.norm(y, axis=1, keepdims=True) / [[3.0], [1.0]]
    assert word_rotators_distance(x, y) == pytest.approx(
        reference_emd((1, 2, 1), (3, 1), loop_costs(x, y, "cosine")), abs=1e-12
    )


@pytest.mark.parametrize("kind", ["euclidean", "cosine"])
def test_costs_equal_the_loops_where_vectors_are_nearly_equal(kind):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(7, 5)) * (1 if kind == "cosine" else 100)
    y = np.r_[x, x + 1e-7 * rng.normal(size=x.shape), x[::-1] * (1 if kind == "euclidean" else 3)]
    if kind == "cosine":
        u, v = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
        found, expected = cosine(u, v), ((u[:, None] - v) ** 2).sum(axis=2) / 2
    else:
        found, expected = euclidean(x, y), np.sqrt(((x[:, None] - y) ** 2).sum(axis=2))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-15)
    assert (found[np.arange(7), np.arange(7)] == 0).all()


@pytest.mark.parametrize("metric", ["wmd", "wrd", "cosine"])
@pytest.mark.parametrize("seed", range(3))
def test_the_search_finds_what_a_scan_of_all_pairs_finds(metric, seed):
    """Neighbours and distances, ties by the lower number; documents that stand twice tie."""
    vectors, counts = corpus(seed)
    index = WordMoverIndex(vectors, metric=metric).fit(sparse.csr_matrix(counts))
    queries = np.r_[corpus(seed + 50)[1][:4], counts[1:2]]
    scan = np.array([[pair_distance(metric, x, y, p, q) for y, q in as_bags(vectors, counts)]
                     for x, p in as_bags(vectors, queries)])  # fmt: skip
    np.testing.assert_allclose(index.distances(queries), scan, atol=1e-12)
    for k in (1, 5, 40):
        found = index.search(queries, k)
        for row, values in enumerate(index.distances(queries)):
            expected = np.lexsort((np.arange(40), values))[:k]
            assert found.indices[row].tolist() == expected.tolist()
            np.testing.assert_array_equal(found.distances[row], values[expected])
        assert ((found.solved >= k) & (found.solved <= 40)).all()
    assert index.search(counts[1:2], 2).indices.tolist() == [[1, 20]]
    assert index.search(counts[1:2], 2).distances.tolist() == [[0.0, 0.0]]


def test_most_pairs_are_not_solved():
    vectors, counts = corpus(5, documents=600, words=200, dim=10, most=12)
    solved = WordMoverIndex(vectors, metric="wrd").fit(counts[20:]).search(counts[:20], 5).solved
    assert solved.mean() < 0.1 * 580


@pytest.mark.parametrize("held", [0, 2**25])
@pytest.mark.parametrize("block", [1, 100, 2**20])
def test_no_division_into_blocks_changes_anything(monkeypatch, held, block):
    vectors, counts = corpus(8)
    whole = WordMoverIndex(vectors).fit(counts).search(counts[:5], 7)
    monkeypatch.setattr(search, "HELD", held)
    monkeypatch.setattr(search, "BLOCK", block)
    parted = WordMoverIndex(vectors).fit(counts).search(counts[:5], 7)
    np.testing.assert_array_equal(parted.indices, whole.indices)
    np.testing.assert_allclose(parted.distances, whole.distances, atol=1e-12)


def test_the_three_forms_of_documents_agree():
    vectors, counts = corpus(2)
    names = [f"w{i:02d}" for i in range(len(vectors))]
    words = [[names[j] for j in np.flatnonzero(row) for _ in range(int(row[j]))] + ["unknown"] for row in counts]
    tokens = [np.repeat(vectors, row.astype(int), axis=0) for row in counts]

    class Keyed:
        """What of gensim's KeyedVectors is used."""

        def __init__(self):
            self.key_to_index = {name: i for i, name in enumerate(names)}

        def __getitem__(self, name):
            return vectors[self.key_to_index[name]]

    forms = [(vectors, counts), (torch.tensor(vectors), sparse.coo_array(counts)), (None, tokens), (Keyed(), words),
             (dict(zip(names, vectors, strict=True)), words)]  # fmt: skip
    found = [WordMoverIndex(given, metric="wrd").fit(X).search(X[:3] if isinstance(X, list) else counts[:3], 6)
             for given, X in forms]  # fmt: skip
    for other in found[1:]:
        np.testing.assert_array_equal(other.indices, found[0].indices)
        np.testing.assert_allclose(other.distances, found[0].distances, atol=1e-12)


def test_lists_of_documents_are_compared_pair_by_pair():
    xs, ys = [X_A, X_A[:1], torch.tensor(X_A)], [Y_A, Y_A, Y_A[:1].tolist()]
    found = word_movers_distance(xs, ys)
    assert found.tolist() == [word_movers_distance(x, y) for x, y in zip(xs, ys, strict=True)]
    counts = [[1, 2, 1], [1], [1, 1, 1]]
    rotated = word_rotators_distance(xs, ys, counts)
    assert rotated.tolist() == [word_rotators_distance(x, y, c) for x, y, c in zip(xs, ys, counts, strict=True)]
    assert rwmd(np.stack([X_A, X_A]), [Y_A, X_A]).tolist() == [rwmd(X_A, Y_A), 0.0]


# ---- the sheet's values ---------------------------------------------------------------------------------------------


def close(value):
    return pytest.approx(value, abs=1e-9)


def test_check_value_a():
    assert word_movers_distance(X_A, Y_A) == close(1.619129440353144)
    assert word_movers_distance(X_A, Y_A, cost="rms") == close(1.144897406892488)
    assert wcd(X_A, Y_A) == close(1.118033988749895)
    assert rwmd(X_A, Y_A) == close(1.471404520791032)
    costs = euclidean(X_A, Y_A)
    assert costs.min(axis=1).mean() == close(1.471404520791032)
    assert costs.min(axis=0).mean() == close(1.207106781186548)
    assert word_rotators_distance(X_A, Y_A) == close(0.8123273572878915)
    weights = np.linalg.norm(X_A, axis=1) / np.linalg.norm(X_A, axis=1).sum()
    assert weights.tolist() == [close(w) for w in (0.226540919660986, 0.453081839321973, 0.320377241017041)]
    assert wrd_centroid_bound(X_A, Y_A) == close(0.316729984890710)
    assert wrd_gelbrich_bound(X_A, Y_A) == close(0.754793875511882)
    assert wrd_relaxed_bound(X_A, Y_A) == close(0.585786437626905)


def test_check_value_a_with_counts():
    counts = [1, 2, 1], [3, 1]
    assert word_movers_distance(X_A, Y_A, *counts) == close(1.516123775561495)
    assert wcd(X_A, Y_A, *counts) == close(1.060660171779821)
    assert rwmd(X_A, Y_A, *counts) == close(1.457106781186548)
    assert word_rotators_distance(X_A, Y_A, *counts) == close(0.583673048666053)
    assert wrd_centroid_bound(X_A, Y_A, *counts) == close(0.242938590092240)
    assert wrd_gelbrich_bound(X_A, Y_A, *counts) == close(0.512278175795648)
    assert wrd_relaxed_bound(X_A, Y_A, *counts) == close(0.448796976971144)


@pytest.mark.parametrize("pot", [True, False])
def test_check_value_b(pot, monkeypatch):
    if not pot:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert word_movers_distance(X_B, Y_B) == close(1.235121832168412)
    assert wcd(X_B, Y_B) == close(1.035961323949561)
    assert rwmd(X_B, Y_B) == close(1.153809119513151)
    assert word_rotators_distance(X_B, Y_B) == close(0.596730601510861)
    assert wrd_centroid_bound(X_B, Y_B) == close(0.336233543873240)
    assert wrd_gelbrich_bound(X_B, Y_B) == close(0.431479824870542)
    assert wrd_relaxed_bound(X_B, Y_B) == close(0.510035591040285)
    assert word_movers_distance(X_B[:4], Y_B) == close(1.432292743739170)
    assert emd([1, 1, 1, 1 + 1e-13], None, euclidean(X_B[:4], Y_B)) == close(1.432292743739170)


# ---- oracle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_distances_equal_pot(seed):
    import ot

    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 41, size=2)
    x, y, p, q = rng.normal(size=(n, 20)), rng.normal(size=(m, 20)), rng.random(n) + 0.01, rng.random(m) + 0.01
    expected = ot.emd2(p / p.sum(), q / q.sum(), ot.dist(x, y, metric="euclidean"))
    assert word_movers_distance(x, y, p, q) == pytest.approx(expected, abs=1e-9)
    weights = [c * np.linalg.norm(z, axis=1) for c, z in ((p, x), (q, y))]
    expected = ot.emd2(*(w / w.sum() for w in weights), ot.dist(x, y, metric="cosine"))
    assert word_rotators_distance(x, y, p, q) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("pot", [True, False])
def test_potentials_of_the_solver_prove_its_value(pot, monkeypatch):
    """Strong duality: u, and what it leaves for v, reach the cost."""
    if not pot:
        monkeypatch.setattr(transport.importlib.util, "find_spec", lambda name: None)
    costs = euclidean(X_B, Y_B)
    p, q = np.array([0.1, 0.3, 0.2, 0.25, 0.15]), np.full(4, 0.25)
    value, u = transport_with_potentials(costs, p, q)
    assert value == pytest.approx(emd(p, q, costs), abs=1e-12)
    assert p @ u + q @ (costs - u[:, None]).min(axis=0) == pytest.approx(value, abs=1e-12)


# ---- theorems -------------------------------------------------------------------------------------------------------

POINTS = st.lists(st.tuples(*[st.integers(-20, 20)] * 3).filter(any), min_size=1, max_size=6).map(
    lambda rows: np.array(rows, dtype=np.float64) / 8
)


@given(POINTS, POINTS)
def test_bounds_are_bounds(x, y):
    wmd, wrd = word_movers_distance(x, y), word_rotators_distance(x, y)
    assert wcd(x, y) <= wmd + 1e-9
    assert rwmd(x, y) <= wmd + 1e-9
    for bound in (wrd_centroid_bound, wrd_gelbrich_bound, wrd_relaxed_bound):
        assert bound(x, y) <= wrd + 1e-9
    assert wrd_centroid_bound(x, y) <= wrd_gelbrich_bound(x, y) + 1e-9
    assert 0 <= wrd <= 2


@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 7))
def test_the_reduced_bound_lies_between_the_relaxed_one_and_the_distance(seed, n, m):
    rng = np.random.default_rng(seed)
    p, q, cost = rng.integers(1, 4, size=n), rng.integers(1, 4, size=m), rng.normal(size=(n, m))
    assert relaxed_emd(p, q, cost) - 1e-12 <= reduced_emd(p, q, cost) <= emd(p, q, cost) + 1e-12


@given(st.integers(0, 10_000))
def test_any_potentials_bound_every_document(seed):
    """(8) and the index's bounds never exceed the distances."""
    vectors, counts = corpus(seed, documents=8, words=12, dim=3, most=5)
    index = WordMoverIndex(vectors).fit(counts)
    distances = index.distances(counts[:1])
    assert (index.lower_bounds(counts[:1]) <= distances + 1e-9).all()
    collection = index._collection
    words, p = collection.documents.of(0)
    costs = Costs(collection.documents.points[words], collection.documents.points, "wmd")
    u = np.random.default_rng(seed).normal(size=len(p))
    assert (collection._by_potentials(costs, p, u) <= distances[0] + 1e-9).all()
    assert (collection._fine(costs, p, np.arange(8), u) <= distances[0] + 1e-9).all()


@given(POINTS, POINTS, POINTS)
def test_word_movers_distance_is_a_metric(x, y, z):
    assert word_movers_distance(x, y) == pytest.approx(word_movers_distance(y, x), abs=1e-12)
    assert word_movers_distance(x, z) <= word_movers_distance(x, y) + word_movers_distance(y, z) + 1e-9
    assert word_movers_distance(x, x[::-1]) == 0


@given(POINTS, POINTS, st.floats(0.01, 100), st.floats(0.01, 100))
def test_lengths_of_a_whole_side_do_not_matter_to_the_rotator(x, y, a, b):
    assert word_rotators_distance(a * x, b * y) == pytest.approx(word_rotators_distance(x, y), abs=1e-9)


@given(POINTS, POINTS, st.integers(0, 100))
def test_repetition_and_rotation_change_nothing(x, y, seed):
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    for distance in (word_movers_distance, word_rotators_distance):
        value = distance(x, y)
        assert distance(np.r_[x, x], y) == pytest.approx(value, abs=1e-12)
        assert distance(x @ turn, y @ turn) == pytest.approx(value, abs=1e-9)
        assert distance(x, y, [2] * len(x), [0.5] * len(y)) == pytest.approx(value, abs=1e-12)


def test_counts_are_repetitions():
    twice = np.r_[X_A, X_A[1:2]]
    assert word_movers_distance(twice, Y_A) == word_movers_distance(X_A, Y_A, [1, 2, 1])
    assert word_rotators_distance(twice, Y_A) == word_rotators_distance(X_A, Y_A, [1, 2, 1])


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 6), st.integers(1, 30))
def test_sinkhorn_is_an_upper_bound_after_any_number_of_rounds(seed, n, m, rounds):
    rng = np.random.default_rng(seed)
    p, q, cost = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m)), rng.random((n, m))
    bound = sinkhorn(*map(torch.tensor, (p, q, cost)), max_iter=rounds)
    assert emd(p, q, cost) - 1e-9 <= bound <= (np.outer(p, q) * cost).max() * n * m + 1e-9


# ---- gradient and batches of the blurred plan -----------------------------------------------------------------------


def test_the_gradient_of_sinkhorn_in_the_cost():
    rng = np.random.default_rng(0)
    p, q = torch.tensor(rng.dirichlet(np.ones(4))), torch.tensor(rng.dirichlet(np.ones(3)))
    cost = torch.tensor(rng.random((4, 3)), requires_grad=True)
    largest = float(cost.detach().max())

    def with_fixed_blur(c):
        """ε follows the largest cost without gradient; here it is held."""
        return sinkhorn(p, q, c, blur=0.2 * largest / float(c.detach().max()), max_iter=7)

    assert torch.autograd.gradcheck(with_fixed_blur, cost)


def test_sinkhorn_nears_the_distance_as_the_blur_vanishes():
    costs = euclidean(X_B, Y_B)
    p, q = torch.full((5,), 0.2, dtype=torch.float64), torch.full((4,), 0.25, dtype=torch.float64)
    excess = [float(sinkhorn(p, q, torch.tensor(costs), blur=blur, max_iter=3000)) - 1.235121832168412
              for blur in (0.1, 0.03, 0.01, 0.002)]  # fmt: skip
    assert all(b < a for a, b in itertools.pairwise(excess))
    assert 0 <= excess[-1] < 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_padding_changes_nothing(dtype):
    rng = np.random.default_rng(1)
    p, q, cost = torch.zeros(3, 6), torch.zeros(3, 5), torch.full((3, 6, 5), 100.0)
    sizes = [(6, 5), (2, 3), (1, 1)]
    for row, (n, m) in enumerate(sizes):
        p[row, :n], q[row, :m] = torch.tensor(rng.dirichlet(np.ones(n))), torch.tensor(rng.dirichlet(np.ones(m)))
        cost[row, :n, :m] = torch.tensor(rng.random((n, m)))
    p, q, cost = p.to(dtype), q.to(dtype), cost.to(dtype).requires_grad_()
    found = sinkhorn(p, q, cost)
    for row, (n, m) in enumerate(sizes):
        alone = sinkhorn(p[row, :n], q[row, :m], cost[row, :n, :m])
        torch.testing.assert_close(found[row], alone, rtol=1e-4, atol=1e-5)
    found.sum().backward()
    assert torch.isfinite(cost.grad).all()
    assert (cost.grad[1, 2:] == 0).all()


@pytest.mark.wrong_types
def test_what_sinkhorn_refuses():
    p = torch.tensor([0.5, 0.5])
    with pytest.raises(ValueError, match=r"cost must have shape .*\(2, 3\) for \(2,\) and \(2,\)"):
        sinkhorn(p, p, torch.zeros(2, 3))
    with pytest.raises(ValueError, match="blur must lie strictly between 0"):
        sinkhorn(p, p, torch.zeros(2, 2), blur=0)
    assert sinkhorn(p, p, torch.zeros(2, 2)) == 0


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_documents_of_the_same_words_have_distance_exactly_zero():
    assert word_movers_distance(X_B, X_B[::-1]) == 0
    assert word_rotators_distance(np.r_[X_B, X_B], X_B[::-1]) == 0
    assert WordMoverIndex().fit([X_B, Y_B]).distances([X_B[[2, 1, 0, 4, 3]]])[0, 0] == 0


def test_collinear_words_swapped_are_near_and_not_infinitely_far():
    a, d = [1.0, 2.0], [2.0, 4.0]
    assert word_rotators_distance([a, d], [d, a]) == 0
    assert word_movers_distance([a, d], [d, a], cost="cosine") == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_short_floats_are_computed_in_double(dtype):
    x, y = torch.tensor(X_B).to(dtype), torch.tensor(Y_B).to(dtype).requires_grad_()
    assert word_movers_distance(x, y) == word_movers_distance(x.double().numpy(), y.double().detach().numpy())


def test_words_of_weight_zero_and_zero_vectors_weigh_nothing():
    far = np.r_[X_A, [[1e6, 1e6]]]
    assert word_movers_distance(far, Y_A, [1, 1, 1, 0]) == word_movers_distance(X_A, Y_A)
    assert relaxed_emd([1, 1, 0], [1], [[2.0], [4.0], [0.0]]) == 3
    assert word_rotators_distance(np.r_[X_A, [[0.0, 0.0]]], Y_A) == word_rotators_distance(X_A, Y_A)
    assert word_movers_distance([[0.0, 0.0]], [[3.0, 4.0]]) == 5


@pytest.mark.parametrize("scale", [1e-120, 1e120])
def test_huge_and_tiny_vectors(scale):
    assert word_movers_distance(scale * X_A, scale * Y_A) == pytest.approx(scale * 1.619129440353144, rel=1e-9)
    assert word_rotators_distance(scale * X_A, Y_A) == close(0.8123273572878915)


def test_far_from_the_origin_the_search_stays_exact():
    vectors, counts = corpus(4)
    far = WordMoverIndex(vectors + 1e6).fit(counts)
    found, scan = far.search(counts[:6], 4), far.distances(counts[:6])
    np.testing.assert_allclose(found.distances, np.sort(scan, axis=1)[:, :4], atol=1e-9)
    np.testing.assert_allclose(scan, WordMoverIndex(vectors).fit(counts).distances(counts[:6]), atol=1e-8)


def test_one_document_and_one_word():
    index = WordMoverIndex(np.eye(3)).fit([[1, 0, 0]])
    assert index.kneighbors([[0, 2, 0]], 1)[0].tolist() == [[close(math.sqrt(2))]]
    assert index.search([[0, 1, 1]], 1).solved.tolist() == [1]


# ---- scikit-learn ---------------------------------------------------------------------------------------------------


def test_the_fitted_documents_are_not_their_own_neighbours():
    vectors, counts = corpus(6)
    index = WordMoverIndex(vectors, n_neighbors=3).fit(counts)
    distances, indices = index.kneighbors()
    scan = index.distances(counts)
    np.fill_diagonal(scan, np.inf)
    np.testing.assert_array_equal(indices, np.argsort(scan, axis=1, kind="stable")[:, :3])
    np.testing.assert_array_equal(distances, np.take_along_axis(scan, indices, axis=1))
    assert (index.kneighbors(return_distance=False) == indices).all()


def test_the_graph_keeps_zeros_and_feeds_a_classifier():
    vectors, counts = corpus(7)
    graph = WordMoverIndex(vectors, n_neighbors=4).fit(counts).transform(counts)
    assert graph.nnz == 160
    assert graph[1, 20] == 0
    labels = np.arange(40) % 2
    model = make_pipeline(
        WordMoverIndex(vectors, n_neighbors=4), KNeighborsClassifier(1, metric="precomputed")
    ).fit(counts, labels)  # fmt: skip
    assert model.score(counts, labels) >= 39 / 40  # one document stands twice


def test_it_is_cloned_and_pickled():
    vectors, counts = corpus(1)
    index = WordMoverIndex(vectors, metric="wrd", n_neighbors=2)
    assert clone(index).get_params()["metric"] == "wrd"
    index.fit(counts)
    copied = pickle.loads(pickle.dumps(index))
    np.testing.assert_array_equal(copied.kneighbors(counts)[1], index.kneighbors(counts)[1])
    assert index.n_features_in_ == 30
    with pytest.raises(NotFittedError):
        clone(index).search(counts)


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: word_movers_distance(np.empty((0, 2)), Y_A), "x must hold a vector at least: got an empty document"),
        (lambda: word_rotators_distance(X_A, []), "y must be a matrix with a vector a row: got shape"),
        (lambda: word_movers_distance(X_A, Y_A[:, :1]), r"x and y must .* shapes \(3, 2\) and \(2, 1\)"),
        (lambda: word_movers_distance([[1, math.nan]], Y_A), "x must be finite .* got nan in row 0"),
        (lambda: word_movers_distance(X_A, [[1, math.inf]]), "y must be finite .* got inf in row 0"),
        (lambda: word_movers_distance(X_A, Y_A, [1, -1, 1]), "p must be finite and at least 0: got -1"),
        (lambda: word_movers_distance(X_A, Y_A, None, [0, 0]), "q must have a positive sum: got 0"),
        (lambda: word_movers_distance(X_A, Y_A, [1, 1]), r"p must have shape \(3,\).*got shape \(2,\)"),
        (lambda: word_movers_distance(X_A, Y_A, cost="l1"), "cost must be one of"),
        (lambda: word_movers_distance(0 * X_A, Y_A, cost="cosine"), "x must have no zero vector: got one in row 0"),
        (lambda: word_rotators_distance(0 * X_A, Y_A), "x must hold a vector that is not 0: got zero vectors alone"),
        (lambda: word_rotators_distance(X_A, Y_A, [1, 1, math.nan]), "counts_x must be finite and at least 0: got nan"),
        (lambda: word_movers_distance([X_A, X_A], [Y_A]), "x and y must have the same length: got 2 and 1"),
        (lambda: word_movers_distance([X_A, X_A], Y_A), "y must be a list of documents where the other is one"),
        (lambda: word_movers_distance([X_A, X_A[:0]], [Y_A, Y_A]), "pair 1: x must hold a vector at least"),
        (lambda: word_movers_distance([[1, 2], [3]], Y_A), "x must be a matrix with a vector a row"),
        (lambda: emd([1], [1], [1.0]), "cost must be a matrix"),
        (lambda: emd([1], [1], [[math.nan]]), "cost must be finite"),
        (lambda: relaxed_emd([1], [1], [[math.inf]]), "cost must be a finite matrix"),
    ],
)
def test_pairs_that_have_no_distance(call, message):
    with pytest.raises(ValueError, match=message):
        call()


WORDS = {"a": [1.0, 0.0], "b": [0.0, 1.0], "n": [math.nan, 1.0], "o": [0.0, 0.0]}


@pytest.mark.parametrize(
    ("vectors", "X", "message"),
    [
        (WORDS, [["a"], ["x", "y"], ["b"], []], r"X must have a word with a vector .* got none in 1, 3\. A document"),
        (WORDS, ["a b", "b"], "document 0 must be a list of words: got str. Split texts into words"),
        (WORDS, [["a"], ["n"]], "vectors must be finite .* got nan in row 1"),
        (WORDS, [], "X must hold a document at least: got none"),
        (np.eye(2), [[1, 0], [0, 0]], "got none in 1"),
        (np.eye(2), [[1, 0, 1]], "X must have a column a vector, 2: got 3 columns"),
        (np.eye(2), [[1, -1]], "X must be finite and at least 0: got -1"),
        (np.eye(2), [["a"]], "could not convert"),
        (np.array([[1, math.nan]]), [[1]], r"vectors of words 0 … 0 must be finite .* got nan"),
        (None, [X_A, X_B], r"X must have vectors of one length: got lengths \[2, 3\]"),
        (None, [X_A, X_A[:0]], "document 1 must hold a vector at least"),
        (None, X_A, "X must be a list of matrices where vectors is None: got ndarray"),
        (None, [], "X must hold a document at least"),
    ],
)
def test_documents_that_cannot_be_sought(vectors, X, message):
    with pytest.raises(ValueError, match=message):
        WordMoverIndex(vectors).fit(X)


def test_zero_vectors_alone_are_no_document_of_wrd():
    with pytest.raises(ValueError, match="got none in 1"):
        WordMoverIndex(WORDS, metric="wrd").fit([["a"], ["o"]])
    with pytest.raises(ValueError, match="vectors must have no zero vector"):
        WordMoverIndex(WORDS, metric="cosine").fit([["a"], ["o"]])
    assert WordMoverIndex(WORDS).fit([["a"], ["o"]]).distances([["o"]]).tolist() == [[1.0, 0.0]]


def test_what_the_index_refuses():
    index = WordMoverIndex(WORDS).fit([["a"], ["b"]])
    with pytest.raises(ValueError, match="n_neighbors must be at most the 2 documents there are: got 5"):
        index.kneighbors([["a"]])
    with pytest.raises(ValueError, match="n_neighbors must be at most the 1 documents there are: got 2"):
        index.kneighbors(n_neighbors=2)
    with pytest.raises(ValueError, match="metric must be one of"):
        WordMoverIndex(WORDS, metric="l1").fit([["a"]])
    with pytest.raises(ValueError, match="n_neighbors must lie between 1"):
        WordMoverIndex(WORDS, n_neighbors=0).fit([["a"]])
    with pytest.raises(ValueError, match="X must have vectors of length 2, as the fitted: got 3"):
        WordMoverIndex().fit([X_A]).kneighbors([X_B], 1)
    with pytest.raises(ValueError, match="got none in 0"):
        index.kneighbors([["unheard"]], 1)
