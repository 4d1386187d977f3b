"""The command line in this process, in a house of toys, working in the test's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_toys import house
from click.testing import Result
from lab_toys.command import discovered_with_toys
from typer.testing import CliRunner

from gezhi.cli.app import app
from gezhi.lab import report
from gezhi.lab.measure import load_case
from gezhi.lab.verdicts import Record


def written_quickly(record: Record, _reference: Record | None, path: Path, lang: str) -> Path:
    """In place of the report, whose own tests draw it: which methods it is of, and in which language."""
    path.write_text(f"{lang}: {' '.join(method.stem for method in record.methods)}", encoding="utf-8")
    return path


@pytest.fixture
def docs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The toy house's docs; its methods are the shop and the lab's toys."""
    docs = house.build(tmp_path_factory.mktemp("house") / "root")
    house.move_in(docs, monkeypatch, lambda package: (house.SHOP, *discovered_with_toys(package)))
    yield docs
    house.forget()


@pytest.fixture
def gezhi(docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`gezhi("run", "lab_toys.planted")`: exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setitem(vars(report), "write_report", written_quickly)
    load_case.cache_clear()
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
