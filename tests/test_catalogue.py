"""Which methods there are, from headers alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gezhi import _catalogue
from gezhi._catalogue import find, methods, pages, reference

HEADER = '''"""One line about it.

Title: A method | 一个方法
Tags: loss, text,
    long
Articles: 第一篇; 第二篇
Page: docs/methods/x.md
Notation: $s_i$ = `scores[i]`,
    $y_i$ = `labels[i]`.
"""

__all__ = ["Second", "first"]
'''


@pytest.fixture
def house(tmp_path):
    """Write a package from file names to texts, and read its catalogue."""

    def read(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        _catalogue._discovered.cache_clear()
        return methods(tmp_path)

    yield read
    _catalogue._discovered.cache_clear()


def test_a_header_is_read_field_by_field(house):
    (method,) = house({"nn/__init__.py": "", "nn/mixers.py": HEADER}).values()
    assert (method.stem, method.wing, method.summary) == ("mixers", "nn", "One line about it.")
    assert (method.title, method.title_zh) == ("A method", "一个方法")
    assert method.tags == ("loss", "text", "long")
    assert method.articles == ("第一篇", "第二篇")
    assert method.notation == "$s_i$ = `scores[i]`, $y_i$ = `labels[i]`."
    assert method.public == ("Second", "first")
    assert (method.page, method.module) == ("docs/methods/mixers.md", "gezhi.nn.mixers")


def test_packages_count_by_their_folder_and_only_headers_count(house):
    found = house(
        {
            "vae/__init__.py": '"""A wing."""\n',
            "vae/nvae/__init__.py": HEADER,
            "vae/nvae/parts.py": '"""No method."""\n',
            "vae/shared.py": '"""No method either."""\n',
            "vae/alone.py": HEADER,
            "nn/__init__.py": "",
            "nn/mixers.py": HEADER,
            "lab/__init__.py": "",
            "lab/claims.py": HEADER,
            "experiments/__init__.py": "",
            "experiments/nvae.py": HEADER,
            "no_package/x.py": HEADER,
        }
    )
    assert list(found) == ["mixers", "alone", "nvae"], "by wing, then by stem"
    assert found["nvae"].module == "gezhi.vae.nvae"


@pytest.mark.parametrize("field", ["Title", "Articles", "Page"])
def test_a_missing_field_is_named(house, field):
    text = "\n".join(line for line in HEADER.splitlines() if not line.startswith(field))
    message = rf"header of nn/x\.py must have Title, Tags, Articles and Page: got no \['{field}'\]\."
    with pytest.raises(ValueError, match=message):
        house({"nn/__init__.py": "", "nn/x.py": text})


def test_a_title_in_one_language_is_named(house):
    with pytest.raises(ValueError, match=r"Title of nn/x\.py must be 'English \| 中文': got 'A method'"):
        house({"nn/__init__.py": "", "nn/x.py": HEADER.replace(" | 一个方法", "")})


def test_a_method_without_notation_or_names(house):
    text = HEADER.partition("Notation")[0] + '"""\n'
    (method,) = house({"nn/__init__.py": "", "nn/x.py": text}).values()
    assert (method.notation, method.public) == ("", ())


@pytest.mark.parametrize("wrong", ["closed_form_logistics", "close_form", "closed-from-logistic"])
def test_a_wrong_name_suggests_the_nearest(wrong):
    with pytest.raises(
        ValueError, match=rf"METHOD must be a known method: got '{wrong}'. Did you mean 'closed_form_log"
    ):
        find(wrong)


def test_a_name_like_no_other_suggests_the_list():
    with pytest.raises(ValueError, match=r"got 'zzz'\. `gezhi list` shows all\."):
        find("zzz")


def test_the_house_s_methods_are_found_with_their_pages():
    found = methods()
    assert find("alternating_normalization") is found["alternating_normalization"]
    assert [(m.wing, m.stem) for m in found.values()] == sorted((m.wing, m.stem) for m in found.values())
    assert all((pages() / f"{stem}.md").exists() for stem in found)
    assert reference().name == "results"


def test_the_catalogue_loads_no_torch():
    code = "import sys; from gezhi._catalogue import methods; assert methods(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
