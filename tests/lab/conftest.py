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
from lab_toys.calls import VARIABLE
from lab_toys.running import Run, run_toys

from gezhi.lab.run import load_case

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
    monkeypatch.setenv(VARIABLE, str(file))

    def since() -> list[str]:
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines

    return since


@pytest.fixture
def interrupted(tmp_path: Path, calls: Callable[[], list[str]]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Start a process that measures a slow toy, and send it a signal after its third call."""

    def signalled(number: signal.Signals, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=TESTS,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        noted = Path(os.environ[VARIABLE])
        deadline = time.monotonic() + 60
        while not (noted.exists() and len(noted.read_text(encoding="utf-8").splitlines()) >= 3):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    return signalled
