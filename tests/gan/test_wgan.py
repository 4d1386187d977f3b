"""Exact distances against permutations and POT, c-transforms against loops, medians against SciPy, duality."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import ot
import pytest
import torch
from contract import Sample, estimator_checks
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from gezhi.gan import (
    CTransform,
    KMedians,
    c_transform,
    geometric_median,
    pairwise_distances,
    soft_c_transform,
    transport_plan,
    wasserstein1,
)

X = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
Y = torch.tensor([[1.0, 1.0], [3.0, 0.0], [0.0, -1.0]]).double()
F_X = torch.tensor([0.5, -0.2, 0.1], dtype=torch.float64)
COST = pairwise_distances(X, Y)
LOOPS = {"compiles": False, "differentiable": True, "reason": "it solves an assignment with SciPy"}
SAMPLES = [
    Sample(c_transform, (F_X, COST)),
    Sample(soft_c_transform, (F_X, COST, 0.5)),
    Sample(wasserstein1, (X, Y), **LOOPS),
    Sample(transport_plan, (X, Y), **LOOPS),
    Sample(pairwise_distances, (X, Y), compiles=False, reason="its second derivative is written by hand"),
    Sample(geometric_median, (X.numpy(),), compiles=False, differentiable=False, reason="it computes with NumPy"),
]
SEEDS = st.integers(0, 2**16)


def batches(seed, n=5, m=5, dim=3):
    draw = torch.Generator().manual_seed(seed)
    return (torch.randn(size, dim, generator=draw, dtype=torch.float64) for size in (n, m))


def by_permutations(x, y):
    """The least mean distance over all ways to pair two batches of one size."""
    return min(
        np.mean([math.dist(x[i], y[j]) for i, j in enumerate(order)]) for order in itertools.permutations(range(len(x)))
    )


# ---- reference ------------------------------------------------------------------------------------------------------


@given(SEEDS, st.integers(1, 5))
def test_the_distance_is_that_of_the_best_pairing(seed, n):
    x, y = batches(seed, n, n)
    assert wasserstein1(x, y).item() == pytest.approx(by_permutations(x.tolist(), y.tolist()), abs=1e-12)


def test_the_sheets_values():
    assert wasserstein1(X, Y).item() == pytest.approx(1.471404520791, abs=1e-11)
    weighted = wasserstein1(X[:2], Y, torch.tensor([0.3, 0.7], dtype=torch.float64))
    assert weighted.item() == pytest.approx(1.347140452079, abs=1e-11)
    np.testing.assert_allclose(c_transform(F_X, COST), [0.9142135623731, 2.2, 0.5], atol=1e-12)
    soft = {
        1.0: [1.1283382724175, 2.5995619132193, 1.2487365540810],
        0.1: [1.0167769946548, 2.3050022900234, 0.6098597799950],
        0.01: [0.9251996852598, 2.2109861228867, 0.5109861228867],
    }
    for epsilon, expected in soft.items():
        np.testing.assert_allclose(soft_c_transform(F_X, COST, epsilon), expected, atol=1e-12)


def table(points):
    """A critic that knows its three values, whatever the dtype."""
    return F_X[(points[:, None] == X).all(-1).int().argmax(1)]


@pytest.mark.parametrize(("epsilon", "objective"), [(0.0, 1.3380711874577), (1.0, 1.7922122465726)])
def test_the_divergence_has_the_sheets_objective(epsilon, objective):
    critic, generator = CTransform(epsilon)(table, X, Y)
    assert -critic.item() == pytest.approx(objective, abs=1e-12)
    assert generator.item() == pytest.approx(objective - F_X.mean().item(), abs=1e-12)


def test_transforms_are_the_loops():
    x, y = batches(0, 4, 6)
    f = torch.randn(4).double()
    cost = [[math.dist(p, q) for q in y.tolist()] for p in x.tolist()]
    hard = [min(cost[i][j] - f[i].item() for i in range(4)) for j in range(6)]
    soft = [-0.3 * math.log(sum(math.exp(-(cost[i][j] - f[i].item()) / 0.3) for i in range(4)) / 4) for j in range(6)]
    np.testing.assert_allclose(c_transform(f, pairwise_distances(x, y)), hard, rtol=1e-12)
    np.testing.assert_allclose(soft_c_transform(f, pairwise_distances(x, y), 0.3), soft, rtol=1e-12)


# ---- oracles --------------------------------------------------------------------------------------------------------


@given(SEEDS, st.integers(1, 7), st.integers(1, 7))
def test_the_distance_is_pots(seed, n, m):
    x, y = batches(seed, n, m)
    a, b = (torch.rand(k, dtype=torch.float64) + 0.1 for k in (n, m))
    a, b = a / a.sum(), b / b.sum()
    theirs = ot.emd2(a.numpy(), b.numpy(), ot.dist(x.numpy(), y.numpy(), metric="euclidean"))
    value, plan = transport_plan(x, y, a, b)
    assert value.item() == pytest.approx(theirs, abs=1e-9)
    np.testing.assert_allclose(plan.sum(1), a, atol=1e-12)
    np.testing.assert_allclose(plan.sum(0), b, atol=1e-12)


def test_the_gradient_is_pots():
    x, y = (part.requires_grad_() for part in batches(3, 6, 6))
    (slope,) = torch.autograd.grad(wasserstein1(x, y), x)
    uniform = torch.full((6,), 1 / 6).double()
    (theirs,) = torch.autograd.grad(ot.emd2(uniform, uniform, torch.cdist(x, y)), x)
    torch.testing.assert_close(slope, theirs)


def test_medians_are_where_scipy_finds_them():
    points = np.random.default_rng(0).normal(size=(25, 3))
    found = optimize.minimize(lambda v: np.linalg.norm(points - v, axis=1).sum(), np.zeros(3), tol=1e-14)
    np.testing.assert_allclose(geometric_median(points), found.x, atol=1e-6)


def test_the_sheets_median():
    found = geometric_median([[0, 0], [4, 0], [0, 3], [5, 5]])
    np.testing.assert_allclose(found, [12 / 7, 12 / 7], atol=1e-11)


# ---- properties -----------------------------------------------------------------------------------------------------


@given(SEEDS)
def test_it_is_a_metric_that_translations_leave(seed):
    x, y = batches(seed)
    z, _ = batches(seed + 1)
    shift = torch.tensor([0.3, -1.0, 2.0]).double()
    assert wasserstein1(x, y).item() == pytest.approx(wasserstein1(y, x).item(), abs=1e-12)
    assert wasserstein1(x, z).item() <= wasserstein1(x, y).item() + wasserstein1(y, z).item() + 1e-12
    assert wasserstein1(x + shift, y + shift).item() == pytest.approx(wasserstein1(x, y).item(), abs=1e-12)
    assert wasserstein1(x, x + shift).item() == pytest.approx(shift.norm().item(), abs=1e-12)
    point = y[:1]
    assert wasserstein1(x, point).item() == pytest.approx((x - point).norm(dim=1).mean().item(), abs=1e-12)


@given(SEEDS, st.floats(0.01, 3))
def test_no_critic_passes_the_distance_and_the_soft_minimum_is_above_the_hard_one(seed, epsilon):
    x, y = batches(seed, 4, 4)
    f = torch.randn(4, generator=torch.Generator().manual_seed(seed)).double()
    cost = pairwise_distances(x, y)
    hard, soft = c_transform(f, cost), soft_c_transform(f, cost, epsilon)
    assert (f.mean() + hard.mean()).item() <= wasserstein1(x, y).item() + 1e-12
    assert (hard <= soft + 1e-12).all()
    assert (soft <= hard + epsilon * math.log(4) + 1e-12).all()
    torch.testing.assert_close(c_transform(f + 1, cost), hard - 1)


def test_the_best_potential_reaches_the_distance():
    x, y = batches(5, 6, 6)
    cost = pairwise_distances(x, y).numpy()
    _, log = ot.emd(np.full(6, 1 / 6), np.full(6, 1 / 6), cost, log=True)
    f = torch.from_numpy(log["u"])
    reached = f.mean() + c_transform(f, torch.from_numpy(cost)).mean()
    assert reached.item() == pytest.approx(wasserstein1(x, y).item(), abs=1e-9)


def test_gradients_pass_gradcheck():
    x, y = (part.requires_grad_() for part in batches(1, 3, 4))
    assert torch.autograd.gradcheck(pairwise_distances, (x, y))
    assert torch.autograd.gradgradcheck(pairwise_distances, (x, y))
    assert torch.autograd.gradcheck(wasserstein1, (x, y))
    f = torch.randn(3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda f, x, y: soft_c_transform(f, pairwise_distances(x, y), 0.5), (f, x, y))


def test_a_median_is_not_moved_by_the_order_of_rows_nor_by_turning():
    points = np.random.default_rng(1).normal(size=(12, 2))
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    expected = geometric_median(points)
    np.testing.assert_allclose(geometric_median(points[::-1]), expected, atol=1e-10)
    np.testing.assert_allclose(geometric_median(points @ turn.T + 3), expected @ turn.T + 3, atol=1e-10)


# ---- k-medians ------------------------------------------------------------------------------------------------------


def test_k_medians_is_an_estimator():
    counts, _ = estimator_checks(KMedians(2, random_state=0))
    assert counts["failed"] == 0
    assert counts["passed"] > 40


def test_k_medians_never_costs_more_than_it_started_with():
    rows = np.random.default_rng(2).normal(size=(60, 4))
    inertias = []
    for rounds in (1, 2, 5, 30):
        inertias.append(KMedians(5, max_iter=rounds, random_state=3).fit(rows).inertia_)
    assert inertias == sorted(inertias, reverse=True)


def test_k_medians_finds_what_lies_apart():
    rows = np.concatenate([np.random.default_rng(k).normal(10 * k, 0.1, size=(20, 2)) for k in range(3)])
    model = KMedians(3, random_state=1).fit(rows)
    assert len({tuple(model.labels_[20 * k : 20 * k + 20]) for k in range(3)}) == 3
    np.testing.assert_allclose(model.transform(rows).min(1).sum(), model.inertia_)
    np.testing.assert_array_equal(model.predict(rows), model.labels_)


# ---- edges and errors -----------------------------------------------------------------------------------------------


def test_points_that_coincide_have_a_finite_gradient():
    x = X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(wasserstein1(x, X), x)
    assert (slope == 0).all()
    np.testing.assert_allclose(geometric_median(np.ones((4, 2))), [1, 1])


def test_a_median_on_a_data_point_stays_where_it_must():
    star = np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    np.testing.assert_allclose(geometric_median(star), [0, 0], atol=1e-12)
    heavy = np.array([[3.0, 0.0]] * 4 + [[0.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(geometric_median(heavy), [3, 0], atol=1e-6)


def test_half_precision_is_raised_and_images_are_flattened():
    images = torch.rand(3, 1, 4, 4)
    assert pairwise_distances(images.half(), images.half()).dtype == torch.float32
    torch.testing.assert_close(
        pairwise_distances(images, images), pairwise_distances(images.flatten(1), images.flatten(1))
    )


def test_a_median_that_does_not_settle_warns():
    with pytest.warns(ConvergenceWarning, match="Raise max_iter or tol"):
        geometric_median(np.random.default_rng(0).normal(size=(9, 2)), max_iter=1, tol=0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: wasserstein1(X, Y[:, :1]), r"x must hold points like those of y: got shapes \(3, 2\) and \(3, 1\)"),
        (lambda: wasserstein1(X[:0], Y), "x must be a batch of at least one point"),
        (lambda: wasserstein1(X, Y, torch.tensor([1.0, 1.0, -1.0])), "a must be at least 0"),
        (lambda: wasserstein1(X, Y, None, torch.ones(3)), "b must sum to 1"),
        (lambda: wasserstein1(X, Y, torch.ones(2) / 2), r"a must have shape \(3,\)"),
        (lambda: wasserstein1(X * math.nan, Y), "cost must be finite"),
        (lambda: soft_c_transform(F_X, COST, 0.0), "For 0 use c_transform"),
        (lambda: c_transform(F_X[:2], COST), "f_x must have one entry a row"),
        (lambda: CTransform(-1), "epsilon must"),
        (lambda: geometric_median([[math.nan, 0.0]]), "x must be a finite matrix"),
        (lambda: KMedians(4).fit([[0.0], [1.0]]), r"n_clusters must be at most the number of rows \(2\)"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_an_unfitted_estimator_says_so():
    with pytest.raises(NotFittedError):
        KMedians().predict([[0.0]])


def test_warnings_are_not_given_for_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KMedians(3, random_state=0).fit(np.random.default_rng(0).normal(size=(30, 3)))


# ---- the experiment's trainings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clip", "GP", "GP, 1 critic step", "c-transform", "batch of 64"])
def test_every_training_gives_pictures_and_an_error(name, monkeypatch):
    from gezhi.experiments import wgan
    from gezhi.experiments.wgan import TRAININGS, Size, taught

    monkeypatch.setattr(wgan, "MANY", 100)
    train = torch.rand(200, 196)
    found = taught(TRAININGS[name], train, 0, Size(1, count=70))
    again = taught(TRAININGS[name], train, 0, Size(1, count=70))
    assert found["samples"].shape == (70, 196)
    assert ((found["samples"] >= 0) & (found["samples"] <= 1)).all()
    assert torch.isfinite(found["error"])
    assert torch.equal(found["samples"], again["samples"])
