"""What counts as a number, an integer, a named entry, in every argument of the house."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gezhi._checks import check_integer, check_number, entries_by_name

INTEGERS = [np.int8, np.uint8, np.int32, np.uint64, np.intp]
FLOATS = [np.float16, np.float32, np.float64, np.longdouble]


@given(st.integers(0, 100), st.sampled_from(INTEGERS))
def test_numpy_integers_become_python_integers(value, kind):
    for check in (check_integer, check_number):
        found = check("n", kind(value), at_least=0, at_most=100)
        assert (found, type(found)) == (value, int)


@given(st.floats(-8, 8, width=16), st.sampled_from(FLOATS))
def test_numpy_floats_become_python_floats(value, kind):
    found = check_number("x", kind(value))
    assert found == value
    assert isinstance(found, float)


def test_large_integers_keep_their_digits():
    assert check_integer("n", np.uint64(2**63 + 1)) == check_number("n", np.uint64(2**63 + 1)) == 2**63 + 1


def test_python_numbers_come_back_as_they_are():
    for value in (3, 0.25, -0.0, math.inf, 10**40):
        assert check_number("x", value) is value
    assert check_number("x", Fraction(1, 4)) == 0.25


@pytest.mark.parametrize("value", [True, np.True_, "1", None, np.array(1.0), [1], 1j, np.complex64(1)])
def test_what_is_no_number_is_named_with_its_type(value):
    for check in (check_number, check_integer):
        with pytest.raises(TypeError, match=rf"^x must be an? .*\({type(value).__name__}\)\."):
            check("x", value)


@pytest.mark.parametrize("value", [1.5, 2.0, np.float32(2), math.inf, math.nan])
def test_an_integer_is_not_rounded_from_a_float(value):
    with pytest.raises(TypeError, match="n_trials must be an integer: got "):
        check_integer("n_trials", value)


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (np.int64(0), {"at_least": 1}, "x must lie between 1 and inf: got 0"),
        (np.float32(1), {"below": 1}, "x must lie strictly between -inf and 1: got 1.0"),
        (math.nan, {}, "x must lie between -inf and inf: got nan"),
        (np.float16("nan"), {"above": 0}, "x must lie strictly between 0 and inf: got nan"),
        (math.inf, {"above": 0, "below": math.inf}, "x must lie strictly between 0 and inf: got inf"),
        (-np.float64("inf"), {"at_least": 0}, "x must lie between 0 and inf: got -inf"),
    ],
)
def test_bounds_hold_for_numpy_scalars_too(value, bounds, message):
    with pytest.raises(ValueError, match=message):
        check_number("x", value, **bounds)


def test_entries_by_name():
    for value in ({"a": 1, "b": 2}, pd.Series([1, 2], ["a", "b"])):
        assert entries_by_name("prior", value) == {"a": 1, "b": 2}
    for value in ([1, 2], (1, 2), np.array([1, 2]), "ab", pd.DataFrame({"a": [1]}), None):
        assert entries_by_name("prior", value) is None
    with pytest.raises(ValueError, match="prior must have one entry a name: got several named 'a'"):
        entries_by_name("prior", pd.Series([1, 2], ["a", "a"]))
