"""Runs that are resumed, interrupted, in parallel, timed, short of data, failing, or asked of a user's file."""

from __future__ import annotations

import errno
import signal
import sys
from collections import Counter
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from gezhi.data import KINDS
from gezhi.lab import record
from gezhi.lab import run as lab_run
from gezhi.lab.cells import Data
from gezhi.lab.conduct import conduct
from gezhi.lab.run import Plan, execute, fixed_threads, kind_fits, silent

ALL_CALLS = [f"score {arm} {case} {seed}" for arm, case, seed in product((0.0, 1.0), (1, 2), range(1000, 1005))]


# ---- resuming -------------------------------------------------------------------------------------------------------


def test_a_second_run_measures_nothing(run, calls):
    first = run("slow", budget="smoke")
    assert len(calls()) == 8
    second = run("slow", budget="smoke")
    assert calls() == []
    assert second.metrics == first.metrics
    assert ("plan", "4/4") in first.events
    assert ("plan", "0/4") in second.events


def test_more_seeds_measure_only_the_new_ones(run, calls):
    run("planted", budget="smoke", seeds=2)
    calls()
    run("planted", budget="smoke", seeds=3)
    assert {line.split()[-1] for line in calls()} == {"1002"}


def test_a_damaged_cell_is_measured_again_and_said(run, calls, tmp_path):
    first = run("slow", budget="smoke")
    calls()
    cell = sorted((tmp_path / "run/cells/lab_toys.slow").iterdir())[0]
    cell.write_text("{")
    second = run("slow", budget="smoke")
    assert len(calls()) == 1
    assert second.metrics == first.metrics
    (note,) = second.notes
    assert note.startswith(f"lab_toys.slow, scores: damaged result {cell.name}: ")
    assert note.endswith("; measured again")


def test_a_cell_without_a_metric_that_a_new_claim_asks_for_is_measured_again(run, calls, monkeypatch):
    run("slow", budget="smoke")
    calls()
    monkeypatch.setattr(lab_run, "asked_metrics", lambda _study, arm, _case: {"rank"} if arm == "gain" else {"score"})
    second = run("slow", budget="smoke")
    assert {line.split()[1] for line in calls()} == {"1.0"}, "the arm that lacks it"
    assert "measure must give rank for 'gain', which claims ask for: got score." in second.notes[0]


def test_progress_is_told_while_it_goes_on(tmp_path, calls):
    seen = []
    execute(Plan(["lab_toys.slow"], tmp_path, "smoke"), lambda kind, _: kind == "job" and seen.append(len(calls())))
    assert seen == [2, 2, 2, 2]


def test_kill_loses_no_finished_cell(run, calls, interrupted, tmp_path):
    code = f"from lab_toys.running import *; run_toys(Path({str(tmp_path / 'run')!r}), 'slow')"
    assert interrupted(signal.SIGKILL, "-c", code).returncode == -signal.SIGKILL
    before = calls()
    assert len(run("slow").metrics) == len(ALL_CALLS)
    assert Counter([*before, *calls()]) == Counter([*ALL_CALLS, before[-1]]), "only what was interrupted is repeated"


def test_interrupt_ends_with_a_sentence_and_the_next_run_goes_on(run, calls, interrupted, tmp_path):
    command = ("-m", "lab_toys.command", "run", "lab_toys.slow", "--out", str(tmp_path / "run"))
    ended = interrupted(signal.SIGINT, *command)
    assert ended.returncode == 130
    assert ended.stderr.strip() == "Interrupted. What was measured is kept; run the same command again to go on."
    before = calls()
    assert len(run("slow").metrics) == len(ALL_CALLS)
    assert Counter([*before, *calls()]) == Counter([*ALL_CALLS, before[-1]])


# ---- elsewhere ------------------------------------------------------------------------------------------------------


def test_workers_give_what_one_process_gives_bit_for_bit(run, tmp_path):
    alone = run("generators").metrics
    for backend, jobs in (("loky", 2), ("threading", 2)):
        assert run("generators", folder=tmp_path / backend, backend=backend, jobs=jobs).metrics == alone


def test_dask_gives_what_one_process_gives(run, tmp_path):
    dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")
    alone = run("generators", budget="smoke").metrics
    on_dask = partial(run, "generators", budget="smoke", backend="dask")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        with distributed.Client(cluster):
            assert on_dask(folder=tmp_path / "client").metrics == alone
        with dask.config.set({"scheduler-address": cluster.scheduler_address}):
            assert on_dask(folder=tmp_path / "address").metrics == alone


def test_a_backend_that_is_not_there_is_named(run, monkeypatch):
    with pytest.raises(ValueError, match="Invalid backend: ray"):
        run("slow", budget="smoke", backend="ray")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"distributed is not installed. Run: pip install 'dask\[distributed\]'"
    ):
        run("slow", budget="smoke", backend="dask")


def test_results_of_workers_that_do_not_share_the_folder_are_missed(run, monkeypatch):
    monkeypatch.setattr(lab_run, "write", lambda _path, _cell: None)
    found = run("slow", budget="smoke")
    reason = "its result is not in the folder; workers elsewhere must share it"
    assert found.outcome.failed == {("lab_toys.slow", "scores", case): reason for case in ("one", "two")}
    assert all(claim.reason.en == f"the measurement failed: {reason}" for claim in found.claims.values())


# ---- what a measurement finds ---------------------------------------------------------------------------------------


def test_generators_start_alike_for_each_arm_and_case(run):
    metrics = run("generators", budget="smoke").metrics
    for case, seed in product(("one", "two"), (1000, 1001)):
        assert metrics[case, "base", seed] == metrics[case, "twin", seed]
    drawn = ("random", "numpy", "torch", "network")
    assert all(metrics["one", "base", 1000][name] != metrics["one", "base", 1001][name] for name in drawn)
    cases = ("case, random", "case, numpy", "case, torch")
    assert len({tuple(cell[name] for name in cases) for cell in metrics.values()}) == 1


def test_compute_of_every_arm_is_recorded(run):
    (method,) = run("generators", budget="smoke").record.methods
    spent = method.studies[0].compute["one"]["base"]
    assert (spent.evaluations, spent.parameters) == (3, 3)
    assert 0 < spent.seconds < 60


def test_timed_studies_come_last_alone_and_by_rounds(run, calls):
    run("timed", budget="smoke", jobs=1)
    order = [line.split()[1:] for line in calls() if line.startswith("measure")]
    names = [words[0] for words in order]
    assert names == ["before"] * 8 + ["after"] * 8 + ["timed"] * 8
    rounds = [(seed, case, arm) for _, arm, case, seed in order[16:]]
    assert rounds == list(product(("1000", "1001"), ("one", "two"), ("base", "other")))


def test_timed_studies_never_leave_this_process(run, monkeypatch):
    sent = []
    monkeypatch.setattr(lab_run, "_in_parallel", lambda _plan, jobs: sent.extend(jobs) or iter(()))
    found = run("timed", budget="smoke", jobs=2)
    assert {job.study for job in sent} == {"before", "after"}
    assert set(found.outcome.cells) == {("lab_toys.timed", "timed")}


def test_threads_are_fixed_and_given_back(run):
    with threadpool_limits(2):
        torch.set_num_threads(2)
        cells = run("timed", budget="smoke").outcome.cells
        assert torch.get_num_threads() == 2
    threads = {study: {c["metrics"]["threads"] for c in found.values()} for (_, study), found in cells.items()}
    assert threads == {"before": {1}, "after": {1}, "timed": {2}}
    assert {c["metrics"]["BLAS threads"] for c in cells["lab_toys.timed", "before"].values()} == {1}


def test_threads_are_given_back_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), fixed_threads(before + 1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


def test_arms_of_a_case_and_seed_share_caches(run, calls):
    run("timed", budget="smoke")
    lines = calls()
    shared = Counter(line for line in lines if line.startswith("shared"))
    assert shared == Counter({f"shared {case} {seed}": 3 for case in ("one", "two") for seed in (1000, 1001)})


# ---- troubles -------------------------------------------------------------------------------------------------------


@pytest.fixture
def troubled(run):
    return run("troubles")


def test_missing_data_are_noted_and_the_run_goes_on(troubled):
    absent = "poems is not on this machine. Run: gezhi data get poems"
    key = ("lab_toys.troubles", "absent", "poems")
    assert troubled.outcome.missing == {key: absent, (key[0], "one case absent", "poems"): absent}
    claims = troubled.claims
    assert claims["healthy"].verdict == claims["one case absent@toy"].verdict == "supported"
    for claim in (claims["absent"], claims["one case absent@poems"]):
        assert (claim.verdict, claim.reason.en) == ("not asked", f"data not at hand: {absent}")
    studies = {study.name: study for study in troubled.record.methods[0].studies}
    assert studies["absent"].reason.zh.startswith("数据不在手边")
    assert studies["one case absent"].reason is None
    assert list(studies["one case absent"].replicates) == ["toy"]


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ("failing", r"ZeroDivisionError: nothing to divide by in [/0.0] (troubles.py, line "),
        ("forgetful", "ValueError: measure must give score for 'gain', which claims ask for: got scores."),
        (
            "wordy",
            "TypeError: metric 'score' of measure must be a number, or a list of one number per test item: got 'high'",
        ),
    ],
)
def test_a_failing_measure_is_noted_and_the_run_goes_on(troubled, study, message):
    text = troubled.outcome.failed["lab_toys.troubles", study, "toy"]
    assert text.startswith(message)
    assert troubled.claims[study].verdict == "not asked"
    assert troubled.claims[study].reason.en == f"the measurement failed: {text}"
    assert f"lab_toys.troubles, {study}: {text}" in troubled.notes


def test_warnings_of_a_measure_are_told_once(troubled):
    told = [note for note in troubled.notes if "ill-conditioned" in note]
    assert told == ["lab_toys.troubles, warning: RuntimeWarning: seed 1000 is ill-conditioned"]
    assert troubled.claims["warning"].verdict == "supported"


def test_a_full_disk_ends_the_run_and_leaves_no_half_written_file(run, monkeypatch, tmp_path):
    run("slow", budget="smoke", seeds=1)
    before = sorted((tmp_path / "run").rglob("*.json"))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(record.Path, "replace", full)
    with pytest.raises(OSError, match="No space left on device"):
        run("slow", budget="smoke", seeds=2)
    assert sorted(path for path in (tmp_path / "run").rglob("*") if path.is_file()) == before


def test_a_folder_that_cannot_be_written_is_refused_before_measuring(tmp_path, calls):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"--out must be a folder that can be written: got .*Choose another"):
        conduct(Plan(["lab_toys.slow"], tmp_path / "file" / "run", "smoke"), "", silent)
    assert calls() == []


# ---- the user's data ------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    """A table of a user's, and its hash."""
    path = tmp_path / "mine.csv"
    path.write_text("x,y\n" + "1,a\n2,b\n3,a\n4,a\n")
    return Data.of(path, None)


@pytest.fixture
def probabilities(tmp_path):
    """Twenty test rows of a user's, twelve of which the predictions have right."""
    path = tmp_path / "mine.npz"
    rows, labels = np.tile([0.9, 0.1], (20, 1)), np.repeat([0, 1], [12, 8])
    np.savez(path, reference=rows, reference_labels=labels, test=rows, test_labels=labels)
    return Data.of(path, None)


def test_a_user_s_table_is_judged_over_seeds(run, calls, table):
    claims = run("yours", data=table).claims
    assert claims["anywhere@mine.csv"].verdict == "supported"
    assert claims["anywhere@mine.csv"].tests[0].n == 5
    for key in ("there@rows = 4", "along", "beats@mine.csv"):
        assert (claims[key].verdict, claims[key].reason.en) == ("not asked", "not asked of your data")
        assert claims[key].tests == []
    assert len(calls()) == 2 * 5


def test_a_user_s_probabilities_are_judged_over_items_with_one_seed(run, calls, probabilities):
    found = run("yours", data=probabilities, seeds=5)
    claim = found.claims["beats@mine.npz"]
    assert (claim.verdict, claim.tests[0].over, claim.tests[0].n) == ("supported", "items", 22)
    assert claim.estimate == pytest.approx(8 / 22)
    assert calls() == ["hit mine 1000"] * 2, "never five identical seeds"
    assert found.record.methods[0].data == "mine.npz"


def test_without_data_such_a_study_says_what_it_takes(run):
    claim = run("yours").claims["beats"]
    assert (claim.verdict, claim.reason.en) == ("not asked", "needs your data (--data, probabilities)")


def test_changed_data_are_measured_again(run, calls, table, tmp_path):
    run("yours", data=table)
    calls()
    run("yours", data=Data.of(tmp_path / "mine.csv", None))
    assert calls() == []
    (tmp_path / "mine.csv").write_text("x,y\n1,a\n2,b\n")
    found = run("yours", data=Data.of(tmp_path / "mine.csv", None))
    assert len(calls()) == 10
    assert found.record.methods[0].studies[0].replicates["mine.csv"]["base"]["rows"] == [2.0] * 5


@pytest.mark.parametrize(
    ("kind", "name", "fits"),
    [
        ("features", "a.csv", True),
        ("features", "A.TSV", True),
        ("features", "a.txt", False),
        ("probabilities", "a.npz", True),
        ("probabilities", "a.csv", False),
        ("images", "a-images-idx3-ubyte", True),
        ("images", "a.npz", True),
        ("texts", "csv", False),
    ],
)
def test_kinds_are_known_by_the_endings_that_are_read(kind, name, fits):
    assert kind_fits(kind, name) is fits


def test_a_folder_can_be_pictures_alone(tmp_path):
    assert [kind for kind in KINDS if kind_fits(kind, str(tmp_path))] == ["images"]


def test_of_several_kinds_only_those_that_can_be_read_are_asked(run, table):
    assert list(run("yours", data=table, kinds=frozenset()).outcome.cells) == []
    assert list(run("yours", data=table, kinds=frozenset({"features"})).outcome.cells) == [("lab_toys.yours", "table")]


# ---- plans ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"budget": "huge"}, "budget must be one of 'smoke', 'quick', 'full': got 'huge'"),
        ({"jobs": 0}, "jobs must lie between 1 and inf: got 0"),
        ({"seeds": 0}, "seeds must lie between 1 and inf: got 0"),
    ],
)
def test_bad_plans_are_refused(tmp_path, asked, message):
    with pytest.raises(ValueError, match=message):
        Plan([], tmp_path, **asked)


def test_seeds_start_where_no_pilot_was(run):
    (method,) = run("slow", budget="smoke").record.methods
    assert method.studies[0].seeds == [1000, 1001]
