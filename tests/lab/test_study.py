"""What a study and an experiment must hold, how many replicates they take, and where experiments live."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType

import pytest

from gezhi.lab import Dots, Experiment, Study, at, better, every, exponent, inside, itself, same, two_thirds
from gezhi.lab.study import FIRST_SEED, SEEDS, case_numbers, experiment_module, load_experiment


def measure(arm, case, seed, size):
    return {"x": 0.0}


def study(**changes):
    """A sound study, with changes."""
    settings = {
        "name": "s",
        "measure": measure,
        "arms": {"base": 0, "other": 1},
        "cases": {"n = 1": None, "n = 2": None},
        "sizes": {"quick": 1},
        "claims": {},
    }
    return Study(**{**settings, **changes})


GAIN, SLOPE = better("x", "other", than="base", by=0.1), exponent("x", "base", 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"varies": "seeds"}, "varies must be one of 'seed', 'rows', 'items', 'nothing': got 'seeds'"),
        ({"varies": "both"}, "varies must be one of 'seed', 'rows', 'items', 'nothing': got 'both'"),
        ({"sizes": {"tiny": 1}}, "sizes of 's' must be one of 'smoke', 'quick', 'full': got 'tiny'"),
        ({"seeds": {"huge": 1}}, "seeds of 's' must be one of 'smoke', 'quick', 'full': got 'huge'"),
        ({"arms": {"base": 0}}, r"arms of 's' must hold a baseline and what is compared with it: got \['base'\]"),
        ({"arms": {"base": 0}, "varies": "nothing", "timed": True}, r"arms of 's' must hold a baseline"),
        ({"arms": {}, "varies": "nothing"}, r"arms of 's' must hold a baseline"),
        ({"accepts": "tables"}, "accepts of 's' must be one of 'features'"),
        ({"cases": {}}, "cases of 's' must hold a case, or accepts a data kind: got neither"),
        ({"claims": {"c": at("n = 9", GAIN)}}, r"cases of claim 'c' must be of \['n = 1', 'n = 2'\]: got n = 9"),
        ({"claims": {"c": inside("x", "third", 1)}}, r"arm of claim 'c' must be one of \['base', 'other'\]: got third"),
        ({"claims": {"c": better("x", "other", than="third", by=1)}}, "arm of claim 'c' must be one of"),
        ({"claims": {"c": (GAIN, better("x", "other", than="base", by=0))}}, "margin of claim 'c' must not be 0"),
        ({"claims": {"c": same("x", "other", than="base", within=0)}}, "margin of claim 'c' must not be 0"),
        ({"claims": {"c": (SLOPE, GAIN)}}, "cases of claim 'c' must name the case of the tests beside"),
        ({"claims": {"c": at(("n = 1", "n = 2"), SLOPE, GAIN)}}, "cases of claim 'c' must name the case of the tests"),
        ({"claims": {"c": SLOPE}, "cases": {"n = 1": None}}, "cases of 's' must be two positive"),
        ({"claims": {"c": SLOPE}, "cases": {"n = 1": 0, "n = 2": 2}}, "cases of 's' must be two"),
        ({"claims": {"c": SLOPE}, "cases": {"n = 1": -1, "n = 2": 2}}, "cases of 's' must be two"),
        ({"claims": {"c": SLOPE}, "cases": {"a": None, "b": None}}, "names that end in '= number'"),
        ({"claims": {"c": SLOPE}, "varies": "rows"}, "claim 'c' must be no exponent where rows vary"),
        ({"claims": {"c": SLOPE}, "varies": "items"}, "claim 'c' must be no exponent where items vary"),
        (
            {"claims": {"c": SLOPE}, "sizes": {"quick": {"n = 1": 3}}},
            r"sizes of 's' must have two cases at least for an exponent: got \['n = 1'\] at quick",
        ),
        (
            {"sizes": {"quick": 1}, "trains": two_thirds()},
            "trains of 's' must give a shorter run, .*got 1 again at quick",
        ),
        ({"sizes": {"full": {"n = 1": 9, "n = 2": 1}}, "trains": two_thirds()}, "got 1 again at full"),
    ],
)
def test_what_does_not_hold_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        study(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"arms": {"base": 0}, "varies": "nothing"},
        {"cases": {}, "accepts": "features"},
        {"varies": "nothing", "claims": {"c": same("x", "other", than="base", within=0)}},
        {"claims": {"c": at("n = 1", SLOPE, GAIN)}},
        {"claims": {"c": better("x", "other", than="base", by=-0.1)}},
        {"sizes": {"smoke": 1, "quick": 2}, "trains": two_thirds()},
        {"sizes": {}},
    ],
)
def test_what_may_be(changes):
    assert study(**changes).name == "s"


def test_experiments_refuse_what_occurs_twice_or_not_at_all():
    with pytest.raises(ValueError, match=r"study names must be unique in an experiment: got \['s'\]"):
        Experiment("?", (study(), study()))
    with pytest.raises(ValueError, match=r"claim ids must be unique in an experiment: got \['c'\]"):
        Experiment("?", (study(claims={"c": GAIN}), study(name="t", claims={"c": GAIN})))
    with pytest.raises(ValueError, match=r"claims of a figure must be of \['c'\]: got \['d'\]"):
        Experiment("?", (study(claims={"c": GAIN}, figures=(Dots("x", ("c", "d")),)),))


# ---- sizes and cases ------------------------------------------------------------------------------------------------


def test_a_size_for_each_case_asks_those_cases_alone():
    per_case = study(sizes={"smoke": 1, "quick": {"n = 2": 5}, "full": {"n = 1": 7, "n = 2": 9}})
    assert per_case.asked_cases("smoke") == per_case.asked_cases("full") == ["n = 1", "n = 2"]
    assert per_case.asked_cases("quick") == ["n = 2"]
    assert [per_case.size("full", case) for case in ("n = 1", "n = 2")] == [7, 9]
    assert per_case.size("smoke", "n = 2") == 1
    assert per_case.size("full", "mine.csv") == 7, "a user's file takes the size of the first case"


def test_a_size_that_is_a_mapping_of_something_else_is_one_size():
    size = {"steps": 3}
    assert study(sizes={"quick": size}).size("quick", "n = 1") is size
    assert study(sizes={"quick": {}}).size("quick", "n = 1") == {}


def test_every_size_is_the_same():
    assert every(3) == {"smoke": 3, "quick": 3, "full": 3}


@dataclass(frozen=True)
class Size:
    rows: int
    epochs: int = 1
    steps: int = 50


@pytest.mark.parametrize(
    ("fields", "size", "shorter"),
    [
        ((), 60, 40),
        ((), 2, 1),
        ((), 1, 1),
        (("epochs",), Size(9, 24), Size(9, 16)),
        (("epochs", "steps"), Size(9, 4), Size(9, 3, 33)),
    ],
)
def test_two_thirds_of_the_steps(fields, size, shorter):
    assert two_thirds(*fields)(size) == shorter


def test_exact_arms_measure_themselves():
    assert itself(lambda case: {"x": case + 1}, 2, 1000, None) == {"x": 3}


def test_what_the_claims_ask_of_an_arm():
    asked = study(
        claims={
            "a": GAIN,
            "b": at("n = 1", inside("y", "base", 1)),
            "c": at("n = 2", exponent("z", "base", 1)),
        }
    )
    assert asked.metrics("base", "n = 1") == {"x", "y", "z"}
    assert asked.metrics("base", "n = 2") == {"x", "z"}, "a slope needs all cases"
    assert asked.metrics("other", "n = 2") == {"x"}
    assert asked.metrics("base", None) == {"x", "y", "z"}


# ---- replicates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "budget", "asked", "count"),
    [
        ({}, "quick", None, 5),
        ({}, "full", None, 10),
        ({}, "smoke", None, 2),
        ({}, "quick", 7, 7),
        ({"seeds": {"full": 6}}, "full", None, 6),
        ({"seeds": {"full": 6}}, "quick", None, 5),
        ({"seeds": {"full": 6}}, "full", 8, 8),
        ({"varies": "rows"}, "quick", None, 5),
        ({"varies": "items"}, "quick", 7, 1),
        ({"varies": "nothing"}, "full", 7, 1),
        ({"timed": True}, "full", None, 10),
        ({"timed": True, "varies": "nothing"}, "quick", None, 5),
    ],
)
def test_replicates_start_after_the_pilots_seeds(changes, budget, asked, count):
    assert study(**changes).replicates(budget, asked) == [1000 + i for i in range(count)]
    assert study(**changes).replicates(budget, asked, look=3) == [3000 + i for i in range(count)]
    assert FIRST_SEED == 1000
    assert SEEDS == {"smoke": 2, "quick": 5, "full": 10}


def test_cases_are_numbers_by_value_or_by_name():
    assert case_numbers({"n = 10": None, "rows: 3": 4, "x=2.5": "text"}) == [10, 4, 2.5]


def test_names_with_a_dot_live_outside_the_house():
    assert experiment_module("gelu") == "gezhi.experiments.gelu"
    assert experiment_module("lab_toys.planted") == "lab_toys.planted"
    assert load_experiment("lab_toys.planted").study("planted").arms["base"].noise == 0


@pytest.mark.parametrize("content", [None, "not an experiment"])
def test_a_module_without_experiment_is_named(monkeypatch, content):
    module = ModuleType("toys.without")
    module.EXPERIMENT = content
    monkeypatch.setitem(sys.modules, "toys.without", module)
    with pytest.raises(ValueError, match=r"EXPERIMENT of toys.without must be a gezhi.lab.Experiment: got "):
        load_experiment("toys.without")
