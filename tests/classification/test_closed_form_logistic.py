"""Closed-form logistic regression against the tagged formulas, scikit-learn's LDA, and its own invariances."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import sys
import threading
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from contract import Sample, estimator_checks
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.covariance import ledoit_wolf_shrinkage, oas
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError

from gezhi.classification import ClosedFormLogisticRegression, SingularCovarianceWarning, closed_form_linear_head

SAMPLES = [
    Sample(
        closed_form_linear_head,
        (torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3, 3),
        compiles=False,
        reason="it builds a module",
    )
]

TWO = ([[1, 2], [2, 1], [1.5, 3], [3, 3.5], [4, 2.5], [5, 4], [4.5, 5]], [0, 0, 0, 1, 1, 1, 1])
THREE = (
    [[0, 0], [1, 0.5], [0.5, 1], [4, 0], [5, 1], [4.5, -0.5], [2, 5], [3, 6], [1.5, 5.5], [2.5, 4.5]],
    [0, 0, 0, 1, 1, 1, 2, 2, 2, 2],
)


def reference_weights(X, y):
    """Equation (2) by loops, with Σ from the moment identity (3)."""
    X, classes, N, n = np.asarray(X, float), sorted(set(y)), len(X), len(X[0])
    mean = [sum(X[i][a] for i in range(N)) / N for a in range(n)]
    p, mu = [], []
    for k in classes:
        rows = [X[i] for i in range(N) if y[i] == k]
        p.append(len(rows) / N)
        mu.append([sum(r[a] for r in rows) / len(rows) for a in range(n)])
    sigma = np.empty((n, n))
    for a in range(n):
        for b in range(n):
            total = sum((X[i][a] - mean[a]) * (X[i][b] - mean[b]) for i in range(N)) / N
            sigma[a, b] = total + mean[a] * mean[b] - sum(q * m[a] * m[b] for q, m in zip(p, mu, strict=True))
    inverse = np.linalg.inv(sigma)
    W = np.array([np.asarray(m) @ inverse for m in mu])
    b = np.array([math.log(q) - 0.5 * np.asarray(m) @ inverse @ np.asarray(m) for q, m in zip(p, mu, strict=True)])
    return W, b, sigma


# ---- reference ------------------------------------------------------------------------------------------------------


def test_three_classes_are_the_formula():
    W, b, sigma = reference_weights(*THREE)
    model = ClosedFormLogisticRegression().fit(*THREE)
    np.testing.assert_allclose(model.coef_, W, rtol=1e-10)
    np.testing.assert_allclose(model.intercept_, b, rtol=1e-10)
    np.testing.assert_allclose(model.covariance_, sigma, rtol=1e-12, atol=1e-12)


def test_two_classes_report_the_difference():
    W, b, _ = reference_weights(*TWO)
    model = ClosedFormLogisticRegression().fit(*TWO)
    np.testing.assert_allclose(model.coef_, [W[1] - W[0]], rtol=1e-10)
    np.testing.assert_allclose(model.intercept_, [b[1] - b[0]], rtol=1e-10)
    np.testing.assert_allclose(model.decision_function(TWO[0]), np.asarray(TWO[0]) @ model.coef_[0] + model.intercept_)


def test_check_values_of_two_classes():
    model = ClosedFormLogisticRegression().fit(*TWO)
    sigma = [[0.3839285714285712, 0.08928571428571352], [0.08928571428571352, 0.7500000000000018]]
    np.testing.assert_allclose(model.covariance_, sigma, atol=1e-13)
    np.testing.assert_allclose(model.coef_, [[6.473804100227796, 1.5626423690205034]], rtol=1e-12)
    np.testing.assert_allclose(model.intercept_, [-22.412488770372843], rtol=1e-12)
    p = [
        2.7240177429721104e-06,
        0.0003697778836060993,
        0.0003307372498478443,
        0.9225973457735653,
        0.9993825738982342,
        0.9999999085159593,
        0.9999995119470894,
    ]
    np.testing.assert_allclose(model.predict_proba(TWO[0])[:, 1], p, rtol=1e-10)
    published = [0.0017329669795043666, 0.020520039875349224]  # mixes ddof 1 and 0
    assert not np.allclose(model.predict_proba(TWO[0])[:2, 1], published, rtol=0.5)


def test_check_values_of_three_classes():
    model = ClosedFormLogisticRegression().fit(*THREE)
    W = [
        [1.7228464419475524, 1.1235955056179865],
        [23.29588014981254, -7.415730337078572],
        [2.3595505617977475, 17.191011235955095],
    ]
    np.testing.assert_allclose(model.coef_, W, rtol=1e-10)
    b = [-1.9155832913173207, -53.00172561331427, -48.69718960827875]
    np.testing.assert_allclose(model.intercept_, b, rtol=1e-10)
    p = [0.9999984439490884, 1.3630268819070443e-11, 1.5560372813805863e-06]
    np.testing.assert_allclose(model.predict_proba([[2, 2]])[0], p, rtol=1e-9)


def test_whitening_first_changes_nothing():
    X, y = load_wine(return_X_y=True)
    centred = X - X.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(X))
    white = centred @ vectors / np.sqrt(values)
    plain, whitened = (ClosedFormLogisticRegression().fit(data, y).predict_proba(data) for data in (X, white))
    np.testing.assert_allclose(plain, whitened, atol=1e-9)


# ---- oracle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["lsqr", "eigen", "svd"])
@pytest.mark.parametrize(("load", "tolerance"), [(load_wine, 1e-11), (load_breast_cancer, 1e-8)])
def test_equals_linear_discriminant_analysis(load, tolerance, solver):
    X, y = load(return_X_y=True)
    lda = LinearDiscriminantAnalysis(solver=solver).fit(X, y)
    np.testing.assert_allclose(
        ClosedFormLogisticRegression().fit(X, y).predict_proba(X), lda.predict_proba(X), atol=tolerance
    )


def test_priors_enter_the_offset_alone():
    X, y = load_wine(return_X_y=True)
    priors = [0.7, 0.1, 0.2]
    lda = LinearDiscriminantAnalysis(solver="svd", priors=priors).fit(X, y)
    np.testing.assert_allclose(
        ClosedFormLogisticRegression(priors=priors).fit(X, y).predict_proba(X), lda.predict_proba(X), atol=1e-12
    )


def test_shrinkage_weights_equal_scikit_learn():
    X, y = load_wine(return_X_y=True)
    centred = X - np.array([X[y == k].mean(0) for k in range(3)])[y]
    model = ClosedFormLogisticRegression(shrinkage="oas").fit(X, y)
    covariance, weight = oas(centred, assume_centered=True)
    np.testing.assert_allclose(model.shrinkage_, weight, rtol=1e-9)
    np.testing.assert_allclose(model.covariance_, covariance, rtol=1e-9)
    model = ClosedFormLogisticRegression(shrinkage="ledoit_wolf").fit(X, y)
    np.testing.assert_allclose(model.shrinkage_, ledoit_wolf_shrinkage(centred, assume_centered=True), rtol=1e-9)


@given(st.integers(0, 10**6), st.sampled_from([0.3, "oas", "ledoit_wolf"]), st.floats(-9, 9))
def test_with_shrinkage_a_rotation_and_a_common_unit_do_not_matter(seed, shrinkage, power):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(40, 4)) * [1, 2, 3, 4] + 5, np.arange(40) % 3
    turned = 10.0**power * X @ np.linalg.qr(rng.normal(size=(4, 4)))[0]
    here, there = (ClosedFormLogisticRegression(shrinkage).fit(Z, y).predict_proba(Z) for Z in (X, turned))
    np.testing.assert_allclose(there, here, atol=1e-8)
    if shrinkage == 0.3:
        features = torch.from_numpy(turned)
        head = closed_form_linear_head(features, torch.from_numpy(y), 3, shrinkage=0.3)
        np.testing.assert_allclose(head(features).softmax(-1).detach(), here, atol=1e-7)


def test_columns_of_very_different_size_are_classified_as_by_lda():
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    X = np.c_[rng.normal(size=200) * 1e9, (rng.normal(size=200) + 8 * y) * 0.2]
    lda = LinearDiscriminantAnalysis().fit(X, y)
    model = ClosedFormLogisticRegression().fit(X, y)  # a warning would be an error here
    assert model.score(X, y) == lda.score(X, y) == 1.0
    np.testing.assert_allclose(model.predict_proba(X), lda.predict_proba(X), atol=1e-12)
    head = closed_form_linear_head(torch.from_numpy(X), torch.from_numpy(y), 2)
    np.testing.assert_allclose(head(torch.from_numpy(X)).softmax(-1).detach(), lda.predict_proba(X), atol=1e-9)


def test_two_class_weights_point_along_least_squares():
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(0)) / X.std(0)
    slope = np.linalg.lstsq(np.c_[X, np.ones(len(X))], y.astype(float), rcond=None)[0][:-1]
    weights = ClosedFormLogisticRegression().fit(X, y).coef_[0]
    cosine = weights @ slope / np.linalg.norm(weights) / np.linalg.norm(slope)
    assert cosine == pytest.approx(1, abs=1e-9)


# ---- theorems -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6))
def test_probabilities_do_not_depend_on_affine_coordinates(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 3
    A, shift = rng.normal(size=(3, 3)) + 3 * np.eye(3), 10 * rng.normal(size=3)
    here = ClosedFormLogisticRegression().fit(X, y).predict_proba(X)
    there = ClosedFormLogisticRegression().fit(X @ A + shift, y).predict_proba(X @ A + shift)
    np.testing.assert_allclose(here, there, atol=1e-8)


def rescaled(rng, X, reach=12):
    """The same columns in other units."""
    return X * rng.choice([-1, 1], X.shape[1]) * 10.0 ** rng.uniform(-reach, reach, X.shape[1])


@given(st.integers(0, 10**6), st.sampled_from(["eigh", "cholesky"]))
def test_the_units_of_columns_do_not_matter(seed, solver):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(40, 4)) @ rng.normal(size=(4, 4)) + rng.normal(size=4), np.arange(40) % 3
    other = rescaled(rng, X)
    here, there = (ClosedFormLogisticRegression(None, None, solver).fit(Z, y).predict_proba(Z) for Z in (X, other))
    np.testing.assert_allclose(there, here, atol=1e-8)
    stream = ClosedFormLogisticRegression(None, None, solver)
    for rows in np.split(np.arange(40), [7, 30]):
        stream.partial_fit(other[rows], y[rows], [0, 1, 2])
    np.testing.assert_allclose(stream.predict_proba(other), here, atol=1e-8)
    features = torch.from_numpy(other)
    head = closed_form_linear_head(features, torch.from_numpy(y), 3)
    np.testing.assert_allclose(head(features).softmax(-1).detach(), here, atol=1e-7)


@given(st.integers(0, 10**6), st.booleans())
@pytest.mark.filterwarnings("ignore::gezhi.classification.SingularCovarianceWarning")
def test_neither_do_they_where_columns_depend_on_each_other_or_are_constant(seed, head):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(50, 3)) + 5, np.arange(50) % 2
    X = np.c_[X, X @ [1, -2, 3], X[:, 0], np.full(50, 0.1), y + 0.3]  # sum, copy, constant, constant in each class

    def proba(Z):
        if not head:
            return ClosedFormLogisticRegression().fit(Z, y).predict_proba(Z)
        layer = closed_form_linear_head(torch.from_numpy(Z), torch.from_numpy(y), 2)
        return layer(torch.from_numpy(Z)).softmax(-1).detach().numpy()

    np.testing.assert_allclose(proba(rescaled(rng, X)), proba(X), atol=1e-6)


@given(st.integers(0, 10**6), st.lists(st.integers(1, 59), max_size=4, unique=True), st.booleans())
def test_any_batching_and_merging_equals_fit(seed, cuts, merge):
    rng = np.random.default_rng(seed)
    X, y, w = rng.normal(size=(60, 4)) + 100, rng.integers(3, size=60), rng.random(60)
    y[:3] = 0, 1, 2
    whole = ClosedFormLogisticRegression("oas").fit(X, y, w)
    parts = [part for part in np.split(np.arange(60), sorted(cuts)) if len(part)]
    if merge:
        models = [ClosedFormLogisticRegression("oas").partial_fit(X[i], y[i], [0, 1, 2], w[i]) for i in parts]
        stream = models[0]
        for model in models[1:]:
            stream.merge(model)
    else:
        stream = ClosedFormLogisticRegression("oas")
        for i in parts:
            stream.partial_fit(X[i], y[i], [0, 1, 2], w[i])
    np.testing.assert_allclose(stream.covariance_, whole.covariance_, atol=1e-10)
    np.testing.assert_allclose(stream.predict_proba(X), whole.predict_proba(X), atol=1e-10)


@pytest.mark.parametrize("shrinkage", [None, 0.3, "oas", "ledoit_wolf"])
def test_integer_weights_equal_repetition(shrinkage):
    X, y = load_wine(return_X_y=True)
    w = np.arange(len(X)) % 4
    weighted = ClosedFormLogisticRegression(shrinkage).fit(X, y, w)
    repeated = ClosedFormLogisticRegression(shrinkage).fit(np.repeat(X, w, axis=0), np.repeat(y, w))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-10)


def test_relabelling_permutes_columns():
    X, y = THREE
    plain = ClosedFormLogisticRegression().fit(X, y).predict_proba(X)
    renamed = ClosedFormLogisticRegression().fit(X, np.array(["c", "a", "b"])[y]).predict_proba(X)
    np.testing.assert_allclose(renamed[:, [2, 0, 1]], plain, atol=1e-12)


def test_both_solvers_agree():
    X, y = load_wine(return_X_y=True)
    left, right = (ClosedFormLogisticRegression(solver=s).fit(X, y).predict_proba(X) for s in ("cholesky", "eigh"))
    np.testing.assert_allclose(left, right, atol=1e-10)


# ---- the torch head -------------------------------------------------------------------------------------------------


def test_head_equals_the_estimator_and_trains_on():
    X, y = load_wine(return_X_y=True)
    head = closed_form_linear_head(torch.from_numpy(X), torch.from_numpy(y), 3, shrinkage=0.1)
    proba = head(torch.from_numpy(X)).softmax(-1).detach().numpy()
    np.testing.assert_allclose(proba, ClosedFormLogisticRegression(0.1).fit(X, y).predict_proba(X), atol=1e-9)
    assert {name for name, _ in head.named_parameters()} == {"weight", "bias"}
    assert head.weight.shape == (3, 13)


def test_head_is_differentiable_in_the_features():
    features = torch.randn(9, 2, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(9) % 3

    def loss(x):
        head = closed_form_linear_head(x, labels, 3, shrinkage=0.05)
        return head(x).logsumexp(-1).sum()

    assert torch.autograd.gradcheck(loss, features)


def test_head_gives_an_absent_class_no_probability():
    head = closed_form_linear_head(torch.randn(8, 2), torch.arange(8) % 2, 3)
    assert head(torch.randn(4, 2)).softmax(-1)[:, 2].tolist() == [0, 0, 0, 0]


# ---- one model in many threads --------------------------------------------------------------------------------------


def in_threads(work, count=8):
    """Run `work(number)` in threads that start together; their results."""
    start = threading.Barrier(count)

    def wait_and_work(number):
        start.wait()
        return work(number)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(wait_and_work, range(count)))
    finally:
        sys.setswitchinterval(interval)


def test_threads_that_learn_together_lose_no_row():
    X, y = load_wine(return_X_y=True)
    model = ClosedFormLogisticRegression()
    parts = np.array_split(np.random.default_rng(0).permutation(len(X)), 160)

    def learn(number):
        for part in parts[number::8]:
            model.partial_fit(X[part], y[part], [0, 1, 2])

    in_threads(learn)
    whole = ClosedFormLogisticRegression().fit(X, y)
    np.testing.assert_array_equal(model.class_weight_sum_, whole.class_weight_sum_)
    np.testing.assert_allclose(model.predict_proba(X), whole.predict_proba(X), atol=1e-10)


def test_threads_that_predict_meet_a_whole_model():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)) + 9, np.arange(60) % 3
    model, states = ClosedFormLogisticRegression("oas"), []
    for rows in np.split(np.arange(60), 4):  # what a reader may see: the model after 1, 2, 3 or 4 parts
        states.append(model.partial_fit(X[rows], y[rows], [0, 1, 2]).predict_proba(X))
    for _ in range(20):
        model = ClosedFormLogisticRegression("oas").partial_fit(X[:15], y[:15], [0, 1, 2])

        def work(number, model=model):
            if number == 0:
                for rows in np.split(np.arange(60), 4)[1:]:
                    model.partial_fit(X[rows], y[rows])
                return []
            return [model.predict_proba(X) for _ in range(20)]

        for found in itertools.chain(*in_threads(work)):
            assert min(abs(found - state).max() for state in states) < 1e-12
        np.testing.assert_allclose(model.predict_proba(X), states[-1], atol=1e-12)


def test_a_model_that_learns_in_threads_can_be_cloned_copied_and_pickled():
    model = ClosedFormLogisticRegression().partial_fit(*TWO, classes=[0, 1])
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other.partial_fit(*TWO)
        assert other.class_weight_sum_.tolist() == [6, 8]
    assert model.class_weight_sum_.tolist() == [3, 4]
    assert not hasattr(clone(model), "classes_")


def test_a_refused_batch_changes_nothing():
    model = ClosedFormLogisticRegression().fit(*TWO)
    before = model.predict_proba(TWO[0])
    for bad in (lambda: model.partial_fit([[0, 0]], [5]), lambda: model.partial_fit([[math.nan, 0]], [1]),
                lambda: model.fit([[1.0, 2], [2, 3]], [4, 4])):  # fmt: skip
        with pytest.raises(ValueError, match="must"):
            bad()
    np.testing.assert_array_equal(model.predict_proba(TWO[0]), before)
    assert model.classes_.tolist() == [0, 1]


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_priors_are_aligned_by_class():
    X, y = load_wine(return_X_y=True)
    names = np.array(["b", "c", "a"])[y]
    expected = ClosedFormLogisticRegression(priors=[0.2, 0.7, 0.1]).fit(X, names).predict_proba(X)  # of a, b, c
    for priors in ({"b": 0.7, "a": 0.2, "c": 0.1}, pd.Series([0.1, 0.2, 0.7], ["c", "a", "b"])):
        found = ClosedFormLogisticRegression(priors=priors).fit(X, names).predict_proba(X)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.wrong_types
def test_numpy_scalars_are_numbers():
    for shrinkage in (np.float32(0.5), np.float64(0.5), np.float16(0.5)):
        model = ClosedFormLogisticRegression(shrinkage).fit(*TWO)
        np.testing.assert_array_equal(model.coef_, ClosedFormLogisticRegression(0.5).fit(*TWO).coef_)
    X, y = (torch.tensor(part) for part in TWO)
    head = closed_form_linear_head(X, y, y.numpy().max() + np.int64(1), shrinkage=np.float32(0.5))
    assert torch.equal(head.weight, closed_form_linear_head(X, y, 2, shrinkage=0.5).weight)


def test_common_checks_of_scikit_learn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularCovarianceWarning)
        warnings.filterwarnings("ignore", "no rows yet of class")
        count, skipped = estimator_checks(ClosedFormLogisticRegression())
    assert skipped == {"check_array_api_input"}, "SCIPY_ARRAY_API is not set"
    assert count == Counter(passed=61, skipped=1)


def test_more_columns_than_rows_is_cut_off_with_a_warning():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(10, 30)), np.arange(10) % 2
    with pytest.warns(SingularCovarianceWarning, match="oas"):
        model = ClosedFormLogisticRegression().fit(X, y)
    assert np.isfinite(model.predict_proba(X)).all()
    ClosedFormLogisticRegression("oas").fit(X, y)  # no warning: they are errors here


def test_single_precision_with_a_large_mean_matches_double():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 5)).astype(np.float32) + np.float32(4096)
    y = (X[:, 0] > 4096).astype(int)
    single = ClosedFormLogisticRegression().fit(X, y).predict_proba(X)
    double = ClosedFormLogisticRegression().fit(X.astype(float), y).predict_proba(X.astype(float))
    np.testing.assert_allclose(single, double, atol=1e-4)


def test_a_class_without_rows_waits_with_probability_zero():
    model = ClosedFormLogisticRegression().partial_fit(*TWO, classes=[0, 1, 2])
    with pytest.warns(UserWarning, match=r"no rows yet of class \[2\]"):
        proba = model.predict_proba(TWO[0])
    assert (proba[:, 2] == 0).all()
    assert np.isfinite(proba).all()
    model.partial_fit([[9, 9], [8, 9]], [2, 2])
    assert (model.predict_proba([[9.0, 9.0]])[:, 2] > 0.5).all()


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "call", "message"),
    [
        ({}, lambda m: m.fit([[1, math.nan], [2, 3]], [0, 1]), "X must be finite: got NaN in column 1, row 0"),
        ({}, lambda m: m.fit([[1.0, 2], [2, math.inf]], [0, 1]), r"infinity \(inf\) in column 1, row 1"),
        ({}, lambda m: m.fit([[1.0], [2]], [3, 3]), "at least two classes: got 1 class"),
        ({}, lambda m: m.fit(*TWO, [1, 1, 1, 1, 1, 1, -1]), "sample_weight must be non-negative"),
        ({}, lambda m: m.fit(*TWO, [0] * 7), "must contain at least one non-zero number"),
        ({}, lambda m: m.partial_fit(*TWO), "classes must be given at the first partial_fit"),
        ({}, lambda m: m.partial_fit(*TWO, classes=[0, 2]), r"contain only the classes \[0, 2\]: got \[1\]"),
        ({"priors": [0.5, 0.6]}, lambda m: m.fit(*TWO), "priors must be positive and sum to 1"),
        ({"priors": [1.0]}, lambda m: m.fit(*TWO), "priors and classes must have the same length: got 1 and 2"),
        ({"solver": "lu"}, lambda m: m.fit(*TWO), "solver must be one of"),
        ({"shrinkage": 1.5}, lambda m: m.fit(*TWO), "shrinkage must lie between 0 and 1: got 1.5"),
        ({"shrinkage": "best"}, lambda m: m.fit(*TWO), "shrinkage must be one of"),
        ({"priors": {0: 0.5, 2: 0.5}}, lambda m: m.fit(*TWO), r"priors must name each of the classes \[0, 1\]: got \[0, 2\]"),
        ({"priors": pd.Series([0.5, 0.3, 0.2], [0, 1, 1])}, lambda m: m.fit(*TWO), "priors must have one entry a name: got several named 1"),
        ({}, lambda m: m.fit([[1e200], [3e200], [2e200]], [0, 1, 1]), r"X must stay below 1e\+150 in size: got 1e\+200 in column 0, row 0"),
        ({"shrinkage": "ledoit_wolf"}, lambda m: m.partial_fit(*TWO, classes=[0, 1]), "Use 'oas'"),
    ],
)  # fmt: skip
def test_bad_input_is_named(settings, call, message):
    with pytest.raises(ValueError, match=message):
        call(ClosedFormLogisticRegression(**settings))


def test_merge_refuses_other_classes_and_unfitted_models():
    model = ClosedFormLogisticRegression().fit(*TWO)
    with pytest.raises(ValueError, match="other must have classes"):
        model.merge(ClosedFormLogisticRegression().fit(*THREE))
    with pytest.raises(NotFittedError):
        model.merge(ClosedFormLogisticRegression())


def test_head_names_bad_arguments():
    with pytest.raises(ValueError, match="features and labels must have the same length: got 4 and 3"):
        closed_form_linear_head(torch.randn(4, 2), torch.arange(3), 3)
    with pytest.raises(ValueError, match="num_classes must lie between 2"):
        closed_form_linear_head(torch.randn(4, 2), torch.zeros(4, dtype=torch.long), 1)
