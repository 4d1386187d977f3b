"""`gezhi report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from gezhi._checks import invalid
from gezhi.cli.commands import LAB, Command, Json, Lang, Language


@dataclass(frozen=True)
class Report:
    """Write the report of a run again, or compare the verdicts of two runs."""

    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Folder of a run, or its result.json.")] = None
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write the HTML file.")] = Path("report.html")
    diff: Annotated[tuple[Path, Path] | None, typer.Option(help="Compare two runs instead.")] = None
    lang: Lang = Language.en
    json: Json = False

    def __call__(self) -> None:
        from gezhi.cli import reporting

        if self.diff:
            reporting.print_difference(*self.diff, self.lang.value, as_json=self.json)
        elif self.folder is None:
            raise invalid("DIR", "be a folder of a run", "none", "Pass one, or --diff A B.")
        else:
            reporting.rewrite(self.folder, self.output, self.lang.value, as_json=self.json)


COMMAND = Command(Report, "report", LAB, "gezhi report runs -o report.html")
