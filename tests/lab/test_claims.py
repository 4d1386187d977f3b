"""What the short words for claims mean: which number, which region, and which regions make no sense."""

from __future__ import annotations

import math

import pytest

from gezhi.lab import at, better, exponent, inside, lower, ratio, same
from gezhi.lab.claims import Claim, Number, Test, as_claim

INF = math.inf


@pytest.mark.parametrize(
    ("test", "number", "region"),
    [
        (better("acc", "a", than="b", by=0.1), Number("acc", "a", "b", "difference"), (0.1, INF)),
        (better("acc", "a", than="b", by=-0.1), Number("acc", "a", "b", "difference"), (-0.1, INF)),
        (lower("acc", "a", than="b", by=0.1), Number("acc", "a", "b", "difference"), (-INF, -0.1)),
        (same("acc", "a", than="b", within=0.1), Number("acc", "a", "b", "difference"), (-0.1, 0.1)),
        (ratio("s", "a", over="b", at_least=3), Number("s", "a", "b", "ratio"), (3, INF)),
        (ratio("s", "a", over="b", at_most=3), Number("s", "a", "b", "ratio"), (-INF, 3)),
        (ratio("s", "a", over="b", at_least=2, at_most=3), Number("s", "a", "b", "ratio"), (2, 3)),
        (exponent("s", "a", 0.9, 1.1), Number("s", "a", None, "exponent"), (0.9, 1.1)),
        (exponent("s", "a", high=1.1), Number("s", "a", None, "exponent"), (-INF, 1.1)),
        (inside("rank", "a", low=3), Number("rank", "a", None, "value"), (3, INF)),
        (inside("rank", "a", 3, 3), Number("rank", "a", None, "value"), (3, 3)),
    ],
)
def test_each_word_is_a_number_and_a_region(test, number, region):
    assert (test.number, (test.low, test.high)) == (number, region)
    assert test.margins == [edge for edge in region if math.isfinite(edge)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: inside("x", "a", 2, 1), r"low must not exceed high: got \[2, 1\]"),
        (lambda: inside("x", "a", math.nan, 1), "low must not exceed high"),
        (lambda: better("x", "a", than="b", by=math.nan), "low must not exceed high"),
        (lambda: same("x", "a", than="b", within=-1), "low must not exceed high"),
        (lambda: inside("x", "a"), r"bound the claim on one side at least: got \[-inf, inf\]"),
        (lambda: inside("x", "a", low=INF), "bound the claim on one side at least"),
        (lambda: ratio("x", "a", over="b"), "bound the claim on one side at least"),
        (lambda: ratio("x", "a", over="b", at_most=0), "at_most must lie strictly between 0 and inf: got 0"),
        (lambda: ratio("x", "a", over="b", at_least=-2), "at_least must lie between 0 and inf: got -2"),
        (lambda: at("toy"), "a claim must hold a test: got none"),
        (lambda: Claim(()), "a claim must hold a test: got none"),
        (lambda: at((), inside("x", "a", 1)), "cases of a claim must name a case, or be None for all: got none"),
    ],
)
def test_regions_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_one_test_several_or_a_claim_read_alike():
    one, other = inside("x", "a", 1), exponent("x", "a", 1)
    assert as_claim(one) == Claim((one,))
    assert as_claim((one, other)) == Claim((one, other))
    assert as_claim(at("toy", one, other)) == Claim((one, other), ("toy",))
    assert at(("toy", "table"), one).cases == ("toy", "table")
    assert not as_claim(one).along_cases
    assert as_claim((one, other)).along_cases


def test_pytest_does_not_take_the_lab_s_test_for_its_own():
    assert Test.__test__ is False
