"""Runs that are resumed, interrupted, in parallel, timed, short of data, failing, or asked of a user's file."""

from __future__ import annotations

import errno
import math
import os
import re
import signal
import sys
import time
from collections import Counter
from contextlib import nullcontext
from functools import partial
from itertools import groupby, product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lab_toys.calls import FILE, noted
from lab_toys.running import run_toys
from threadpoolctl import threadpool_limits

from gezhi.data import KINDS
from gezhi.lab import Study, better, measure, record
from gezhi.lab import run as lab_run
from gezhi.lab.cells import Data, Job
from gezhi.lab.measure import fixed_threads
from gezhi.lab.run import Plan, execute, kind_fits
from gezhi.lab.study import load_experiment

ALL_CALLS = [f"score {arm} {case} {seed}" for arm, case, seed in product((0.0, 1.0), (1, 2), range(1000, 1005))]


# ---- resuming -------------------------------------------------------------------------------------------------------


def test_a_second_run_measures_nothing(run, calls):
    first = run("slow", budget="smoke")
    assert len([line for line in calls() if line.startswith("score")]) == 8
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
    for module in (lab_run, measure):
        monkeypatch.setattr(module, "asked_metrics", lambda _job, arm: {"rank"} if arm == "gain" else {"score"})
    second = run("slow", budget="smoke")
    assert {line.split()[1] for line in calls()} == {"1.0"}, "the arm that lacks it"
    assert "measure must give rank for 'gain', which claims ask for: got score." in second.notes[0]


def test_progress_is_told_while_it_goes_on(tmp_path, calls):
    seen = []
    execute(Plan(["lab_toys.slow"], tmp_path, "smoke"), lambda kind, _: kind == "job" and seen.append(len(calls())))
    assert seen == [2, 2, 2, 2]


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def assert_all_end(pids: set[int]) -> None:
    deadline = time.monotonic() + 60
    while any(map(alive, pids)):
        assert time.monotonic() < deadline, "a worker lives on"
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("jobs", [1, 2])
def test_what_ends_a_run_loses_no_finished_cell_and_leaves_no_worker(run, calls, interrupted, tmp_path, number, jobs):
    code = f"from lab_toys.running import *; run_toys(Path({str(tmp_path / 'run')!r}), 'slow', jobs={jobs})"
    ended = interrupted(number, "-c", code)
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr or "KeyboardInterrupt" in ended.stderr
    lines = calls()
    assert_all_end({int(line.split()[-1]) for line in lines if line.startswith("pid")})
    before = [line for line in lines if line.startswith("score")]
    left = len(list((tmp_path / "run/cells").rglob("*.json")))
    assert 1 <= left < len(ALL_CALLS)
    assert not list((tmp_path / "run").rglob("*.part")) or number == signal.SIGKILL
    assert len(run("slow").metrics) == len(ALL_CALLS)
    again = [line for line in calls() if line.startswith("score")]
    assert set(before) | set(again) == set(ALL_CALLS)
    assert len(again) == len(ALL_CALLS) - left, "only what was interrupted is repeated"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_timed_round_that_never_ends_is_ended(calls, interrupted, tmp_path, number):
    code = f"from lab_toys.running import *; run_toys(Path({str(tmp_path / 'run')!r}), 'endless')"
    start = time.monotonic()
    assert interrupted(number, "-c", code).returncode != 0
    assert time.monotonic() - start < 100
    assert_all_end({int(line.split()[-1]) for line in calls() if line.startswith("pid")})


def test_interrupt_ends_with_a_sentence_and_the_next_run_goes_on(run, calls, interrupted, tmp_path):
    command = ("-m", "lab_toys.command", "run", "lab_toys.slow", "--out", str(tmp_path / "run"))
    ended = interrupted(signal.SIGINT, *command)
    assert ended.returncode == 130
    assert ended.stderr.strip() == "Interrupted. What was measured is kept; run the same command again to go on."
    before = calls()
    assert len(run("slow").metrics) == len(ALL_CALLS)
    again = [line for line in [*before, *calls()] if line.startswith("score")]
    assert Counter(again) == Counter([*ALL_CALLS, [line for line in before if line.startswith("score")][-1]])


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
    monkeypatch.setattr(measure, "write", lambda _path, _cell: None)
    found = run("slow", budget="smoke")
    reason = "its result is not in the folder; workers elsewhere must share it"
    assert found.outcome.failed == {("lab_toys.slow", "scores", case): reason for case in ("one", "two")}
    assert all(case.reason.en == f"the measurement failed: {reason}" for case in found.cases.values())


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


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    """A quick run with timed rounds on two workers, and what its calls noted: (what, study, arm, case, seed, pid, when)."""
    folder = tmp_path_factory.mktemp("timed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FILE, str(folder / "calls.txt"))
        found = run_toys(folder / "run", "timed", jobs=2, seeds=2)
        lines = [line.split() for line in noted()]
    return found, lines


def test_every_timed_round_is_a_fresh_process(timed):
    _, lines = timed
    rounds = {(line[4], line[5]) for line in lines if line[0] == "call"}
    assert len(rounds) == len({pid for _, pid in rounds}) == 2, "one process a seed"
    others = {line[5] for line in lines if line[0] == "measure"}
    assert not others & {pid for _, pid in rounds}
    assert str(os.getpid()) not in others | {pid for _, pid in rounds}


def test_nothing_runs_beside_a_timed_round(timed):
    _, lines = timed
    when = [(float(line[6]), line[0], line[4]) for line in lines if line[0] in ("call", "measure")]
    order = [(what, seed if what == "call" else "") for _, what, seed in sorted(when)]
    blocks = [key for key, _ in groupby(order)]
    timed_blocks = [seed for what, seed in blocks if what == "call"]
    assert timed_blocks == ["1000", "1001"], "whole rounds, in turn"
    assert [what for what, _ in blocks].count("measure") == 2, "spread over the other jobs"


def test_every_arm_is_called_as_often_in_turns(timed):
    _, lines = timed
    for case, seed in product(("one", "two"), (1000, 1001)):
        arms = [line[2] for line in lines if line[0] == "call" and line[3:5] == [case, str(seed)]]
        assert arms == ["base", "other"] * 2 + ["other", "base", "base", "other", "other", "base"], "warm-up, 4 repeats"
        later = [line for line in lines if line[:3] == ["later", case, str(seed)]]
        assert len(later) == 2, "after the clock, once an arm"


def test_timed_figures_are_the_fastest_call_and_what_it_returned(timed):
    found, _ = timed
    cells = found.outcome.cells["lab_toys.timed", "timed"]
    assert len(cells) == 2 * 2 * 2
    for cell in cells.values():
        assert set(cell["metrics"]) == {"seconds", "threads", "BLAS threads", "later"}
        assert 0.002 <= cell["metrics"]["seconds"] < 0.1
        assert cell["metrics"]["threads"] == 2
    study = found.record.methods[0].study("timed")
    assert (study.timed, study.threads, study.repeats, study.exact) == (True, 2, 4, False)
    assert found.claims["timed"].timed
    assert found.claims["timed"].cases[0].tests[0].n == 2


def test_a_smoke_run_times_once_and_in_this_process(run, calls):
    run("timed", budget="smoke")
    lines = [line.split() for line in calls()]
    timed = [line for line in lines if line[0] == "call"]
    assert {line[5] for line in timed} == {str(os.getpid())}
    assert Counter(tuple(line[2:5]) for line in timed) == Counter(
        dict.fromkeys(product(("base", "other"), ("one", "two"), ("1000", "1001")), 2)
    )
    names = [line[1] for line in lines if line[0] in ("measure", "call")]
    assert names == ["before"] * 8 + ["after"] * 8 + ["timed"] * 16


def test_timed_arms_are_measured_together_or_not_at_all(run, calls, tmp_path):
    first = run("timed", budget="smoke")
    calls()
    job = next(job for job in first.plan.planned() if job.study == "timed")
    job.path("other").unlink()
    run("timed", budget="smoke")
    assert {line.split()[2] for line in calls() if line.startswith("call")} == {"base", "other"}


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
    cases = troubled.cases
    assert cases["healthy"].verdict == cases["one case absent@toy"].verdict == "supported"
    for case in (cases["absent"], cases["one case absent@poems"]):
        assert (case.verdict, case.reason.en) == ("not asked", f"data not at hand: {absent}")
        assert case.reason.zh.startswith("数据不在手边")
    studies = {study.name: study for study in troubled.record.methods[0].studies}
    assert set(studies["absent"].reasons) == set(studies["one case absent"].reasons) == {"poems"}
    assert list(studies["one case absent"].levels) == ["toy"]


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ("failing", r"ZeroDivisionError: nothing to divide by in [/0.0] (troubles.py, line "),
        ("forgetful", "ValueError: measure must give score for 'gain', which claims ask for: got scores."),
        (
            "wordy",
            "TypeError: metric 'score' of measure must be a number, or a list of one number per test row: got 'high'",
        ),
    ],
)
def test_a_failing_measure_is_noted_and_the_run_goes_on(troubled, study, message):
    text = troubled.outcome.failed["lab_toys.troubles", study, "toy"]
    assert text.startswith(message)
    assert troubled.claims[study].verdict == "not asked"
    assert troubled.cases[study].reason.en == f"the measurement failed: {text}"
    assert troubled.notes.count(f"lab_toys.troubles, {study}: {text}") == 1


def test_warnings_of_a_measure_are_told_once(troubled):
    told = [note for note in troubled.notes if "ill-conditioned" in note]
    assert told == ["lab_toys.troubles, warning: RuntimeWarning: seed 1000 is ill-conditioned"]
    assert troubled.claims["warning"].verdict == "supported"


def test_a_damaged_cell_that_cannot_be_measured_again_is_missed(run, monkeypatch):
    first = run("slow", budget="smoke")
    job = first.plan.planned()[0]
    job.path("gain").write_text("{")
    monkeypatch.setattr(measure, "load_case", lambda *_: 1 / 0)
    found = run("slow", budget="smoke")
    assert found.outcome.failed["lab_toys.slow", "scores", "one"].startswith("ZeroDivisionError")
    assert found.cases["gain@two"].tests


@pytest.mark.parametrize(("varies", "refused"), [("rows", True), ("items", False), ("seed", False)])
def test_an_infinite_row_is_refused_where_nan_means_untested(varies, refused):
    study = Study(
        "s", lambda *_: {"x": [1.0, math.inf]}, {"a": 1, "b": 2}, {"toy": None}, {"quick": None},
        {"c": better("x", "b", than="a", by=1)}, varies=varies,
    )  # fmt: skip
    job = SimpleNamespace(posed=study, case="toy", data=None, shorter=False)
    meter = SimpleNamespace(evaluations=None, parameters=None)
    with pytest.raises(ValueError, match="metric 'x' of measure must be finite") if refused else nullcontext():
        measure.cell_of(job, "a", study.measure(), 0.1, meter)


def test_a_timed_measure_that_gives_no_callable_is_named(run, monkeypatch):
    study = load_experiment("lab_toys.timed").study("timed")
    monkeypatch.setitem(vars(study), "measure", lambda *_: {"seconds": 1.0})
    found = run("timed", budget="smoke")
    text = found.outcome.failed["lab_toys.timed", "timed", "one"]
    assert text.startswith("TypeError: measure must give a callable, which is timed: got dict.")


def test_a_full_disk_ends_the_run_and_leaves_no_half_written_file(run, monkeypatch, tmp_path):
    run("slow", budget="smoke", seeds=1)
    before = sorted((tmp_path / "run").rglob("*.json"))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(record.Path, "replace", full)
    with pytest.raises(OSError, match="No space left on device"):
        run("slow", budget="smoke", seeds=2)
    assert sorted(path for path in (tmp_path / "run").rglob("*") if path.is_file()) == before


# ---- settled --------------------------------------------------------------------------------------------------------


def shorter_calls(lines):
    """(arm's end, case, seed, steps, width) of what was trained."""
    found = [re.match(r"trained Arm\(end=(.+?), .*?\) (\S+) (\d+) (\d+) (\d+)", line) for line in lines]
    return Counter((float(m[2]), int(m[3]), int(m[4]), int(m[5])) for m in found if m and m[1] == "1.2")


def test_two_seeds_at_least_run_at_two_thirds_of_the_steps(run, calls):
    run("training")
    found = shorter_calls(calls())
    whole = {(n, 1000 + seed, 120, 1) for n, seed in product((10.0, 100.0), range(5))}
    short = {(n, 1000 + seed, 80, 1) for n, seed in product((10.0, 100.0), range(2))}
    assert set(found) == whole | short


@pytest.mark.parametrize(("seeds", "settling"), [(5, 2), (6, 2), (10, 3), (20, 6), (3, 2), (2, 2)])
def test_three_seeds_in_ten_settle_and_two_at_least(tmp_path, seeds, settling):
    plan = Plan(["lab_toys.training"], tmp_path, seeds=seeds)
    study = load_experiment("lab_toys.training").study("trained")
    assert plan.settling(study) == plan.seeds_of(study)[:settling]
    assert plan.settling(load_experiment("lab_toys.planted").study("planted")) == []
    assert Plan(["lab_toys.training"], tmp_path, "smoke").settling(study) == []


def test_a_shorter_run_has_the_size_of_its_case(run, calls):
    run("training", budget="full", seeds=5)
    found = shorter_calls(calls())
    assert {(n, steps, width) for n, _, steps, width in found} == {
        (10.0, 120, 1), (10.0, 80, 1), (100.0, 30, 2), (100.0, 20, 2),
    }  # fmt: skip


def test_levels_at_two_thirds_are_recorded_apart(run):
    (method,) = run("training").record.methods
    study = method.study("trained")
    assert len(study.levels["n = 10"]["settled"]["score"]) == 5
    assert len(study.shorter["n = 10"]["undertrained"]["score"]) == 2
    assert study.shorter["n = 10"]["undertrained"]["score"][0] < study.levels["n = 10"]["undertrained"]["score"][0]
    assert set(study.shorter["n = 10"]["settled"]) == {"score", "cost", "score, step 80"}


def test_a_shorter_run_is_resumed_too(run, calls):
    run("training")
    calls()
    run("training")
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
    found = run("yours", data=table)
    (case,) = found.claims["anywhere"].cases
    assert (case.case, case.verdict, case.test.n) == ("mine.csv", "supported", 5)
    for name in ("there", "along", "beats"):
        assert found.claims[name].verdict == "not asked"
        assert (found.cases[name].case, found.cases[name].reason.en) == (None, "not asked of your data")
        assert found.cases[name].tests == []
    assert len(calls()) == 2 * 5


def test_a_user_s_probabilities_are_judged_over_items_with_one_seed(run, calls, probabilities):
    found = run("yours", data=probabilities, seeds=5)
    case = found.cases["beats"]
    assert (case.verdict, case.test.over, case.test.n) == ("supported", "items", 20)
    assert case.estimate == pytest.approx(8 / 20)
    assert calls() == ["hit mine 1000"] * 2, "never five identical seeds"
    assert found.record.methods[0].data == "mine.npz"


def test_without_data_such_a_study_says_what_it_takes(run):
    case = run("yours").cases["beats"]
    assert (case.verdict, case.reason.en) == ("not asked", "needs your data (--data, probabilities)")


def test_changed_data_are_measured_again(run, calls, table, tmp_path):
    run("yours", data=table)
    calls()
    run("yours", data=Data.of(tmp_path / "mine.csv", None))
    assert calls() == []
    (tmp_path / "mine.csv").write_text("x,y\n1,a\n2,b\n")
    found = run("yours", data=Data.of(tmp_path / "mine.csv", None))
    assert len(calls()) == 10
    assert found.record.methods[0].studies[0].levels["mine.csv"]["base"]["rows"] == [2.0] * 5


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
        ({"seeds": 0}, "seeds must lie between 1 and 1000: got 0"),
        ({"seeds": 1001}, "seeds must lie between 1 and 1000: got 1001"),
        ({"look": 0}, "look must lie between 1 and 1000: got 0"),
    ],
)
def test_bad_plans_are_refused(tmp_path, asked, message):
    with pytest.raises(ValueError, match=message):
        Plan([], tmp_path, **asked)


@pytest.mark.parametrize(("look", "seeds"), [(1, [1000, 1001]), (2, [2000, 2001]), (7, [7000, 7001])])
def test_every_look_has_seeds_of_its_own(run, calls, look, seeds):
    (method,) = run("slow", budget="smoke", look=look).record.methods
    assert (method.look, method.studies[0].seeds) == (look, seeds)
    assert {int(line.split()[-1]) for line in calls() if line.startswith("score")} == set(seeds)


def test_a_new_look_measures_all_but_what_has_no_chance(run, calls):
    run("planted", budget="smoke")
    calls()
    run("planted", budget="smoke", look=2)
    assert len(calls()) == 8 * 2
    assert Job("lab_toys.planted", "exact", "toy", 2000, "smoke", ("good",), None, "").posed.replicates(
        "smoke", 5, 2
    ) == [2000]
