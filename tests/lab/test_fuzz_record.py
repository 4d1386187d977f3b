"""Records of runs on thousands of files, sound ones and damaged ones, against an independent reading."""

from __future__ import annotations

import base64
import json
import math
import tempfile
import zlib
from pathlib import Path

import numpy as np
from fuzzing import CHANGES, DAMAGE, attempt, changed, damaged, fuzz
from hypothesis import strategies as st
from lab import records

from gezhi.lab import cells
from gezhi.lab.record import load, load_all
from gezhi.lab.verdicts import record_of


def sound():
    """Records of every kind of study, one with packed rows."""
    rows = np.linspace(0, 1, 80).tolist()
    packed = records.measured(
        "packed", records.studied("rows", {"toy": {"old": {"x": [rows, rows]}, "new": {"x": [[0.0, 1.0], [math.nan]]}}}, {}, varies="rows")
    )  # fmt: skip
    return [one.dumps().encode() for one in (records.gains(), records.on_file(), packed)]


SOUND = sound()


def level(value):
    """A number, or one per test row, as a file holds them."""
    if isinstance(value, str) and value.startswith("f4:"):
        count, _, content = value[3:].partition(":")
        found = np.frombuffer(zlib.decompress(base64.b64decode(content)), "<f4").astype(float)
        assert len(found) == int(count)
        return [x if math.isfinite(x) else math.nan for x in found.tolist()]
    if isinstance(value, str):
        return [math.nan if c == "-" else float(c) for c in value]
    if isinstance(value, list):
        return [x if x is not None and math.isfinite(x) else math.nan for x in value]
    return value if value is None or math.isfinite(value) else None


def levels(of):
    return {
        case: {arm: {metric: [level(value) for value in series] for metric, series in metrics.items()} for arm, metrics in arms.items()}
        for case, arms in of.items()
    }  # fmt: skip


def expect_record(found, content):
    """Every value is that of the file; what the file leaves out has its default."""
    assert content.pop("schema") == "gezhi.measured/1"
    for study, its in zip(content["studies"], found.studies, strict=True):
        for part in ("levels", "shorter"):
            np.testing.assert_equal(getattr(its, part), levels(study.pop(part)))
    expect_part(found.model_dump(mode="json", exclude={"studies": {"__all__": {"levels", "shorter"}}}), content)


def expect_part(found, content):
    if isinstance(content, dict):
        for key, value in content.items():
            expect_part(found[key], value)
    elif isinstance(content, list):
        for one, value in zip(found, content, strict=True):
            expect_part(one, value)
    elif isinstance(content, float) and not math.isfinite(content):
        assert found is None
    else:
        assert found == (float(content) if type(found) is float else content)
        assert isinstance(found, bool) == isinstance(content, bool)


@fuzz(st.sampled_from(SOUND), st.booleans(), CHANGES, DAMAGE)
def test_records(content, whole, changes, damage):
    content = json.dumps(changed(json.loads(content), changes)).encode()
    content = content if whole else damaged(content, damage)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "gains.json")
        path.write_bytes(content)
        found = attempt(lambda: load(path), str(path), ValueError)
        assert found is not None or changes or (damage and not whole)
        if found is not None:
            expect_record(found, json.loads(content))
            attempt(lambda: record_of(load_all(Path(folder))).dumps(), "", ValueError)


CELL = {"metrics": {"accuracy": 0.5, "rows": [1.0, 0.0]}, "seconds": 0.1, "evaluations": None, "parameters": None}


@fuzz(CHANGES, DAMAGE)
def test_cells(changes, damage):
    content = damaged(json.dumps(changed(json.loads(json.dumps(CELL)), changes)).encode(), damage)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cell.json")
        path.write_bytes(content)
        found = attempt(lambda: cells.read(path), path.name, ValueError)
    if found is not None:
        np.testing.assert_equal(found, json.loads(content))
        for value in [found["seconds"], found["evaluations"] or 0, *found["metrics"].values()]:
            assert np.asarray(value, dtype=object).ndim < 2
            assert all(type(number) in (int, float) for number in (value if isinstance(value, list) else [value]))
