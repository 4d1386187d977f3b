"""The log-partition function of the sphere, against 50-digit arithmetic and the figures of both pages that use it."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gezhi._numerics import exact_transport, real_array, spherical_entropy_shift


def reference_shift(dim, scale):
    """The definition by Bessel functions, in 50 digits."""
    with mpmath.workdps(50):
        d, x = mpmath.mpf(dim), mpmath.mpf(scale) * dim
        nu = d / 2 - 1
        here, above = (mpmath.besseli(order, x, maxterms=10**6) for order in (nu, nu + 1))
        return mpmath.loggamma(d / 2) + nu * mpmath.log(2 / x) + mpmath.log(here) - x * above / here


def quadrature_shift(dim, scale):
    """The definition by the integral over the angle, around its peak, where Bessel series converge too slowly."""
    with mpmath.workdps(40):
        d, x = mpmath.mpf(dim), mpmath.mpf(scale) * dim
        saddle = mpmath.acos((mpmath.sqrt((d - 2) ** 2 + 4 * x**2) - (d - 2)) / (2 * x))
        top = x * mpmath.cos(saddle) + (d - 2) * mpmath.log(mpmath.sin(saddle))
        reach = 14 / mpmath.sqrt(d)
        edges = mpmath.linspace(max(0, saddle - reach), min(mpmath.pi, saddle + reach), 9)

        def weight(a):
            return mpmath.exp(x * mpmath.cos(a) + (d - 2) * mpmath.log(mpmath.sin(a)) - top)

        total = mpmath.quad(weight, edges)
        cosine = mpmath.quad(lambda a: weight(a) * mpmath.cos(a), edges) / total
        uniform = mpmath.log(mpmath.pi) / 2 + mpmath.loggamma((d - 1) / 2) - mpmath.loggamma(d / 2)
        return mpmath.log(total) + top - uniform - x * cosine


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [2, 2.5, 3, 8, 33, 100.3, 700, 4096])
@pytest.mark.parametrize("scale", [1e-6, 0.01, 0.3, 1, 2, 7.5])
def test_equals_the_bessel_form_in_fifty_digits(dim, scale):
    expected = float(reference_shift(dim, scale))
    assert spherical_entropy_shift(dim, scale) == pytest.approx(expected, rel=2e-15, abs=1e-12)


@pytest.mark.parametrize("dim", [4096, 20_000, 1_000_000])
@pytest.mark.parametrize("power", [-0.5, -0.25, 0, 0.2])
def test_equals_the_integral_where_bessel_functions_fail(dim, power):
    expected = float(quadrature_shift(dim, dim**power))
    assert spherical_entropy_shift(dim, dim**power) == pytest.approx(expected, rel=1e-10)


def test_check_values_at_scale_one():
    expected = {
        2: -0.571555774445,
        3: -0.809150768538,
        8: -2.004378182704,
        16: -3.926413025396,
        32: -7.774705130667,
        64: -15.473400160234,
        96: -23.172559,
        128: -30.871833832284,
        256: -61.669219,
        512: -123.264246843547,
    }
    dims = np.array(list(expected))
    found = spherical_entropy_shift(dims, 1)
    np.testing.assert_allclose(found, list(expected.values()), atol=5e-7)
    exact = ~np.isin(dims, [96, 256])  # these two are known to 6 decimals only
    np.testing.assert_allclose(found[exact], np.array(list(expected.values()))[exact], atol=1e-11)


def test_check_values_at_other_scales():
    found = spherical_entropy_shift(64, [1 / 8, 0.25, 0.5, 2])
    np.testing.assert_allclose(found, [-0.4889942598, -1.8388607667, -6.0511463711, -30.1548330708], atol=5e-11)


def test_offset_from_the_golden_slope():
    dims = np.array([64, 512, 4096])
    offset = spherical_entropy_shift(dims, 1) + dims / 2 * np.log((1 + 5**0.5) / 2)
    np.testing.assert_allclose(offset, [-0.074621758327, -0.074019628289, -0.073944747484], atol=1e-10)


def test_three_dimensions_have_an_elementary_form():
    x = 3 * np.array([0.2, 1, 4])
    coth = 1 / np.tanh(x)
    np.testing.assert_allclose(
        spherical_entropy_shift(3, x / 3), np.log(np.sinh(x) / x) - x * coth + 1, rtol=1e-13, atol=1e-13
    )


# ---- theorems -------------------------------------------------------------------------------------------------------

DIMS, SCALES = st.floats(2, 1e6), st.floats(1e-3, 50)


@given(DIMS, SCALES, st.floats(1.01, 10))
def test_never_positive_and_decreasing_in_both(dim, scale, factor):
    here = spherical_entropy_shift(dim, scale)
    assert spherical_entropy_shift(dim, scale * factor) < here < 0
    assert spherical_entropy_shift(dim * factor, scale) < here


@given(st.floats(1e4, 1e9), st.floats(0.05, 5))
def test_large_dimensions_follow_the_laplace_slope(dim, scale):
    root = np.sqrt(1 + 4 * scale**2)
    cosine = (root - 1) / (2 * scale)
    assert spherical_entropy_shift(dim, scale) / dim == pytest.approx(np.log1p(-(cosine**2)) / 2, abs=3 / dim)


@given(DIMS)
def test_small_scales_are_quadratic(dim):
    scale = 1e-3 / np.sqrt(dim)
    assert spherical_entropy_shift(dim, scale) == pytest.approx(-(scale**2) * dim / 2, rel=1e-3)


# ---- edges and errors -----------------------------------------------------------------------------------------------


def test_broadcasts_and_keeps_scalars():
    found = spherical_entropy_shift([[2], [64]], [0, 0.5, 1])
    assert found.shape == (2, 3)
    assert (found[:, 0] == 0).all()
    assert np.ndim(spherical_entropy_shift(64, 1)) == 0
    assert spherical_entropy_shift(np.zeros(0) + 2, 1).shape == (0,)


@pytest.mark.parametrize(
    ("dim", "scale", "message"),
    [
        (1.9, 1, "dim must lie between 2 and inf: got 1.9"),
        ([64, np.nan], 1, "dim must be finite: got nan"),
        (64, np.inf, "scale must be finite: got inf"),
        (64, [1, -0.5], "scale must lie between 0 and inf: got -0.5"),
    ],
)
def test_bad_input_is_named(dim, scale, message):
    with pytest.raises(ValueError, match=message):
        spherical_entropy_shift(dim, scale)


def test_real_array_checks_both_extremes():
    np.testing.assert_array_equal(real_array("p", [1, 2], at_least=1, at_most=2), [1.0, 2.0])
    with pytest.raises(ValueError, match="p must lie strictly between 0 and 1: got 1"):
        real_array("p", [0.5, 1], above=0, below=1)


# ---- exact transport ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["assignment", "pot", "highs", "auto"])
def test_solvers_of_transport_agree(solver):
    cost = np.random.default_rng(0).random((6, 6))
    value, plan = exact_transport(cost, solver=solver)
    assert value == pytest.approx(exact_transport(cost, solver="highs")[0], abs=1e-9)
    np.testing.assert_allclose([plan.sum(0), plan.sum(1)], 1 / 6, atol=1e-9)


@pytest.mark.parametrize("solver", ["pot", "highs"])
def test_transport_moves_given_masses(solver):
    draw = np.random.default_rng(1)
    cost, a, b = draw.random((3, 5)), draw.dirichlet(np.ones(3)), draw.dirichlet(np.ones(5))
    value, plan = exact_transport(cost, a, b, solver=solver)
    np.testing.assert_allclose(plan.sum(1), a, atol=1e-9)
    np.testing.assert_allclose(plan.sum(0), b, atol=1e-9)
    assert value == pytest.approx(exact_transport(cost, a, b)[0], abs=1e-9)


def test_transport_does_without_pot(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert exact_transport([[0.0, 2.0, 1.0]])[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1.0],), "cost must be a matrix"),
        (([[np.inf]],), "cost must be finite: got inf in row 0, column 0"),
        (([[1.0]], [2.0]), "a must sum to 1 within 1e-6"),
        (([[1.0, 2.0]], None, None, "assignment"), "solver must be another one"),
        (([[1.0]], None, None, "fast"), "solver must be one of"),
    ],
)
def test_bad_transport_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        exact_transport(*arguments[:3], **({"solver": arguments[3]} if len(arguments) > 3 else {}))
