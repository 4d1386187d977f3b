"""`gezhi report`: render a run again, or compare two."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gezhi.lab.conduct import reference_run
from gezhi.lab.record import difference, load


def rewrite(folder: Path, output: Path, lang: str) -> None:
    """Write the report of the run in `folder` to `output`."""
    from gezhi.lab.report import write_report

    write_report(load(folder), reference_run(), output, cast(Literal["en", "zh"], lang))
    Console().print(f"Report: {output}", highlight=False, soft_wrap=True, markup=False)


def print_difference(left: Path, right: Path, *, as_json: bool) -> None:
    """Claims whose verdicts differ between two runs."""
    from gezhi.cli.app import echo_json

    rows = difference(load(left), load(right))
    if as_json:
        echo_json(rows)
        return
    table = Table(box=None, pad_edge=False)
    for name in ("claim", str(left), str(right)):
        table.add_column(escape(name))
    for row in rows:
        table.add_row(escape(f"{row['stem']}: {row['text']}"), *(v or "absent" for v in row["verdicts"]))
    Console().print(table if rows else "The runs agree in every verdict.")
