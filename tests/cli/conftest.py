"""The command line in this process, with the toys in its catalogue, working in the test's folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from lab_toys.command import discovered_with_toys
from typer.testing import CliRunner

from gezhi import _catalogue
from gezhi.cli.app import app
from gezhi.lab.run import load_case


@pytest.fixture
def gezhi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`gezhi("run", "lab_toys.planted")`: exit code, output and errors."""
    monkeypatch.setattr(_catalogue, "_discovered", discovered_with_toys)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    load_case.cache_clear()
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
