"""The site's index: by articles, with links to them, and by wings, with the answer in short."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby, zip_longest

from _tools.house import House
from _tools.parts import link
from gezhi._catalogue import Method, methods
from gezhi.cli.phrases import in_language, page_of, short_name
from gezhi.lab.report.text import VERDICTS, full_width, wing_name
from gezhi.lab.verdicts import MethodResult

ARCHIVE = "https://kexue.fm/archives/{}"


def articles_part(house: House, lang: str) -> str:
    """An article a line, with its method and what it comes to."""
    return "\n".join(article_line(house, method, title, url, lang)
                     for method in methods().values() for title, url in articles(method))  # fmt: skip


def articles(method: Method) -> Iterator[tuple[str, str | None]]:
    """Each article with its address; the numbers among a method's other names are those of its articles, in order."""
    numbers = [alias for alias in method.aliases if alias.isdigit()]
    known = numbers if len(numbers) >= len(method.articles) else []
    for title, number in zip_longest(method.articles, known[: len(method.articles)]):
        yield full_width(title), ARCHIVE.format(number) if number else None


def article_line(house: House, method: Method, title: str, url: str | None, lang: str) -> str:
    article = f"[{title}]({url})" if url else title
    colon = "：" if lang == "zh" else ": "
    return f"- {article} → {link(house, method, lang, short_name(method, lang), 'methods/')}{said(method, lang, colon)}"


def said(method: Method, lang: str, before: str) -> str:
    """The first sentence of In short, behind a colon."""
    page = page_of(method, lang)
    short = page.short.first if page else ""
    return f"{before}{short}" if short else ""


def wings_part(house: House, results: Mapping[str, MethodResult], lang: str) -> str:
    """A heading a wing, and its methods with what their articles say, verdicts and answers."""
    blocks = []
    for wing, members in groupby(methods().values(), key=lambda method: method.wing):
        lines = [wing_line(house, method, results.get(method.stem), lang) for method in members]
        blocks.append("\n".join([f"### {in_language(wing_name(wing), lang)}", "", *lines]))
    return "\n\n".join(blocks)


def wing_line(house: House, method: Method, result: MethodResult | None, lang: str) -> str:
    """The method, what its article says, whether that is true, and the answer in short."""
    page = page_of(method, lang)
    thesis, claim = page.claims.thesis if page else None, result.thesis if result else None
    stop, colon = ("。", "：") if lang == "zh" else (".", ": ")
    verdict = f"**{in_language(VERDICTS[claim.verdict], lang).capitalize()}{stop}**" if claim else ""
    parts = [thesis.text if thesis else "", verdict, page.short.first if page else ""]
    text = ("" if lang == "zh" else " ").join(part for part in parts if part)
    name = link(house, method, lang, short_name(method, lang), "methods/")
    return f"- {name}{colon}{text}" if text else f"- {name}"
