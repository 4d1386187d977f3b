"""Embedding dimension against the tagged formulas, scikit-learn's bound, and what the derivations promise."""

from __future__ import annotations

import math
import warnings
from collections import Counter

import mpmath
import numpy as np
import pytest
from contract import Sample, estimator_checks
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import chi2
from sklearn.exceptions import DataDimensionalityWarning, NotFittedError
from sklearn.random_projection import johnson_lindenstrauss_min_dim

from gezhi.theory import (
    GaussianRandomProjection,
    SignHash,
    entropy_gap,
    jl_min_dim,
    min_embedding_dim,
    rule_of_thumb,
)

NUMPY = {"compiles": False, "differentiable": False, "reason": "it computes with NumPy"}
SAMPLES = [
    Sample(entropy_gap, (np.array([2.0, 64.0, 512.0]),), **NUMPY),
    Sample(min_embedding_dim, (np.array([512.0, 1e5]),), {"softmax": "row"}, **NUMPY),
    Sample(rule_of_thumb, (np.array([512.0, 1e5]),), **NUMPY),
    Sample(jl_min_dim, (np.array([512.0, 1000.0]), 0.5), **NUMPY),
]

SIZES = np.array([512, 1000, 1e4, 1e5, 5e6])


def reference_entropy_gap(n):
    """Equation (3) by the integral over the angle, whose law is proportional to sin^(n-2)."""
    total, mean_exp, mean_both = (
        mpmath.quad(lambda a, f=f: f(n * mpmath.cos(a)) * mpmath.sin(a) ** (n - 2), mpmath.linspace(0, mpmath.pi, 9))
        for f in (lambda _: 1, mpmath.exp, lambda s: s * mpmath.exp(s))
    )
    return float(mpmath.log(mean_exp / total) - mean_both / mean_exp)


def reference_failure(N, eps, n):
    """Left side of equation (8)."""
    return math.comb(N, 2) * (chi2.sf(n * (1 + eps), n) + chi2.cdf(n * (1 - eps), n))


def reference_jl(N, eps, delta):
    """Equation (8) by trying every width."""
    n = 1
    while reference_failure(N, eps, n) > delta:
        n += 1
    return n


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5.5, 16, 64])
def test_entropy_gap_is_the_integral(n):
    assert entropy_gap(n) == pytest.approx(reference_entropy_gap(n), abs=1e-11)


@pytest.mark.parametrize(("N", "eps", "delta"), [(2, 0.5, 0.9), (3, 0.9, 0.2), (20, 0.3, 0.05), (57, 0.7, 1e-6)])
def test_exact_dimension_is_the_smallest(N, eps, delta):
    assert jl_min_dim(N, eps, delta=delta) == reference_jl(N, eps, delta)


def test_entropy_gap_of_the_article():
    n = [32, 64, 96, 128, 256, 512]
    published = ["-7.77471", "-15.4734", "-23.1726", "-30.8718", "-61.6692", "-123.264"]
    assert [f"{value:.6g}" for value in entropy_gap(n)] == published


def test_entropy_thresholds_of_the_page():
    joint = [51.544287349, 57.109175815, 76.249871589, 95.390242090, 127.908825447]
    row = [25.613088213, 28.396069698, 37.967659180, 47.538582427, 63.798617287]
    np.testing.assert_allclose(min_embedding_dim(SIZES), joint, atol=1e-9)
    np.testing.assert_allclose(min_embedding_dim(SIZES, softmax="row"), row, atol=1e-9)


def test_rule_of_thumb_of_the_article():
    np.testing.assert_allclose(rule_of_thumb([1e5, 5e6, 512]).round(1), [95.9, 128.5, 52.0])


@pytest.mark.parametrize(
    ("N", "eps", "article", "existence", "dasgupta", "exact", "exact_at_5_percent"),
    [
        (1000, 0.1, 16578.61, 11052.41, 5920.933096, 7403, 5806),
        (1000, 0.5, 663.14, 442.10, 331.572253, 364, 283),
        (10000, 0.3, 2456.09, 1637.39, 1023.371152, 1274, 952),
        (512, 0.5, 598.88, 399.25, 299.439582, 322, 256),
    ],
)
def test_johnson_lindenstrauss_dimensions(N, eps, article, existence, dasgupta, exact, exact_at_5_percent):
    assert jl_min_dim(N, eps, method="article") == pytest.approx(article, abs=0.005)
    assert jl_min_dim(N, eps, method="existence") == pytest.approx(existence, abs=0.005)
    assert jl_min_dim(N, eps, method="dasgupta") == pytest.approx(dasgupta, abs=5e-7)
    assert jl_min_dim(N, eps) == exact
    assert jl_min_dim(N, eps, delta=0.05) == exact_at_5_percent


# ---- oracle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("N", [2, 1000, 10**6])
@pytest.mark.parametrize("eps", [0.05, 0.1, 0.5, 0.9])
def test_dasgupta_equals_scikit_learn_before_its_truncation(N, eps):
    assert int(jl_min_dim(N, eps, method="dasgupta")) == johnson_lindenstrauss_min_dim(N, eps=eps)


def test_scikit_learns_bound_promises_little_but_holds():
    n = johnson_lindenstrauss_min_dim(1000, eps=0.1)
    assert n == 5920, "truncated, not rounded up"
    assert reference_failure(1000, 0.1, n) < 0.05


@pytest.mark.parametrize(
    ("N", "n", "eps"), [(2, 40, 0.3), (10**4, 1274, 0.3), (1000, 7403, 0.1), (10**5, 40_000, 0.05), (100, 20_000, 0.3)]
)
def test_tails_are_accurate_far_out(N, n, eps):
    with mpmath.workdps(30):
        upper = mpmath.gammainc(n / 2, n * (1 + mpmath.mpf(eps)) / 2, mpmath.inf, regularized=True)
        lower = mpmath.gammainc(n / 2, 0, n * (1 - mpmath.mpf(eps)) / 2, regularized=True)
        failure = float((upper + lower) * math.comb(N, 2))
    assert jl_min_dim(N, eps, delta=failure * (1 + 1e-8)) == n
    assert jl_min_dim(N, eps, delta=failure * (1 - 1e-8)) == n + 1


# ---- theorems -------------------------------------------------------------------------------------------------------

NUMBERS = st.floats(2, 1e12)


@given(NUMBERS, st.floats(1.001, 100), st.sampled_from(["joint", "row"]))
def test_thresholds_solve_their_equation_and_increase(N, factor, softmax):
    n = min_embedding_dim(N, softmax=softmax)
    logs = {"joint": 2, "row": 1}[softmax] * math.log(N)
    assert logs + entropy_gap(n) == pytest.approx(0, abs=1e-11)
    assert min_embedding_dim(N * factor, softmax=softmax) > n >= 2


@given(NUMBERS)
def test_joint_threshold_is_that_of_rows_of_pairs(N):
    assert min_embedding_dim(N) == pytest.approx(min_embedding_dim(N**2, softmax="row"), rel=1e-12)


@given(st.floats(2, 1e5), st.floats(1.0001, 3))
def test_entropy_gap_strictly_decreases(n, factor):
    assert entropy_gap(n * factor) < entropy_gap(n) < 0


def test_laplace_expansion_has_an_error_of_order_one_over_n():
    n, golden = np.array([64, 256, 1024, 4096]), (1 + 5**0.5) / 2
    constant = math.log(golden) - math.log(5) / 4 - (3 - 5**0.5) / 5
    assert constant == pytest.approx(-0.073934, abs=5e-7)
    error = entropy_gap(n) + n / 2 * math.log(golden) - constant  # (4)
    np.testing.assert_allclose(np.polyfit(np.log(n), np.log(-error), 1)[0], -1, atol=0.02)


def test_rule_of_thumb_is_the_limit_of_the_threshold():
    N, golden = 1e300, (1 + 5**0.5) / 2
    coefficient = 4 / math.log(golden)
    assert coefficient == pytest.approx(8.31234768494011, rel=1e-14)
    assert min_embedding_dim(N) == pytest.approx(rule_of_thumb(N, coefficient=coefficient), rel=1e-4)


def test_rule_of_thumb_is_near_the_threshold_and_a_row_needs_half():
    N = np.array([512, 1e5, 5e6])
    assert abs(rule_of_thumb(N) / min_embedding_dim(N) - 1).max() < 0.0082
    assert abs(min_embedding_dim(N, softmax="row") / min_embedding_dim(N) - 0.5).max() < 0.0032


def test_without_a_bound_on_length_two_dimensions_select_any_key():
    angle = 2 * math.pi * np.arange(512) / 512
    keys = 1000 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    logits = keys @ keys.T  # query i points at key i
    loss = np.log(np.exp(logits - np.diag(logits)[:, None]).sum(axis=1))
    assert loss.max() < 1e-9


def test_the_published_bound_asks_for_nearly_twice_the_exact_tail():
    N, eps = np.array([1000, 1000, 10_000, 512]), np.array([0.1, 0.5, 0.3, 0.5])
    share = jl_min_dim(N, eps, method="article") / jl_min_dim(N, eps)
    assert (share > 1.82).all()
    assert (share < 2.3).all()


@given(st.integers(2, 10**6), st.floats(0.02, 0.98), st.floats(1e-6, 0.5))
def test_exact_dimension_is_never_above_the_bounds_it_sharpens(N, eps, delta):
    n = jl_min_dim(N, eps, delta=delta)
    assert reference_failure(N, eps, n) <= delta * (1 + 1e-9)
    assert n == 1 or reference_failure(N, eps, n - 1) > delta * (1 - 1e-9)
    assert jl_min_dim(N, eps) <= math.ceil(jl_min_dim(N, eps, method="article"))


@given(st.integers(2, 1000), st.floats(0.05, 0.95))
def test_failure_decreases_with_the_dimension(N, eps):
    n = np.arange(1, 400)
    failure = chi2.sf(n * (1 + eps), n) + chi2.cdf(n * (1 - eps), n)
    assert (np.diff(failure) < 1e-14).all(), "else bisection would not find the smallest"
    assert jl_min_dim(N, eps) >= jl_min_dim(N, min(eps * 1.05, 0.99))


def test_projection_keeps_all_squared_distances():
    rows = np.random.default_rng(0).normal(size=(40, 3000))
    model = GaussianRandomProjection(eps=0.5, random_state=0)
    i, j = np.triu_indices(40, 1)
    before = ((rows[i] - rows[j]) ** 2).sum(1)
    after = ((lambda z: z[i] - z[j])(model.fit_transform(rows)) ** 2).sum(1)
    assert model.components_.shape == (jl_min_dim(40, 0.5), 3000)
    assert (abs(after / before - 1) < 0.5).all()


def test_projected_squared_norms_follow_the_chi_square_law():
    row = np.random.default_rng(0).normal(size=(1, 7))
    seeds = range(2000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataDimensionalityWarning)
        norms = [(GaussianRandomProjection(9, random_state=s).fit_transform(row) ** 2).sum() for s in seeds]
    scaled = np.array(norms) / (row**2).sum() * 9
    assert abs(chi2(9).cdf(np.sort(scaled)) - (np.arange(2000) + 0.5) / 2000).max() < 1.63 / 2000**0.5  # 1 % point


@pytest.mark.parametrize("degrees", [30, 60, 120])
def test_signs_differ_in_proportion_to_the_angle(degrees):
    angle = math.radians(degrees)
    signs = SignHash(40_000, random_state=0).fit_transform([[2.0, 0.0], [3 * math.cos(angle), 3 * math.sin(angle)]])
    share, p = (signs[0] != signs[1]).mean(), angle / math.pi
    assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / 40_000)
    assert signs[0] @ signs[1] / 40_000 == pytest.approx(1 - 2 * share)


def test_largest_gap_between_sign_cosine_and_cosine():
    angle = np.linspace(0, math.pi, 10**5)
    assert abs(1 - 2 * angle / math.pi - np.cos(angle)).max() == pytest.approx(0.2105, abs=5e-5)


# ---- edges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [GaussianRandomProjection(), SignHash()], ids=["projection", "signs"])
def test_common_checks_of_scikit_learn(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataDimensionalityWarning)
        count, skipped = estimator_checks(estimator)
    assert skipped == {"check_array_api_input"}, "SCIPY_ARRAY_API is not set"
    assert count == Counter(passed=46, skipped=1)


def test_smallest_inputs_are_finite():
    assert entropy_gap(2) == pytest.approx(-0.571556, abs=5e-7)
    assert 2 < min_embedding_dim(2, softmax="row") < min_embedding_dim(2)
    assert jl_min_dim(2, 0.999, delta=0.999) == 1


def test_arrays_broadcast_and_scalars_stay_scalars():
    grid = jl_min_dim([[100], [1000]], [0.3, 0.5, 0.9], delta=0.1)
    assert grid.shape == (2, 3)
    assert grid[1, 1] == jl_min_dim(1000, 0.5, delta=0.1)
    assert {np.ndim(f) for f in (grid[0, 0], entropy_gap(8), min_embedding_dim(8), rule_of_thumb(8))} == {0}
    assert grid.dtype == np.int64


def test_extreme_arguments_do_not_overflow():
    assert np.isfinite(entropy_gap([20_000, 1e12])).all()
    assert np.isfinite(min_embedding_dim([1e300], softmax="joint")).all()
    assert jl_min_dim(1e100, 0.5) < jl_min_dim(1e100, 0.5, method="article")


@pytest.mark.parametrize("make", [lambda s: GaussianRandomProjection(3, random_state=s), lambda s: SignHash(3, s)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_rows_and_single_precision(make, dtype):
    rows = np.random.default_rng(0).normal(size=(6, 4)).astype(dtype)
    dense = make(0).fit(rows).transform(rows)
    np.testing.assert_allclose(make(0).fit_transform(sparse.csr_matrix(rows)), dense, rtol=1e-5)
    assert dense.dtype == dtype
    assert make(0).fit(rows).get_feature_names_out().shape == (3,)


def test_a_zero_row_has_signs_plus_one():
    assert (SignHash(5, random_state=0).fit_transform([[0.0, 0.0]]) == 1).all()


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: entropy_gap(1.5), "n must lie between 2 and inf: got 1.5"),
        (lambda: min_embedding_dim([10, 1]), "N must lie between 2 and inf: got 1.0"),
        (lambda: min_embedding_dim(math.nan), "N must be finite: got nan"),
        (lambda: min_embedding_dim(10, softmax="column"), "softmax must be one of 'joint', 'row': got 'column'"),
        (lambda: rule_of_thumb(0), "N must lie between 2"),
        (lambda: rule_of_thumb(10, coefficient=0), "coefficient must lie strictly between 0 and inf: got 0"),
        (lambda: jl_min_dim(1, 0.5), "N must lie between 2"),
        (lambda: jl_min_dim(10, [0.5, 1.0]), "eps must lie strictly between 0 and 1: got 1.0"),
        (lambda: jl_min_dim(10, 0.0), "eps must lie strictly between 0 and 1: got 0.0"),
        (lambda: jl_min_dim(10, 0.5, delta=1), "delta must lie strictly between 0 and 1: got 1"),
        (lambda: jl_min_dim(10, 0.5, method="best"), "method must be one of 'exact', 'article'"),
        (lambda: jl_min_dim(10, 0.5, delta=0.1, method="article"), "delta must be None .* Use method='exact'"),
        (lambda: GaussianRandomProjection(0).fit([[1.0]]), "n_components must be a positive integer: got 0"),
        (lambda: SignHash(2.5).fit([[1.0]]), "n_components must be a positive integer: got 2.5"),
        (lambda: GaussianRandomProjection().fit([[1.0]]), "minimum of 2 is required"),
        (lambda: GaussianRandomProjection(eps=2).fit([[1.0], [2]]), "eps must lie strictly between 0 and 1: got 2"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_transform_waits_for_fit():
    with pytest.raises(NotFittedError):
        SignHash().transform([[1.0]])


def test_a_projection_that_expands_warns():
    with pytest.warns(DataDimensionalityWarning, match="projecting 1 columns to 4 makes them more"):
        GaussianRandomProjection(4).fit([[1.0]])
