"""A whole run: what its folder holds, what it keeps of earlier runs, how often one may look, and what is posed when."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from types import ModuleType

import pytest
from lab_toys.running import run_toys

from gezhi.lab import better, record
from gezhi.lab.cells import Data
from gezhi.lab.claims import as_claim
from gezhi.lab.conduct import check_look, conduct
from gezhi.lab.results import measured_of
from gezhi.lab.run import Plan, silent
from gezhi.lab.study import load_experiment


@pytest.fixture
def plain_report(monkeypatch):
    """A report that says which methods it is of; the drawn one has tests of its own."""
    module = ModuleType("gezhi.lab.report")
    module.write_report = lambda run, _reference, path, lang: record.write_atomically(
        path, " ".join([lang, *(method.stem for method in run.methods)])
    )
    monkeypatch.setitem(sys.modules, "gezhi.lab.report", module)


@pytest.fixture
def conducted(tmp_path, plain_report):
    """A whole run of toys in the test's folder, with record and report."""

    def whole(*toys, **asked):
        plan = Plan([f"lab_toys.{toy}" for toy in toys], tmp_path / "whole", **asked)
        return conduct(plan, "gezhi run", silent)[0]

    return whole


def result(folder):
    return json.loads((folder / "result.json").read_text("utf-8"))


# ---- a whole run ----------------------------------------------------------------------------------------------------


def test_the_folder_holds_records_judged_results_and_report(conducted, tmp_path):
    found = conducted("slow")
    folder = tmp_path / "whole"
    names = {path.name for path in folder.iterdir()} - {".lock"}
    assert names == {"cells", "report.html", "result.json", "results"}
    assert [path.name for path in (folder / "results").iterdir()] == ["lab_toys.slow.json"]
    assert result(folder) == json.loads(found.dumps())
    assert (folder / "report.html").read_text() == "en lab_toys.slow"
    assert record.load_all(folder)[0].command == "gezhi run"


def test_the_drawn_report_is_written_too(tmp_path):
    conduct(Plan(["lab_toys.slow"], tmp_path), "gezhi run", silent)
    assert "lab_toys.slow" in (tmp_path / "report.html").read_text("utf-8")


def test_a_run_keeps_the_other_methods_of_its_folder(conducted, tmp_path):
    conducted("slow", budget="smoke")
    found = conducted("on_items", budget="smoke")
    assert [method.stem for method in found.methods] == ["lab_toys.on_items"], "what was asked for"
    stems = ["lab_toys.on_items", "lab_toys.slow"]
    assert [method["stem"] for method in result(tmp_path / "whole")["methods"]] == stems
    conducted("slow", budget="smoke", look=2)
    methods = {method["stem"]: method["look"] for method in result(tmp_path / "whole")["methods"]}
    assert methods == {"lab_toys.on_items": 1, "lab_toys.slow": 2}
    assert (tmp_path / "whole/report.html").read_text().split()[1:] == stems


CODE = """
import sys
from pathlib import Path
from types import ModuleType
module = ModuleType("gezhi.lab.report")
module.write_report = lambda *_: None
sys.modules["gezhi.lab.report"] = module
from gezhi.lab.conduct import conduct
from gezhi.lab.run import Plan, silent
conduct(Plan([sys.argv[1]], Path(sys.argv[2]), "smoke"), "gezhi run", silent)
"""


def test_two_runs_of_two_methods_into_one_folder_at_once_are_both_there(tmp_path):
    stems = ["lab_toys.planted", "lab_toys.slow"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    calls = [[sys.executable, "-c", CODE, stem, str(tmp_path)] for stem in stems]
    for process in [subprocess.Popen(call, env=environment) for call in calls]:
        assert process.wait(timeout=200) == 0
    assert [method["stem"] for method in result(tmp_path)["methods"]] == stems
    assert [found.stem for found in record.load_all(tmp_path)] == stems


def test_files_that_are_links_are_replaced_and_what_they_point_at_is_untouched(conducted, tmp_path):
    folder, precious = tmp_path / "whole", tmp_path / "precious"
    (folder / "results").mkdir(parents=True)
    precious.mkdir()
    links = ("result.json", "report.html")
    for name in links:
        (precious / name).write_text("mine")
        (folder / name).symlink_to(precious / name)
    (precious / "probe").write_text("mine")
    (folder / ".writable").symlink_to(precious / "probe")  # a name that a probe of the folder might take
    conducted("slow", budget="smoke")
    assert [(precious / name).read_text() for name in (*links, "probe")] == ["mine"] * 3
    assert not any((folder / name).is_symlink() for name in links)
    linked = folder / "results/lab_toys.slow.json"
    (precious / "record").write_text(linked.read_text())
    linked.unlink()
    linked.symlink_to(precious / "record")
    before = (precious / "record").read_bytes()
    conducted("slow", budget="smoke", look=2)
    assert (precious / "record").read_bytes() == before
    assert not linked.is_symlink()


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC])
def test_a_disk_that_cannot_be_written_names_the_target(conducted, tmp_path, monkeypatch, code):
    conducted("slow", budget="smoke")
    before = {path: path.read_bytes() for path in (tmp_path / "whole").rglob("*.json")}
    opened = record.Path.open

    def refusing(path, mode="r", *arguments, **options):
        if path.name.endswith(".part"):
            raise OSError(code, os.strerror(code), str(path))
        return opened(path, mode, *arguments, **options)

    monkeypatch.setattr(record.Path, "open", refusing)
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        conducted("slow", budget="smoke")
    assert caught.value.filename == str(tmp_path / "whole/results/lab_toys.slow.json")
    assert {path: path.read_bytes() for path in (tmp_path / "whole").rglob("*.json")} == before


def test_a_folder_that_cannot_be_written_is_refused_before_measuring(tmp_path, calls, plain_report):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"--out must be a folder that can be written: got .*Choose another"):
        conduct(Plan(["lab_toys.slow"], tmp_path / "file" / "run", "smoke"), "", silent)
    assert calls() == []


def test_a_damaged_record_in_the_folder_is_named_before_measuring(conducted, calls, tmp_path):
    (tmp_path / "whole/results").mkdir(parents=True)
    (tmp_path / "whole/results/other.json").write_text("{")
    with pytest.raises(ValueError, match=r"results/other\.json is not JSON"):
        conducted("slow", budget="smoke")
    assert calls() == []


# ---- looks ----------------------------------------------------------------------------------------------------------


def test_a_run_that_was_looked_at_is_not_extended_but_repeated_on_new_seeds(conducted, calls):
    conducted("slow", budget="smoke", seeds=3)
    calls()
    with pytest.raises(ValueError, match=r"--seeds must not extend a run of 3 seeds .*: got 4\. .* --look 2 takes new"):
        conducted("slow", budget="smoke", seeds=4)
    assert calls() == [], "before anything is measured"
    (method,) = conducted("slow", budget="smoke", seeds=4, look=2).methods
    assert (method.look, method.measured.studies[0].seeds) == (2, [2000, 2001, 2002, 2003])
    with pytest.raises(ValueError, match="--look 3 takes new seeds"):
        conducted("slow", budget="smoke", seeds=5, look=2)


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    return run_toys(tmp_path_factory.mktemp("slow"), "slow").record.methods[0].measured


@pytest.mark.parametrize(
    ("asked", "refused"),
    [
        ({"seeds": 6}, True),
        ({"seeds": 5}, False),
        ({}, False),
        ({"seeds": 4}, False),
        ({"seeds": 6, "budget": "smoke"}, False),
        ({"seeds": 6, "look": 2}, False),
        ({"seeds": 6, "data": Data("/a/mine.csv", None, "0")}, False),
    ],
)
def test_only_more_seeds_of_the_same_question_are_a_look(before, tmp_path, asked, refused):
    plan = Plan(["lab_toys.slow"], tmp_path, **asked)
    check_look(plan, "lab_toys.slow", None)
    if refused:
        with pytest.raises(ValueError, match="not extend a run of 5 seeds"):
            check_look(plan, "lab_toys.slow", before)
    else:
        check_look(plan, "lab_toys.slow", before)


def test_seeds_asked_of_a_question_without_chance_are_no_look(conducted):
    for seeds in (1, 7, 9):
        (method,) = conducted("exact", budget="smoke", seeds=seeds).methods
        assert (method.seeds, method.measured.studies[0].seeds) == (1, [1000])


# ---- posed after the run --------------------------------------------------------------------------------------------


@pytest.fixture
def posed(monkeypatch):
    """Change the claims of the slow toy."""
    study = load_experiment("lab_toys.slow").study("scores")

    def again(**tests):
        monkeypatch.setitem(vars(study), "asked", {name: as_claim(test) for name, test in tests.items()})

    return again


GAIN = better("score", "gain", than="base", by=0.02)


def test_a_test_posed_or_changed_after_the_run_is_marked_for_good(conducted, posed, calls):
    def after(**asked):
        (method,) = conducted("slow", **asked).methods
        return {claim.id: claim.after for claim in method.claims}

    assert after() == {"gain": False}
    calls()
    assert after() == {"gain": False}, "nothing changed"
    posed(gain=GAIN, new=better("score", "gain", than="base", by=0.5))
    assert after() == {"gain": False, "new": True}
    assert calls() == [], "it was measured before"
    posed(gain=better("score", "gain", than="base", by=0.03), new=better("score", "gain", than="base", by=0.5))
    assert after() == {"gain": True, "new": True}
    assert after() == {"gain": True, "new": True}, "it stays so"
    assert after(look=2) == {"gain": False, "new": False}, "seeds that nobody has seen"
    posed(gain=(GAIN, better("score", "gain", than="base", by=0.1)))
    assert after(look=2) == {"gain": True}


def test_a_claim_of_code_that_changed_is_not_posed_after(before, tmp_path):
    plan = Plan(["lab_toys.slow"], tmp_path)
    outcome = run_toys(tmp_path, "slow").outcome
    other = before.model_copy(deep=True)
    other.studies[0].claims = {}
    assert [p.after for *_, p in measured_of("lab_toys.slow", plan, outcome, "", other).posed()] == [True]
    other.studies[0].code = "another"
    assert [p.after for *_, p in measured_of("lab_toys.slow", plan, outcome, "", other).posed()] == [False]
