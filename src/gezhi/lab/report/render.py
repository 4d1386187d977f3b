"""The report of a run: one HTML file that needs no script, no network and no other file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gezhi.lab.pages import Lang
from gezhi.lab.record import write_atomically
from gezhi.lab.report.facts import chance, facts, tallies
from gezhi.lab.report.methods import Section, sections_of
from gezhi.lab.report.rows import pairs_of
from gezhi.lab.report.text import FILE, MARKS, NO_THESIS, VERDICTS, count, full_width, html
from gezhi.lab.report.theses import board, empty_pairs, headline, wings_of
from gezhi.lab.verdicts import Record

TEMPLATES = Path(__file__).parent / "templates"
STYLES = ("page.css", "theses.css", "methods.css", "figures.css", "narrow.css", "print.css")


def write_report(record: Record, reference: Record | None, path: Path, lang: Lang) -> Path:
    """Write the report, whole or not at all; records that lie beside it are linked."""
    return write_atomically(path, render(record, reference, lang=lang, folder=path.parent))


def render(record: Record, reference: Record | None, *, lang: Lang = "en", folder: Path | None = None) -> str:
    """The report as HTML, in both languages; it is made of the records and the pages alone.

    Args:
        record: the run.
        reference: the committed run, which leads where both have a method; None: there is none. It may be the record
            itself, which is then shown once.
        lang: the language that is visible first.
        folder: where the report will lie; `result.json` and `results/` are linked if they are there.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"t": html, "full_width": full_width, "count": count}
    return environment.get_template("report.html.j2").render(content(record, reference, lang, folder))


def content(record: Record, reference: Record | None, lang: Lang, folder: Path | None) -> dict[str, Any]:
    """Everything that the template shows."""
    pairs = pairs_of(record, reference)
    wings = wings_of(pairs)
    sections = sections_of([thesis for wing in wings for thesis in wing.theses])
    further = len(set(reference.by_stem) - set(record.by_stem)) if reference else 0
    return {
        "lang": lang,
        "verdicts": VERDICTS,
        "marks": MARKS,
        "style": Markup("\n".join((TEMPLATES / style).read_text(encoding="utf-8") for style in STYLES)),
        "headline": headline(pairs),
        "articles": len({article for pair in pairs for article in pair.lead.articles}),
        "board": board(wings),
        "chance": chance(pairs),
        "wings": wings,
        "counts": Counter(thesis.verdict for wing in wings for thesis in wing.theses),
        "nothing": list(empty_pairs(wings)),
        "facts": facts(pairs, further),
        "tallies": tallies([row for pair in pairs for row in pair.rows]),
        "sections": sections,
        "on_file": [section for section in sections if section.pair.file],
        "file_name": FILE,
        "no_thesis": NO_THESIS,
        "linked": linked(sections, folder),
    }


def linked(sections: list[Section], folder: Path | None) -> dict[str, str]:
    """Files of the run that lie beside the report, empty where they do not: the whole, and each method's record."""
    files = {section.pair.stem: f"results/{section.pair.stem}.json" for section in sections}
    files["record"] = "result.json"
    return {name: file if folder and (folder / file).is_file() else "" for name, file in files.items()}
