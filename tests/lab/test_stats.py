"""Intervals, verdicts and plans against scipy, published formulas and simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gezhi.lab import better, inside, same
from gezhi.lab.stats import (
    DISCORDANT,
    SHARE,
    Estimate,
    benjamini_hochberg,
    judge,
    of_both,
    of_items,
    of_replicates,
    p_value,
    resolution,
    seeds_needed,
)

GAIN = better("x", "a", than="b", by=0.5)
DECIDED = ("supported", "refuted")


def simulated(mean, spread, n, repeats=2000, seed=0):
    """Estimates from so many runs of n normal differences."""
    rng = np.random.default_rng(seed)
    return [of_replicates(row) for row in rng.normal(mean, spread, size=(repeats, n))]


def share(verdicts, *wanted):
    return np.isin(verdicts, wanted).mean()


# ---- estimates ------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12).filter(lambda x: np.std(x) > 1e-6))
def test_interval_is_scipy_s(x):
    expected = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    np.testing.assert_allclose(of_replicates(x).interval(), (expected.low, expected.high), rtol=1e-9, atol=1e-9)
    wider = stats.ttest_1samp(x, 0).confidence_interval(0.98)
    np.testing.assert_allclose(of_replicates(x).interval(0.98), (wider.low, wider.high), rtol=1e-9, atol=1e-9)


def test_one_replicate_has_an_infinite_interval():
    assert of_replicates([0.3]).interval() == (-math.inf, math.inf)


@pytest.mark.parametrize(("x", "scale"), [([0.3] * 5, 0), ([0.1 + 0.2, 0.3, 0.3], 0), ([0.1, 0.1 + 1e-12], 1000)])
def test_rounding_of_equal_numbers_is_no_variance(x, scale):
    assert of_replicates(x, scale).error == 0
    assert of_replicates([*x, 0.31], scale).error > 0


def test_interval_covers_the_mean_as_often_as_it_says():
    found = np.array([e.interval() for e in simulated(0.3, 2.0, n=5)])
    assert 0.93 < ((found[:, 0] <= 0.3) & (found[:, 1] >= 0.3)).mean() < 0.97


def test_wrong_verdicts_on_the_margin_are_five_percent():
    verdicts = [judge(e, GAIN) for e in simulated(0.5, 1.0, n=5)]
    assert 0.04 < share(verdicts, *DECIDED) < 0.06
    assert 0.015 < share(verdicts, "supported") < 0.035


def bonett_price(only_first, only_second, n):
    """Bonett and Price (2012): Wald's interval with one discordance added on each side; the standard error."""
    p12, p21 = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    return p12 - p21, math.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))


@pytest.mark.parametrize(("only_first", "only_second", "n"), [(7, 2, 40), (3, 0, 12), (0, 0, 200)])
def test_pseudo_items_of_differences_are_bonett_and_price(only_first, only_second, n):
    x = [1.0] * only_first + [-1.0] * only_second + [0.0] * (n - only_first - only_second)
    found, (value, error) = of_items(x, DISCORDANT), bonett_price(only_first, only_second, n)
    assert found.value == pytest.approx(value)
    assert found.error == pytest.approx(error * math.sqrt((n + 2) / (n + 1)))  # the sample's, not the table's, variance
    assert (found.n, found.over) == (n + 2, "items")


@pytest.mark.parametrize(("successes", "n"), [(5, 30), (30, 30), (0, 8)])
def test_pseudo_items_of_shares_are_agresti_and_coull(successes, n):
    found, p = of_items([1.0] * successes + [0.0] * (n - successes), SHARE), (successes + 2) / (n + 4)
    assert found.value == pytest.approx(p)
    assert found.error == pytest.approx(math.sqrt(p * (1 - p) / (n + 3)))


def test_pseudo_items_widen_one_sided_samples_to_honest_coverage():
    rng, truth, n = np.random.default_rng(0), 0.05, 40
    samples = rng.choice([1.0, 0.0], p=[truth, 1 - truth], size=(2000, n))

    def covered(pseudo):
        intervals = [of_items(x, pseudo).interval() for x in samples]
        return np.mean([low <= truth <= high for low, high in intervals])

    assert covered(DISCORDANT) > 0.93
    assert covered(()) < 0.9


def test_both_takes_the_wider_interval():
    ladder = np.linspace(-1, 1, 5)
    over_seeds, over_items = np.add.outer(ladder, 0.1 * ladder), np.add.outer(0.1 * ladder, ladder)
    assert of_both(over_seeds) == of_replicates(over_seeds.mean(axis=1))
    assert of_both(over_items) == of_items(over_items.mean(axis=0))
    assert of_both(over_items).over == "items"
    assert of_both(np.ones((5, 8)), DISCORDANT) == of_items(np.ones(8), DISCORDANT)


# ---- verdicts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "value", "verdict"),
    [
        (GAIN, 1.6, "supported"),
        (GAIN, 1.4, "inconclusive"),
        (GAIN, 0.5, "inconclusive"),
        (GAIN, -0.4, "inconclusive"),
        (GAIN, -0.6, "refuted"),
        (same("x", "a", than="b", within=2), 0.0, "supported"),
        (same("x", "a", than="b", within=2), 1.5, "inconclusive"),
        (same("x", "a", than="b", within=2), 3.1, "refuted"),
        (same("x", "a", than="b", within=2), -3.1, "refuted"),
        (same("x", "a", than="b", within=0.9), 0.0, "inconclusive"),
    ],
)
def test_verdict_is_where_the_interval_lies(test, value, verdict):
    noise = np.array([-1, 0, 1]) * 1 / stats.t.ppf(0.975, 2) * math.sqrt(3)  # half width 1
    estimate = of_replicates(value + noise)
    np.testing.assert_allclose(estimate.interval(), (value - 1, value + 1))
    assert judge(estimate, test) == verdict


@pytest.mark.parametrize(
    "x", [[1.0] * 5, [1.0], [1.0, math.nan, 1.0], [1.0, math.inf, 1.0], [-math.inf] * 5, [math.inf, -math.inf]]
)
def test_without_variance_or_finite_numbers_nothing_is_decided(x):
    estimate = of_replicates(x)
    assert judge(estimate, GAIN) == "inconclusive"
    assert p_value(estimate, GAIN) == 1.0
    assert seeds_needed(estimate, GAIN) is None or estimate.spread == 0


@pytest.mark.parametrize(
    ("value", "verdict"), [(1.0, "supported"), (0.5, "supported"), (0.4, "refuted"), (math.inf, "inconclusive")]
)
def test_exact_numbers_have_no_interval(value, verdict):
    assert judge(Estimate(value), GAIN, exact=True) == verdict
    assert Estimate(value).interval() == (value, value)


@given(
    st.floats(-3, 3),
    st.floats(0.01, 2),
    st.integers(1, 30),
    st.sampled_from([GAIN, same("x", "a", than="b", within=1), inside("x", "a", high=0.2)]),
)
def test_p_value_is_below_a_level_exactly_where_it_decides(value, error, df, test):
    estimate = Estimate(value, error, df, error * math.sqrt(df + 1), df + 1)
    p = p_value(estimate, test)
    for level in (0.95, 0.98):
        if abs(p - (1 - level)) > 1e-9:  # else rounding decides
            assert (judge(estimate, test, level=level) in DECIDED) == (p < 1 - level)


# ---- planning -------------------------------------------------------------------------------------------------------


def test_a_gap_of_the_resolution_is_seen_with_80_percent_power():
    gap = resolution(Estimate(0, 1.5 / math.sqrt(5), 4, 1.5, 5))
    verdicts = [judge(e, GAIN) for e in simulated(0.5 + gap, 1.5, n=5)]
    assert 0.77 < share(verdicts, "supported") < 0.87
    assert gap == pytest.approx((stats.t.ppf(0.975, 4) + stats.t.ppf(0.8, 4)) * 1.5 / math.sqrt(5))


@pytest.mark.parametrize("gap", [0.5, 1.0, -0.7])
def test_the_seeds_asked_for_decide_with_80_percent_power(gap):
    pilot = 5
    upper = 1.0  # the spread that the plan reckons with, from that of the pilot
    spread = upper / math.sqrt((pilot - 1) / stats.chi2.ppf(0.2, pilot - 1))
    needed = seeds_needed(Estimate(0.5 + gap, spread / math.sqrt(pilot), pilot - 1, spread, pilot), GAIN)
    verdicts = [judge(e, GAIN) for e in simulated(0.5 + gap, upper, n=needed)]
    assert 0.78 < share(verdicts, "supported" if gap > 0 else "refuted") < 0.85
    fewer = [judge(e, GAIN) for e in simulated(0.5 + gap, upper, n=max(2, needed // 2))]
    assert share(fewer, *DECIDED) < 0.65


def test_the_plan_reckons_with_a_spread_that_four_pilots_in_five_stay_below():
    gap = 0.6
    enough = next(n for n in range(2, 200) if resolution(Estimate(0, 1 / math.sqrt(n), n - 1)) < gap)
    pilots = [replace(e, value=0.5 + gap) for e in simulated(0, 1.0, n=5, repeats=400)]
    plans = np.array([seeds_needed(pilot, GAIN) or 201 for pilot in pilots])
    assert 0.76 < (plans >= enough).mean() < 0.84


def test_plans_end_where_they_stop_being_useful():
    def needed(gap, n, over="seeds"):
        return seeds_needed(Estimate(0.5 + gap, 1 / math.sqrt(n), n - 1, 1.0, n, over), GAIN)

    assert needed(0.0, 5) is None
    assert needed(0.1, 5) is None
    assert 70 < needed(0.5, 5) < 90
    assert needed(0.3, 300) is None
    assert 400 < needed(0.14, 300, "items") < 500
    assert needed(0.02, 300, "items") is None
    assert needed(2.9, 5) == 6, "never fewer than there are, and one more"


# ---- many claims ----------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_q_values_are_scipy_s(p):
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p), atol=1e-12)


def test_no_claims_have_no_q_values():
    assert benjamini_hochberg([]) == []
