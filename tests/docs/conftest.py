"""The documentation's tools, in a house of one toy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_toys import house

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
MARKED = "# {name}\n\n" + "".join(
    f"<!-- generated:{part} -->\n<!-- /generated -->\n\n" for part in ("theses", "methods")
)
INDEX = "# {name}\n\n" + "".join(
    f"<!-- generated:{part} -->\n<!-- /generated -->\n\n" for part in ("wings", "articles")
)


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The docs of the toy house, with README and index."""
    docs = house.build(tmp_path)
    for suffix in (".md", ".zh.md"):
        (tmp_path / f"README{suffix}").write_text(MARKED.format(name="gezhi"), encoding="utf-8")
        (docs / f"index{suffix}").write_text(INDEX.format(name="gezhi"), encoding="utf-8")
    house.move_in(docs, monkeypatch)
    yield docs
    house.forget()


@pytest.fixture
def generate(docs: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """`generate("--check")`: exit code and lines."""
    import generate as tool

    def run(*arguments: str) -> tuple[int, list[str]]:
        house.forget()
        code = tool.main(list(arguments), docs.parent)
        return int(code), capsys.readouterr().out.splitlines()

    return run
