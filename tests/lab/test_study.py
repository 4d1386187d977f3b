"""What a study and an experiment must hold, how many replicates they take, and where experiments live."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from gezhi.lab import Claim, Experiment, Study, better, exponent, inside, same
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
        "claims": (),
    }
    return Study(**{**settings, **changes})


def claim(*tests, id="c", at=None):
    return Claim(id, "C.", "丙。", tests, at)


GAIN = better("x", "other", than="base", by=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"varies": "seeds"}, "varies must be one of 'seed', 'items', 'both', 'nothing': got 'seeds'"),
        ({"sizes": {"tiny": 1}}, "sizes of 's' must be one of 'smoke', 'quick', 'full': got 'tiny'"),
        ({"seeds": {"huge": 1}}, "seeds of 's' must be one of 'smoke', 'quick', 'full': got 'huge'"),
        ({"arms": {"base": 0}}, r"arms of 's' must hold a baseline and what is compared with it: got \['base'\]"),
        ({"arms": {}, "varies": "nothing"}, r"arms of 's' must hold a baseline"),
        ({"accepts": "tables"}, "accepts of 's' must be one of 'features'"),
        ({"cases": {}}, "cases of 's' must hold a case, or accepts a data kind: got neither"),
        (
            {"claims": (claim(GAIN, at="n = 9"),)},
            r"at of claim 'c' must name a case of \['n = 1', 'n = 2'\]: got n = 9",
        ),
        (
            {"claims": (claim(inside("x", "third", 1)),)},
            r"arm of claim 'c' must be one of \['base', 'other'\]: got third",
        ),
        ({"claims": (claim(better("x", "other", than="third", by=1)),)}, "arm of claim 'c' must be one of"),
        ({"claims": (claim(GAIN, better("x", "other", than="base", by=0)),)}, "margin of claim 'c' must not be 0"),
        ({"claims": (claim(same("x", "other", than="base", within=0)),)}, "margin of claim 'c' must not be 0"),
        (
            {"claims": (claim(exponent("x", "base", 1), GAIN),)},
            "at of claim 'c' must name the case of the tests beside",
        ),
        ({"claims": (claim(exponent("x", "base", 1)),), "cases": {"n = 1": None}}, "cases of 's' must be two positive"),
        ({"claims": (claim(exponent("x", "base", 1)),), "cases": {"n = 1": 0, "n = 2": 2}}, "cases of 's' must be two"),
        (
            {"claims": (claim(exponent("x", "base", 1)),), "cases": {"a": None, "b": None}},
            "names that end in '= number'",
        ),
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
        {"varies": "nothing", "claims": (claim(same("x", "other", than="base", within=0)),)},
        {"claims": (claim(exponent("x", "base", 1), GAIN, at="n = 1"),)},
        {"claims": (claim(better("x", "other", than="base", by=-0.1)),)},
    ],
)
def test_what_may_be(changes):
    assert study(**changes).name == "s"


def test_experiments_refuse_what_occurs_twice():
    with pytest.raises(ValueError, match=r"study names must be unique in an experiment: got \['s'\]"):
        Experiment("?", (study(), study()))
    with pytest.raises(ValueError, match=r"claim ids must be unique in an experiment: got \['c'\]"):
        Experiment("?", (study(claims=(claim(GAIN),)), study(name="t", claims=(claim(GAIN),))))


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
        ({"varies": "both"}, "quick", None, 5),
        ({"varies": "items"}, "quick", 7, 1),
        ({"varies": "nothing"}, "full", 7, 1),
        ({"alone": True}, "full", None, 10),
    ],
)
def test_replicates_start_after_the_pilots_seeds(changes, budget, asked, count):
    assert study(**changes).replicates(budget, asked) == [1000 + i for i in range(count)]
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
