"""What the key of a cell depends on: everything that is measured, and nothing of what is said about it."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lab_toys.bench import Bench

from gezhi.lab import cells, reach
from gezhi.lab.cells import Data
from gezhi.lab.run import Plan, execute

HERE = "outside/experiment.py"


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Bench(tmp_path)
    Bench.forget()


# ---- what is reached ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (HERE, "seed * size", "seed + size"),
        (HERE, "units=3", "units=4"),
        (HERE, 'ARMS = {"a": Arm(1)', 'ARMS = {"a": Arm(1.5)'),
        (HERE, '"quick": {"steps": 1}, "full"', '"quick": {"steps": 2}, "full"'),
        (HERE, "* 53", "* 54"),
        (HERE, "FACTOR = 7", "FACTOR = 8"),
        (HERE, '"second": [2, 3]', '"second": [3, 2]'),
        (HERE, '"some", "words"', '"some", "others"'),
        (HERE, "gain * 5", "gain * 6"),
        (HERE, "rate = 11", "rate = 12"),
        (HERE, "cls(13)", "cls(14)"),
        (HERE, 'kind = "player"', 'kind = "coach"'),
        (HERE, "strength + 17", "strength + 18"),
        (HERE, "return 19", "return 20"),
        (HERE, "self.power + self.rest()", "self.power - self.rest()"),
        (HERE, "closed(23)", "closed(24)"),
        (HERE, "count + arm.gain", "count - arm.gain"),
        (HERE, "offset=29", "offset=30"),
        (HERE, "x + 31", "x + 32"),
        (HERE, "(37, 41)", "(37, 42)"),
        (HERE, "extra=43", "extra=44"),
        (HERE, 'in {"some", "order"}', 'in {"some", "no"}'),
        ("outside/helpers.py", "x + x", "2 * x"),
        ("outside/sub/thrice.py", "constants.THREE * x", "x * constants.THREE"),
        ("outside/sub/constants.py", "3", "3.0"),
        ("outside/deep.py", "79", "78"),
        ("outside/far/away.py", "83", "84"),
        ("outside/late.py", "89", "90"),
        ("outside/later.py", "97", "98"),
        ("outside/later.py", "101", "100"),
        ("outside/decorated.py", "103", "104"),
        ("outside/decorated.py", "107", "106"),
        ("outside/decorated.py", "109", "108"),
        ("outside/decorated.py", "113", "114"),
        ("outside/decorated.py", "127", "126"),
        ("outside/decorated.py", "131", "130"),
        ("outside/decorated.py", "137", "136"),
    ],
)
def test_a_key_changes_with_what_is_reached(bench, file, old, new):
    before = bench.key()
    bench.change(file, old, new)
    assert bench.key() != before


@pytest.mark.parametrize(
    ("case", "old", "new"),
    [
        ("array", "+ 61", "+ 60"),
        ("tensor", "* 67", "* 66"),
        ("table", "1000, 1] = 59", "1000, 0] = 59"),
        ("nested", '"text", 71', '"text", 72'),
        ("nested", '"a": [1, 2], "b": np.array(["text", 71], dtype=object)', '"b": np.array(["text", 71], dtype=object), "a": [1, 2]'),
    ],
)  # fmt: skip
def test_a_key_changes_with_the_value_of_its_case_and_no_other(bench, case, old, new):
    before, elsewhere = bench.key(case=case), bench.key()
    bench.change(HERE, old, new)
    assert bench.key(case=case) != before
    assert bench.key() == elsewhere


# ---- what is not ----------------------------------------------------------------------------------------------------

CLAIMS = 'claims={"c": better("x", "b", than="a", by=0.1), "d": at("toy", better("x", "b", than="a", by=0.3))}'


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (HERE, "A question?", "Another question?"),
        (HERE, "What is measured.", "What one measures."),
        (HERE, '    """What is measured."""\n', ""),
        (HERE, "    return units\n", '    """Units."""\n    return units\n'),
        (HERE, '    """Plays."""\n', '    """Is played."""\n'),
        (HERE, "    return units\n", "    # a comment\n\n\n    return  units\n"),
        (HERE, "lately  # here", "lately  # there"),
        (HERE, "by=0.1", "by=0.2"),
        (HERE, '{"c"', '{"reworded"'),
        (HERE, CLAIMS, 'claims={"d": at("toy", better("x", "b", than="a", by=0.3))}'),
        (HERE, CLAIMS, CLAIMS[:-1] + ', "f": better("x", "b", than="a", by=-1)}'),
        (HERE, '    figures=(Dots("x", "c"),),\n', ""),
        (HERE, 'Dots("x", "c")', 'Dots("x", "d", than="a")'),
        (HERE, 'units={"x": "%"}', "units={}"),
        (HERE, '"b": Arm(2)}', '"b": Arm(3)}'),
        (HERE, '"b": Arm(2)}', '"b": Arm(2), "c": Arm(9)}'),
        (HERE, "+ 61", "+ 60"),
        (HERE, '"full": {"steps": 10}', '"full": {"steps": 20}'),
        (HERE, "47.0", "48.0"),
        (HERE, "(STUDY, SECOND, TIMED, YOURS)", "(STUDY, TIMED)"),
        (HERE, 'SHOWN = "an arm"', 'SHOWN = "an arm"\nNEW = 5'),
        ("outside/helpers.py", "Twice.", "Two times."),
        ("outside/helpers.py", '    """Twice."""\n', ""),
        ("outside/helpers.py", "UNUSED = 1", "UNUSED = 2"),
        ("outside/stranger.py", "1", "2"),
        ("outside/register.py", "73", "74"),
        ("outside/deep.py", "80", "81"),
        ("outside/later.py", "102", "103"),
    ],
)
def test_a_key_does_not_change_with_words_judgement_or_neighbours(bench, file, old, new):
    before = bench.key()
    bench.change(file, 'claims={"c"' if old == '{"c"' else old, 'claims={"reworded"' if old == '{"c"' else new)
    if old == '{"c"':
        bench.change(HERE, 'Dots("x", "c")', 'Dots("x", "reworded")')
    if old == CLAIMS and '"c"' not in new:
        bench.change(HERE, 'Dots("x", "c")', 'Dots("x", "d")')
    assert bench.key() == before


def test_rewording_or_adding_a_claim_measures_nothing(bench):
    def planned() -> str:
        """How many jobs are left of how many, in a new process."""
        bench.write()
        Bench.forget()
        events = []
        plan = Plan(["outside.experiment"], bench.root / "run", seeds=1)
        execute(plan, lambda kind, text: events.append((kind, text)))
        assert [text for kind, text in events if kind == "note"] == []
        return dict(events)["plan"]

    assert planned() == "6/6"
    bench.change(HERE, "by=0.1", "by=0.7")
    bench.change(HERE, '"d": at("toy"', '"new": at("toy"')
    assert planned() == "0/6"
    bench.change(HERE, "47.0", "48.0")
    assert planned() == "1/6", "of the edited study alone"
    bench.change(HERE, "+ 61", "+ 60")
    assert planned() == "1/6", "of the edited case alone"


def test_every_name_of_a_job_is_in_its_key(bench):
    before = bench.key()
    for changes in ({"seed": 1001}, {"budget": "full"}, {"case": "array"}, {"study": "t"}, {"arm": "b"}):
        assert bench.key(**changes) != before


TABLE = Data("/somewhere/table.csv", None, "abc")


@pytest.mark.parametrize("other", [replace(TABLE, label="y"), replace(TABLE, sha256="def"), None])
def test_label_and_content_of_data_are_in_the_key(bench, other):
    mine = bench.key(data=TABLE, study="yours", case="table.csv")
    if other is None:
        bench.change(HERE, 'accepts="features"', 'accepts="texts"')
    assert bench.key(data=other or TABLE, study="yours", case="table.csv") != mine


def test_a_key_depends_on_the_content_of_data_not_on_their_place(bench):
    elsewhere = replace(TABLE, path="/elsewhere/table.csv")
    assert bench.key(data=elsewhere) == bench.key(data=TABLE)


@pytest.mark.parametrize("changes", [{"folder": "/elsewhere"}, {"arms": ("a",)}])
def test_a_key_does_not_depend_on_where_or_with_what(bench, changes):
    assert bench.key(**changes) == bench.key()


def test_a_key_changes_with_versions(bench, monkeypatch):
    before = bench.key()
    assert {"python", "numpy", "torch", "scikit-learn"} <= set(cells.versions())
    monkeypatch.setattr(cells, "versions", lambda *_: {"numpy": "1.0"})
    assert bench.key() != before


def test_a_key_changes_with_the_protocol(bench, monkeypatch):
    before = bench.key()
    monkeypatch.setattr(cells, "PROTOCOL", 999)
    assert bench.key() != before


def test_only_timed_cells_depend_on_the_processor_threads_and_repeats(bench, monkeypatch):
    def both() -> tuple[str, str]:
        return bench.key(), bench.key(study="timed", budget="full")

    plain, timed = both()
    assert cells.cpu()
    with monkeypatch.context() as patch:
        patch.setattr(cells, "cpu", lambda: "another")
        assert both()[0] == plain
        assert both()[1] != timed
    bench.change(HERE, "threads=1", "repeats=9")
    assert both()[0] == plain
    assert both()[1] != timed


def test_a_smoke_run_s_single_round_is_no_timing(bench):
    assert bench.key(study="timed", budget="smoke") != bench.key(study="timed", budget="full")


# ---- in other processes ---------------------------------------------------------------------------------------------

CODE = """
import sys
sys.path.insert(0, sys.argv[1])
from gezhi.lab.cells import Job, study_code
for case in ("toy", "array", "tensor", "table", "nested"):
    print(Job("outside.experiment", "s", case, 1000, "quick", ("a",), None, "").key("a"))
print(study_code("outside.experiment", "s", "quick"))
"""


def test_a_key_is_the_same_in_every_process(bench, tmp_path):
    bench.write()
    (tmp_path / "elsewhere").mkdir()

    def keys(*options: str, seed: str, folder: Path = tmp_path) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        call = [sys.executable, *options, "-c", CODE, str(tmp_path)]
        return subprocess.run(call, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout

    first = keys(seed="1")
    assert len(set(first.split())) == 6
    assert first.split()[0] == bench.key()
    assert keys(seed="2", folder=tmp_path / "elsewhere") == first, "compiled before, and other hashes"
    assert keys("-O", seed="3") == first
    assert keys("-OO", seed="4") == first


def test_a_key_does_not_change_once_it_was_measured(bench):
    before = bench.key()
    job = bench.job()
    job.posed.measure(job.posed.arms["a"], None, 1, {"steps": 1})
    cells.arm_code.cache_clear()
    assert job.key("a") == before


# ---- values ---------------------------------------------------------------------------------------------------------


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x


class Network(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)
        torch.nn.init.constant_(self.layer.weight, value)
        torch.nn.init.constant_(self.layer.bias, 0)


def recursive(n):
    return recursive(n - 1) if n else 0


def loop(*parts):
    found = list(parts)
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("make", "one", "other"),
    [
        (lambda x: x, 1, 1.0),
        (lambda x: x, True, 1),
        (lambda x: x, (1, 2), [1, 2]),
        (lambda x: x, "a", b"a"),
        (lambda x: x, 0.1, 0.1 + 1e-17 + 2e-17),
        (np.array, [1, 2], [1.0, 2.0]),
        (lambda n: np.zeros(6).reshape(n, -1), 2, 3),
        (lambda x: torch.full((4000,), x), 1.0, 1.0000001),
        (lambda x: torch.full((3,), x, dtype=torch.bfloat16), 1.0, 2.0),
        (lambda x: torch.nn.Parameter(torch.full((3,), x)), 1.0, 2.0),
        (lambda x: {"a": x}, 1, 2),
        (lambda x: {1: x, 2: 3 - x}, 1, 2),
        (Slotted, 1, 2),
        (Network, 1.0, 2.0),
        (lambda x: {"a": 1}.get if x else {"a": 2}.get, 1, 0),
        (loop, 1, 2),
        (Path, "a", "b"),
        (lambda x: __import__("re").compile("a" * 300 + x), "b", "c"),
        (lambda x: __import__("sklearn.linear_model").linear_model.LogisticRegression(C=x), 1.0, 2.0),
    ],
)
def test_values_are_told_apart(make, one, other):
    same = reach.reach(make(one), own="tests")
    assert reach.reach(make(one), own="tests") == same
    if repr(one) != repr(other):
        assert reach.reach(make(other), own="tests") != same


def test_what_refers_to_itself_ends():
    assert reach.reach(recursive) == reach.reach(recursive)


def test_sets_have_no_order_and_mappings_have_one():
    words = [f"word {i}" for i in range(50)]
    other = set[str]()
    for word in reversed(words):
        other.add(word)
    assert reach.reach(set(words)) == reach.reach(other)
    assert reach.reach({"a": 1, "b": 2}) != reach.reach({"b": 2, "a": 1})


class Lazy:
    @functools.cached_property
    def value(self):
        return 1


def test_what_an_object_keeps_of_itself_does_not_count():
    lazy = Lazy()
    before = reach.reach(lazy, own=__name__.partition(".")[0])
    assert lazy.value == 1
    assert reach.reach(lazy, own=__name__.partition(".")[0]) == before
