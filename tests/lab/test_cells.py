"""What is stored of a measurement: whole or not at all, numbers as JSON holds them; and a user's file by its content."""

from __future__ import annotations

import errno
import json

import numpy as np
import pytest
import torch

from gezhi.lab import cells
from gezhi.lab.cells import Data


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
    with pytest.raises(TypeError, match="metric 'x' of measure must be a number, or a list of one number per test row"):
        cells.plain("x", value)


@pytest.mark.parametrize(
    "change",
    [{"metrics": {"x": "1.5"}}, {"metrics": {"x": True}}, {"metrics": {"x": [[1.0]]}}, {"metrics": {"x": None}},
     {"seconds": None}, {"seconds": "0.1"}, {"evaluations": {}}],
)  # fmt: skip
def test_a_cell_whose_numbers_are_none_is_damaged(tmp_path, change):
    cells.write(tmp_path / "one.json", CELL | change)
    with pytest.raises(ValueError, match=r"damaged result one\.json: found .* where a number stands"):
        cells.read(tmp_path / "one.json")
