"""Alternating normalisation against the two steps written as loops, the sheet's values, and its invariances."""

from __future__ import annotations

import math
import warnings
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from contract import Sample, estimator_checks
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, ShuffleSplit, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gezhi.classification import (
    AlternatingNormalizer,
    ClosedFormLogisticRegression,
    UnadjustedWarning,
    normalize_alternately,
    top_k_uncertainty,
)

P = [
    [0.90, 0.05, 0.03, 0.02], [0.10, 0.80, 0.05, 0.05], [0.02, 0.03, 0.90, 0.05], [0.85, 0.05, 0.05, 0.05],
    [0.30, 0.28, 0.22, 0.20], [0.26, 0.24, 0.25, 0.25], [0.40, 0.35, 0.15, 0.10],
]  # fmt: skip
PRIOR = [0.4, 0.3, 0.2, 0.1]
NUMPY = {"compiles": False, "differentiable": False, "reason": "it works on NumPy arrays"}

SAMPLES = [
    Sample(top_k_uncertainty, (np.array(P),), **NUMPY),
    Sample(normalize_alternately, (np.array(P), PRIOR), **NUMPY),
]


def reference_uncertainty(row, k):
    """Equation (1) by loops."""
    top = sorted(row, reverse=True)[:k]
    return -sum(p / sum(top) * math.log(p / sum(top)) for p in top if p > 0) / math.log(k)


def reference_normalize(rows, prior, k=3, threshold=0.9, alpha=1.0, iterations=1):
    """Equation (2), the two steps of the definition, by loops over the table of each uncertain row."""
    confident = [r for r in rows if reference_uncertainty(r, k) < threshold]
    result = []
    for row in rows:
        if reference_uncertainty(row, k) < threshold:
            result.append(list(row))
            continue
        table = [list(r) for r in confident] + [list(row)]
        for _ in range(iterations):
            table = [[p**alpha for p in r] for r in table]
            means = [sum(r[c] for r in table) / len(table) for c in range(len(row))]
            table = [[prior[c] * (r[c] / means[c] if means[c] else 0.0) for c in range(len(row))] for r in table]
            table = [[p / sum(r) if sum(r) else 0.0 for p in r] for r in table]
        result.append(table[-1])
    return np.array(result)


def distributions(rng, rows, classes):
    return rng.dirichlet(np.full(classes, 0.7), size=rows)


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("alpha", "iterations"), [(1, 1), (1, 2), (0.5, 1), (2, 3), (3, 5)])
def test_equals_the_loops(alpha, iterations):
    rows = distributions(np.random.default_rng(0), 23, 5)
    settings = {"threshold": 0.7, "alpha": alpha, "iterations": iterations}
    expected = reference_normalize(rows, [0.3, 0.1, 0.2, 0.1, 0.3], **settings)
    np.testing.assert_allclose(normalize_alternately(rows, [3, 1, 2, 1, 3], **settings), expected, atol=1e-13)


def test_check_values_of_the_example():
    rows, prior = [[0.05, 0.95], [0.5, 0.5]], [0.5, 0.5]
    for iterations, expected in {1: 0.725, 2: 0.7821316614420062, 50: 0.8133945031366292}.items():
        adjusted = normalize_alternately(rows, prior, k=2, iterations=iterations)
        np.testing.assert_allclose(adjusted, [rows[0], [expected, 1 - expected]], atol=1e-13)
    np.testing.assert_allclose(normalize_alternately([[0.0, 1.0], [0.5, 0.5]], prior, k=2)[1], [0.75, 0.25])


def test_check_values_of_uncertainty():
    for row, k, expected in [
        ([0.5, 0.25, 0.25], 3, 0.946394630357186), ([0.5, 0.25, 0.25], 2, 0.9182958340544894),
        ([0.5, 0.5, 0.0], 3, 0.6309297535714574), ([0.5, 0.5, 0.0], 2, 1.0),
        ([0.4, 0.3, 0.2, 0.1], 3, 0.965633607142825), ([0.4, 0.3, 0.2, 0.1], 2, 0.9852281360342514),
    ]:  # fmt: skip
        assert top_k_uncertainty([row], k)[0] == pytest.approx(expected, abs=1e-14)
    expected = [0.30651763669395243, 0.48849313631394425, 0.30651763669395243, 0.3727052964167111,
                0.9924059420794309, 0.9998430878242478, 0.9342064019134054]  # fmt: skip
    np.testing.assert_allclose(top_k_uncertainty(P), expected, atol=1e-13)


def test_check_values_of_the_table():
    adjusted = normalize_alternately(P, PRIOR)
    np.testing.assert_array_equal(adjusted[:4], P[:4])
    expected = [
        [0.2584391554219946, 0.32443725379009064, 0.16450513706461362, 0.25261845372330105],
        [0.23367333278550717, 0.29451136025629, 0.18694568766268413, 0.28486961929551863],
        [0.32787095138346245, 0.3815822327258214, 0.11826277430727641, 0.1722840415834397],
    ]
    np.testing.assert_allclose(adjusted[4:], expected, atol=1e-13)
    assert adjusted[4:].argmax(axis=1).tolist() == [1, 1, 1]
    for settings, row, values in [
        ({"iterations": 2}, 4, [0.24562585461536104, 0.35770739238753746, 0.14384859584782908, 0.25281815714927247]),
        ({"alpha": 0.5}, 4, [0.3236429771082025, 0.3299560339932846, 0.19554307513239153, 0.15085791376612137]),
        ({"alpha": 2, "iterations": 3}, 6,
         [0.01773597795793796, 0.13411556234392202, 8.690354044814883e-06, 0.8481397693440952]),
    ]:  # fmt: skip
        np.testing.assert_allclose(normalize_alternately(P, PRIOR, **settings)[row], values, atol=1e-13)


# ---- oracle ---------------------------------------------------------------------------------------------------------


def test_uncertainty_with_all_classes_is_scipy_entropy():
    rows = distributions(np.random.default_rng(1), 9, 4)
    np.testing.assert_allclose(top_k_uncertainty(rows, 4), entropy(rows, axis=1, base=4), atol=1e-13)


# ---- theorems -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.sampled_from([(1.0, 1), (0.5, 2), (2.0, 3)]))
def test_invariances(seed, setting):
    rng = np.random.default_rng(seed)
    rows, prior = distributions(rng, 17, 4), rng.random(4) + 0.05
    settings = {"threshold": 0.8, "alpha": setting[0], "iterations": setting[1]}
    adjusted = normalize_alternately(rows, prior, **settings)
    np.testing.assert_allclose(adjusted.sum(axis=1), 1)
    certain = top_k_uncertainty(rows) < 0.8
    np.testing.assert_array_equal(adjusted[certain], rows[certain])
    columns, order = rng.permutation(4), rng.permutation(17)
    np.testing.assert_allclose(
        normalize_alternately(rows[:, columns], prior[columns], **settings), adjusted[:, columns], atol=1e-12
    )
    np.testing.assert_allclose(normalize_alternately(rows[order], prior, **settings), adjusted[order], atol=1e-12)
    np.testing.assert_allclose(normalize_alternately(rows, 7 * prior, **settings), adjusted, atol=1e-12)


@given(st.integers(0, 10**6))
def test_a_fixed_reference_makes_rows_independent(seed):
    rng = np.random.default_rng(seed)
    rows, reference, prior = distributions(rng, 8, 3), distributions(rng, 20, 3), [0.2, 0.3, 0.5]
    together = normalize_alternately(rows, prior, threshold=0.8, reference=reference)
    alone = [normalize_alternately(row[None], prior, threshold=0.8, reference=reference)[0] for row in rows]
    np.testing.assert_allclose(together, alone, atol=1e-14)


def test_iterating_moves_the_average_towards_the_prior():
    rows = distributions(np.random.default_rng(3), 200, 3)
    prior = np.array([0.6, 0.3, 0.1])
    gaps = [
        abs(normalize_alternately(rows, prior, threshold=0.5).mean(axis=0) - prior).sum(),
        abs(rows.mean(0) - prior).sum(),
    ]
    assert gaps[0] < gaps[1]


# ---- the estimator --------------------------------------------------------------------------------------------------

OTHER_FOLDS = dict.fromkeys(
    ("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"),
    "a row left out or repeated shifts the folds of the rows after it",
)


def test_common_checks_of_scikit_learn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnadjustedWarning)  # some checks train on labels that nothing predicts
        count, skipped = estimator_checks(AlternatingNormalizer(LogisticRegression()), OTHER_FOLDS)
        assert skipped == {"check_array_api_input"}, "SCIPY_ARRAY_API is not set"
        assert count == Counter(passed=60, xfail=2, skipped=1)
        of_batch = AlternatingNormalizer(LogisticRegression(), reference="batch")
        count, _ = estimator_checks(of_batch, {"check_methods_subset_invariance": "rows adjust each other"})
        assert count == Counter(passed=61, xfail=1, skipped=1)


def test_estimator_is_the_function_on_out_of_fold_rows():
    X, y = load_wine(return_X_y=True)
    model = AlternatingNormalizer(GaussianNB(), prior=[0.2, 0.5, 0.3], threshold=0.3).fit(X, y)
    assert model.reference_.shape == (178, 3)
    assert not np.allclose(model.reference_, model.estimator_.predict_proba(X))
    expected = normalize_alternately(
        model.estimator_.predict_proba(X), [0.2, 0.5, 0.3], threshold=0.3, reference=model.reference_
    )
    np.testing.assert_array_equal(model.predict_proba(X), expected)


def test_batch_reference_is_the_article_and_smoothing_counts():
    X, y = load_digits(return_X_y=True)
    model = AlternatingNormalizer(GaussianNB(), reference="batch", smoothing=1).fit(X[:300], y[:300])
    assert model.reference_ is None
    np.testing.assert_allclose(model.prior_, (np.bincount(y[:300]) + 1) / 310)
    expected = normalize_alternately(model.estimator_.predict_proba(X[300:]), model.prior_)
    np.testing.assert_array_equal(model.predict_proba(X[300:]), expected)


def test_a_rare_class_falls_back_on_in_sample_predictions():
    X, y = load_wine(return_X_y=True)
    few = np.r_[0:3, 70:110, 140:178]
    with pytest.warns(
        UnadjustedWarning, match=r"rarest class has 3 rows for 5 folds \(0\): the reference is in-sample"
    ):
        model = AlternatingNormalizer(GaussianNB()).fit(X[few], y[few])
    np.testing.assert_array_equal(model.reference_, model.estimator_.predict_proba(X[few]))


WINE = load_wine(return_X_y=True)


def reference_by_loops(estimator, X, y, splits, **weights):
    """Out-of-fold probabilities in the order of the rows."""
    found = []
    for train, test in splits:
        of_fold = {name: values[train] for name, values in weights.items()}
        found += zip(test, clone(estimator).fit(X[train], y[train], **of_fold).predict_proba(X[test]), strict=True)
    return np.array([probs for _, probs in sorted(found, key=lambda pair: pair[0])])


@pytest.mark.parametrize(
    ("cv", "splitter"),
    [
        (None, StratifiedKFold(5)), (4, StratifiedKFold(4)), (np.int64(3), StratifiedKFold(3)),
        (StratifiedKFold(3), StratifiedKFold(3)), (KFold(3, shuffle=True, random_state=0),) * 2,
        (list(StratifiedKFold(3).split(*WINE)), StratifiedKFold(3)),
        (ShuffleSplit(2, test_size=0.4, random_state=0),) * 2,  # some rows twice, some never
    ],
)  # fmt: skip
@pytest.mark.wrong_types
def test_cv_is_what_scikit_learn_takes(cv, splitter):
    X, y = WINE
    model = AlternatingNormalizer(GaussianNB(), cv=cv).fit(X, y)
    np.testing.assert_array_equal(model.reference_, reference_by_loops(GaussianNB(), X, y, splitter.split(X, y)))
    assert clone(model).fit(X, y).predict_proba(X).shape == (178, 3)


def test_a_fold_that_lacks_a_class_gives_it_no_probability():
    X, y = WINE
    first = np.arange(178) < 59  # class 0
    model = AlternatingNormalizer(GaussianNB(), cv=[(np.flatnonzero(~first), np.flatnonzero(first))]).fit(X, y)
    assert model.reference_.shape == (59, 3)
    assert (model.reference_[:, 0] == 0).all()


def test_weights_reach_the_estimator_the_prior_and_every_fold():
    X, y = WINE
    w = np.random.default_rng(0).integers(0, 3, 178).astype(float)
    model = AlternatingNormalizer(GaussianNB(), cv=3).fit(X, y, sample_weight=w)
    np.testing.assert_allclose(model.prior_, np.bincount(y, w) / w.sum())
    np.testing.assert_array_equal(model.estimator_.theta_, GaussianNB().fit(X, y, w).theta_)
    expected = reference_by_loops(GaussianNB(), X, y, StratifiedKFold(3).split(X, y), sample_weight=w)
    np.testing.assert_array_equal(model.reference_, expected[w > 0])
    batch = AlternatingNormalizer(ClosedFormLogisticRegression(), reference="batch")
    repeated = clone(batch).fit(np.repeat(X, w.astype(int), axis=0), np.repeat(y, w.astype(int)))
    np.testing.assert_allclose(batch.fit(X, y, w).predict_proba(X), repeated.predict_proba(X), atol=1e-9)


def test_metadata_is_routed():
    X, y = WINE
    w, groups = np.random.default_rng(0).random(178), np.arange(178) % 7
    with config_context(enable_metadata_routing=True):
        inner = GaussianNB().set_fit_request(sample_weight=True)
        model = AlternatingNormalizer(inner, cv=GroupKFold(3)).fit(X, y, sample_weight=w, groups=groups)
        splits = list(GroupKFold(3).split(X, y, groups))
        np.testing.assert_array_equal(model.reference_, reference_by_loops(GaussianNB(), X, y, splits, sample_weight=w))
        scaled = make_pipeline(StandardScaler(), GaussianNB().set_fit_request(sample_weight=True))
        scaled[0].set_fit_request(sample_weight=False)
        AlternatingNormalizer(scaled).fit(X, y, sample_weight=w)
        AlternatingNormalizer(GaussianNB()).fit(X, y)
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            AlternatingNormalizer(GaussianNB()).fit(X, y, sample_weight=w)
        model = AlternatingNormalizer(inner).set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        outer = GridSearchCV(model, {"alpha": [1, 2]}, cv=3)
        outer.fit(X, y, sample_weight=w)
        assert not np.allclose(outer.best_estimator_.prior_, np.bincount(y) / 178)
    with pytest.raises(TypeError, match="estimator must take sample_weight in fit: got KNeighborsClassifier"):
        AlternatingNormalizer(KNeighborsClassifier()).fit(X, y, sample_weight=w)


def test_a_prior_is_aligned_by_class():
    X, y = WINE
    names = np.array(["b", "c", "a"])[y]
    counts = pd.Series(names).value_counts(normalize=True)
    assert counts.index.tolist() == ["c", "b", "a"]
    expected = AlternatingNormalizer(GaussianNB()).fit(X, names)
    for prior in (counts, counts.to_dict(), {"a": 48, "b": 59, "c": 71}):
        model = AlternatingNormalizer(GaussianNB(), prior=prior).fit(X, names)
        np.testing.assert_allclose(model.prior_, expected.prior_)
    shuffled = pd.Series([0.1, 0.4, 0.2, 0.3], [3, 0, 2, 1])
    np.testing.assert_array_equal(normalize_alternately(P, shuffled), normalize_alternately(P, PRIOR))
    table = pd.DataFrame(P, columns=list("wxyz"))
    by_name = {"z": 0.1, "w": 0.4, "y": 0.2, "x": 0.3}
    np.testing.assert_array_equal(normalize_alternately(table, by_name), normalize_alternately(P, PRIOR))


@pytest.mark.wrong_types
def test_numpy_scalars_are_parameters():
    X, y = WINE
    settings = {"k": 2, "threshold": 0.5, "alpha": 2.0, "iterations": 2, "smoothing": 1.0, "cv": 3}
    kinds = dict(zip(settings, [np.uint8, np.float32, np.float16, np.int64, np.float32, np.int32], strict=True))
    other = {name: kinds[name](value) for name, value in settings.items()}
    plain, numpy = (AlternatingNormalizer(GaussianNB(), **some).fit(X, y) for some in (settings, other))
    np.testing.assert_array_equal(numpy.predict_proba(X), plain.predict_proba(X))


# ---- edges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 10, 400])
def test_half_precision_and_four_decimals_are_distributions(classes):
    rows = distributions(np.random.default_rng(classes), 300, classes)
    prior = np.arange(1, classes + 1)
    expected = normalize_alternately(rows, prior)
    half = normalize_alternately(rows.astype(np.float16), prior)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, expected, atol=4e-3)
    np.testing.assert_allclose(
        normalize_alternately(rows.round(4), prior), expected, atol=4e-3 if classes < 50 else 0.2
    )
    np.testing.assert_allclose(normalize_alternately(rows.astype(np.float32), prior), expected, atol=1e-5)


def test_two_classes_take_the_defaults():
    rows = [[0.05, 0.95], [0.5, 0.5]]
    np.testing.assert_allclose(normalize_alternately(rows, [0.5, 0.5])[1], [0.725, 0.275])
    np.testing.assert_array_equal(top_k_uncertainty(rows), top_k_uncertainty(rows, 2))


def test_empty_input_and_no_uncertain_row():
    assert normalize_alternately(np.empty((0, 3)), [1, 1, 1], reference=np.eye(3)).shape == (0, 3)
    rows = np.array([[0.9, 0.1, 0.0]])
    result = normalize_alternately(rows, [1, 1, 1])
    np.testing.assert_array_equal(result, rows)
    assert not np.shares_memory(result, rows)


def test_no_confident_row_warns_and_changes_nothing():
    rows = [[0.4, 0.3, 0.3], [0.34, 0.33, 0.33]]
    with pytest.warns(UnadjustedWarning, match="none of 2 rows is confident"):
        np.testing.assert_array_equal(normalize_alternately(rows, [1, 1, 1]), rows)
    assert not np.allclose(normalize_alternately(rows, [1, 1, 1], reference=np.eye(3)), rows)


@pytest.mark.parametrize("iterations", [1, 3])
def test_zero_prior_excludes_a_class_and_unseen_columns_give_no_nan(iterations):
    rows = [[0.9, 0.1, 0.0, 0.0], [0.4, 0.3, 0.3, 0.0], [0.95, 0.05, 0.0, 0.0]]
    adjusted = normalize_alternately(rows, [1, 0, 1, 1], iterations=iterations)
    assert adjusted[1, 1] == 0
    assert np.isfinite(adjusted).all()


def test_a_row_without_mass_stays_and_warns():
    rows = [[0.0, 0.0, 1.0], [0.5, 0.5, 0.0]]
    with pytest.warns(UnadjustedWarning, match="1 rows have no mass"):
        adjusted = normalize_alternately(rows, [0, 0, 1], k=2)
    np.testing.assert_array_equal(adjusted, rows)


def test_huge_alpha_underflows_to_zero_not_nan():
    adjusted = normalize_alternately(P, PRIOR, alpha=400, iterations=2)
    assert np.isfinite(adjusted).all()


def test_dtypes():
    assert normalize_alternately(np.array(P, np.float32), PRIOR).dtype == np.float32
    assert normalize_alternately(np.eye(3, dtype=int), [1, 1, 1]).dtype == np.float64
    half = normalize_alternately(np.array([[0.75, 0.25], [0.5, 0.5]], np.float16), [1, 1], k=2)
    assert half.dtype == np.float16


def test_chunks_do_not_change_the_result(monkeypatch):
    rows = distributions(np.random.default_rng(4), 40, 3)
    whole = normalize_alternately(rows, [1, 2, 3], threshold=0.6, iterations=2)
    monkeypatch.setattr("gezhi.classification.alternating_normalization.formula.ELEMENTS_AT_ONCE", 100)
    np.testing.assert_array_equal(normalize_alternately(rows, [1, 2, 3], threshold=0.6, iterations=2), whole)


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: normalize_alternately([[0.5, 0.6]], [1, 1], k=2), "probs must have non-negative rows that sum to 1: got row 0"),
        (lambda: normalize_alternately([[0.5, 0.5], [math.nan, 1]], [1, 1], k=2), "got row 1"),
        (lambda: normalize_alternately([[1.5, -0.5]], [1, 1], k=2), "got row 0"),
        (lambda: normalize_alternately([0.5, 0.5], [1, 1]), "two classes at least"),
        (lambda: normalize_alternately(P, [1, 1]), r"prior must have one entry a class, shape \(4,\)"),
        (lambda: normalize_alternately(P, [1, 1, 1, -1]), "prior must be non-negative"),
        (lambda: normalize_alternately(P, [0, 0, 0, 0]), "positive sum"),
        (lambda: normalize_alternately(P, PRIOR, k=1), "k must lie between 2 and 4: got 1"),
        (lambda: normalize_alternately(P, PRIOR, k=5), "k must lie between 2 and 4: got 5"),
        (lambda: normalize_alternately(P, PRIOR, alpha=0), "alpha must"),
        (lambda: normalize_alternately(P, PRIOR, iterations=0), "iterations must"),
        (lambda: normalize_alternately(P, PRIOR, reference=np.eye(3)), "reference must have 4 columns like probs: got 3"),
        (lambda: normalize_alternately([[0.5, 0.501]], [1, 1]), "Its sum is 1.001; a gap of 0.0001 is left to rounding"),
        (lambda: normalize_alternately(np.array([[0.5, 0.6]], np.float16), [1, 1]), "Its sum is 1.1"),
        (lambda: normalize_alternately(P, PRIOR, alpha=math.inf), "alpha must lie strictly between 0 and inf"),
        (lambda: normalize_alternately(P, PRIOR, k="all"), "k must be one of 'auto'"),
        (lambda: normalize_alternately(P, pd.Series(PRIOR, list("abcd"))), r"prior must name each of the classes \[0, 1, 2, 3\]: got \['a'"),
        (lambda: normalize_alternately(pd.DataFrame(P), PRIOR, reference=pd.DataFrame(P)[[1, 0, 2, 3]]), "reference must have the columns"),
        (lambda: AlternatingNormalizer(GaussianNB(), prior={0: 1, 1: 2}).fit(*WINE), r"prior must name each of the classes \[0, 1, 2\]: got \[0, 1\]"),
        (lambda: AlternatingNormalizer(GaussianNB(), prior="uniform").fit(*WINE), "prior must be one of 'train'"),
        (lambda: AlternatingNormalizer(GaussianNB()).fit(np.eye(4), [1, 1, 1, 1]), r"y must contain at least two classes: got 1 class: \[1\]"),
        (lambda: AlternatingNormalizer(GaussianNB(), cv=[]).fit(*WINE), "cv must give at least one split"),
        (lambda: AlternatingNormalizer(GaussianNB(), cv=1).fit(*WINE), "cv must lie between 2"),
        (lambda: AlternatingNormalizer(GaussianNB(), k=4).fit(*WINE), "k must lie between 2 and 3: got 4"),
        (lambda: AlternatingNormalizer(GaussianNB()).fit(*WINE, sample_weight=-np.ones(178)), "sample_weight must be non-negative"),
        (lambda: AlternatingNormalizer(GaussianNB(), reference="all").fit(*load_wine(return_X_y=True)), "reference must be one of"),
        (lambda: AlternatingNormalizer(GaussianNB(), prior=[1, 1]).fit(*load_wine(return_X_y=True)), "prior must have one entry"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_count_that_is_no_integer_is_named():
    for name, settings in [("iterations", {"iterations": 1.5}), ("k", {"k": 2.0})]:
        with pytest.raises(TypeError, match=f"{name} must be an integer: got"):
            normalize_alternately(P, PRIOR, **settings)
