"""What the page on reliability and SECURITY.md say, they say of tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ("docs/reliability.md", "docs/reliability.zh.md", "SECURITY.md")
TEST = re.compile(r"`(tests/[\w/]+\.(?:py|toml))(?:::(\w+))?`")


@pytest.mark.parametrize("page", PAGES[:2])
def test_every_test_that_the_page_names_is_there(page):
    named = TEST.findall((ROOT / page).read_text("utf-8"))
    assert len(named) > 25
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text("utf-8") if test else (ROOT / file).is_file(), (file, test)


def test_every_fuzz_file_is_named():
    page = (ROOT / PAGES[0]).read_text("utf-8")
    for path in (ROOT / "tests").rglob("test_fuzz_*.py"):
        assert f"`{path.relative_to(ROOT)}`" in page


def test_the_numbers_of_files_are_those_that_are_asked():
    page = (ROOT / PAGES[0]).read_text("utf-8")
    assert "gives each reader 300 files" in page
    assert 'os.environ.get("GEZHI_FUZZ", "300")' in (ROOT / "tests/fuzzing.py").read_text("utf-8")
    assert "CI 2000" in page
    assert "GEZHI_FUZZ=${GEZHI_FUZZ:-2000}" in (ROOT / ".ci/run").read_text("utf-8")
    assert "`make fuzz` 20000" in page
    assert "GEZHI_FUZZ=20000" in (ROOT / "Makefile").read_text("utf-8")


def test_every_reader_of_a_kind_has_its_test():
    """A new kind of data, or a new form of a graph, wants a test on damaged files."""
    from gezhi.data.formats.edges import READERS
    from gezhi.data.loading import LOADERS

    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests/data").glob("test_fuzz_*.py"))
    assert [kind for kind in LOADERS if f'read("{kind}"' not in source and f'"{kind}", ' not in source] == []
    assert [ending for ending in READERS if f'"g{ending}"' not in source] == []
