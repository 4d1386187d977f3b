"""What a stored figure depends on, and that it is stored whole or not at all."""

from __future__ import annotations

import errno
import importlib
import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gezhi.lab import cells
from gezhi.lab.cells import Data, Job
from gezhi.lab.study import load_experiment

EXPERIMENT = '''"""A question?"""
from gezhi.lab import Claim, Dots, Experiment, Study, best_of, better
from outside.helpers import double
from outside.sub import triple as times

SHOWN = "an arm"

def measure(arm, case, seed, size):
    """What is measured."""
    return {"x": double(arm) * times(1) + seed * size + count(units=3)}

def count(units):
    return units

CLAIM = Claim("c", "A sentence.", "一句话。", better("x", "b", than="a", by=0.1))
STUDY = Study("s", measure, {"a": 1, "b": 2}, {"toy": None}, {"quick": 1, "full": 10}, claims=(CLAIM,),
              units={"x": "%"}, scope=("here", "此处"), figures=(Dots("x", "A caption.", "图注。"),))
TIMED = Study("timed", measure, {"a": 1, "b": 2}, {"toy": None}, {"quick": 1}, claims=(), alone=True, threads=1)
EXPERIMENT = Experiment(__doc__, (STUDY, TIMED), zh={"a": "甲"})
'''
FILES = {
    "outside/__init__.py": "",
    "outside/experiment.py": EXPERIMENT,
    "outside/helpers.py": 'def double(x):\n    """Twice."""\n    return x + x\n\nUNUSED = 1\n',
    "outside/sub/__init__.py": "from .thrice import threefold as triple\nfrom outside.stranger import unrelated\n",
    "outside/sub/thrice.py": "from . import constants\n\ndef threefold(x):\n    return constants.THREE * x\n",
    "outside/sub/constants.py": "THREE = 3\n",
    "outside/stranger.py": "def unrelated():\n    return 1\n",
}


@dataclass
class Bench:
    """A package outside the house, whose files and surroundings can be changed; the key of its cells."""

    root: Path
    files: dict[str, str] = field(default_factory=lambda: dict(FILES))

    def job(self, **changes) -> Job:
        job = Job("outside.experiment", "s", "toy", 1000, "quick", ("a", "b"), None, str(self.root / "run"))
        return replace(job, **changes)

    def key(self, **changes) -> str:
        """The key as a new process would compute it."""
        for name, text in self.files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        self.forget()
        return self.job(**changes).key("a")

    def change(self, file: str, old: str, new: str) -> None:
        assert old in self.files[file]
        self.files[file] = self.files[file].replace(old, new)

    @staticmethod
    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "outside"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        for cached in (cells.fingerprint, cells._source, load_experiment):
            cached.cache_clear()


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Bench(tmp_path)
    Bench.forget()


# ---- the key --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("outside/experiment.py", "seed * size", "seed + size"),
        ("outside/experiment.py", "units=3", "units=4"),
        ("outside/experiment.py", '{"a": 1, "b": 2}', '{"a": 1, "b": 3}'),
        ("outside/experiment.py", '"quick": 1,', '"quick": 2,'),
        ("outside/helpers.py", "x + x", "2 * x"),
        ("outside/sub/thrice.py", "constants.THREE * x", "x * constants.THREE"),
        ("outside/sub/constants.py", "3", "3.0"),
    ],
)
def test_key_changes_with_code_that_is_reached(bench, file, old, new):
    before = bench.key()
    bench.change(file, old, new)
    assert bench.key() != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("outside/experiment.py", "A question?", "Another question?"),
        ("outside/experiment.py", "What is measured.", "What one measures."),
        ("outside/experiment.py", "return units", "return  units  # a comment"),
        ("outside/experiment.py", "A sentence.", "Another sentence."),
        ("outside/experiment.py", "by=0.1", "by=0.2"),
        (
            "outside/experiment.py",
            "claims=(CLAIM,)",
            "claims=(CLAIM, Claim('d', 'D.', '丁。', better('x', 'b', than='a', by=1)))",
        ),
        ("outside/experiment.py", 'units={"x": "%"}', "units={}"),
        ("outside/experiment.py", "here", "there"),
        ("outside/experiment.py", "A caption.", "Another caption."),
        ("outside/experiment.py", 'figures=(Dots("x", "A caption.", "图注。"),)', "figures=()"),
        ("outside/experiment.py", "甲", "基线"),
        ("outside/helpers.py", "Twice.", "Two times."),
        ("outside/stranger.py", "1", "2"),
    ],
)
def test_key_does_not_change_with_words_judgement_or_strangers(bench, file, old, new):
    before = bench.key()
    bench.change(file, old, new)
    assert bench.key() == before


TABLE = Data("/somewhere/table.csv", None, "abc")


@pytest.mark.parametrize(
    "changes", [{"seed": 1001}, {"budget": "full"}, {"case": "other"}, {"study": "timed"}, {"data": TABLE}]
)
def test_every_name_of_a_job_is_in_its_key(bench, changes):
    assert bench.key(**changes) != bench.key()
    assert bench.job().key("a") != bench.job().key("b")


@pytest.mark.parametrize("other", [replace(TABLE, label="y"), replace(TABLE, sha256="def")])
def test_label_and_content_of_data_are_in_the_key(bench, other):
    assert bench.key(data=other) != bench.key(data=TABLE)


@pytest.mark.parametrize("changes", [{"folder": "/elsewhere"}, {"arms": ("a",)}])
def test_key_does_not_depend_on_where_or_with_what(bench, changes):
    assert bench.key(**changes) == bench.key()


def test_key_depends_on_the_content_of_data_not_on_their_place(bench):
    assert bench.key(data=replace(TABLE, path="/elsewhere/table.csv")) == bench.key(data=TABLE)


def test_key_changes_with_versions(bench, monkeypatch):
    before = bench.key()
    assert {"python", "numpy", "torch", "scikit-learn"} <= set(cells.versions())
    monkeypatch.setattr(cells, "versions", lambda *_: {"numpy": "1.0"})
    assert bench.key() != before


def test_only_timed_cells_depend_on_the_processor_and_threads(bench, monkeypatch):
    before = bench.key(), bench.key(study="timed")
    assert cells.cpu()
    monkeypatch.setattr(cells, "cpu", lambda: "another")
    assert bench.key() == before[0]
    assert bench.key(study="timed") != before[1]


def test_data_are_known_by_content(tmp_path):
    one, other, folder = tmp_path / "one.csv", tmp_path / "other.csv", tmp_path / "pictures"
    one.write_text("x,y\n1,a\n")
    other.write_text("x,y\n1,a\n")
    assert Data.of(one, "y") == Data(str(one), "y", Data.of(other, None).sha256)
    other.write_text("x,y\n1,b\n")
    assert Data.of(one, None).sha256 != Data.of(other, None).sha256
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "1.png").write_bytes(b"1")
    before = Data.of(folder, None)
    (folder / "a" / "1.png").rename(folder / "a" / "2.png")
    assert Data.of(folder, None) != before
    with_encoder = Data.of(one, None, encoder=folder)
    assert with_encoder.encoder == str(folder)
    assert with_encoder.sha256 not in (Data.of(one, None).sha256)


# ---- on disk --------------------------------------------------------------------------------------------------------

CELL = {"metrics": {"x": 1.5, "items": [0.0, 1.0]}, "seconds": 0.1, "evaluations": None, "parameters": 3}


def test_a_cell_comes_back_as_it_was(tmp_path):
    path = tmp_path / "cells" / "deep" / "one.json"
    assert cells.read(path) is None
    cells.write(path, CELL)
    assert cells.read(path) == CELL
    cells.write(path, {**CELL, "seconds": 0.2})
    assert cells.read(path)["seconds"] == 0.2
    assert [file.name for file in path.parent.iterdir()] == ["one.json"]


def test_nan_and_infinity_come_back(tmp_path):
    cells.write(tmp_path / "one.json", {**CELL, "metrics": {"x": float("nan"), "y": float("inf")}})
    metrics = cells.read(tmp_path / "one.json")["metrics"]
    assert np.isnan(metrics["x"])
    assert np.isinf(metrics["y"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"metrics": {"x": 1',
        b"[1, 2]",
        b'{"metrics": 3, "seconds": 1, "evaluations": null, "parameters": null}',
        b'{"seconds": 1}',
        b'{"metrics": {"x": 1}}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_cell_is_named(tmp_path, content):
    path = tmp_path / "0a1b.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged result 0a1b\.json: "):
        cells.read(path)


@pytest.mark.parametrize("old", [None, CELL])
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, old):
    path = tmp_path / "one.json"
    if old:
        cells.write(path, old)
    monkeypatch.setattr("gezhi.lab.record.Path.replace", full_disk)
    with pytest.raises(OSError, match="No space left on device") as caught:
        cells.write(path, {**CELL, "seconds": 9})
    assert caught.value.filename == str(path)
    assert cells.read(path) == old
    assert [file.name for file in tmp_path.iterdir()] == (["one.json"] if old else [])


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (True, 1.0),
        (3, 3.0),
        (np.float32(0.5), 0.5),
        (np.array([True, False]), [1.0, 0.0]),
        (torch.tensor([1, 2]), [1.0, 2.0]),
        ([0.5, 1], [0.5, 1.0]),
    ],
)
def test_numbers_of_any_library_are_stored_as_numbers(value, stored):
    assert json.loads(json.dumps(cells.plain("x", value))) == stored


@pytest.mark.parametrize("value", ["high", None, 1j, {"a": 1}, np.zeros((2, 2)), np.array(["a"])])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(
        TypeError, match="metric 'x' of measure must be a number, or a list of one number per test item"
    ):
        cells.plain("x", value)
