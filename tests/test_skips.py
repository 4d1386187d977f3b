"""The list of tests that may be skipped: every other skip fails a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from counting import THERE, Skip, known_skips, surprises

ABSENT = Skip("package no_such_package", "tests/a.py::test_x", 2)
THERE_IS = Skip("package numpy", "tests/b.py", 1)
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("skipped", "ran", "whole", "found"),
    [
        ([], [], True, []),
        ([], ["tests/c.py::test_z"], True, []),
        (["tests/a.py::test_x[1]", "tests/a.py::test_x[2]"], [], True, []),
        (["tests/a.py::test_x[1]"], [], False, []),
        (["tests/a.py::test_x[1]"], [], True, ["tests/a.py::test_x: 1 skipped without package no_such_package, not 2"]),
        ([], ["tests/a.py::test_x[1]"], True, ["tests/a.py::test_x: 0 skipped without package no_such_package, not 2"]),
        ([f"tests/a.py::test_x[{i}]" for i in range(3)], [], False,
         ["tests/a.py::test_x: 3 skipped without package no_such_package, not 2"]),
        (["tests/a.py::test_xy"], [], True, ["tests/a.py::test_xy was skipped"]),
        (["tests/b.py::test_z"], [], True, ["tests/b.py::test_z was skipped"]),
        (["tests/b.py"], [], True, ["tests/b.py was skipped"]),
    ],
)  # fmt: skip
def test_what_is_not_as_listed_is_told(skipped, ran, whole, found):
    assert surprises(skipped, ran, [ABSENT, THERE_IS], whole=whole) == found


def test_every_need_can_be_looked_for_and_every_test_is_there():
    for skip in known_skips():
        kind, _, name = skip.needs.partition(" ")
        assert kind in THERE
        assert name
        file, _, test = skip.tests.partition("::")
        assert test in (ROOT / file).read_text("utf-8")


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "xdist"])
@pytest.mark.parametrize(
    "source",
    ["@pytest.mark.skip\ndef test_it(): pass\n", "pytest.skip(allow_module_level=True)\n", "def test_it(): pass\n"],
    ids=["test", "file", "none"],
)
def test_an_unlisted_skip_fails_the_run(tmp_path, source, workers):
    (tmp_path / "conftest.py").write_text(
        "import counting\ndef pytest_configure(config):\n    config.pluginmanager.register(counting.Skips())\n"
    )
    (tmp_path / "test_a.py").write_text(f"import pytest\n{source}")
    (tmp_path / "test_b.py").write_text("def test_other(): pass\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *workers, "."], cwd=tmp_path,
                          env=environment, capture_output=True, text=True, check=False)  # fmt: skip
    skips = "skip" in source
    assert done.returncode == int(skips), done.stdout
    assert ("tests/skips.toml does not say so: test_a.py" in done.stdout) == skips
