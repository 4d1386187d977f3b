"""What a report takes from a method's page: in short, its first formulas, and when not to use it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from gezhi.lab import pages
from gezhi.lab.pages import DISPLAY, SHORT, Lang, section
from gezhi.lab.report.math import TAG, math
from gezhi.lab.report.text import full_width

NOTATION = {"en": "Notation", "zh": "记号"}
DERIVATION = {"en": "Derivation", "zh": "推导"}
AVOID = {"en": "When not to use it", "zh": "何时不用"}
MOST_FORMULAS = 3
NARROW = 14  # characters of a formula that any screen holds
INLINE = re.compile(r"`[^`]*`|\$([^$]+)\$")
PLACE = re.compile("\ue000(\\d+)\ue001([,.;:!?)，。；：！？）]?)")
COMMENT = re.compile(r"<!--.*?-->", re.S)


@dataclass(frozen=True)
class Formula:
    """A tagged display formula with the step of the derivation that leads to it."""

    lead: Markup
    math: Markup
    tag: str

    @property
    def wide(self) -> bool:
        """Whether a phone may have to scroll it sideways."""
        return len(self.math.striptags()) + 2 * self.math.count("<mspace") > NARROW


@dataclass(frozen=True)
class Page:
    """Parts of a page in one language, as HTML; empty where it has none."""

    short: Markup
    notation: Markup
    formulas: tuple[Formula, ...]
    avoid: Markup


def page(stem: str, lang: Lang) -> Page | None:
    """The method's page, or None where there is none."""
    found = pages.page(stem, lang)
    return _page(found.text, lang) if found else None


def _page(source: str, lang: Lang) -> Page:
    chinese = lang == "zh"
    return Page(
        short=inline(_prose(_part(source, SHORT[lang])), chinese),
        notation=inline(_prose(_part(source, NOTATION[lang])), chinese),
        formulas=tuple(_formulas(_part(source, DERIVATION[lang]), chinese)),
        avoid=block(_part(source, AVOID[lang]), chinese),
    )


def _part(source: str, heading: str) -> str:
    return COMMENT.sub("", section(source, heading)).strip()


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
