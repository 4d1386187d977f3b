"""A whole run: what its folder holds, what it keeps of earlier runs, and how often one may look."""

from __future__ import annotations

import math

import numpy as np
import pytest
from lab_toys.planted import STEP
from lab_toys.running import run_toys
from scipy import stats

from gezhi.lab import record
from gezhi.lab.cells import Data
from gezhi.lab.conduct import conduct, looks_so_far
from gezhi.lab.results import with_q_values
from gezhi.lab.run import Plan, silent

# ---- a whole run ----------------------------------------------------------------------------------------------------


@pytest.fixture
def conducted(tmp_path):
    """A whole run of toys in the test's folder, with record and report."""

    def whole(*toys, **asked):
        plan = Plan([f"lab_toys.{toy}" for toy in toys], tmp_path / "whole", **asked)
        return conduct(plan, "gezhi run", silent)[0]

    return whole


def test_the_folder_holds_record_report_and_replicates(conducted, tmp_path):
    conducted("planted")
    folder = tmp_path / "whole"
    assert sorted(path.name for path in folder.iterdir()) == ["cells", "report.html", "result.json", "results"]
    lines = (folder / "results/lab_toys.planted/replicates.csv").read_text().splitlines()
    assert lines[0] == "study,case,arm,metric,seed,index,value"
    assert lines[1].startswith("planted,toy,base,score,1000,0,1000.8")
    assert "exact,toy,good,profile,1000,2,2e-14" in lines
    assert "planted,toy,broken,score,1002,0," in lines
    assert "The claim true holds." in (folder / "report.html").read_text("utf-8")


def test_a_run_keeps_the_other_methods_of_its_folder(conducted, tmp_path):
    conducted("planted")
    conducted("on_items")
    together = record.load(tmp_path / "whole")
    assert [method.stem for method in together.methods] == ["lab_toys.on_items", "lab_toys.planted"]
    conducted("planted", seeds=6)
    together = record.load(tmp_path / "whole")
    assert [(method.stem, method.seeds) for method in together.methods] == [
        ("lab_toys.on_items", 5),
        ("lab_toys.planted", 6),
    ]


def test_q_values_are_over_all_claims_of_the_folder(conducted, tmp_path):
    alone = {c.key: c.q for _, c in conducted("on_items").claims()}
    conducted("planted")
    together = {c.key: c.q for _, c in record.load(tmp_path / "whole").claims()}
    assert together["clearly better"] < alone["clearly better"], "among many sure claims one more is less surprising"


def test_verdicts_with_a_large_q_are_weak(planted):
    surprise = next(claim for claim in planted.claims.values() if claim.id == "true").model_copy(deep=True)
    surprise.tests[0].p = 0.04
    copies = [surprise.model_copy(update={"id": f"{i}"}, deep=True) for i in range(2)]
    for claim in copies[1:]:
        claim.tests[0].p, claim.verdict = 0.5, "inconclusive"
    method = planted.record.methods[0].model_copy(update={"claims": copies})
    with_q_values(planted.record.model_copy(update={"methods": [method]}))
    assert [(claim.q, claim.weak) for claim in copies] == [(0.08, True), (0.5, False)]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return run_toys(tmp_path_factory.mktemp("planted"), "planted")


# ---- looks ----------------------------------------------------------------------------------------------------------


def test_an_extension_is_judged_at_98_percent_and_there_are_two_at_most(conducted):
    looks = []
    for seeds in (5, 6, 8):
        (method,) = conducted("slow", budget="smoke", seeds=seeds).methods
        looks.append((method.looks, method.claims[0].level, len(method.studies[0].seeds)))
    assert looks == [(1, 0.95, 5), (2, 0.98, 6), (3, 0.98, 8)]
    with pytest.raises(ValueError, match="--seeds must not extend a run more than 2 times: got 9"):
        conducted("slow", budget="smoke", seeds=9)
    (method,) = conducted("slow", budget="smoke", seeds=8).methods
    assert (method.looks, method.claims[0].level) == (3, 0.98), "the same question again is no further look"


def test_the_second_look_has_the_interval_of_98_percent(conducted):
    conducted("planted")
    (claim,) = (claim for _, claim in conducted("planted", seeds=10).claims() if claim.id == "true")
    half = stats.t.ppf(0.99, 9) * STEP * np.std([-2, -1, 0, 1, 2] * 2, ddof=1) / math.sqrt(10)
    np.testing.assert_allclose(claim.interval, (0.1 - half, 0.1 + half))
    assert claim.verdict == "supported"


@pytest.mark.parametrize(
    ("asked", "looks"),
    [
        ({"seeds": 6}, 2),
        ({"seeds": 5}, 1),
        ({}, 1),
        ({"seeds": 4}, 1),
        ({"budget": "full"}, 1),
        ({"data": Data("/a/mine.csv", None, "0")}, 1),
    ],
)
def test_only_more_seeds_of_the_same_question_are_a_look(planted, tmp_path, asked, looks):
    plan = Plan(["lab_toys.planted"], tmp_path, **asked)
    assert looks_so_far(plan, planted.record, "lab_toys.planted") == looks
    assert looks_so_far(plan, None, "lab_toys.planted") == 1
    assert looks_so_far(plan, planted.record, "lab_toys.slow") == 1


def test_a_default_run_after_a_shorter_one_is_an_extension(run, tmp_path):
    shorter = run("planted", seeds=4).record
    assert looks_so_far(Plan(["lab_toys.planted"], tmp_path), shorter, "lab_toys.planted") == 2


def test_seeds_asked_of_a_question_without_chance_are_no_look(tmp_path):
    plan = Plan(["lab_toys.on_items"], tmp_path, "smoke", seeds=7)
    for _ in range(5):
        (method,) = conduct(plan, "", silent)[0].methods
    assert (method.seeds, method.looks) == (1, 1)
