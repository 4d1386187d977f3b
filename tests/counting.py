"""What a run of the tests says at its end: how many files each reader was given, and which tests were skipped."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
import tomllib
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fuzzing
import pytest

from gezhi.data import available

READERS = (
    "gezhi",
    "numpy",
    "polars",
    "torch",
    "safetensors",
    "pillow",
    "hypothesis",
)  # that read, and what drew the files

LIST = Path(__file__).with_name("skips.toml")


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


THERE: dict[str, Callable[[str], object]] = {"program": shutil.which, "package": find_spec, "source": available}


@dataclass(frozen=True)
class Skip:
    """Tests that may be skipped: a file or a function, what they need, and how many cases there are."""

    needs: str
    tests: str
    count: int

    @property
    def may(self) -> bool:
        """Whether its need is absent."""
        kind, _, name = self.needs.partition(" ")
        return not THERE[kind](name)

    def covers(self, test: str) -> bool:
        return test == self.tests or test.startswith((f"{self.tests}::", f"{self.tests}["))


def known_skips() -> list[Skip]:
    return [Skip(**entry) for entry in tomllib.loads(LIST.read_text("utf-8"))["skip"]]


def surprises(skipped: Collection[str], ran: Collection[str], known: Collection[Skip], *, whole: bool) -> list[str]:
    """What differs from the list: skips that it does not have or whose need is there, and other counts than it says.

    Args:
        skipped, ran: ids of tests.
        whole: whether nothing was left out by choice, so that counts must be reached.
    """
    found = []
    for test in skipped:
        if not any(skip.covers(test) and skip.may for skip in known):
            found.append(f"{test} was skipped")
    for skip in known:
        count = sum(map(skip.covers, skipped))
        asked = count or any(map(skip.covers, ran))
        if skip.may and asked and (count > skip.count or (whole and count < skip.count)):
            found.append(f"{skip.tests}: {count} skipped without {skip.needs}, not {skip.count}")
    return found


class Skips:
    """Fails the run where other tests were skipped than `skips.toml` lists."""

    def __init__(self) -> None:
        self.skipped: set[str] = set()
        self.ran: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skipped.add(report.nodeid)
        elif report.when == "call":
            self.ran.add(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.skipped.add(report.nodeid)

    def pytest_testnodedown(self, node: Any) -> None:
        """What a worker of xdist skipped as it collected, which it does not tell otherwise."""
        self.skipped |= set(getattr(node, "workeroutput", {}).get("skipped files", ()))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        config = session.config
        if hasattr(config, "workeroutput"):
            config.workeroutput["skipped files"] = [test for test in self.skipped if "::" not in test]
            return
        chosen = [*config.args, config.option.keyword, config.option.markexpr]
        whole = session.exitstatus == 0 and not any("::" in part for part in config.args) and not any(chosen[-2:])
        self.found = surprises(self.skipped, self.ran, known_skips(), whole=whole)
        if self.found and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        counts = Counter(skip.needs for skip in known_skips() for test in self.skipped if skip.covers(test))
        for needs, count in sorted(counts.items()):
            terminalreporter.write_line(f"skipped for want of the {needs}: {count}")
        for text in getattr(self, "found", ()):
            terminalreporter.write_line(f"tests/skips.toml does not say so: {text}", red=True)


PLUGINS = (Files, Skips)
