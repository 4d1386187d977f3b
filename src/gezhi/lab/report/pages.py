"""What a report takes from a method's page: its question, its first formulas, and when not to use it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from gezhi import _catalogue
from gezhi.lab.pages import DISPLAY, section
from gezhi.lab.report.math import TAG, math
from gezhi.lab.report.text import full_width

QUESTION, NOTATION, DERIVATION, AVOID = 1, 2, 3, 7
MOST_FORMULAS = 3
INLINE = re.compile(r"`[^`]*`|\$([^$]+)\$")
PLACE = re.compile("\ue000(\\d+)\ue001([,.;:!?)，。；：！？）]?)")


@dataclass(frozen=True)
class Formula:
    """A tagged display formula with the step of the derivation that leads to it."""

    lead: Markup
    math: Markup
    tag: str


@dataclass(frozen=True)
class Page:
    """A page in one language, as HTML."""

    question: Markup
    notation: Markup
    formulas: tuple[Formula, ...]
    avoid: Markup


def page(stem: str, lang: str) -> Page | None:
    """The method's page, or None where there is none."""
    path = _catalogue.pages() / (f"{stem}.zh.md" if lang == "zh" else f"{stem}.md")
    return _page(path.read_text(encoding="utf-8"), lang == "zh") if _readable(path) else None


def _readable(path: Path) -> bool:
    return path.is_file()


def _page(source: str, chinese: bool) -> Page:
    return Page(
        question=inline(_prose(section(source, QUESTION)), chinese),
        notation=inline(_prose(section(source, NOTATION)), chinese),
        formulas=tuple(_formulas(section(source, DERIVATION), chinese)),
        avoid=block(section(source, AVOID), chinese),
    )


def _prose(body: str) -> str:
    """The first paragraph."""
    first = body.split("\n\n")[0].strip()
    return "" if first.startswith(("|", "-", "#", "```", "$$")) else " ".join(first.split())


def _formulas(body: str, chinese: bool) -> list[Formula]:
    found, end = [], 0
    for match in DISPLAY.finditer(body):
        tag = TAG.search(match[1])
        if tag:
            before = body[end : match.start()].strip().split("\n\n")[-1]
            lead = re.sub(r"^\d+\.\s+", "", " ".join(before.split()))
            found.append(Formula(inline(lead, chinese), math(match[1], display=True), tag[1]))
        end = match.end()
    return found[:MOST_FORMULAS]


def inline(source: str, chinese: bool = False) -> Markup:
    """One paragraph of Markdown with `$…$`, without the paragraph's own tag."""
    return _rendered(_markdown(chinese).renderInline, source)


def block(source: str, chinese: bool = False) -> Markup:
    """Paragraphs and lists of Markdown with `$…$`."""
    return _rendered(_markdown(chinese).render, source)


def _rendered(render: Callable[[str], str], source: str) -> Markup:
    """Formulas are put aside while Markdown is rendered, which would read their underscores as emphasis."""
    kept: list[Markup] = []

    def aside(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        kept.append(math(match[1]))
        return f"\ue000{len(kept) - 1}\ue001"

    html = render(INLINE.sub(aside, source)).strip()
    return Markup(PLACE.sub(lambda match: _back(kept[int(match[1])], match[2]), html))


def _back(formula: Markup, behind: str) -> str:
    """The formula with the punctuation behind it, with which no line may begin."""
    start, tag, last = formula.rpartition("<math>")
    return f'{start}<span class="nw">{tag}{last}{behind}</span>' if behind else formula


@lru_cache(maxsize=2)
def _markdown(chinese: bool) -> MarkdownIt:
    """Markdown without HTML, links or images: a report points only into itself."""
    markdown = MarkdownIt("commonmark", {"html": False}).disable(["image", "autolink"])
    rules: dict[str, Callable[..., str]] = {"link_open": _nothing, "link_close": _nothing}
    if chinese:
        rules["text"] = _chinese_text
    markdown.renderer.rules.update(rules)  # type: ignore[attr-defined]
    return markdown


def _nothing(*_: Any) -> str:
    return ""


def _chinese_text(tokens: Any, index: int, *_: Any) -> str:
    return str(escape(full_width(tokens[index].content)))
