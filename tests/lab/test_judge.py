"""Planted effects through the whole pipeline: measured, stored, judged, recorded."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from lab_toys.on_items import ITEMS
from lab_toys.planted import SPREAD
from lab_toys.running import run_toys
from scipy import stats

from gezhi.lab.claims import Number, Test
from gezhi.lab.judge import Judged, Outcome, conjunction, deciding, over_cases, wrong_on_margin

HALF = stats.t.ppf(0.975, 4) * SPREAD / math.sqrt(5)  # of the interval over five seeds of the ladder


def judged(toy, factory, **asked):
    return run_toys(factory.mktemp(toy), toy, **asked)


def toys(name):
    """A fixture: the judged run of the toy experiment of this name."""
    return pytest.fixture(scope="module")(lambda tmp_path_factory: judged(name, tmp_path_factory))


planted, on_items, training, marks = map(toys, ("planted", "on_items", "training", "marks"))

# ---- over seeds -----------------------------------------------------------------------------------------------------


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
    found = planted.cases[claim]
    assert planted.claims[claim].verdict == found.verdict == verdict
    assert found.estimate == pytest.approx(effect)
    np.testing.assert_allclose(found.interval, (effect - HALF, effect + HALF), atol=1e-9)
    assert (found.case, found.test.n, found.test.over, found.test.unit, found.test.marks) == (
        "toy",
        5,
        "seeds",
        "%",
        [],
    )
    assert found.test.seen == pytest.approx(HALF * (1 + stats.t.ppf(0.8, 4) / stats.t.ppf(0.975, 4)))


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ("on the margin", "open with 200 seeds too"),
        ("without variance", "replicates agree to within rounding: too coarse"),
        ("broken", "not a finite number in every replicate"),
        ("no logarithm", "not a finite number in every replicate"),
        ("open", "a new run needs about 24 seeds"),
    ],
)
def test_open_claims_say_why_in_both_languages(planted, claim, reason):
    found = planted.cases[claim]
    assert (found.verdict, found.reason.en) == ("inconclusive", reason)
    assert found.reason == found.test.reason
    assert any(character >= "一" for character in found.reason.zh)


def test_an_open_claim_says_how_many_seeds_of_a_new_run_would_decide(planted):
    assert planted.cases["open"].test.needs == 24, "(t₀.₉₇₅ + t₀.₈₀)(23) · s · √(4 / χ²₀.₂(4)) / √24 = 0.0147 < 0.015"
    assert planted.cases["true"].test.needs is None
    assert planted.cases["true"].reason is None


@pytest.mark.parametrize(
    ("claim", "verdict", "deciding"),
    [("both true", "supported", 0), ("one open", "inconclusive", 1), ("one reversed", "refuted", 2)],
)
def test_a_conjunction_is_decided_by_its_weakest_test(planted, claim, verdict, deciding):
    found = planted.cases[claim]
    assert (found.verdict, found.deciding) == (verdict, deciding)
    assert (found.estimate, found.interval) == (found.tests[deciding].estimate, found.tests[deciding].interval)
    assert len(found.tests) == deciding + 1 + (claim == "both true"), "all of them are shown"


@pytest.mark.parametrize("seeds", [1, 4])
def test_too_few_seeds_give_no_verdict(run, seeds):
    found = run("planted", seeds=seeds).cases
    assert found["true"].verdict == "not asked"
    assert found["true"].reason.en == f"{seeds} seeds; a verdict needs 5"
    assert found["true"].estimate == pytest.approx(0.1, abs=0.03)
    assert found["exactly true"].verdict == "supported", "nothing varies there"


def test_five_seeds_are_enough(run):
    assert run("planted", seeds=5).claims["true"].verdict == "supported"


def test_smoke_gives_no_verdicts_but_estimates(run):
    found = run("planted", budget="smoke")
    assert {claim.verdict for claim in found.claims.values()} == {"not asked"}
    reasons = {found.cases[name].reason.en for name in ("true", "exactly true")}
    assert reasons == {"a smoke run gives no verdicts"}
    assert found.cases["true"].estimate == pytest.approx(0.1, abs=0.03)


def test_a_budget_without_size_is_not_asked(run):
    found = run("planted", budget="full")
    assert found.claims["true"].verdict == "supported"
    assert (found.claims["quadratic"].verdict, found.cases["quadratic"].reason.en) == ("not asked", "not asked at full")
    assert found.cases["quadratic"].tests == []
    assert found.cases["quadratic"].estimate is None


# ---- ratios, exponents, exact numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [("ten times", "supported"), ("at most ten times", "refuted"), ("thirty times", "inconclusive")],
)
def test_ratios_are_judged_on_the_logarithm_and_told_as_ratios(planted, claim, verdict):
    found = planted.cases[claim]
    assert found.verdict == verdict
    assert found.estimate == pytest.approx(30)
    np.testing.assert_allclose(found.interval, (30 * math.exp(-HALF), 30 * math.exp(HALF)))


@pytest.mark.parametrize(
    ("claim", "verdict"), [("quadratic", "supported"), ("not linear", "refuted"), ("no logarithm", "inconclusive")]
)
def test_exponents_are_slopes_along_the_cases(planted, claim, verdict):
    found = planted.cases[claim]
    assert (found.verdict, found.case) == (verdict, None)
    assert found.estimate == (pytest.approx(2) if claim != "no logarithm" else None)


@pytest.mark.parametrize("level", [3.0, 1e7 / 3, 0.1])
def test_a_constant_has_the_slope_zero_on_every_machine(level):
    x = np.log(np.array([64.0, 256.0, 1000.0, 1024.0]))
    fake = SimpleNamespace(log_log=lambda *_: (x, np.full(4, math.log(level))))
    assert Judged.slope(fake, Number("bytes", "chunks", how="exponent"), 0) == 0.0


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
    found = planted.cases[claim]
    assert (found.verdict, found.estimate, planted.claims[claim].exact) == (verdict, estimate, True)
    assert (found.test.over, found.test.seen, found.test.needs) == ("nothing", None, None)


# ---- over items and rows --------------------------------------------------------------------------------------------


def test_a_test_set_decides_by_its_items_and_shows_the_plain_estimate(on_items):
    found, better = on_items.cases["clearly better"], 12  # items that only the better arm gets right
    assert (found.verdict, found.test.n, found.test.over) == ("supported", ITEMS, "items")
    assert found.estimate == pytest.approx(better / ITEMS)
    centre = better / (ITEMS + 2)  # with two pseudo-items
    assert sum(found.interval) / 2 == pytest.approx(centre)
    assert on_items.cases["perfect"].verdict == "inconclusive", "40 right answers of 40 do not prove 95 %"
    assert on_items.cases["perfect"].estimate == 1.0


def test_a_ratio_of_means_over_items(on_items):
    found = on_items.cases["fewer errors"]
    assert found.verdict == "supported"
    assert found.estimate == pytest.approx(32 / 20)
    hit = np.repeat([[1, 1], [0, 1], [1, 0], [0, 0]], [20, 12, 0, 8], axis=0)  # base, better: delta method by hand
    linear = hit[:, 1] / 0.8 - hit[:, 0] / 0.5
    half = stats.t.ppf(0.975, ITEMS - 1) * linear.std(ddof=1) / math.sqrt(ITEMS)
    np.testing.assert_allclose(np.log(found.interval), (math.log(1.6) - half, math.log(1.6) + half))


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ("a little better", "a new run needs about 378 test items"),
        ("hopeless", "open with 1600 test items too"),
        ("only one number", "one number where the study needs one per test row"),
        ("nothing right", "not a finite number in every replicate"),
        ("a number", "one number where the study needs one per test row"),
        ("over rows", "more test rows are needed, not seeds"),
        ("over both@own rows", "arms or seeds differ in their test rows"),
        ("over both@ragged", "arms or seeds differ in their test rows"),
        ("over both@nothing once", "not a finite number in every replicate"),
    ],
)
def test_open_claims_about_rows_say_why(on_items, claim, reason):
    assert (on_items.cases[claim].verdict, on_items.cases[claim].reason.en) == ("inconclusive", reason)


def satterthwaite(over_seeds, over_rows, seeds=5, rows=ITEMS):
    """Half width of the interval whose variance is the sum of two, from the spreads of the means."""
    parts = np.array([over_seeds**2 / seeds, over_rows**2 / rows])
    df = parts.sum() ** 2 / (parts**2 / (seeds - 1, rows - 1)).sum()
    return stats.t.ppf(0.975, df) * math.sqrt(parts.sum())


@pytest.mark.parametrize(
    ("claim", "spreads"), [("over seeds", (0.5, 0.1)), ("over rows", (0.01, 9.0)), ("over both@all", (0.5, 3.0))]
)
def test_over_rows_the_two_variances_are_summed(on_items, claim, spreads):
    found = on_items.cases[claim]
    over_rows = np.std(spreads[1] * np.linspace(-1, 1, ITEMS), ddof=1)
    half = satterthwaite(spreads[0] * math.sqrt(2.5), over_rows)
    np.testing.assert_allclose(found.interval, (1 - half, 1 + half), rtol=1e-5)
    assert (found.test.over, found.test.n) == ("rows", 5)


def test_rows_that_a_seed_did_not_test_are_left_out(on_items):
    found = on_items.cases["over both@splits"]
    rows = np.arange(ITEMS)
    gains = np.array([0.5 * (seed - 2) + 3 * np.linspace(-1, 1, ITEMS) for seed in range(5)])
    tested = np.array([rows % 5 == seed for seed in range(5)])
    over_seeds = np.std([gain[rows].mean() for gain, rows in zip(gains, tested, strict=True)], ddof=1)
    over_rows = np.std(gains[tested.argmax(axis=0), rows], ddof=1)  # each row is tested once
    half = satterthwaite(over_seeds, over_rows)
    np.testing.assert_allclose(found.interval, (1 - half, 1 + half), rtol=1e-5)


def test_a_seeds_number_is_planned_from_the_part_that_seeds_lower(on_items):
    needed = on_items.cases["over seeds"].test.needs
    assert 5 < needed < 200
    assert on_items.cases["over seeds"].reason.en == f"a new run needs about {needed} seeds"


# ---- settled --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claim",
    [
        "gains on a baseline that still moves@n = 10",
        "gains on a baseline that still moves@n = 100",
        "equal to what still moves@n = 10",
        "a ratio to what still moves@n = 10",
        "a ratio near 1 to what still moves@n = 10",
        "above an edge that is near@n = 10",
        "a slope that still moves",
        "rows still move",
    ],
)
def test_what_still_moves_gives_no_verdict(training, claim):
    found = training.cases[claim]
    assert (found.verdict, found.reason.en) == ("inconclusive", "still training: undertrained")
    assert found.test.needs is None, "more seeds would not help"


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("a wide margin allows its moves@n = 10", "supported"),
        ("two settled@n = 10", "supported"),
        ("a ratio of the settled@n = 10", "supported"),
        ("a ratio of 1 of the settled@n = 10", "supported"),
        ("a ratio far from 1@n = 10", "supported"),
        ("above an edge that is far@n = 10", "supported"),
        ("a slope that has settled", "supported"),
        ("rows have settled", "supported"),
        ("after the last step", "supported"),
    ],
)
def test_what_moves_less_than_half_the_margin_gives_one(training, claim, verdict):
    assert training.cases[claim].verdict == verdict


def test_a_shorter_run_that_fails_to_give_a_number_has_not_settled(training):
    found = training.cases["nothing to compare with@n = 10"]
    assert (found.verdict, found.reason.en) == ("inconclusive", "still training: diverging")


# ---- bends, spreads, skewness ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", ["", ", with noise"])
@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("a power", "supported"),
        ("a power that is refuted", "refuted"),
        ("bends at the end", "inconclusive"),
        ("bends all along", "inconclusive"),
        ("grows everywhere", "refuted"),
        ("steps up and down", "supported"),
    ],
)
def test_a_law_that_bends_is_no_power(marks, claim, noise, verdict):
    found = marks.cases[claim + noise]
    assert found.verdict == verdict
    if verdict == "inconclusive":
        assert found.reason.en == "bends: no power law"
        assert found.test.needs is None


def test_noise_between_neighbours_is_no_bend(marks):
    assert marks.claims["a rough power that is refuted"].verdict == "refuted"


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("a spread of a billionth", "inconclusive"),
        ("too coarse for this zero", "inconclusive"),
        ("a resolution that allows it", "supported"),
        ("a resolution that forbids it", "inconclusive"),
        ("a proven zero", "supported"),
        ("a rank that never varies", "inconclusive"),
    ],
)
def test_a_spread_below_resolution_is_none_unless_the_resolution_is_stated(marks, claim, verdict):
    found = marks.cases[claim]
    assert found.verdict == verdict
    assert found.test.needs is None, "no number of seeds is promised"


def test_a_stated_resolution_widens_the_interval_on_both_sides(marks):
    np.testing.assert_allclose(marks.cases["a proven zero"].interval, (-0.1, 0.1))
    np.testing.assert_allclose(marks.cases["a rank that never varies"].interval, (1, 3))


def test_a_skewed_difference_is_marked(marks):
    assert [mark.en for mark in marks.cases["plainly skewed"].test.marks] == ["skewed"]
    assert marks.cases["not skewed"].test.marks == []


# ---- over cases -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "verdict", "supported", "asked"),
    [
        ("agreed", "supported", 2, 2),
        ("refuted", "refuted", 0, 2),
        ("divided", "divided", 1, 3),
        ("open", "inconclusive", 1, 2),
        ("one fails", "supported", 2, 2),
        ("all fail", "not asked", 0, 0),
        ("at one case", "refuted", 0, 1),
        ("at two cases", "supported", 1, 1),
        ("at a case that is not asked", "not asked", 0, 0),
    ],
)
def test_a_claim_is_counted_once_over_its_cases(marks, claim, verdict, supported, asked):
    found = marks.claims[claim]
    assert (found.verdict, found.supported, len(found.asked)) == (verdict, supported, asked)


def test_a_case_that_fails_says_why_among_healthy_ones(marks):
    assert marks.cases["one fails@good"].verdict == "supported"
    failed = marks.cases["one fails@breaks"]
    assert failed.verdict == "not asked"
    assert failed.reason.en.startswith("the measurement failed: ZeroDivisionError: nothing to divide by (marks.py")
    assert failed.tests == []


def test_a_case_without_size_is_not_asked_at_this_budget(marks):
    assert [case.case for case in marks.claims["at two cases"].cases] == ["good"]
    assert marks.cases["at a case that is not asked"].reason.en == "not asked at quick"


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], "not asked"),
        (["not asked", "supported"], "supported"),
        (["refuted", "not asked"], "refuted"),
        (["supported", "refuted", "inconclusive"], "divided"),
        (["supported", "inconclusive"], "inconclusive"),
        (["refuted", "inconclusive"], "inconclusive"),
    ],
)
def test_over_cases(verdicts, expected):
    assert over_cases(verdicts) == expected


# ---- hand-made ------------------------------------------------------------------------------------------------------


def one_test(verdict, interval=(0.0, 1.0), low=-math.inf, high=math.inf):
    test = Test(Number("x", "a"), low if math.isfinite(low) else -9, high)
    return Outcome(test, verdict, 0.5, interval, 5, "seeds", 1.0, None, False, False, False, None)


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
    nothing = one_test("inconclusive", (-math.inf, math.inf), low=0)
    assert deciding([nothing, one_test("inconclusive", low=0.3)]) == 1


def test_on_the_margin_one_verdict_in_twenty_is_wrong():
    assert wrong_on_margin(40) == pytest.approx(2)
