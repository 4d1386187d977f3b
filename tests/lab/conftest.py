"""Runs of the toys, and what they did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from lab_toys.calls import FILE, STOP, noted
from lab_toys.running import Run, run_toys

from gezhi.lab.measure import load_case

TESTS = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _no_cases_of_other_tests() -> None:
    load_case.cache_clear()


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    """Measure and judge toys, `run("planted", budget="quick")`, in the test's folder."""
    return partial(run_toys, tmp_path / "run")


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What the toys noted since the last question."""
    file = tmp_path / "calls.txt"
    monkeypatch.setenv(FILE, str(file))

    def since() -> list[str]:
        lines = noted()
        file.unlink(missing_ok=True)
        return lines

    return since


@pytest.fixture
def interrupted(calls: Callable[[], list[str]]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Start a process that measures the slow toy, and send it a signal in its fourth call."""

    def signalled(number: signal.Signals, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=TESTS,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), STOP: "4"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            deadline = time.monotonic() + 120
            while not any(line.startswith("pid") for line in noted()):
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(number)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    return signalled
