"""The report of a run: one HTML file that needs no script, no network and no other file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gezhi.lab.record import Record, Words, write_atomically
from gezhi.lab.report.methods import sections_of, test_lines
from gezhi.lab.report.rows import Row, rows_of
from gezhi.lab.report.summary import FEW, caveats, chance, facts, surprising, tallies
from gezhi.lab.report.text import MARKS, REFERENCE, VERDICTS, YOURS, Lang, count, full_width, html

TEMPLATES = Path(__file__).parent / "templates"
STYLES = ("page.css", "parts.css", "media.css")


def write_report(record: Record, reference: Record | None, path: Path, lang: Lang) -> Path:
    """Write the report, whole or not at all; records that lie beside it are linked."""
    return write_atomically(path, render(record, reference, lang=lang, folder=path.parent))


def render(record: Record, reference: Record | None, *, lang: Lang = "en", folder: Path | None = None) -> str:
    """The report as HTML, in both languages.

    Args:
        record: the run.
        reference: the committed run, shown beside it where both have a method; None: there is none. It may be the
            record itself, which is then shown once.
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
    environment.globals |= {"t": html, "full_width": full_width, "count": count, "test_lines": test_lines}
    return environment.get_template("report.html.j2").render(content(record, reference, lang, folder))


def content(record: Record, reference: Record | None, lang: Lang, folder: Path | None) -> dict[str, Any]:
    """Everything that the template shows."""
    itself = reference is not None and record.dumps() == reference.dumps()
    beside = None if itself or not shared(record, reference) else reference
    name = REFERENCE if itself else YOURS
    rows = rows_of(record, beside)
    refuted = surprising(rows)
    others = [(REFERENCE, method) for method in beside.methods] if beside else []
    asked = {method.stem for method in record.methods}
    return {
        "lang": lang,
        "verdicts": VERDICTS,
        "marks": MARKS,
        "style": Markup("\n".join((TEMPLATES / style).read_text(encoding="utf-8") for style in STYLES)),
        "record": record,
        "names": (name, REFERENCE),
        "single": beside is None,
        "rows": rows,
        "tallies": tallies(rows),
        "chance": chance(rows),
        "caveats": caveats(rows, single=beside is None),
        "surprising": refuted[:FEW],
        "facts": facts(record, beside, (name, REFERENCE)),
        "sections": sections_of(rows, [(name, method) for method in record.methods], others, refuted),
        "further": sum(method.stem not in asked for method in reference.methods) if reference else 0,
        "filters": filters(rows, single=beside is None),
        "linked": linked(record, folder),
    }


def shared(record: Record, reference: Record | None) -> bool:
    """Whether the reference run has any of the record's methods."""
    return reference is not None and bool({m.stem for m in record.methods} & {m.stem for m in reference.methods})


def filters(rows: list[Row], *, single: bool) -> list[tuple[str, Words, int]]:
    """The choices above the table: id, name, and how many rows each shows."""
    found = Counter(name for row in rows for name in row.classes.split())
    choices = [
        ("fa", Words(en="all", zh="全部"), len(rows)),
        ("fr", Words(en="refuted", zh="推翻"), found["r"]),
        ("fu", Words(en="open or not asked", zh="未定或未问"), found["u"]),
    ]
    return choices if single else [*choices, ("fd", Words(en="unlike the reference", zh="与参考不同"), found["d"])]


def linked(record: Record, folder: Path | None) -> dict[str, str]:
    """Files of the run that lie beside the report, empty where they do not: the record, and each stem's replicates."""
    files = {method.stem: f"results/{method.stem}/replicates.csv" for method in record.methods}
    files["record"] = "result.json"
    return {name: file if folder and (folder / file).is_file() else "" for name, file in files.items()}
