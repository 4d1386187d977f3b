"""The command line in this process, with the toys in its catalogue, working in the test's folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from lab_toys.command import discovered_with_toys
from typer.testing import CliRunner

import gezhi.lab.report
from gezhi import _catalogue
from gezhi.cli.app import app
from gezhi.lab.measure import load_case
from gezhi.lab.reference import reference_run
from gezhi.lab.verdicts import Record


def written_quickly(record: Record, _reference: Record | None, path: Path, lang: str) -> Path:
    """In place of the report, whose own tests draw it: which methods it is of, and in which language."""
    path.write_text(f"{lang}: {' '.join(method.stem for method in record.methods)}", encoding="utf-8")
    return path


@pytest.fixture
def gezhi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`gezhi("run", "lab_toys.planted")`: exit code, output and errors; there is no reference run."""
    (tmp_path / "no_reference").mkdir()
    monkeypatch.setattr(_catalogue, "_discovered", discovered_with_toys)
    monkeypatch.setattr(_catalogue, "reference", lambda: tmp_path / "no_reference")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setitem(gezhi.lab.report.__dict__, "write_report", written_quickly)
    load_case.cache_clear()
    reference_run.cache_clear()
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
