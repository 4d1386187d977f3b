"""The Sphinx extension: MathML, search, the switch of languages, API pages, and where a reader enters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from _tools import api, docstrings, formulas
from _tools.languages import MARK, NAMES, counterpart
from _tools.search import Bigrams

ENTRANCE = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={0}"><a href="{0}">{0}</a>\n'
)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (formulas.inline, None), (formulas.display, None))
    app.config.html_math_renderer = "mathml"  # type: ignore[attr-defined]
    app.add_search_language(Bigrams)
    app.connect("builder-inited", lambda app: api.write_pages(Path(app.srcdir) / "api"))
    app.connect("autodoc-process-docstring", docstrings.converted, priority=100)
    app.connect("autodoc-skip-member", docstrings.skipped)
    app.connect("html-page-context", switch)
    app.connect("build-finished", entrance)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def switch(app: Sphinx, page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    """Where the page is in the other language."""
    lang = "zh" if app.tags.has("zh") else "en"
    other = "zh" if lang == "en" else "en"
    up = "../" * (page.count("/") + 1)
    target = counterpart(page, lang, Path(app.srcdir))
    context |= {"other_lang": other, "other_name": NAMES[other], "other_page": f"{up}{other}/{target}.html"}


def entrance(app: Sphinx, failed: Exception | None) -> None:
    """`index.html` of the site and of a language whose index has another name."""
    if failed or app.builder.format != "html":
        return
    out, lang = Path(app.outdir), "zh" if app.tags.has("zh") else "en"
    (out.parent / "index.html").write_text(ENTRANCE.format("en/index.html"), encoding="utf-8")
    if MARK[lang]:
        (out / "index.html").write_text(ENTRANCE.format(f"index{MARK[lang]}.html"), encoding="utf-8")
