"""What every experiment keeps, by discovery: a baseline equals itself, a smoke run is short, figures have something."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import gezhi
from gezhi.data import DataUnavailable
from gezhi.lab.cells import Job
from gezhi.lab.measure import cells_one_by_one, fixed_threads, load_case
from gezhi.lab.run import Plan, execute
from gezhi.lab.study import FIRST_SEED, Study, load_experiment

FOLDER = Path(gezhi.__file__).parent / "experiments"
STEMS = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
BY_STEM = pytest.mark.parametrize("stem", STEMS)
SMOKE_SECONDS = 4.0  # of processor: a smoke run takes 2 s on an idle machine, and up to twice that on a busy one


# ---- the same arm twice ---------------------------------------------------------------------------------------------


def forget_caches() -> None:
    """Empty every cache of the house, as a new process would find them."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "gezhi" and not name.startswith("gezhi.lab"):
            for value in vars(module).values():
                if isinstance(value, functools._lru_cache_wrapper):
                    value.cache_clear()


def measured(stem: str, study: Study, case: str, arm: str) -> Mapping[str, object]:
    job = Job(stem, study.name, case, FIRST_SEED, "smoke", (arm,), None, "")
    with fixed_threads(1):
        ((_, cell),) = cells_one_by_one(job)
        return cell["metrics"]


@pytest.mark.filterwarnings("ignore")  # a run tells them
@BY_STEM
def test_the_baseline_under_two_names_gives_the_same_figures(stem):
    for study in load_experiment(stem).studies:
        if "smoke" in study.sizes and not study.timed:
            for case in study.asked_cases("smoke"):
                assert_repeatable(stem, study, case)


def assert_repeatable(stem: str, study: Study, case: str) -> None:
    """Measured first in a process, right after itself, and in another process: the figures are the same."""
    baseline = next(iter(study.arms))
    load_case.cache_clear()
    forget_caches()
    try:
        first = measured(stem, study, case, baseline)
    except DataUnavailable:
        return  # the smoke run says so
    beside = measured(stem, study, case, baseline)
    forget_caches()
    alone = measured(stem, study, case, baseline)
    assert_same(beside, first, f"{study.name}: differs when another arm was measured before")
    assert_same(alone, first, f"{study.name}: differs when measured in another process")


def assert_same(left: Mapping[str, object], right: Mapping[str, object], message: str) -> None:
    assert left.keys() == right.keys()
    for name, value in left.items():
        np.testing.assert_array_equal(value, right[name], err_msg=f"{message}: {name}")


def test_unpaired_randomness_would_be_found(monkeypatch):
    dice = np.random.default_rng(0)
    monkeypatch.setattr("lab_toys.generators.random.random", dice.random)
    with pytest.raises(AssertionError, match="draws: differs when another arm was measured before"):
        test_the_baseline_under_two_names_gives_the_same_figures("lab_toys.generators")


# ---- a smoke run ----------------------------------------------------------------------------------------------------


@BY_STEM
def test_a_smoke_run_is_short_and_nothing_fails(stem, tmp_path):
    for attempt in ("first", "again"):  # what the first compiled for good is not the run's
        start = time.process_time()
        outcome = execute(Plan([stem], tmp_path / attempt, "smoke"))
        seconds = time.process_time() - start
        if seconds < SMOKE_SECONDS:
            break
    assert seconds < SMOKE_SECONDS
    assert outcome.failed == {}
    assert outcome.cells or outcome.missing
    assert outcome.shorter == {}, "what has settled is asked of real runs"


# ---- claims and figures ---------------------------------------------------------------------------------------------


@BY_STEM
def test_every_experiment_asks_a_question_and_claims_something(stem):
    experiment = load_experiment(stem)
    assert experiment.question.rstrip().endswith("?")
    assert [claim for study in experiment.studies for claim in study.asked]


@BY_STEM
def test_what_trains_is_also_run_shorter(stem):
    for study in load_experiment(stem).studies:
        for budget in set(study.sizes) - {"smoke"} if study.trains else ():
            for case in study.asked_cases(budget):
                assert study.trains(study.size(budget, case)) != study.size(budget, case)


@BY_STEM
def test_figures_show_what_there_is(stem):
    for study in load_experiment(stem).studies:
        for figure in study.figures:
            assert set(figure.claim_ids) <= set(study.asked), study.name
            assert set(figure.arms or ()) <= set(study.arms), study.name
            assert set(figure.cases or ()) <= set(study.cases), study.name
