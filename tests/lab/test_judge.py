"""Planted effects through the whole pipeline: measured, stored, judged, recorded."""

from __future__ import annotations

import math

import numpy as np
import pytest
from lab_toys.on_items import ITEMS
from lab_toys.planted import SPREAD
from lab_toys.running import run_toys
from scipy import stats

from gezhi.lab import record
from gezhi.lab.judge import conjunction, deciding

HALF = stats.t.ppf(0.975, 4) * SPREAD / math.sqrt(5)  # of the interval over five seeds of the ladder


# ---- over seeds -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """The planted claims at quick, by id."""
    return run_toys(tmp_path_factory.mktemp("planted"), "planted").claims


@pytest.fixture(scope="module")
def on_items(tmp_path_factory):
    """The claims about test items, by id."""
    return run_toys(tmp_path_factory.mktemp("on_items"), "on_items").claims


@pytest.mark.parametrize(
    ("claim", "verdict", "effect"),
    [
        ("true", "supported", 0.1),
        ("true and same", "supported", 0.0),
        ("null", "refuted", 0.0),
        ("reversed", "refuted", -0.1),
        ("truly lower", "supported", -0.1),
        ("on the margin", "inconclusive", 0.02),
    ],
)
def test_planted_effects_are_seen(planted, claim, verdict, effect):
    found = planted[claim]
    assert found.verdict == verdict
    assert found.estimate == pytest.approx(effect)
    np.testing.assert_allclose(found.interval, (effect - HALF, effect + HALF), atol=1e-9)
    assert (found.tests[0].n, found.tests[0].over, found.tests[0].unit) == (5, "seeds", "%")
    assert (found.tests[0].p < 0.05) == (verdict != "inconclusive")


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ("on the margin", "practically on the margin"),
        ("without variance", "no variance between replicates"),
        ("broken", "not a finite number in every replicate"),
    ],
)
def test_open_claims_say_why(planted, claim, reason):
    assert planted[claim].verdict == "inconclusive"
    assert planted[claim].reason.en.startswith(reason)
    assert planted[claim].q == 1.0, "what was not decided must not make other claims look surer"


def test_an_open_claim_says_how_many_seeds_would_decide(planted):
    (found,) = planted["open"].tests
    assert planted["open"].reason.en == f"needs about {found.needs} seeds"
    assert found.needs == 24, "(t₀.₉₇₅ + t₀.₈₀)(23) · s · √(4 / χ²₀.₂(4)) / √24 = 0.0147 < 0.015"


@pytest.mark.parametrize(
    ("claim", "verdict", "deciding"),
    [("both true", "supported", 0), ("one open", "inconclusive", 1), ("one reversed", "refuted", 2)],
)
def test_a_conjunction_is_decided_by_its_weakest_test(planted, claim, verdict, deciding):
    found = planted[claim]
    assert (found.verdict, found.deciding) == (verdict, deciding)
    assert (found.estimate, found.interval) == (found.tests[deciding].estimate, found.tests[deciding].interval)


@pytest.mark.parametrize("seeds", [1, 4])
def test_too_few_seeds_give_no_verdict(run, seeds):
    claim = run("planted", seeds=seeds).claims["true"]
    assert claim.verdict == "not asked"
    assert claim.reason.en.endswith("a verdict needs 5")
    assert claim.estimate == pytest.approx(0.1, abs=0.03)


def test_smoke_gives_no_verdicts_but_estimates(run):
    claims = run("planted", budget="smoke").claims
    assert {claim.verdict for claim in claims.values()} == {"not asked"}
    assert claims["true"].reason.en == claims["exactly true"].reason.en == "a smoke run gives no verdicts"
    assert claims["true"].estimate == pytest.approx(0.1, abs=0.03)


def test_a_budget_without_size_is_not_asked(run):
    claims = run("planted", budget="full").claims
    assert claims["true"].verdict == "supported"
    assert (claims["quadratic"].verdict, claims["quadratic"].reason.en) == ("not asked", "not asked at full")
    assert claims["quadratic"].tests == []


# ---- ratios, exponents, exact numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [("ten times", "supported"), ("at most ten times", "refuted"), ("thirty times", "inconclusive")],
)
def test_ratios_are_judged_on_the_logarithm_and_told_as_ratios(planted, claim, verdict):
    found = planted[claim]
    assert found.verdict == verdict
    assert found.estimate == pytest.approx(30)
    np.testing.assert_allclose(found.interval, (30 * math.exp(-HALF), 30 * math.exp(HALF)))


@pytest.mark.parametrize(
    ("claim", "verdict"), [("quadratic", "supported"), ("not linear", "refuted"), ("no logarithm", "inconclusive")]
)
def test_exponents_are_slopes_along_the_cases(planted, claim, verdict):
    found = planted[claim]
    assert (found.verdict, found.case) == (verdict, None)
    assert found.estimate == (pytest.approx(2) if claim != "no logarithm" else None)


@pytest.mark.parametrize(
    ("claim", "verdict", "estimate"),
    [
        ("exactly true", "supported", 1e-14),
        ("exactly false", "refuted", 1e-2),
        ("both errors", "refuted", 1e-2),
        ("infinite", "inconclusive", None),
        ("undefined", "inconclusive", None),
    ],
)
def test_exact_numbers_decide_by_themselves(planted, claim, verdict, estimate):
    found = planted[claim]
    assert (found.verdict, found.estimate, found.exact) == (verdict, estimate, True)
    assert (found.q, found.tests[0].p, found.tests[0].resolution) == (None, None, None)


# ---- over items -----------------------------------------------------------------------------------------------------


def test_a_test_set_decides_by_its_items(on_items):
    found = on_items["clearly better"]
    better, n = 12, ITEMS + 2  # items that only the better arm gets right; two pseudo-items
    assert (found.verdict, found.tests[0].n, found.tests[0].over) == ("supported", n, "items")
    assert found.estimate == pytest.approx(better / n)
    assert on_items["perfect"].verdict == "inconclusive", "40 right answers of 40 do not prove 95 %"
    assert on_items["perfect"].estimate == pytest.approx((ITEMS + 2) / (ITEMS + 4))


def test_an_open_claim_about_items_asks_for_items(on_items):
    found = on_items["a little better"]
    needed = found.tests[0].needs
    assert needed > 200
    assert (found.verdict, found.reason.en) == ("inconclusive", f"needs about {needed} test items")
    assert on_items["only one number"].verdict == "inconclusive"
    assert on_items["only one number"].reason.en == "one number where the study needs one per test item"


def test_over_seeds_and_items_the_wider_interval_counts(on_items):
    seeds, items = on_items["wider over seeds"].tests[0], on_items["wider over items"].tests[0]
    assert (seeds.over, seeds.n, items.over, items.n) == ("seeds", 5, "items", ITEMS)
    half = stats.t.ppf(0.975, 4) * 0.5 * math.sqrt(2.5) / math.sqrt(5)
    np.testing.assert_allclose(seeds.interval, (1 - half, 1 + half))
    half = stats.t.ppf(0.975, 39) * np.std(9 * np.linspace(-1, 1, ITEMS), ddof=1) / math.sqrt(ITEMS)
    np.testing.assert_allclose(items.interval, (1 - half, 1 + half))


# ---- hand-made ------------------------------------------------------------------------------------------------------


def one_test(verdict, interval=(0.0, 1.0), low=None, high=None):
    return record.TestResult(
        metric="x", arm="a", than=None, how="value", low=low, high=high, unit="", verdict=verdict, estimate=0.5,
        interval=interval, n=5, p=0.01, resolution=1.0, needs=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (("supported", "supported"), "supported"),
        (("supported", "inconclusive"), "inconclusive"),
        (("inconclusive", "refuted", "supported"), "refuted"),
    ],
)
def test_conjunctions(verdicts, expected):
    assert conjunction([one_test(verdict) for verdict in verdicts]) == expected


def test_among_equal_verdicts_the_tightest_decides():
    tests = [one_test("supported", low=-2), one_test("supported", low=-0.1), one_test("supported", (0, 0), low=-1)]
    assert deciding(tests) == 1
    assert deciding([one_test("inconclusive", (None, None), low=0), one_test("inconclusive", low=0.3)]) == 1
