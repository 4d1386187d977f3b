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
    exactly,
    judge,
    over_items,
    over_rows,
    over_seeds,
    plainly_skewed,
    replicates_needed,
    seen,
    unknown,
)

GAIN = better("x", "a", than="b", by=0.5)
DECIDED = ("supported", "refuted")


def simulated(mean, spread, n, repeats=600, seed=0):
    """Estimates from so many runs of n normal differences."""
    rng = np.random.default_rng(seed)
    return [over_seeds(row) for row in rng.normal(mean, spread, size=(repeats, n))]


def share(verdicts, *wanted):
    return np.isin(verdicts, wanted).mean()


# ---- estimates ------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12).filter(lambda x: np.std(x) > 1e-3 * np.abs(x).max()))
def test_interval_is_scipy_s(x):
    expected = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    np.testing.assert_allclose(over_seeds(x).interval(), (expected.low, expected.high), rtol=1e-9, atol=1e-9)
    wider = stats.ttest_1samp(x, 0).confidence_interval(0.98)
    np.testing.assert_allclose(over_seeds(x).interval(0.98), (wider.low, wider.high), rtol=1e-9, atol=1e-9)


def test_one_replicate_has_an_infinite_interval():
    assert over_seeds([0.3]).interval() == (-math.inf, math.inf)
    assert over_items([0.3]).interval() == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("x", "scale"),
    [
        ([0.3] * 5, 0),
        ([0.1 + 0.2, 0.3, 0.3], 0),
        ([0.1, 0.1 + 1e-9], 1),
        ([1.0, 1.0 + 1e-7], 0),
        ([1e-17, -1e-17], 1),
    ],
)
def test_a_spread_of_rounding_is_none(x, scale):
    found = over_seeds(x, scale=scale)
    assert (found.error, found.without_spread) == (0, True)
    assert judge(found, GAIN) == "inconclusive"
    assert over_seeds([*x, 0.31], scale=scale).error > 0


def test_a_stated_resolution_widens_both_sides_and_lets_a_proven_zero_decide():
    found = over_seeds([0.0] * 5, resolution=0.1)
    assert (found.interval(), found.without_spread) == ((-0.1, 0.1), False)
    assert judge(found, same("x", "a", than="b", within=0.2)) == "supported"
    assert judge(found, same("x", "a", than="b", within=0.05)) == "inconclusive"
    noisy = over_seeds([0.0, 1.0, 2.0])
    np.testing.assert_allclose(
        over_seeds([0.0, 1.0, 2.0], resolution=0.1).interval(), np.add(noisy.interval(), (-0.1, 0.1))
    )


def test_wrong_verdicts_on_the_margin_are_five_percent():
    verdicts = [judge(e, GAIN) for e in simulated(0.5, 1.0, n=5, repeats=2000)]
    assert 0.04 < share(verdicts, *DECIDED) < 0.06
    assert 0.015 < share(verdicts, "supported") < 0.035


def bonett_price(only_first, only_second, n):
    """Bonett and Price (2012): Wald's interval with one discordance added on each side; the standard error."""
    p12, p21 = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    return p12 - p21, math.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))


@pytest.mark.parametrize(("only_first", "only_second", "n"), [(7, 2, 40), (3, 0, 12), (0, 0, 200)])
def test_pseudo_items_of_differences_are_bonett_and_price(only_first, only_second, n):
    x = [1.0] * only_first + [-1.0] * only_second + [0.0] * (n - only_first - only_second)
    found, (centre, error) = over_items(x, DISCORDANT), bonett_price(only_first, only_second, n)
    assert found.centre == pytest.approx(centre)
    assert found.value == pytest.approx((only_first - only_second) / n), "the plain one is shown"
    assert found.error == pytest.approx(error * math.sqrt((n + 2) / (n + 1)))  # the sample's, not the table's, variance
    assert (found.n, found.over) == (n, "items")


@pytest.mark.parametrize(("successes", "n"), [(5, 30), (30, 30), (0, 8)])
def test_pseudo_items_of_shares_are_agresti_and_coull(successes, n):
    found, p = over_items([1.0] * successes + [0.0] * (n - successes), SHARE), (successes + 2) / (n + 4)
    assert (found.centre, found.value) == (pytest.approx(p), pytest.approx(successes / n))
    assert found.error == pytest.approx(math.sqrt(p * (1 - p) / (n + 3)))


def test_no_failure_in_a_thousand_rows_is_no_zero_spread():
    found = over_rows(np.zeros((5, 1000)), DISCORDANT)
    assert found.error > 0
    assert judge(found, same("x", "a", than="b", within=0.01)) == "supported"
    assert judge(found, same("x", "a", than="b", within=0.001)) == "inconclusive"


def test_the_variances_over_seeds_and_over_rows_are_summed():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 1)) + rng.normal(size=(1, 30)) + rng.normal(size=(5, 30))
    over_s, over_r = x.mean(1).var(ddof=1) / 5, x.mean(0).var(ddof=1) / 30
    found = over_rows(x)
    assert found.error**2 == pytest.approx(over_s + over_r)
    assert found.df == pytest.approx((over_s + over_r) ** 2 / (over_s**2 / 4 + over_r**2 / 29))
    assert (found.value, found.floor**2) == (pytest.approx(x.mean()), pytest.approx(over_r))


def test_rows_without_any_spread_are_too_coarse():
    found = over_rows(np.ones((5, 8)))
    assert (found.value, found.error, found.without_spread) == (1, 0, True)
    assert judge(found, GAIN) == "inconclusive"


@pytest.mark.parametrize("gap", [slice(None), slice(0, 0)])
def test_a_seed_that_tested_nothing_is_no_replicate(gap):
    x = np.ones((5, 8)) + np.eye(5, 8)
    x[2, gap] = np.nan
    assert np.isnan(over_rows(x).value) == (gap == slice(None))


def test_an_infinite_row_is_not_an_untested_one():
    x = np.ones((5, 8)) + np.eye(5, 8)
    x[2, 3] = np.inf
    assert judge(over_rows(x), GAIN) == "inconclusive"


@pytest.mark.parametrize(
    ("x", "skewed"),
    [
        ([0.0, 0.01, 0.02, 0.03, 9.0], True),
        ([0.0, -0.01, -0.02, -0.03, -9.0], True),
        ([-2.0, -1.0, 0.0, 1.0, 2.0], False),
        ([0.0, 0.0, 0.0, 9.0], False),
        ([1.0] * 5, False),
        ([0.0, 0.0, 0.0, 0.0, math.nan], False),
    ],
)
def test_plainly_skewed(x, skewed):
    assert plainly_skewed(x) == over_seeds(x).skewed == skewed


def test_normal_samples_are_seldom_called_skewed_and_log_normal_ones_often():
    rng = np.random.default_rng(0)
    normal, skewed = rng.normal(size=(300, 10)), rng.lognormal(0, 1, size=(300, 10))
    assert np.mean([plainly_skewed(x) for x in normal]) < 0.08
    assert np.mean([plainly_skewed(x) for x in skewed]) > 0.5


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
    estimate = over_seeds(value + noise)
    np.testing.assert_allclose(estimate.interval(), (value - 1, value + 1))
    assert judge(estimate, test) == verdict


@pytest.mark.parametrize(
    "x", [[1.0] * 5, [1.0], [1.0, math.nan, 1.0], [1.0, math.inf, 1.0], [-math.inf] * 5, [math.inf, -math.inf]]
)
def test_without_variance_or_finite_numbers_nothing_is_decided(x):
    estimate = over_seeds(x)
    assert judge(estimate, GAIN) == "inconclusive"
    assert replicates_needed(estimate, GAIN) is None


@pytest.mark.parametrize(
    ("value", "verdict"), [(1.0, "supported"), (0.5, "supported"), (0.4, "refuted"), (math.inf, "inconclusive")]
)
def test_exact_numbers_have_no_interval(value, verdict):
    assert judge(exactly(value), GAIN) == verdict
    assert exactly(value).interval() == (value, value)


def test_what_is_unknown_decides_nothing():
    assert judge(unknown(5, "rows"), GAIN) == "inconclusive"
    assert replicates_needed(unknown(5, "rows"), GAIN) is None


@given(
    st.floats(-3, 3),
    st.floats(0.01, 2),
    st.integers(1, 30),
    st.sampled_from([GAIN, same("x", "a", than="b", within=1), inside("x", "a", high=0.2)]),
)
def test_a_verdict_never_turns_when_the_interval_widens(value, error, df, test):
    verdicts = [judge(Estimate(value, value, error, df, error * math.sqrt(df + 1), n=df + 1), test, level=level)
                for level in (0.5, 0.9, 0.95, 0.99)]  # fmt: skip
    decided = [verdict for verdict in verdicts if verdict != "inconclusive"]
    assert len(set(decided)) <= 1
    assert verdicts == decided + ["inconclusive"] * (len(verdicts) - len(decided))


# ---- planning -------------------------------------------------------------------------------------------------------


def test_a_gap_of_what_was_seen_is_seen_with_80_percent_power():
    gap = seen(Estimate(0, 0, 1.5 / math.sqrt(5), 4, 1.5, n=5))
    verdicts = [judge(e, GAIN) for e in simulated(0.5 + gap, 1.5, n=5)]
    assert 0.76 < share(verdicts, "supported") < 0.87
    assert gap == pytest.approx((stats.t.ppf(0.975, 4) + stats.t.ppf(0.8, 4)) * 1.5 / math.sqrt(5))


def planned(gap, spread, n=5, over="seeds", floor=0.0):
    estimate = Estimate(0.5 + gap, 0.5 + gap, spread / math.sqrt(n), n - 1, spread, floor, n=n, over=over)
    return replicates_needed(estimate, GAIN)


@pytest.mark.parametrize("gap", [0.5, 1.0, -0.7])
def test_the_seeds_asked_for_decide_with_80_percent_power(gap):
    upper = 1.0  # the spread that the plan reckons with, from that of the pilot
    needed = planned(gap, upper / math.sqrt(4 / stats.chi2.ppf(0.2, 4)))
    verdicts = [judge(e, GAIN) for e in simulated(0.5 + gap, upper, n=needed)]
    assert 0.76 < share(verdicts, "supported" if gap > 0 else "refuted") < 0.86
    fewer = [judge(e, GAIN) for e in simulated(0.5 + gap, upper, n=max(2, needed // 2))]
    assert share(fewer, *DECIDED) < 0.66


def test_the_plan_reckons_with_a_spread_that_four_pilots_in_five_stay_below():
    gap = 0.6
    enough = next(n for n in range(2, 200) if seen(Estimate(0, 0, 1 / math.sqrt(n), n - 1)) < gap)
    pilots = [replace(e, value=0.5 + gap) for e in simulated(0, 1.0, n=5, repeats=400)]
    plans = np.array([replicates_needed(pilot, GAIN) or 201 for pilot in pilots])
    assert 0.75 < (plans >= enough).mean() < 0.85


def test_plans_end_where_they_stop_being_useful():
    assert planned(0.0, 1.0) is None
    assert planned(0.1, 1.0) is None
    assert 70 < planned(0.5, 1.0) < 90
    assert planned(0.3, 1.0, 300) < 300, "a new run, not more of this one"
    assert planned(2.9, 1.0) == 5, "never fewer than give a verdict"
    assert 400 < planned(0.14, 1.0, 300, "items") < 500
    assert planned(0.003, 1.0, 300, "items") is None


def test_seeds_do_not_lower_what_rows_leave_open():
    assert planned(0.5, 1.0, over="rows") == planned(0.5, 1.0)
    assert planned(0.5, 1.0, over="rows", floor=0.1) > planned(0.5, 1.0)
    assert planned(0.5, 1.0, over="rows", floor=0.2) is None


def test_a_resolution_is_no_spread_that_seeds_lower():
    wide = replace(over_seeds([0.6, 0.7, 0.8, 0.9, 1.0]), widened=0.4)
    assert replicates_needed(wide, GAIN) is None
    assert replicates_needed(replace(wide, widened=0.05), GAIN) > replicates_needed(replace(wide, widened=0.0), GAIN)
