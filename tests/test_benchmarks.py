"""Every benchmark runs at its quick size and prints the one object that other tools read."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from gezhi._catalogue import PACKAGE

FOLDER = Path(__file__).parent.parent / "benchmarks"
BENCHMARKS = sorted(FOLDER.glob("bench_*.py"))


def test_there_is_a_benchmark_for_every_method_that_claims_speed():
    stems = {path.stem.removeprefix("bench_") for path in BENCHMARKS}
    assert stems <= {path.stem for path in PACKAGE.glob("*/*.py")} | {
        path.parent.name for path in PACKAGE.glob("*/*/*.py")
    }
    assert {"closed_form_logistic", "alternating_normalization", "entropy_scale", "gelu"} <= stems


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_quick_run_prints_the_object(path):
    call = [sys.executable, "-W", "ignore", str(path), "--json", "--quick"]
    result = subprocess.run(call, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert set(found) >= {"stem", "peers", "equal", "ratios", "bars"}
    assert found["stem"] == path.stem.removeprefix("bench_")
    assert found["peers"], "no peer is named"
    assert found["equal"], "nothing was compared before it was timed"
    for value in (*found["equal"].values(), *found["ratios"].values()):
        assert math.isfinite(value)
    for name, bar in found["bars"].items():
        assert name in found["ratios"]
        assert set(bar) & {"at_least", "at_most"}
        assert isinstance(bar["holds"], bool)
