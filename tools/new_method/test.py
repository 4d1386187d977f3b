"""The mean against a loop, NumPy, and what is known of means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st

from gezhi.$wing.$stem import $function

SAMPLES = [Sample($function, (torch.arange(5, dtype=torch.float64),))]
NUMBERS = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=9)


def reference(values):
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


@given(NUMBERS)
def test_it_is_the_formula_and_numpy_s(numbers):
    found = $function(torch.tensor(numbers, dtype=torch.float64)).item()
    assert found == pytest.approx(reference(numbers), abs=1e-9)
    assert found == pytest.approx(np.mean(numbers), abs=1e-9)


@given(NUMBERS, st.floats(-10, 10))
def test_a_shift_shifts_the_mean(numbers, shift):
    values = torch.tensor(numbers, dtype=torch.float64)
    torch.testing.assert_close($function(values + shift), $function(values) + shift)


def test_gradcheck():
    assert torch.autograd.gradcheck($function, torch.randn(4, dtype=torch.float64, requires_grad=True))


def test_nothing_is_named():
    with pytest.raises(ValueError, match="values must hold a number"):
        $function(torch.empty(0))
