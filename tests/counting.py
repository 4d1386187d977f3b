"""What a run of the tests says at its end: how many files each reader was given, and which tests were skipped."""

from __future__ import annotations

import datetime
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fuzzing
import pytest

READERS = (
    "gezhi",
    "numpy",
    "polars",
    "torch",
    "safetensors",
    "pillow",
    "hypothesis",
)  # that read, and what drew the files


class Files:
    """Prints the counts of the tests marked `fuzz`, and writes them where `GEZHI_FUZZ_COUNTS` says."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, int]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
        if call.when == "call" and item.get_closest_marker("fuzz"):
            item.user_properties.append(("files", dict(fuzzing.COUNTS)))
            fuzzing.COUNTS.clear()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            for name, counts in report.user_properties:
                if name == "files":
                    reader = report.nodeid.rpartition("::test_")[2].replace("_", " ")
                    self.counts[reader] = {"files": counts["files"], "refused": counts.get("refused", 0)}

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self.counts:
            return
        terminalreporter.section("files without a fault")
        for reader, counts in sorted(self.counts.items()):
            terminalreporter.write_line(f"{reader}: {counts['files']:,}, of which {counts['refused']:,} were refused")
        if target := os.environ.get("GEZHI_FUZZ_COUNTS"):
            content = {
                "date": f"{datetime.date.today()}",
                "seed": fuzzing.SEED,
                "versions": {"python": platform.python_version(), **{name: version(name) for name in READERS}},
                "files": dict(sorted(self.counts.items())),
            }
            Path(target).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


PLUGINS = (Files,)
