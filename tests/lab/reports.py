"""Reports of the records made by hand, and how their tests read them."""

from __future__ import annotations

import re
from collections import Counter
from html import unescape
from html.parser import HTMLParser

from lab import records

from gezhi.lab.report import render
from gezhi.lab.report.rows import ClaimRow, Pair, pairs_of
from gezhi.lab.verdicts import Record, record_of

VOID = {"meta", "input", "br", "hr", "img", "link"}


class Page(HTMLParser):
    """Reads a report: its ids, references, resources and texts, and whether every tag is closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.refers: set[str] = set()
        self.tags: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.texts: list[tuple[str, list[tuple[str, dict[str, str | None]]]]] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append((tag, found))

    def handle_startendtag(self, tag, attrs):
        found = dict(attrs)
        self.tags[tag] += 1
        if tag not in ("html", "text"):  # a text of a figure may take two lines in one language
            self.languages[found.get("lang", "")] += 1
        if "id" in found:
            self.ids.append(found["id"])
        self.refers |= {found["href"][1:]} if str(found.get("href", "")).startswith("#") else set()
        for name in ("for", "aria-labelledby"):
            self.refers |= set(str(found[name]).split()) if name in found else set()

    def handle_endtag(self, tag):
        assert self.open[-1][0] == tag, f"</{tag}> closes <{self.open[-1][0]}>"
        self.open.pop()

    def handle_data(self, data):
        if data.strip() and self.open[-1][0] != "style":
            self.texts.append((data.strip(), list(self.open)))

    @property
    def text(self) -> str:
        return " ".join(text for text, _ in self.texts)


REPORTS = {
    "both runs": lambda: render(records.quick_run(), records.reference_run()),
    "no reference": lambda: render(records.quick_run(), None),
    "the reference itself": lambda: render(records.reference_run(), records.reference_run(), lang="zh"),
    "a reference of other methods": lambda: render(
        record_of([records.gains()]), record_of([records.speed(budget="full")])
    ),
    "a file": lambda: render(file_run(), records.reference_run()),
    "a file without reference": lambda: render(file_run(), None),
    "a stranger's": lambda: render(record_of([records.gains().model_copy(update={"stem": "toy.stranger"})]), None),
    "smoke": lambda: render(record_of([records.gains(2, budget="smoke")]), None),
}


def file_run() -> Record:
    return record_of([records.on_file()])


def pair(stem: str, run: Record, reference: Record | None) -> Pair:
    return next(pair for pair in pairs_of(run, reference) if pair.stem == stem)


def both(stem: str) -> Pair:
    return pair(stem, records.quick_run(), records.reference_run())


def row(of: Pair, claim: str) -> ClaimRow:
    return next(row for row in of.rows if row.shown.id == claim)


def part(source: str, start: str, end: str) -> str:
    """The report between two marks."""
    return source[source.index(start) :].split(end, 1)[0]


def said(source: str) -> str:
    """The text without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", source[source.find(">") + 1 :])).split())


def section(source: str, stem: str) -> str:
    return part(source, f'<details class="method" id="m-{stem}"', "Back to the table")
