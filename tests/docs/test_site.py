"""The site's own parts: languages, Chinese search, docstrings, formulas, API pages."""

from __future__ import annotations

import re

import pytest

from gezhi import _catalogue


@pytest.fixture
def tools(docs):
    from _tools import api, docstrings, formulas, languages, search

    return {"api": api, "docstrings": docstrings, "formulas": formulas, "languages": languages, "search": search}


@pytest.mark.parametrize(
    ("page", "lang", "other"),
    [
        ("index", "en", "index.zh"),
        ("index.zh", "zh", "index"),
        ("methods/cli_toys.shop", "en", "methods/cli_toys.shop.zh"),
        ("methods/cli_toys.shop.zh", "zh", "methods/cli_toys.shop"),
        ("search", "en", "search"),
        ("api/losses", "zh", "api/losses"),
    ],
)
def test_every_page_leads_to_its_counterpart(tools, docs, page, lang, other):
    assert tools["languages"].counterpart(page, lang, docs) == other


def test_a_draft_leads_to_the_index_and_stands_in_both_builds(tools, docs):
    (docs / "methods/cli_toys.shop.zh.md").unlink()
    languages = tools["languages"]
    assert languages.counterpart("methods/cli_toys.shop", "en", docs) == "index.zh"
    assert languages.of_the_other(docs, "en") == ["index.zh.md"]
    assert languages.of_the_other(docs, "zh") == ["index.md"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("余弦", ["余", "弦", "余弦"]),
        ("交叉熵", ["交", "叉", "熵", "交叉", "叉熵"]),
        ("用CoSENT训练", ["用", "CoSENT", "训", "练", "训练"]),
        ("n = 512", ["n", "512"]),
    ],
)
def test_chinese_words_of_two_characters_are_words(tools, text, words):
    assert tools["search"].Bigrams({}).split(text) == words


def test_numbers_alone_are_not_searched(tools):
    filtered = tools["search"].Bigrams({}).word_filter
    assert (filtered("熵"), filtered("余弦"), filtered("512")) == (True, True, False)


DOCSTRING = r"""Log-sum over pairs, `scale` times.

$$\log\Big(1 +
    \sum_i e^{s_i}\Big) \tag{3}$$

Args:
    coef_: |x| of $x_i$, from *two* on.
Returns: a scalar, 0 where
    all is equal.
Cost: O(n).
Example:
    >>> f(*args)
    `1`
"""


def test_docstrings_become_what_autodoc_reads(tools):
    lines = DOCSTRING.split("\n")
    tools["docstrings"].converted(None, "function", "f", None, None, lines)
    text = "\n".join(lines)
    assert r".. math:: \log\Big(1 + \sum_i e^{s_i}\Big) \tag{3}" in text
    assert r"    coef_: \|x| of :math:`x_i`, from \*two* on." in text
    assert "\n**Returns**: a scalar, 0 where\nall is equal.\n\n\n**Cost**: O(n).\n" in text
    assert "    >>> f(*args)" in text
    assert "``scale`` times" in text


def test_every_public_name_has_an_entry(tools, tmp_path, monkeypatch):
    monkeypatch.undo()
    tools["api"].write_pages(tmp_path / "api")
    listed = "\n".join(path.read_text("utf-8") for path in (tmp_path / "api").glob("*.rst"))
    for method in _catalogue.methods().values():
        for name in method.public:
            assert re.search(rf":: (gezhi\.{method.wing}\.)?{name}$", listed, re.M), name


def test_formulas_are_mathml_with_their_number(tools):
    from docutils import nodes

    class Page:
        body: list[str] = []  # noqa: RUF012

    with pytest.raises(nodes.SkipNode):
        tools["formulas"].display(Page(), nodes.math_block(r"a<b \tag{7}", r"a<b \tag{7}"))
    (html,) = Page.body
    assert html.startswith('<div class="formula"><math display="block"')
    assert html.endswith('<span class="number">(7)</span></div>\n')
