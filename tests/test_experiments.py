"""What every experiment keeps, by discovery: a baseline equals itself, a smoke run is short, words are complete."""

from __future__ import annotations

import functools
import re
import sys
import time
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

import gezhi
from gezhi.data import DataUnavailable
from gezhi.lab.cells import Job
from gezhi.lab.run import Plan, execute, fixed_threads, load_case, measure_arm
from gezhi.lab.study import FIRST_SEED, Experiment, Study, load_experiment

FOLDER = Path(gezhi.__file__).parent / "experiments"
STEMS = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
BY_STEM = pytest.mark.parametrize("stem", STEMS)
SMOKE_SECONDS = 4.0  # of processor: a smoke run takes 2 s on an idle machine, and up to twice that on a busy one
MATHEMATICS = {"arg", "cos", "cosh", "erf", "exp", "log", "max", "min", "sin", "sinh", "tan", "tanh"}


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
        return measure_arm(study, arm, load_case(stem, study.name, case, None), job)["metrics"]


@pytest.mark.filterwarnings("ignore")  # a run tells them
@BY_STEM
def test_the_baseline_under_two_names_gives_the_same_figures(stem):
    for study in load_experiment(stem).studies:
        if "smoke" in study.sizes and not study.alone:
            for case in study.cases:
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
def test_a_smoke_run_is_short_nothing_fails_and_its_metrics_are_there_in_chinese(stem, tmp_path):
    experiment = load_experiment(stem)
    for attempt in ("first", "again"):  # what the first compiled for good is not the run's
        start = time.process_time()
        outcome = execute(Plan([stem], tmp_path / attempt, "smoke"))
        seconds = time.process_time() - start
        if seconds < SMOKE_SECONDS:
            break
    assert seconds < SMOKE_SECONDS
    assert outcome.failed == {}
    assert outcome.cells or outcome.missing
    metrics = {name for found in outcome.cells.values() for cell in found.values() for name in cell["metrics"]}
    assert {name for name in metrics if has_english(name)} <= set(experiment.zh)


# ---- words ----------------------------------------------------------------------------------------------------------


def names_of(experiment: Experiment) -> set[str]:
    """Everything an experiment shows by name."""
    shown = [(study.name, *study.arms, *study.cases, *study.units) for study in experiment.studies]
    metrics = [test.number.metric for study in experiment.studies for claim in study.claims for test in claim.all_tests]
    figures = [figure.metric for study in experiment.studies for figure in study.figures]
    return {*chain.from_iterable(shown), *metrics, *figures}


def has_english(name: str) -> bool:
    """Whether a reader of Chinese meets an English word in lower case: GELU, L2 and Adam are names, tanh a symbol."""
    words = re.findall(r"[A-Za-z]+", name)
    return any(word.islower() and len(word) > 1 and word not in MATHEMATICS for word in words)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("softmax", True),
        ("lbfgs, C = 1", True),
        ("1 − cosine", True),
        ("GELU", False),
        ("Adam", False),
        ("n = 3", False),
        ("16 log N/ε²", False),
    ],
)
def test_what_counts_as_english(name, expected):
    assert has_english(name) == expected


@BY_STEM
def test_every_name_is_there_in_chinese(stem):
    experiment = load_experiment(stem)
    wanted = {name for name in names_of(experiment) if has_english(name)}
    assert wanted <= set(experiment.zh)
    assert all(experiment.zh.values())


@BY_STEM
def test_every_claim_is_a_sentence_in_both_languages(stem):
    experiment = load_experiment(stem)
    assert experiment.question.rstrip().endswith("?")
    claims = [claim for study in experiment.studies for claim in study.claims]
    assert claims
    assert len({claim.id for claim in claims}) == len(claims)
    for claim in claims:
        assert claim.en.endswith("."), claim.en
        assert claim.zh.endswith("。"), claim.zh
        assert re.search(r"[\u4e00-\u9fff]", claim.zh), claim.zh


@BY_STEM
def test_every_study_says_its_scope_in_both_languages(stem):
    for study in load_experiment(stem).studies:
        assert all(study.scope), study.name


@BY_STEM
def test_figures_show_what_there_is(stem):
    for study in load_experiment(stem).studies:
        ids = {claim.id for claim in study.claims}
        for figure in study.figures:
            assert set(figure.claims) <= ids, study.name
            assert set(figure.arms or ()) <= set(study.arms), study.name
            assert set(figure.cases or ()) <= set(study.cases), study.name
            assert figure.en.endswith("."), figure.en
            assert figure.zh.endswith("。"), figure.zh
